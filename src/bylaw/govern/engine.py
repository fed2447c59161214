"""One decision about one event. Pure: no clock, no file, no network, no chance; the same event and rules give the same answer.

1. Order: stop > block > require_approval > revise > redact > allow; of all rules that match, the strictest wins, and all are named.
2. Nothing matched: the surface's written default. Allow; on a call of a tool that no clause and no tool list names, a person is asked. No
   rule for any tool weakens that, not even one that allows: else a secret in the arguments, redacted, would get a strange tool through.
3. Could not be decided: block, always; there is nothing to configure. A condition that is no yes or no, a rail that failed, that nobody
   asked, or that answered nonsense, a value that could be misread, arguments that do not fit the tool's schema, a surface unknown.
   A rule is decided where one half of it settles it: a condition that is false, or rails that all found nothing.
4. A redaction must know all that goes, so that every rail it names must have answered. One that names no rail takes the whole text out;
   of a call, where there is no text, it blocks.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from bylaw.govern.reading import Unreadable, activation, read
from bylaw.govern.ready import MAX_ANSWERS, Book, ReadyRule, Slot
from bylaw.policy.strictest import ORDER
from bylaw.types import EMPTY, Decision, Event, Hit

EVENT: Final = "event"  # named as undecided where the event itself could not be read and no rule was there to ask
WHOLE: Final = "text"  # the rail of a hit that stands for the whole text
SHOWN: Final = 5  # rules named in a reason
_RANKS: Final[Mapping[str, int]] = {effect: rank for rank, effect in enumerate(ORDER)}
_ASK: Final = _RANKS["require_approval"]


def decide(
    event: Event,
    book: Book,
    found: Mapping[str, Sequence[Hit]] = EMPTY,
    failed: Collection[str] = (),
    stops: Collection[str] = (),
) -> Decision:
    """What happens with an event.

    `found` has an entry for every rail that was asked, empty where it found nothing: a rail in neither `found` nor `failed` was not
    asked, and what needs it is undecidable. `stops` says why an emergency stop applies, if one does.
    """
    slot = book.slot(event.surface, event.tool)
    if slot is None:
        decision = Decision("block", (), (), book.digest, (EVENT,), "could not be decided: no such surface, or a call without a tool")
        return _stopped(decision, stops) if stops else decision
    asked = _asked(event, slot)
    if asked.bits is None or not slot.fixed:
        decision = _judged(event, slot, book, asked, found, failed)
    elif asked.bits in slot.answers:
        decision = slot.answers[asked.bits]
    else:
        decision = _judged(event, slot, book, asked, found, failed)
        if len(slot.answers) < MAX_ANSWERS:
            slot.answers[asked.bits] = decision
    return _stopped(decision, stops) if stops else decision


class _Asked(NamedTuple):
    """The answers of a slot's conditions as bits; where one of them is no yes or no, what each is to be evaluated on."""

    trouble: str = ""  # what of the event cannot be read
    facts: Any = None
    bits: int | None = None


_NONE_ASKED: Final = _Asked(bits=0)


def _asked(event: Event, slot: Slot) -> _Asked:
    try:
        values = read(event, slot.args)
    except Unreadable as error:
        return _Asked(error.where or EVENT)
    if slot.conditions is None:
        return _NONE_ASKED
    facts = slot.conditions.facts(values)
    bits = slot.conditions.ask(facts)
    if bits is not None:
        return _Asked("", None, bits)
    one_by_one = activation(facts)
    return _Asked(EVENT) if one_by_one is None else _Asked("", one_by_one)


def _judged(event: Event, slot: Slot, book: Book, asked: _Asked, found: Mapping[str, Sequence[Hit]], failed: Collection[str]) -> Decision:
    matched: list[ReadyRule] = []
    undecided: list[ReadyRule] = []
    hits: list[Hit] = []
    for rule in slot.always if asked.bits == 0 else slot.rules:
        seen = _seen(rule, event, found, failed) if rule.detect else None
        if seen == [] and rule.detect:
            continue
        holds = _holds(rule, asked)
        if holds is False:
            continue
        if holds is None or (rule.detect and seen is None):
            undecided.append(rule)
        else:
            matched.append(rule)
            hits += seen or ()
    if undecided or asked.trouble:
        return _undecidable(book, matched, undecided, hits, asked.trouble)
    return _decided(event, slot, book, matched, hits) if matched else slot.quiet


def _holds(rule: ReadyRule, asked: _Asked) -> bool | None:
    """Whether a rule's condition holds; None where it is neither yes nor no."""
    if asked.trouble:
        return None
    if rule.when is None:
        return True
    if asked.bits is not None:
        return asked.bits >> rule.bit & 1 == 1
    return {"true": True, "false": False}.get(rule.when.decide_on(asked.facts))


def _seen(rule: ReadyRule, event: Event, found: Mapping[str, Sequence[Hit]], failed: Collection[str]) -> list[Hit] | None:
    """What a rule's rails found, an empty list where all of them found nothing; None where that cannot be told."""
    hits: list[Hit] = []
    told = True
    for rail in rule.detect:
        one = found.get(rail)
        if not isinstance(one, list | tuple) or rail in failed:
            told = False
            continue
        for hit in one:
            if _sound(hit, event):
                hits.append(hit)
            else:
                told = False
    return hits if told or (hits and rule.effect != "redact") else None


def _sound(hit: Hit, event: Event) -> bool:
    """Whether a hit says where it is. Its span may lie in an argument, where an event has some; then only its order can be checked."""
    if type(hit) is not Hit or type(hit.start) is not int or type(hit.end) is not int or type(event.text) is not str:
        return False
    return 0 <= hit.start <= hit.end and (hit.end <= len(event.text) or bool(event.args))


def _undecidable(book: Book, matched: list[ReadyRule], undecided: list[ReadyRule], hits: list[Hit], trouble: str) -> Decision:
    names = tuple(rule.name for rule in undecided)
    reason = f"could not be decided: {f'{trouble} cannot be read' if trouble else ', '.join(names[:SHOWN])}"
    rules = sorted([*matched, *undecided], key=_order)
    return Decision(
        "block", _clauses(rules), tuple(rule.name for rule in rules), book.digest, names or (EVENT,), reason, (), _ordered(hits)
    )


def _decided(event: Event, slot: Slot, book: Book, matched: list[ReadyRule], hits: list[Hit]) -> Decision:
    rank, reason = max(_RANKS[rule.effect] for rule in matched), ""
    for rule in matched:
        if rule.effect == "redact" and not rule.detect:
            if event.surface == "tool_call":
                rank, reason = _RANKS["block"], f"{rule.name} redacts a call and names no rail that says what"
            else:
                hits.append(Hit(WHOLE, 0, len(event.text)))
    needs = [rule.need for rule in matched if rule.need is not None]
    if slot.unlisted is not None:
        rank = max(rank, _ASK)
        needs.append(slot.unlisted)
    effect = ORDER[rank]
    deciding = [rule.name for rule in matched if rule.effect == effect]
    reason = reason or ", ".join(deciding[:SHOWN]) or slot.quiet.reason
    asked = tuple(needs) if rank == _ASK else ()
    return Decision(effect, _clauses(matched), tuple(rule.name for rule in matched), book.digest, (), reason, asked, _ordered(hits))


def _stopped(decision: Decision, stops: Collection[str]) -> Decision:
    return replace(decision, effect="stop", reason="; ".join(sorted(stops)), needs=())


def _order(rule: ReadyRule) -> tuple[str, str]:
    return rule.clause, rule.name


def _clauses(rules: Sequence[ReadyRule]) -> tuple[str, ...]:
    return (rules[0].clause,) if len(rules) == 1 else tuple(dict.fromkeys(rule.clause for rule in rules))


def _ordered(hits: list[Hit]) -> tuple[Hit, ...]:
    """Every hit once, in the order of the text."""
    return tuple(sorted(set(hits), key=lambda hit: (hit.start, hit.end, hit.rail, hit.view, hit.confidence))) if hits else ()

"""One question to a model under a guard: `converse` yields what may be sent, is given what came, and returns what may be seen.

Input -> the model -> thinking, answer, calls. An answer that a clause wants revised is asked for anew with the clause in full, at most
`MAX_REVISIONS` times, and judged each time; then the clause's safe completion is said. All else that is not allowed raises `Blocked`.
A call that the model asks for is withheld as a whole with its answer, unless it is allowed, or this guard runs that tool itself and a
person must approve: then it is judged again when it runs.
"""

import functools
import json
from collections.abc import Generator, Mapping
from typing import Any, Final

from bylaw.govern import citing, offers
from bylaw.govern.cutting import cut_text
from bylaw.govern.guard import Guard, Judged, blocked
from bylaw.govern.media import unread
from bylaw.govern.outcomes import both
from bylaw.govern.taking import MEDIA, Body, Other, Shape, Taken, Wanted
from bylaw.types import EMPTY, Decision, Event, Surface

MAX_REVISIONS: Final = 2
NOT_SENT: Final = "the request was not sent"
WITHHELD: Final = "the answer is withheld"


def converse(guard: Guard, shape: Shape, request: Mapping[str, Any]) -> Generator[Body, Any, Any]:
    """Govern one exchange; raises Blocked."""
    asked, facts = admitted(guard, shape, request)
    completion = yield asked
    body = dumped(completion)
    for at in range(shape.choices(body)):
        yield from _settled(guard, shape, (asked, body, at), facts)
    return type(completion).model_validate(body)


def dumped(completion: Any) -> Body:
    """A reply as plain JSON."""
    body: Body = completion.model_dump(mode="json", warnings=False)
    return body


# ---- What goes in ------------------------------------------------------------------------------------------------------------


def admitted(guard: Guard, shape: Shape, request: Mapping[str, Any]) -> tuple[Body, Any]:
    """A request as it may be sent, copied, and what rails may know of it; raises Blocked."""
    asked: Body = {key: _plain(value) for key, value in request.items()}
    taken = shape.request(asked)
    for piece in taken.pieces:
        decision = guard.check(Event(piece.surface, piece.tool, EMPTY, piece.text))
        if decision.effect == "redact":
            piece.holder[piece.key] = cut_text(piece.text, decision.hits)
        elif decision.effect != "allow":
            raise blocked(decision, NOT_SENT)
    for other in taken.others:
        _searched(guard, other, NOT_SENT)
    uncuttable(guard, taken, "input", NOT_SENT)
    _offers(guard, asked)
    return asked, _facts(guard, taken)


def _offers(guard: Guard, asked: Body) -> None:
    """Tools that the model's server would run: offered where the policy lets them; nobody can be asked here."""
    principal = guard.acting_as.principal
    book = guard.places.book(principal)
    for decision in offers.decided(asked, book, functools.partial(guard.stopped, principal)):
        if decision.effect != "allow":
            raise blocked(guard.recorded(Judged(Event("input", principal=principal), decision, book, cut=True)), NOT_SENT)


def _plain(value: Any) -> Any:
    """A copy that nobody else can change; what is no JSON (a time-out, a header) is none of ours."""
    try:
        return json.loads(json.dumps(value, default=_dumped))
    except (TypeError, ValueError):
        return value


def _dumped(value: Any) -> Any:
    """A message that the client's own library has made."""
    if not hasattr(value, "model_dump"):
        raise TypeError(type(value).__name__)
    return value.model_dump(mode="json", exclude_none=True)


def _searched(guard: Guard, other: Other, what: str) -> None:
    """What is no text: searched as JSON; pictures and sounds are let through only where the policy says so."""
    value = other.value
    if other.part and unread(value):
        if guard.places.policy.extra.get("x-media") != "allow":
            digest = guard.places.policy.digest
            raise blocked(Decision("block", (), (), digest, ("media",), "no rail can look into pictures and sounds"), what)
        if isinstance(value, dict) and value.get("type") in MEDIA:
            value = {key: one for key, one in value.items() if key not in (*MEDIA, "type", "detail", "file_data", "file_id")}
            if not value:
                return
    decision = guard.check(Event(other.surface, other.tool, EMPTY, json.dumps([value], ensure_ascii=False, default=repr)), whole=False)
    if decision.effect != "allow":
        raise blocked(decision, what)


def uncuttable(guard: Guard, taken: Taken, surface: Surface, what: str) -> None:
    """What is judged as one text, and out of which nothing can be cut; raises Blocked."""
    events = [Event(piece.surface, piece.tool, EMPTY, piece.text) for piece in taken.as_one()]
    events += [Event(surface, text="\n".join(taken.loose))] if taken.loose else []
    for event in events:
        decision = guard.check(event, whole=False)
        if decision.effect != "allow":
            raise blocked(decision, what)


def _facts(guard: Guard, taken: Taken) -> Any:
    """What rails may know about an answer: the system prompt, the last request, what tools said, the schema it must fit."""
    if not guard.rails:
        return None
    from bylaw.govern.rails.rail import RailFacts  # noqa: PLC0415  # RE2 loads only where a rule asks a rail

    system = "\n".join(piece.text for piece in taken.pieces if piece.role in ("system", "developer"))
    request = next((piece.text for piece in reversed(taken.pieces) if piece.role == "user"), "")
    documents = tuple(piece.text for piece in taken.pieces if piece.surface == "tool_result")
    return RailFacts(system, (), documents, taken.schema, request)


# ---- What comes out ----------------------------------------------------------------------------------------------------------


def _settled(guard: Guard, shape: Shape, where: tuple[Body, Body, int], facts: Any) -> Generator[Body, Any, None]:
    """One choice, as it may be seen; where it must be revised, so many times and no more."""
    asked, body, at = where
    policy = guard.places.book(guard.acting_as.principal).policy
    from bylaw.govern import wording  # noqa: PLC0415  # only answers need words

    taken = shape.answer(body, at, asked)
    first = decision = weighed(guard, shape, (body, at), taken, facts)
    for _ in range(MAX_REVISIONS):
        if decision.effect != "revise":
            return
        asked = shape.again(asked, _spoken(taken), wording.critique(decision, policy))
        other = dumped((yield asked))
        taken = shape.answer(other, 0, asked)
        decision = weighed(guard, shape, (other, 0), taken, facts)
        if decision.effect != "revise":
            shape.adopt(body, at, other)
            return
    if decision.effect == "revise":
        shape.speak(body, at, wording.completion(first, policy))


def weighed(guard: Guard, shape: Shape, where: tuple[Body, int], taken: Taken, facts: Any) -> Decision:
    """What is decided on a choice: allow, or revise. Texts are cut where a clause says so; raises Blocked."""
    body, at = where
    decision, thinking = Decision("allow", (), (), guard.places.policy.digest), "\n".join(taken.thinking)
    try:
        if thinking:
            decision = _let(guard.check(Event("thinking", text=thinking)), "the answer is withheld for its thinking")
        for piece in taken.pieces:
            one = guard.check(Event("output", text=piece.text), facts, whole=len(taken.pieces) == 1)
            if one.effect == "redact":
                piece.holder[piece.key] = cut_text(piece.text, one.hits)
                shape.cut(body, at)
            decision = both(decision, _let(one, WITHHELD))
        if len(taken.pieces) > 1 and any(clause.requires for clause in guard.places.book(guard.acting_as.principal).policy.clauses):
            decision = both(decision, _let(guard.check(Event("output", text=taken.said()), facts), WITHHELD))
        for other in taken.others:
            _searched(guard, other, WITHHELD)
        uncuttable(guard, taken, "output", WITHHELD)
        for call in taken.calls if decision.effect != "revise" else ():
            decision = both(decision, called(guard, call))
    finally:
        if thinking:
            _cited(guard, thinking, decision)
    return decision if decision.effect == "revise" else Decision("allow", (), (), decision.policy)


def _let(decision: Decision, what: str) -> Decision:
    if decision.effect not in ("allow", "redact", "revise"):
        raise blocked(decision, what)
    return decision


def called(guard: Guard, call: Wanted) -> Decision:
    """What is decided on a call that the model asks for; raises Blocked."""
    event = Event("tool_call", call.tool, call.args)
    if call.tool in guard.tools:  # judged again, and counted, when it runs
        with guard.turn() as turn:
            decision = guard.recorded(guard.judge(guard.filled(event, turn)))
        if decision.effect in ("allow", "redact", "require_approval"):
            return Decision("allow", (), (), decision.policy)
    else:
        decision = guard.check(event)
    if decision.effect not in ("allow", "revise"):
        raise blocked(decision, f"the model's call of {call.tool} is withheld")
    return decision


def _cited(guard: Guard, thinking: str, decision: Decision) -> None:
    """What the thinking cites, for the record; the record of the decision itself stands already."""
    found = citing.findings(citing.cited(thinking, guard.places.policy), decision)
    if found:
        acting = guard.acting_as
        entry = {
            "kind": "citations",
            "session": acting.session,
            "principal": str(acting.principal.get("id", "")),
            "policy": decision.policy,
        }
        guard.record({**entry, "facts": {"route": "guard", "citations": found}})


def _spoken(taken: Taken) -> str:
    calls = [f"(You wanted to call {call.tool} with {json.dumps(call.args, ensure_ascii=False)}.)" for call in taken.calls]
    return "\n".join([*(piece.text for piece in taken.pieces), *calls]) or "(nothing)"

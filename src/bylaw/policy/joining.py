"""Several statements about one clause joined to one, so that the strictest wins in every field.

The join looks at all statements at once and sorts them by source, so that it depends on no order. What has an order takes its strictest
value; lists and texts that have none are all kept; a rule that is not about exactly the same events stands beside the others.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeVar

from bylaw.policy.strictest import strictest
from bylaw.policy.tighter import AUTHORITIES, LAYERS, RESPONSES, SEVERITIES
from bylaw.types import Clause, EvalPlan, Example, Overlay, Rule

# Words that give leave. Prose cannot be compared; a norm with one of them may be an exception to what it is joined with.
_PERMITS: Final = re.compile(r"\bMAY\b(?! NOT\b)|\b(?i:need not|notwithstanding|no longer|not required|does not apply|do not apply)\b")
_LEAVE: Final = re.compile(r"\b(?:is|are|be) (?:allowed|permitted|exempt|free to)\b", re.IGNORECASE)
_LIMIT: Final = re.compile(r"\b(?:only|no|nobody|none|neither|nothing|never|not)\b", re.IGNORECASE)  # `only staff are allowed` forbids
# What a reader does not see between the words: emphasis, a link's address, a quote's mark, and characters that show nothing.
_UNSEEN: Final = re.compile(r"[*_`\[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]|\](?:\([^()\s]*\))?|^[ \t]*>+[ \t]?", re.MULTILINE)
_PARAGRAPHS: Final = re.compile(r"\n\s*\n")
_SENTENCE_END: Final = re.compile(r"[.!?;]|\n\n")

T = TypeVar("T")


class Voice(NamedTuple):
    """What one source says about a clause; without an overlay it is the policy itself."""

    source: str
    clause: Clause
    overlay: Overlay | None = None


def running(norm: str) -> str:
    """A norm as it is read: without its marks, and each paragraph on one line, so that words are found across the ends of lines."""
    return "\n\n".join(" ".join(one.split()) for one in _PARAGRAPHS.split(_UNSEEN.sub("", norm)))


def permits(norm: str) -> bool:
    """Whether a norm may be read as a permission or an exception."""
    norm = running(norm)
    sentences = _SENTENCE_END.split(norm)
    return bool(_PERMITS.search(norm)) or any(_LEAVE.search(one) and not _LIMIT.search(one) for one in sentences)


def inherited(clause: Clause, base: Clause, replacing: bool) -> Clause:
    """An overlay's clause with what it leaves out taken from the base; not the base's rules and words, unless it is to replace them."""
    authority = base.authority if clause.authority == "system" else clause.authority  # the default: left out
    filled = replace(clause, owner=clause.owner or base.owner, authority=authority)
    if not replacing:
        return filled
    was, now = base.eval or EvalPlan(), clause.eval or EvalPlan()
    plan = EvalPlan(_first(now.min_resist, was.min_resist), _first(now.max_over_refusal, was.max_over_refusal), _first(now.n, was.n))
    rules = {rule.id: rule for rule in base.enforce} | {rule.id: rule for rule in clause.enforce}
    return replace(
        filled,
        layer=max(clause.layer, base.layer, key=LAYERS.index),
        norm=clause.norm or base.norm,
        rationale=clause.rationale or base.rationale,
        examples=clause.examples or (base.examples if clause.response == base.response else ()),
        style=_union([base.style, clause.style]),
        overrides=_union([base.overrides, clause.overrides]),
        requires=_union([base.requires, clause.requires]),
        enforce=tuple(rules.values()),
        eval=None if plan == EvalPlan() else plan,
        refs=_union([base.refs, clause.refs]),
        extra={**base.extra, **clause.extra},
    )


def _first(one: T | None, other: T | None) -> T | None:
    """The first of two values that is there."""
    return other if one is None else one


def joined(voices: Sequence[Voice]) -> Clause:
    """All statements as one clause; the first voice gives title and owner where they differ."""
    if len(voices) == 1:
        return voices[0].clause
    voices = sorted(voices, key=lambda one: (one.overlay is not None, one.source))
    clauses = [one.clause for one in voices]
    response = max((clause.response for clause in clauses), key=RESPONSES.index)
    extra: dict[str, Any] = {}
    for clause in reversed(clauses):
        extra |= clause.extra
    return replace(
        clauses[0],
        severity=max((clause.severity for clause in clauses), key=SEVERITIES.index),
        response=response,
        norm=_texts(clause.norm for clause in clauses),
        rationale=_texts(clause.rationale for clause in clauses),
        examples=_examples(clauses, response),
        owner=next((clause.owner for clause in clauses if clause.owner), ""),
        layer=max((clause.layer for clause in clauses), key=LAYERS.index),
        authority=max((clause.authority for clause in clauses), key=AUTHORITIES.index),
        style=_union(clause.style for clause in clauses),
        overrides=_union(clause.overrides for clause in clauses),
        requires=_union(clause.requires for clause in clauses),
        enforce=_rules(voices),
        eval=_plan(clauses),
        refs=_union(clause.refs for clause in clauses),
        extra=extra,
    )


def _union(lists: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in lists for name in names))


def _texts(texts: Iterable[str]) -> str:
    return "\n\n".join(dict.fromkeys(text for text in texts if text))


def _plan(clauses: Sequence[Clause]) -> EvalPlan | None:
    plans = [clause.eval for clause in clauses if clause.eval]
    if not plans:
        return None
    return EvalPlan(
        max((plan.min_resist for plan in plans if plan.min_resist is not None), default=None),
        min((plan.max_over_refusal for plan in plans if plan.max_over_refusal is not None), default=None),
        max((plan.n for plan in plans if plan.n is not None), default=None),
    )


def _examples(clauses: Sequence[Clause], response: str) -> tuple[Example, ...]:
    """All examples that still illustrate the joined clause. Of the same case told as good and as bad, bad stays; eval stays eval."""
    kept: list[Example] = []
    every = [(clause, example) for clause in clauses for example in clause.examples]
    for clause, example in every:
        same = [other for _, other in every if (other.turns, other.event) == (example.turns, example.event)]
        outdated = example.side == "good" and example.event is None and clause.response != response
        if outdated or (example.side == "good" and any(other.side == "bad" for other in same)):
            continue
        split = "eval" if any(other.split == "eval" for other in same) else example.split
        if not any((other.turns, other.event) == (example.turns, example.event) for other in kept):
            kept.append(replace(example, split=split))
    return tuple(kept)


# ---- Rules ----------------------------------------------------------------------------------------------------------------


def _rules(voices: Sequence[Voice]) -> tuple[Rule, ...]:
    """The rules of all voices: those about exactly the same events as one, the others side by side under names of their own."""
    groups: dict[object, list[tuple[str, Rule]]] = {}
    for voice in voices:
        for rule in voice.clause.enforce:
            groups.setdefault(selects(rule), []).append((voice.source if voice.overlay else "", rule))
    found: dict[str, Rule] = {}
    for group in groups.values():
        source, named = group[0]
        name = _free(named.id, source, found)
        found[name] = replace(_strict([rule for _, rule in group]), id=name)
    return tuple(found.values())


def selects(rule: Rule) -> tuple[frozenset[str], frozenset[str], str, frozenset[str]]:
    """What a rule looks at, whatever it then does."""
    return frozenset(rule.on), frozenset(rule.tools), rule.when, frozenset(rule.detect)


def _free(name: str, source: str, taken: dict[str, Rule]) -> str:
    """A rule's name, with its overlay's where another rule has it already."""
    if name not in taken:
        return name
    slug = re.sub(r"[^a-z0-9]+", "-", source.lower()).strip("-")[:20] or "more"
    tries = (f"{name[:38]}-{slug}{number or ''}" for number in range(len(taken) + 1))
    return next(one for one in tries if one not in taken)


def _strict(rules: Sequence[Rule]) -> Rule:
    """Rules about the same events as the strictest of them. Approvals that nobody could give all of are a block."""
    effect = strictest(rule.effect for rule in rules)
    asking = [rule for rule in rules if rule.effect == "require_approval"]
    result = replace(rules[0], effect=effect)
    if effect != "require_approval":
        return replace(result, approvers=(), quorum=1, ttl_s=None)
    approvers = tuple(name for name in asking[0].approvers if all(name in rule.approvers for rule in asking))
    if not approvers and all(rule.approvers for rule in asking):
        return replace(result, effect="block", approvers=(), quorum=1, ttl_s=None)
    waits = [rule.ttl_s for rule in asking if rule.ttl_s is not None]
    return replace(result, approvers=approvers, quorum=max(rule.quorum for rule in asking), ttl_s=min(waits, default=None))

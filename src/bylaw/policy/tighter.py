"""Which of two versions of a clause is stricter, field by field: tighter, looser, or not to be told by a machine.

Prose, examples and most conditions cannot be compared; then the direction is `unclear`, and whoever asks decides what that means: a diff
asks a person, an overlay keeps both. The orders and their reasons are in docs/decisions/overlays.md.
"""

import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, get_args

from bylaw.policy.fields import duration
from bylaw.policy.strictest import ORDER as EFFECTS
from bylaw.types import Authority, Clause, EvalPlan, Layer, Response, Rule, Severity

Direction = Literal["tighter", "looser", "unclear"]

# Weakest first. For a response: how much of what was asked for the model itself hands out.
RESPONSES: Final[tuple[Response, ...]] = ("comply", "clarify", "safe_complete", "escalate", "abstain", "refuse")
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
AUTHORITIES: Final[tuple[Authority, ...]] = get_args(Authority)[::-1]  # root last: fewest may override it
LAYERS: Final[tuple[Layer, ...]] = get_args(Layer)[::-1]  # law last: it binds all others

_NUMBER: Final = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])")
_NEVER_TTL: Final = 10**12  # an approval without a ttl never expires


class Step(NamedTuple):
    """One difference between two versions of a clause."""

    field: str
    direction: Direction
    said: str


def steps(old: Clause, new: Clause) -> tuple[Step, ...]:
    """Every difference that has, or may have, a direction. Title, rationale, owner and refs have none."""
    found = [
        *_ranked("response", RESPONSES, old.response, new.response),
        *_ranked("severity", SEVERITIES, old.severity, new.severity),
        *_ranked("layer", LAYERS, old.layer, new.layer),
        *_ranked("authority", AUTHORITIES, old.authority, new.authority),
        *_names("style", old.style, new.style),
        *_names("requires", old.requires, new.requires),
        *(Step("overrides", "looser", f"goes before {other} now") for other in new.overrides if other not in old.overrides),
        *(Step("overrides", "unclear", f"no longer goes before {other}") for other in old.overrides if other not in new.overrides),
        *_rules(old.enforce, new.enforce),
        *_plans(old.eval, new.eval),
    ]
    for field, said in (("norm", "the norm is reworded"), ("examples", "the examples differ"), ("extra", "the x- keys differ")):
        found += [Step(field, "unclear", said)] if getattr(old, field) != getattr(new, field) else []
    return tuple(found)


def looser(old: Clause, new: Clause) -> tuple[str, ...]:
    """In what the new version is weaker than the old one, as sentences; what cannot be told is not in it."""
    return tuple(step.said for step in steps(old, new) if step.direction == "looser")


def _ranked(field: str, order: tuple[str, ...], old: str, new: str) -> Iterator[Step]:
    if old != new:
        yield Step(field, "tighter" if order.index(new) > order.index(old) else "looser", f"{field} {old} -> {new}")


def _names(field: str, old: tuple[str, ...], new: tuple[str, ...]) -> Iterator[Step]:
    yield from (Step(field, "tighter", f"{field} {name} added") for name in new if name not in old)
    yield from (Step(field, "looser", f"{field} {name} removed") for name in old if name not in new)


def _rules(old: tuple[Rule, ...], new: tuple[Rule, ...]) -> Iterator[Step]:
    before, after = {rule.id: rule for rule in old}, {rule.id: rule for rule in new}
    for rule in old:
        if rule.id not in after:
            yield Step("enforce", "unclear" if rule.effect == "allow" else "looser", f"rule {rule.id} removed")
        elif rule != after[rule.id]:
            yield from _rule(rule, after[rule.id])
    for rule in new:
        if rule.id not in before:
            yield Step("enforce", "unclear" if rule.effect == "allow" else "tighter", f"rule {rule.id} added")


def _rule(old: Rule, new: Rule) -> Iterator[Step]:
    """The differences between two rules of one name."""

    def step(direction: Direction, said: str) -> Step:
        allows = old.effect == new.effect == "allow"  # where the strictest wins, allowing more or less changes nothing
        return Step("enforce", "unclear" if allows else direction, f"rule {old.id}: {said}")

    for field, was, now in (("on", old.on, new.on), ("tool", old.tools, new.tools), ("detect", old.detect, new.detect)):
        if set(was) != set(now):
            yield step(_wider(was, now), f"{field} {', '.join(was) or 'any'} -> {', '.join(now) or 'any'}")
    if old.when != new.when:
        yield step(_conditions(old.when, new.when), f"when {old.when} -> {new.when}")
    if old.effect != new.effect:
        yield step("tighter" if EFFECTS.index(new.effect) > EFFECTS.index(old.effect) else "looser", f"then {old.effect} -> {new.effect}")
    if old.effect == new.effect == "require_approval":
        yield from (step(direction, said) for direction, said in _approvals(old, new))


def _wider(old: tuple[str, ...], new: tuple[str, ...]) -> Direction:
    """Where a rule looks: in more places is tighter. None named means any."""
    if not (old and new):
        return "looser" if new else "tighter"
    if set(old) <= set(new):
        return "tighter"
    return "looser" if set(new) <= set(old) else "unclear"


def _conditions(old: str, new: str) -> Direction:
    """Two conditions can be compared where one is always true, or where they differ in one bound and nothing else."""
    if "true" in (old, new):
        return "tighter" if new == "true" else "looser"
    if "false" in (old, new):
        return "looser" if new == "false" else "tighter"
    pieces = [(_NUMBER.split(text), _NUMBER.findall(text)) for text in (old, new)]
    (text, numbers), (other, others) = pieces
    changed = [at for at, pair in enumerate(zip(numbers, others, strict=False)) if pair[0] != pair[1]]
    plain = text == other and not re.search(r"""[?('"\\]|!(?!=)|-""", re.sub(r'\["[\w.]*"\]', "", old))
    if not plain or len(changed) != 1:
        return "unclear"
    at = changed[0]
    compared = re.search(r"([<>])=?\s*$", text[at])
    if not compared or not re.match(r"\s*(&&|\|\||$)", text[at + 1]):
        return "unclear"
    rises = float(others[at]) > float(numbers[at])
    return "looser" if rises == (compared[1] == ">") else "tighter"


def _approvals(old: Rule, new: Rule) -> Iterator[tuple[Direction, str]]:
    if set(old.approvers) != set(new.approvers):
        fewer = set(new.approvers) <= set(old.approvers)  # otherwise somebody may approve now who could not
        yield (
            "tighter" if fewer else "looser",
            f"approvers {', '.join(old.approvers) or 'nobody'} -> {', '.join(new.approvers) or 'nobody'}",
        )
    if old.quorum != new.quorum:
        yield "tighter" if new.quorum > old.quorum else "looser", f"quorum {old.quorum} -> {new.quorum}"
    if old.ttl_s != new.ttl_s:
        shorter = (new.ttl_s or _NEVER_TTL) < (old.ttl_s or _NEVER_TTL)
        said = [duration(seconds) if seconds else "none" for seconds in (old.ttl_s, new.ttl_s)]
        yield "tighter" if shorter else "looser", f"ttl {said[0]} -> {said[1]}"


def _plans(old: EvalPlan | None, new: EvalPlan | None) -> Iterator[Step]:
    before, after = old or EvalPlan(), new or EvalPlan()
    for field, up in (("min_resist", True), ("max_over_refusal", False), ("n", True)):
        was, now = getattr(before, field), getattr(after, field)
        if was != now:
            tighter = was is None or (now is not None and (now > was) == up)
            yield Step("eval", "tighter" if tighter else "looser", f"eval.{field} {_value(was)} -> {_value(now)}")


def _value(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"

"""Loosenings that change nothing: a rule of another clause still stops the same event, shown on that event.

An overlay may loosen one clause and forget the next, which forbids the same. That is said where the other rule stops every event that the
loosening frees, and where it stops one that the overlay's own words allow. Where the two only cross, each has its own reason, and the
strictest wins: no finding. A signature is not asked for, so that whoever is to sign reads this first.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from bylaw.policy.compile import ClauseRule
from bylaw.policy.explorer import Explorer, Spot, shown, spots_of
from bylaw.policy.joining import inherited
from bylaw.policy.strictest import ORDER
from bylaw.types import Event, Finding, Overlay, Policy, Rule

_FIX: Final = "Loosen that clause too, or narrow its rule; where it is to hold, take this case out of the overlay's."


class _Freed(NamedTuple):
    """The events that a loosening frees, those of them that another rule stops, and one of these that the overlay allows in words."""

    freed: int
    stopped: list[Event]
    allowed: Event | None
    all_tried: bool


def findings(explorer: Explorer, policy: Policy) -> Iterator[Finding]:
    """BL109 where a clause that an overlay names under `loosens` is loosened, and another rule still stops what that frees."""
    for overlay in policy.overlays:
        loosened = {one.clause for one in overlay.loosens}
        for clause in overlay.clauses:
            base = policy.clause(clause.id)
            if base is None or clause.id not in loosened:
                continue
            now = inherited(clause, base, replacing=True).enforce
            for name, other in _others(policy, overlay, clause.id):
                if found := next(filter(None, (_still(explorer, rule, now, other) for rule in base.enforce)), ""):
                    what = f"overlay {overlay.name} loosens this clause, but {name} still answers {other.effect} to {found}"
                    yield Finding("BL109", "warning", clause.place, what, _FIX, clause.id)


def _others(policy: Policy, overlay: Overlay, clause_id: str) -> Iterator[tuple[str, Rule]]:
    """The rules of all other clauses where the overlay holds, all that it loosens loosened."""
    loosened = {one.clause for one in overlay.loosens}
    stated = {clause.id: clause for clause in overlay.clauses}
    for base in policy.clauses:
        if base.id != clause_id:
            mine = stated.get(base.id)
            gives_way = mine is not None and base.id in loosened
            rules = inherited(mine, base, replacing=True).enforce if mine is not None and gives_way else base.enforce
            yield from ((ClauseRule(base.id, rule).name, rule) for rule in rules)
    for clause in overlay.clauses:
        if clause.id != clause_id and not (clause.id in loosened and policy.clause(clause.id)):
            yield from ((ClauseRule(clause.id, rule).name, rule) for rule in clause.enforce)


def _still(explorer: Explorer, rule: Rule, now: Sequence[Rule], other: Rule) -> str:
    """Which freed event another rule still stops, in words; empty where the loosening changes something."""
    if rule.effect == "allow" or ORDER.index(other.effect) < ORDER.index(rule.effect) or "false" in (rule.when, other.when):
        return ""
    if not _finds(other, rule):
        return ""
    shared = spots_of(explorer.policy, rule, other)
    tried = [_freed(explorer, spot, rule, now, other) for spot in shared]
    allowed = next((one.allowed for one in tried if one.allowed), None)
    if allowed:
        return shown(allowed, rule, other)
    freed, stopped = sum(one.freed for one in tried), [event for one in tried for event in one.stopped]
    everywhere = shared == spots_of(explorer.policy, rule, rule) and all(one.all_tried for one in tried)
    return (
        f"all {freed} events found that it frees, as {shown(stopped[0], rule, other)}" if everywhere and freed == len(stopped) > 0 else ""
    )


def _freed(explorer: Explorer, spot: Spot, rule: Rule, now: Sequence[Rule], other: Rule) -> _Freed:
    here = [one for one in now if spot.surface in one.on and (not one.tools or spot.tool in one.tools)]
    still = [one for one in here if ORDER.index(one.effect) >= ORDER.index(rule.effect) and _finds(one, rule)]
    allowing = [one for one in here if one.effect == "allow" and _finds(one, rule)]
    if any(one.when in ("true", rule.when) for one in still):
        return _Freed(0, [], None, True)
    conditions = [one.when for one in (rule, other, *still, *allowing)]
    at = explorer.domain(spot, conditions, conditions)
    freed, stopped, allowed = 0, list[Event](), None
    for choice in at.choices():
        made = explorer.event(spot, dict(zip(at.fields, choice, strict=True)))
        if explorer.true(made, rule) and not any(explorer.true(made, one) for one in still):
            freed += 1
            if explorer.true(made, other):
                stopped.append(made)
                allowed = allowed or (made if any(explorer.true(made, one) for one in allowing) else None)
    return _Freed(freed, stopped, allowed, at.whole or other.when in ("true", rule.when))


def _finds(one: Rule, rule: Rule) -> bool:
    """Whether the detectors of one rule certainly find something wherever those of the other do."""
    return not one.detect or bool(rule.detect and set(rule.detect) <= set(one.detect))

"""Lints about overlays: what they would loosen without the right to, and laws that contradict each other.

Every overlay is looked at alone, whatever the place and day; what holds where several apply at once is for `effective`.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from bylaw.policy.effective import BASE, contradictions, declares, losses, refusal, refusal_to_go_before
from bylaw.policy.joining import Voice
from bylaw.policy.reviews import Review
from bylaw.policy.tighter import LAYERS
from bylaw.types import Clause, Finding, Overlay, Place, Policy

_FIX: Final = "Keep to the stricter; or name it under `loosens` in overlay.yaml with `because`, and have it signed (`bylaw policy sign`)."


def findings(policy: Policy, reviews: Sequence[Review] = ()) -> Iterator[Finding]:
    """BL106 where an overlay loosens without the right to, BL107 where two laws contradict each other; whatever the place and day."""
    for overlay in policy.overlays:
        yield from _loosenings(policy, overlay, reviews)
    clauses = {clause.id: clause for overlay in policy.overlays for clause in overlay.clauses}
    for clause_id in sorted(clauses):
        base = policy.clause(clause_id)
        stating = [Voice(one.name, clause, one) for one in policy.overlays for clause in one.clauses if clause.id == clause_id]
        free = {one.source for one in stating if one.overlay and base and not refusal(policy, one.overlay, one.clause, clause_id, reviews)}
        voices = [*([Voice(BASE, base)] if base else []), *stating]
        for conflict in contradictions(clause_id, voices):
            if {conflict.one, conflict.other} <= {BASE, *free} and BASE in (conflict.one, conflict.other):
                continue  # the policy gives way to this overlay
            place = next(one.clause.place for one in stating if one.source in (conflict.one, conflict.other))
            what = f"{conflict.one} and {conflict.other} are both law and cannot both hold: {conflict.said}"
            fix = "Have the legal owner decide; what only permits is no law here: give it `layer: organisation`."
            yield Finding("BL107", "error", place, what, fix, clause_id)


def _loosenings(policy: Policy, overlay: Overlay, reviews: Sequence[Review]) -> Iterator[Finding]:
    place = Place(f"overlays/{overlay.name}/overlay.yaml", 1)
    for one in overlay.loosens:
        if not any(one.clause in (clause.id, *clause.overrides) for clause in overlay.clauses):
            what = f"loosens {one.clause!r}, of which this overlay says nothing"
            yield Finding("BL106", "error", place, what, "Write the clause, or take it out of `loosens`.", one.clause)
    here = _here(policy, overlay)
    for clause in overlay.clauses:
        base = policy.clause(clause.id)
        weaker = losses(clause, base) if base else []
        why = refusal(policy, overlay, clause, clause.id, reviews) if base and (weaker or declares(overlay, clause.id)) else ""
        if why:
            said = f": {'; '.join(weaker)}" if weaker else ""
            yield Finding("BL106", "error", clause.place, f"overlay {overlay.name} loosens this clause{said}; {why}", _FIX, clause.id)
        voice = Voice(overlay.name, clause, overlay)
        for other in clause.overrides:
            if other in here and (why := refusal_to_go_before(policy, voice, other, here, reviews)):
                yield Finding("BL106", "error", clause.place, f"goes before {other!r} in overlay {overlay.name}; {why}", _FIX, clause.id)


def _here(policy: Policy, overlay: Overlay) -> dict[str, Clause]:
    """By id the statement of the strongest layer, of the policy or this overlay; of a clause that only others have, one of theirs."""
    found = {clause.id: clause for one in policy.overlays for clause in one.clauses} | {clause.id: clause for clause in policy.clauses}
    for clause in overlay.clauses:
        base = policy.clause(clause.id)
        found[clause.id] = max(clause, base or clause, key=lambda one: LAYERS.index(one.layer))
    return found

"""Who holds each clause up as it stands now: the gate, the weights of a run, both, or nobody.

The gate holds a clause that has a rule or a required check. A model holds one that it was trained on and that has not changed since: its
text, rules, examples and words. That is trained on, not measured: what a model keeps of it `bylaw eval` says. Until it is trained again,
a clause that has changed is held by the gate alone, or by nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from bylaw.policy import stale
from bylaw.policy.stale import RunState
from bylaw.types import Clause, Policy

Held = Literal["both", "only the gate enforces", "model only", "neither"]
ORDER: Final[tuple[Held, ...]] = ("neither", "only the gate enforces", "model only", "both")


@dataclass(frozen=True, slots=True)
class Standing:
    """One run's models, clause by clause, under the policy as it stands now."""

    run: RunState
    held: tuple[tuple[str, Held], ...]  # of every clause, in the policy's order

    @property
    def must_retrain(self) -> bool:
        """Whether its models do not know the policy as it stands, or nobody can tell."""
        return self.run.state == "unreadable" or (self.run.state == "stale" and bool(self.run.models))


def standing(policy: Policy, states: Sequence[RunState]) -> list[Standing]:
    """Every run that has models; runs of another policy are left out."""
    return [_one(policy, state) for state in states if state.state != "unrelated" and (state.models or state.state == "unreadable")]


def held(clause: Clause, learnt: bool) -> Held:
    """Who holds one clause up."""
    if clause.enforce or clause.requires:
        return "both" if learnt else "only the gate enforces"
    return "model only" if learnt else "neither"


def _one(policy: Policy, state: RunState) -> Standing:
    learnt = set(state.learnt) if state.models else set()
    return Standing(state, tuple((clause.id, held(clause, clause.id in learnt)) for clause in policy.clauses))


def to_json(policy: Policy, found: Sequence[Standing], states: Sequence[RunState]) -> dict[str, Any]:
    """All of it as JSON values."""
    runs = [{**stale.to_json(one.run), "must_retrain": one.must_retrain, "held": dict(one.held)} for one in found]
    shown = {id(one.run) for one in found}
    return {"policy": policy.digest, "runs": runs, "other_runs": [stale.to_json(one) for one in states if id(one) not in shown]}


def printed(policy: Policy, found: Sequence[Standing], states: Sequence[RunState]) -> str:
    """All of it as text for people."""
    lines = [f"{policy.id} {policy.version}   {policy.digest}"]
    for one in found:
        lines += ["", stale.printed([one.run])]
        for who in ORDER:
            clauses = [clause for clause, by in one.held if by == who]
            lines += [f"  {who}: {', '.join(clauses)}"] if clauses else []
        if one.must_retrain:
            lines.append("  retrain: bylaw align deliberative --policy PATH")
    left = len(states) - len(found)
    return "\n".join([*lines, *(["", f"{left} other run{'s' * (left != 1)}: no model of this policy"] if left else [])])

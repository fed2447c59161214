"""What a client of the gateway is told: sentences for people that name the clause, and one object for machines."""

from typing import Any

from bylaw.govern.rails.ensemble import no_result
from bylaw.govern.wording import cited, completion, critique, refusal
from bylaw.types import Decision, Policy

__all__ = ["completion", "critique", "refusal", "told", "waiting"]


def told(decision: Decision, record: str = "", approval: str = "", retry_after_s: int = 0) -> dict[str, Any]:
    """The `bylaw` object: what was decided, by which clauses of which policy, and where that is recorded."""
    said: dict[str, Any] = {"decision": decision.effect, "clauses": list(decision.clauses), "policy": decision.policy, "record": record}
    if decision.undecided:
        said["undecided"] = True
    if decision.effect == "block" and no_result(decision):
        said["outcome"] = "no_result"
    if approval:
        said |= {"approval": approval, "retry_after": retry_after_s}
    return said


def waiting(decision: Decision, policy: Policy, approval: str) -> str:
    """What is said while people decide."""
    because = cited(decision, policy) or decision.reason
    return (
        f"This needs a person's approval first, under {because}. Nothing has been done yet. "
        f"The request is {approval}; once it is approved, send the same request again with the header x-bylaw-approval: {approval}"
    )

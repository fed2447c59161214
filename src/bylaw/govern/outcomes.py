"""How a guarded call can end without its result: blocked, or waiting for a person. Both carry the decision and name its clauses."""

from typing import Final

from bylaw.errors import BylawError
from bylaw.policy.strictest import ORDER
from bylaw.types import Decision

_RANKS: Final = {effect: rank for rank, effect in enumerate((*ORDER, "stop"))}


class Blocked(BylawError):  # noqa: N818  # a verdict, and read as one: `except Blocked`
    """The call was not run, or its result is withheld."""

    def __init__(self, decision: Decision, what: str, hint: str = "") -> None:
        super().__init__(what, hint or "The clauses say what is allowed: `bylaw policy show POLICY CLAUSE`.")
        self.decision = decision

    def __reduce__(self) -> tuple[type["Blocked"], tuple[Decision, str, str]]:  # type: ignore[override]  # it has one part more
        """It crosses process borders whole."""
        return type(self), (self.decision, self.what, self.hint)


class Pending(BylawError):  # noqa: N818  # the same
    """The call waits for people. Nothing was run; the same call, made again, finds their answer."""

    def __init__(self, decision: Decision, approval: str, what: str) -> None:
        super().__init__(what, f"Make the same call again once it is answered: `bylaw approvals show {approval}`.")
        self.decision = decision
        self.approval = approval

    def __reduce__(self) -> tuple[type["Pending"], tuple[Decision, str, str]]:  # type: ignore[override]  # it has two parts more
        """It crosses process borders whole."""
        return type(self), (self.decision, self.approval, self.what)


def named(decision: Decision) -> str:
    """The clauses that a decision rests on, as one says them."""
    return ", ".join(decision.clauses) or decision.reason or "the policy"


def both(left: Decision, right: Decision) -> Decision:
    """Two decisions on one event as one: the stricter effect with its reason, and everything that led to either."""
    stricter = right if _RANKS[right.effect] > _RANKS[left.effect] else left
    return Decision(
        stricter.effect,
        tuple(dict.fromkeys((*left.clauses, *right.clauses))),
        tuple(dict.fromkeys((*left.rules, *right.rules))),
        left.policy,
        tuple(dict.fromkeys((*left.undecided, *right.undecided))),
        stricter.reason,
        tuple(dict.fromkeys((*left.needs, *right.needs))) if stricter.effect == "require_approval" else (),
        left.hits or right.hits,
    )

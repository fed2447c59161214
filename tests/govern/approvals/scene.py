"""A small scene for approvals: a refund, who asks for it, who may approve it, a ledger that can break, and a clock that is set by hand."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from bylaw.errors import LedgerError
from bylaw.govern.approvals import Approvals
from bylaw.govern.quorum import Person
from bylaw.store.approval_rows import Approval
from bylaw.store.clock import Clock
from bylaw.store.database import Store
from bylaw.types import Decision, Need

POLICY: Final = "sha256:" + "a" * 64
NEXT_POLICY: Final = "sha256:" + "b" * 64
CALL: Final[Mapping[str, Any]] = {"tool": "payments.refund", "args": {"amount": 900, "to": "Zoë ☃"}}
OTHER_CALL: Final[Mapping[str, Any]] = {"tool": "payments.refund", "args": {"amount": 9000, "to": "Zoë ☃"}}
AGENT: Final[Mapping[str, Any]] = {"id": "agent", "roles": ["agent"], "tenant": "", "jurisdiction": "eu"}
OTHER_AGENT: Final[Mapping[str, Any]] = {**AGENT, "id": "other"}
LEAD: Final = Need("money.refund-limit", "over", ("support-lead",), 1, 600)
TWO: Final = replace(LEAD, quorum=2)
RISK: Final = Need("money.risk", "large", ("risk",), 1, 300)
ANN: Final = Person("ann", ("support-lead",))
BOB: Final = Person("bob", ("support-lead",))
RIA: Final = Person("ria", ("risk",))
BOTH: Final = Person("eve", ("risk", "support-lead"))
NOBODY: Final = Person("nobody", ("agent",))


def asking(*needs: Need, policy: str = POLICY, reason: str = "over the limit") -> Decision:
    """The engine wants a person."""
    return Decision("require_approval", ("money.refund-limit",), ("over",), policy, (), reason, needs or (LEAD,))


def allowing(policy: str = POLICY) -> Decision:
    return Decision("allow", (), (), policy)


class Ledger:
    """Keeps entries in memory, and can be broken."""

    def __init__(self) -> None:
        self.entries: list[Mapping[str, Any]] = []
        self.broken = False

    def __call__(self, entry: Mapping[str, Any]) -> None:
        if self.broken:
            raise LedgerError("no space left on the device")
        self.entries.append(entry)

    def steps(self) -> list[str]:
        return [entry["facts"]["step"] for entry in self.entries]

    def refusals(self) -> list[str]:
        return [entry["facts"]["why"] for entry in self.entries if entry["facts"]["step"] == "refused"]


class Scene:
    """Approvals over a store, with a clock that the test sets."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.ledger = Ledger()
        self.time_s = 1_000_000.0
        self.approvals = self.opened()

    def opened(self) -> Approvals:
        """As another process would open it."""
        return Approvals(self.store, self.ledger, Clock(lambda: self.time_s, lambda: self.time_s))

    def tick(self, seconds: float) -> None:
        self.time_s += seconds

    def asked(self, *needs: Need, call: Mapping[str, Any] = CALL, principal: Mapping[str, Any] = AGENT) -> Approval:
        found = self.approvals.request(call, principal, asking(*needs))
        if not isinstance(found, Approval):
            raise AssertionError(found)
        return found

    def approved(self, *needs: Need) -> Approval:
        found = self.approvals.decide(self.asked(*needs).id, ANN, True)
        if not isinstance(found, Approval) or found.state != "approved":
            raise AssertionError(found)
        return found

"""What the adapters' tests share: a policy with every outcome, a guard on a real store, and a tool that counts how often it ran."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bylaw.govern.approvals import Approvals
from bylaw.govern.guard import Acting, Guard
from bylaw.govern.quorum import Person
from bylaw.types import Rule
from tests.govern.policies import clause, policy
from tests.govern.test_guard import NUMBER, Book, Switch
from tests.store import blank

AGENT = {"id": "bot", "roles": [], "tenant": "t", "jurisdiction": ""}
LEAD = Person("lena", ("lead",), "t")
NAMES = {"refund": "payments.refund", "refund_dated": "payments.dated", "mail": "mail.send", "read": "web.read"}
LIMIT = Rule("limit", ("tool_call",), "require_approval", ("payments.refund",), "args.amount > 200.0", (), ("lead",), 1, 600)
MOST = Rule("most", ("tool_call",), "block", ("payments.refund",), 'args.amount + session.sums["payments.refund.amount"] > 900.0')
DATED = Rule("dated", ("tool_call",), "block", ("payments.dated",), 'args.when != "2026-11-21" || args.money.currency != "EUR"')
CARD = Rule("card", ("tool_call", "tool_result"), "redact", detect=("pii.card",))
TAINTED = Rule("tainted", ("tool_call",), "block", ("mail.send",), '"untrusted-text" in session.taint')
ORDERS = Rule("orders", ("tool_result",), "block", ("web.read",), detect=("injection",))
MONEY = {
    "type": "object",
    "properties": {"order": {"type": "integer"}, "amount": {"type": "number"}, "reason": {"type": "string"}},
    "additionalProperties": False,
}
ANY = {"type": "object", "additionalProperties": True}
POLICY = policy(
    clause("money.limit", LIMIT, norm="Refunds above 200 EUR need a support lead."),
    clause("money.most", MOST, norm="No more than 900 EUR are refunded in one conversation."),
    clause("money.dated", DATED, norm="Dated refunds are for today, in euros."),
    clause("privacy.card", CARD, norm="Card numbers stay inside."),
    clause("mail.clean", TAINTED, norm="After reading from outside nothing is mailed."),
    clause("web.orders", ORDERS, norm="Orders in what is read are not followed."),
    tools={"payments.refund": MONEY | {"x-trusted": True}, "payments.dated": ANY, "mail.send": ANY, "web.read": ANY},
)
__all__ = ["AGENT", "LEAD", "NAMES", "NUMBER", "POLICY", "Shop", "opened"]


class Shop:
    """A guard, and what ran under it."""

    def __init__(self, folder: Path) -> None:
        self.book, self.switch = Book(), Switch()
        self.store = blank.opened(folder / "store.sqlite")
        self.approvals = Approvals(self.store, self.book.append)
        self.guard = Guard(POLICY, approvals=self.approvals, ledger=self.book, stops=self.switch, acting=Acting(AGENT, "s"))
        self.ran: list[Any] = []

    def refund(self, order: int, amount: float, reason: str = "none given") -> str:
        self.ran.append((order, amount, reason))
        return f"refunded {amount} EUR ({reason})"

    def waiting(self) -> list[str]:
        return [one.id for one in self.approvals.find(("pending",))]

    def answer(self, yes: bool) -> None:
        for one in self.waiting():
            self.approvals.decide(one, LEAD, yes, "" if yes else "no receipt")

    def judged(self, tool: str) -> list[str]:
        """The arguments on record of a tool's calls, as they were judged."""
        return [
            one["contents"].get("args", "")
            for one in self.book.entries
            if one["kind"] == "decision" and one["surface"] == "tool_call" and one["tool"] == tool
        ]


@contextmanager
def opened(folder: Path) -> Iterator[Shop]:
    made = Shop(folder)
    try:
        yield made
    finally:
        made.approvals.close()
        made.store.close()

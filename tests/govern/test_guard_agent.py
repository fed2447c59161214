"""A realistic agent in the step loop, and the example of the page."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bylaw import Guard
from bylaw.govern.approvals import Approvals
from bylaw.govern.guard import Acting
from bylaw.govern.quorum import Person
from bylaw.govern.stepping import Act, Verdict
from bylaw.types import Rule
from tests.govern.policies import clause, policy
from tests.govern.test_guard import Book, Switch
from tests.store import blank

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guard.md").read_text("utf-8")
AGENT = {"id": "bot", "roles": [], "tenant": "t", "jurisdiction": ""}
LEAD = Person("lena", ("lead",), "t")
OVER = Rule("over", ("tool_call",), "require_approval", ("payments.refund",), "args.amount > 200.0", (), ("lead",), 1, 600)
CASH = Rule("cash", ("tool_call",), "block", ("payments.cash",))
NUMBERS = {"type": "object", "properties": {"order": {"type": "integer"}, "amount": {"type": "number"}}, "additionalProperties": False}
POLICY = policy(
    clause("money.limit", OVER, norm="Refunds above 200 EUR need a support lead."),
    clause("money.cash", CASH, norm="Nobody is paid in cash; offer a refund to the card."),
    tools=dict.fromkeys(("payments.refund", "payments.cash", "orders.read"), NUMBERS),
)


class Shop:
    """A guard with three tools, one of them a coroutine function."""

    def __init__(self, folder: Path) -> None:
        self.book, self.switch, self.ran = Book(), Switch(), list[str]()
        self.store = blank.opened(folder / "store.sqlite")
        self.approvals = Approvals(self.store, self.book.append)
        self.guard = Guard(POLICY, approvals=self.approvals, ledger=self.book, stops=self.switch, acting=Acting(AGENT, "s"))
        self.guard.tool(self.read, name="orders.read")
        self.guard.tool(self.cash, name="payments.cash")
        self.guard.tool(self.refund, name="payments.refund")

    async def read(self, order: int) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"order": order, "amount": 640.0}

    def cash(self, order: int, amount: float) -> str:
        self.ran.append("cash")
        return "paid"

    def refund(self, order: int, amount: float) -> str:
        self.ran.append("refund")
        return f"refunded {amount}"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.approvals.close()
    made.store.close()


def sensible(seen: Sequence[Verdict]) -> Act | None:
    """Reads the order, tries cash, is told why not, takes the card instead; waits where a person is asked."""
    if not seen:
        return Act("orders.read", {"order": 81})
    last = seen[-1]
    amount = seen[0].result["amount"]
    if last.act.tool == "orders.read":
        return Act("payments.cash", {"order": 81, "amount": amount})
    if last.next == "other_tool" and "offer a refund to the card" in last.said:
        return Act("payments.refund", {"order": 81, "amount": amount})
    return None


async def sensible_later(seen: Sequence[Verdict]) -> Act | None:
    await asyncio.sleep(0)
    return sensible(seen)


@pytest.mark.parametrize("later", [False, True])
def test_an_agent_is_told_the_clause_tries_another_tool_waits_and_finds_the_decision_later(shop: Shop, later: bool) -> None:
    verdicts = asyncio.run(shop.guard.steps(sensible_later)) if later else shop.guard.steps(sensible)
    told, waits = verdicts[1], verdicts[2]
    before = list(shop.ran)
    shop.approvals.decide(waits.approval, LEAD, True)
    retried = shop.guard.steps(lambda seen: waits.act if not seen else None)
    once_more = shop.guard.steps(lambda seen: waits.act if not seen else None)

    assert [one.next for one in verdicts] == ["continue", "other_tool", "ask_person"]
    assert told.decision is not None
    assert told.decision.clauses == ("money.cash",)
    assert "Nobody is paid in cash" in told.said
    assert before == []
    assert (retried[0].next, retried[0].result) == ("continue", "refunded 640.0")
    assert (once_more[0].next, shop.ran) == ("ask_person", ["refund"])


@pytest.mark.parametrize("later", [False, True])
def test_a_stop_ends_the_loop(shop: Shop, later: bool) -> None:
    def stubborn(seen: Sequence[Verdict]) -> Act:
        shop.switch.on = ("global: drill",) if len(seen) == 2 else ()
        return Act("payments.refund", {"order": 81, "amount": 1.0})

    async def stubborn_later(seen: Sequence[Verdict]) -> Act:
        return stubborn(seen)

    verdicts = asyncio.run(shop.guard.steps(stubborn_later)) if later else shop.guard.steps(stubborn)

    assert [one.next for one in verdicts] == ["continue", "continue", "stop"]
    assert "drill" in verdicts[-1].said
    assert shop.ran == ["refund"] * 2


def test_an_error_of_a_tool_tells_the_agent_no_more_than_its_name(shop: Shop) -> None:
    def breaks(order: int) -> str:
        raise ZeroDivisionError("the password is hunter2")

    shop.guard.tool(breaks, name="orders.read")
    (verdict,) = shop.guard.steps(lambda seen: Act("orders.read", {"order": 1}) if not seen else None)

    assert (verdict.next, verdict.said) == ("other_tool", "orders.read failed: ZeroDivisionError.")


@pytest.mark.slow
def test_the_example_of_the_page_runs_and_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = re.findall(r"```(?:python|text)\n(.*?)```", PAGE, re.DOTALL)[:2]
    (tmp_path / "policies").symlink_to(ROOT / "policies")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/guard.md", "exec"), names)  # the page is ours
    names["guard"].close()

    assert capsys.readouterr().out == printed
    assert len([line for line in code.splitlines() if line.strip()]) <= 20

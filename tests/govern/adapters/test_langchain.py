"""LangChain's own tools, governed: called as its agents call them, with tool calls of its fake chat model."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolCall, ToolMessage
from langchain_core.messages.tool import ToolOutputMixin
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, InjectedToolArg, InjectedToolCallId, StructuredTool, Tool, ToolException, tool
from pydantic import BaseModel, SecretStr

from bylaw import Blocked
from bylaw.errors import BylawError
from bylaw.govern.adapters.langchain import governed_tool, governed_tools
from tests.govern.adapters.shop import NAMES, NUMBER, Shop, opened


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with opened(tmp_path) as made:
        yield made


@pytest.fixture(params=["now", "later", "later only"])
def refund(request: pytest.FixtureRequest, shop: Shop) -> Any:
    """Calls a governed tool: synchronously, asynchronously, and one that is a coroutine function."""

    async def refund_later(order: int, amount: float, reason: str = "none given") -> str:
        return shop.refund(order, amount, reason)

    if request.param == "later only":
        made = StructuredTool.from_function(coroutine=refund_later, name="refund", description="Refund.")
    else:
        made = StructuredTool.from_function(shop.refund, name="refund", description="Refund.")
    (governed,) = governed_tools(shop.guard, [made], NAMES)

    def call(**args: Any) -> ToolMessage:
        asked = _asked("refund", args)
        done = governed.invoke(asked) if request.param == "now" else asyncio.run(governed.ainvoke(asked))
        assert isinstance(done, ToolMessage)
        return done

    return call


def _asked(name: str, args: dict[str, Any]) -> ToolCall:
    """The call as LangChain's fake chat model makes it."""
    calls = [{"name": name, "args": args, "id": "call-1", "type": "tool_call"}]
    return GenericFakeChatModel(messages=iter([AIMessage("", tool_calls=calls)])).invoke("go").tool_calls[0]


def test_an_allowed_call_runs_and_is_judged_with_the_defaults_it_runs_with(shop: Shop, refund: Any) -> None:
    said = refund(order="81", amount=40)

    assert (said.status, said.content) == ("success", "refunded 40.0 EUR (none given)")
    assert shop.ran == [(81, 40.0, "none given")]
    assert shop.judged("payments.refund") == ['{"amount": 40.0, "order": 81, "reason": "none given"}']


def test_a_call_that_needs_a_person_tells_the_request_and_runs_once_on_retry(shop: Shop, refund: Any) -> None:
    first = refund(order=81, amount=640.0)
    (request,) = shop.waiting()
    still, before = refund(order=81, amount=640.0), list(shop.ran)
    shop.answer(True)
    after = refund(order=81, amount=640.0)

    assert (first.status, still.status, before) == ("error", "error", [])
    assert request in first.content
    assert request in still.content
    assert "money.limit" in first.content
    assert (after.status, after.content) == ("success", "refunded 640.0 EUR (none given)")
    assert len(shop.ran) == 1


def test_a_call_that_a_person_declined_does_not_run_on_retry(shop: Shop, refund: Any) -> None:
    refund(order=81, amount=640.0)
    shop.answer(False)
    said = refund(order=81, amount=640.0)

    assert (said.status, shop.ran) == ("error", [])
    assert "money.limit" in said.content


def test_a_blocked_call_is_an_error_of_the_tool_that_names_the_clause(shop: Shop, refund: Any) -> None:
    said = refund(order=81, amount=5000.0)

    assert (said.status, shop.ran) == ("error", [])
    assert "No more than 900 EUR are refunded" in said.content


def test_other_arguments_than_those_approved_do_not_run(shop: Shop, refund: Any) -> None:
    refund(order=81, amount=300.0)
    shop.answer(True)
    said = refund(order=82, amount=300.0)

    assert (said.status, shop.ran) == ("error", [])
    assert "waits for a person" in said.content


def test_a_sum_split_over_calls_is_seen(shop: Shop, refund: Any) -> None:
    said = [refund(order=order, amount=199.0).status for order in range(6)]

    assert said == ["success"] * 4 + ["error"] * 2


@pytest.mark.parametrize("later", [False, True])
def test_a_sum_split_over_calls_at_once_is_seen(shop: Shop, later: bool) -> None:
    made = governed_tool(shop.guard, StructuredTool.from_function(shop.refund, name="refund", description="Refund."), "payments.refund")
    asked = [_asked("refund", {"order": order, "amount": 199.0}) for order in range(8)]

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(made.ainvoke(one) for one in asked))

    with ThreadPoolExecutor(4) as pool:
        said = asyncio.run(all_at_once()) if later else list(pool.map(made.invoke, asked))

    assert sorted(one.status for one in said) == ["error"] * 4 + ["success"] * 4
    assert sum(amount for _, amount, _ in shop.ran) == 796.0


def test_a_stop_is_raised(shop: Shop, refund: Any) -> None:
    shop.switch.on = ("global: drill",)
    with pytest.raises(Blocked, match="drill"):
        refund(order=81, amount=5.0)

    assert shop.ran == []


def test_card_numbers_are_cut_out_of_arguments_and_results(shop: Shop, refund: Any) -> None:
    said = refund(order=81, amount=5.0, reason=f"card {NUMBER}")

    assert shop.ran == [(81, 5.0, "card [redacted: pii.card]")]
    assert said.content == "refunded 5.0 EUR (card [redacted: pii.card])"


class Money(BaseModel):
    amount: float
    currency: str = "EUR"
    note: SecretStr | None = None


def test_values_of_other_types_are_judged_as_json_and_made_again_from_it(shop: Shop) -> None:
    @tool
    def refund_dated(when: date, money: Money) -> str:
        """Refund."""
        shop.ran.append((when, money))
        return "ok"

    (made,) = governed_tools(shop.guard, [refund_dated], NAMES)
    fine: dict[str, Any] = {"when": "2026-11-21", "money": {"amount": 4.0}}
    asked = [fine, fine | {"money": {"amount": 4.0, "currency": "XXX"}}, fine | {"money": {"amount": 4.0, "note": "hidden"}}]
    said = [made.invoke(_asked("refund_dated", one)).status for one in asked]

    assert said == ["success", "error", "error"]
    assert shop.ran == [(date(2026, 11, 21), Money(amount=4.0))]


def test_what_langchain_and_the_program_inject_is_passed_on_and_not_judged(shop: Shop) -> None:
    @tool
    def mail(to: str, state: Annotated[Any, InjectedToolArg], ref: Annotated[str, InjectedToolCallId], config: RunnableConfig) -> str:
        """Mail."""
        shop.ran.append((to, state, ref, config["configurable"]["user"]))
        return "ok"

    (once,) = governed_tools(shop.guard, [mail], NAMES, injected=["state"])
    (made,) = governed_tools(shop.guard, [once])  # what was vouched for stays
    state = object()
    asked = _asked("mail", {"to": "ann"})
    said = made.invoke({**asked, "args": {"to": "ann", "state": state}}, {"configurable": {"user": "u"}})

    assert said.status == "success"
    assert shop.ran == [("ann", state, "call-1", "u")]
    assert shop.judged("mail.send") == ['{"to": "ann"}']
    assert "state" not in made.args


def test_what_is_only_hidden_from_the_model_is_judged_where_nobody_vouches_for_it(shop: Shop) -> None:
    @tool
    def mail(to: str, footer: Annotated[Any, InjectedToolArg] = "") -> str:
        """Mail."""
        shop.ran.append((to, footer))
        return "ok"

    (made,) = governed_tools(shop.guard, [mail], NAMES)
    said = made.invoke(_asked("mail", {"to": "ann", "footer": "of the model"}))
    odd = made.invoke({**_asked("mail", {}), "args": {"to": "ann", "footer": object()}})

    assert (said.status, odd.status) == ("success", "error")
    assert shop.ran == [("ann", "of the model")]
    assert shop.judged("mail.send")[0] == '{"footer": "of the model", "to": "ann"}'


def test_a_calls_id_that_the_model_writes_is_not_the_one_the_tool_gets(shop: Shop) -> None:
    @tool
    def mail(to: str, ref: Annotated[str, InjectedToolCallId]) -> str:
        """Mail."""
        shop.ran.append((to, ref))
        return "ok"

    (made,) = governed_tools(shop.guard, [mail], NAMES)
    made.invoke(_asked("mail", {"to": "ann", "ref": "of the model"}))

    assert shop.ran == [("ann", "call-1")]


@pytest.mark.slow
def test_tools_keep_their_class_schema_and_ways(shop: Shop) -> None:
    class Own(BaseTool):
        name: str = "mail"
        description: str = "Mail."
        _sent: int = 0

        def _run(self, to: str) -> str:
            self._sent += 1
            return f"{self._sent} to {to}"

    plain, own = Tool("mail", lambda to: f"sent to {to}", "Mail."), Own()
    governed, mine = governed_tools(shop.guard, [plain, own], {"mail": "web.read"})
    said = [mine.invoke({"to": "ann"}), asyncio.run(mine.ainvoke({"to": "bob"}))]

    assert isinstance(governed, Tool)
    assert isinstance(mine, Own)
    assert (governed.name, governed.args, mine.args) == (plain.name, plain.args, own.args)
    assert governed.invoke("ann") == "sent to ann"
    assert said == ["1 to ann", "2 to bob"]
    assert shop.judged("web.read") == ['{"to": "ann"}', '{"to": "bob"}', '{"tool_input": "ann"}']


@pytest.mark.slow
def test_what_a_tool_returns_says_or_complains_is_judged(shop: Shop) -> None:
    @tool(response_format="content_and_artifact")
    def read(kind: str) -> tuple[Any, Any]:
        """Read."""
        if kind == "error":
            raise ToolException(f"not {NUMBER}")
        return (f"card {NUMBER}", {"kept": 1}) if kind == "text" else (Money(amount=1.0), None)

    read.handle_tool_error = True
    (made,) = governed_tools(shop.guard, [read], NAMES)
    said = [made.invoke(_asked("read", {"kind": kind})) for kind in ("text", "error", "object")]
    (mail,) = governed_tools(shop.guard, [Tool("mail", lambda to: "sent", "Mail.")], NAMES)

    assert [one.status for one in said] == ["success", "error", "success"]
    assert [one.content for one in said[:2]] == ["card [redacted: pii.card]", "not [redacted: pii.card]"]
    assert said[0].artifact == {"kept": 1}
    assert "EUR" in said[2].content
    assert "nothing is mailed" in mail.invoke("ann")


class Command(ToolOutputMixin):
    """As LangGraph's: words for the graph that nobody can read."""


@pytest.mark.slow
def test_a_message_of_a_tool_is_judged_and_a_command_that_cannot_be_read_is_withheld(shop: Shop) -> None:
    @tool
    def read(kind: str, ref: Annotated[str, InjectedToolCallId]) -> Any:
        """Read."""
        return ToolMessage(f"card {NUMBER}", tool_call_id=ref) if kind == "message" else Command()

    (made,) = governed_tools(shop.guard, [read], NAMES)
    message, command = (made.invoke(_asked("read", {"kind": kind})) for kind in ("message", "command"))

    assert message.content == "card [redacted: pii.card]"
    assert command.status == "error"
    assert "its result is withheld" in command.content


def test_an_error_of_the_tool_goes_its_own_way(shop: Shop) -> None:
    def refund(order: int, amount: float) -> str:
        raise ToolException("no such order") if order else ZeroDivisionError("no")

    made = governed_tool(shop.guard, StructuredTool.from_function(refund, name="refund", description="Refund."), "payments.refund")
    with pytest.raises(ToolException, match="no such order"):
        made.invoke({"order": 1, "amount": 1.0})
    with pytest.raises(ZeroDivisionError):
        made.invoke({"order": 0, "amount": 1.0})

    assert [one["facts"]["error"] for one in shop.book.entries if one["kind"] == "result"] == ["ToolException", "ZeroDivisionError"]


def test_a_guard_may_come_from_the_run_and_a_governed_tool_changes_its_guard(shop: Shop) -> None:
    def guard_of(config: RunnableConfig) -> Any:
        who = config["configurable"]["user"]
        return shop.guard.acting({"id": who, "roles": [], "tenant": "t"}, session=f"of {who}")

    (first,) = governed_tools(shop.guard, [StructuredTool.from_function(shop.refund, name="refund", description="Refund.")], NAMES)
    (made,) = governed_tools(guard_of, [first])
    for who in ("ann", "bob"):
        made.invoke(_asked("refund", {"order": 1, "amount": 199.0}), {"configurable": {"user": who}})
    seen = [(one["principal"], one["session"]) for one in shop.book.entries if one["kind"] == "decision" and one["surface"] == "tool_call"]

    assert seen == [("ann", "of ann"), ("bob", "of bob")]


def test_a_plain_function_is_no_tool_and_the_error_says_how_it_becomes_one(shop: Shop) -> None:
    function: Any = shop.refund
    for govern in (lambda: governed_tools(shop.guard, [function], NAMES), lambda: governed_tool(shop.guard, function)):
        with pytest.raises(BylawError, match="refund is no LangChain tool") as raised:
            govern()

        assert "@tool" in raised.value.hint


@pytest.mark.slow
def test_without_the_package_the_error_names_the_extra() -> None:
    code = "import sys; sys.modules['langchain_core'] = None\nimport bylaw.govern.adapters.langchain"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "BylawError: langchain-core is not installed" in done.stderr

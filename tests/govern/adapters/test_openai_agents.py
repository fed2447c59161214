"""Agents of the OpenAI Agents SDK with governed tools, and a model of its interface that answers from a script. No traces leave."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, FunctionTool, Model, ModelResponse, RunConfig, Runner, RunResult, Usage, WebSearchTool, function_tool
from agents.exceptions import UserError
from agents.mcp import MCPServer
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from pydantic import BaseModel, SecretStr, field_validator

from bylaw import Blocked
from bylaw.errors import BylawError
from bylaw.govern.adapters.openai_agents import Stopped, governed_agent, governed_tools
from mcp import types
from tests.figures import stands
from tests.govern.adapters.shop import NAMES, NUMBER, Shop, opened

Wish = tuple[str, Any]  # a tool and its arguments, as JSON or as they are written


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with opened(tmp_path) as made:
        yield made


class Scripted(Model):
    """A model that makes these calls, turn by turn, and then is done."""

    def __init__(self, turns: tuple[list[Wish], ...]) -> None:
        self.left, self.made = list(turns), 0

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        if not self.left:
            text = ResponseOutputText(text="done", type="output_text", annotations=[])
            said = ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")
            return ModelResponse(output=[said], usage=Usage(), response_id=None)
        self.made += 1
        calls: list[Any] = [
            ResponseFunctionToolCall(
                call_id=f"{self.made}-{at}", name=name, arguments=args if isinstance(args, str) else json.dumps(args), type="function_call"
            )
            for at, (name, args) in enumerate(self.left.pop(0))
        ]
        return ModelResponse(output=calls, usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        raise NotImplementedError


def run(agent: Agent[Any], *turns: list[Wish], context: Any = None) -> RunResult:
    agent.model = Scripted(turns)
    return asyncio.run(Runner.run(agent, "go", context=context, run_config=RunConfig(tracing_disabled=True)))


def told(agent: Agent[Any], *turns: list[Wish], context: Any = None) -> list[str]:
    """What the model reads after each of its calls."""
    items: list[Any] = list(run(agent, *turns, context=context).to_input_list())
    return [str(one["output"]) for one in items if one.get("type") == "function_call_output"]


def agent_of(shop: Shop) -> Agent[Any]:
    return Agent("shop", tools=governed_tools(shop.guard, [function_tool(shop.refund)], NAMES))


def test_an_allowed_call_runs_and_is_judged_with_the_defaults_it_runs_with(shop: Shop) -> None:
    said = told(agent_of(shop), [("refund", {"order": "81", "amount": 40})])

    assert said == ["refunded 40.0 EUR (none given)"]
    assert shop.ran == [(81, 40.0, "none given")]
    assert shop.judged("payments.refund") == ['{"amount": 40.0, "order": 81, "reason": "none given"}']


def test_a_call_that_needs_a_person_tells_the_request_and_runs_once_on_retry(shop: Shop) -> None:
    agent, call = agent_of(shop), [("refund", {"order": 81, "amount": 640.0})]
    (first,) = told(agent, call)
    (request,) = shop.waiting()
    (still,) = told(agent, call)
    before = list(shop.ran)
    shop.answer(True)
    after = told(agent, call)

    assert request in first
    assert request in still
    assert "money.limit" in first
    assert before == []
    assert after == ["refunded 640.0 EUR (none given)"]
    assert len(shop.ran) == 1


def test_a_call_that_a_person_declined_does_not_run_on_retry(shop: Shop) -> None:
    agent, call = agent_of(shop), [("refund", {"order": 81, "amount": 640.0})]
    told(agent, call)
    shop.answer(False)
    (said,) = told(agent, call)

    assert "was not run" in said
    assert "money.limit" in said
    assert shop.ran == []


def test_a_blocked_call_tells_the_model_the_clause_and_the_run_goes_on(shop: Shop) -> None:
    said = told(agent_of(shop), [("refund", {"order": 81, "amount": 5000.0})], [("refund", {"order": 81, "amount": 5.0})])

    assert "No more than 900 EUR are refunded" in said[0]
    assert [amount for _, amount, _ in shop.ran] == [5.0]


def test_other_arguments_than_those_approved_do_not_run(shop: Shop) -> None:
    agent = agent_of(shop)
    told(agent, [("refund", {"order": 81, "amount": 300.0})])
    shop.answer(True)
    (said,) = told(agent, [("refund", {"order": 82, "amount": 300.0})])

    assert "waits for a person" in said
    assert shop.ran == []


@pytest.mark.parametrize("at_once", [False, True])
def test_a_sum_split_over_calls_is_seen_one_after_another_and_at_once(shop: Shop, at_once: bool) -> None:
    calls: list[Wish] = [("refund", {"order": order, "amount": 199.0}) for order in range(8)]
    said = told(agent_of(shop), *([calls] if at_once else [[call] for call in calls]))

    assert sum(amount for _, amount, _ in shop.ran) == 796.0
    assert sorted("was not run" in one for one in said) == [False] * 4 + [True] * 4


def test_a_stop_ends_the_run(shop: Shop) -> None:
    shop.switch.on = ("global: drill",)
    with pytest.raises(Stopped, match="drill") as raised:
        told(agent_of(shop), [("refund", {"order": 81, "amount": 5.0})])

    assert isinstance(raised.value, Blocked)
    assert shop.ran == []


def test_card_numbers_are_cut_out_of_arguments_and_results(shop: Shop) -> None:
    said = told(agent_of(shop), [("refund", {"order": 81, "amount": 5.0, "reason": f"card {NUMBER}"})])

    assert shop.ran == [(81, 5.0, "card [redacted: pii.card]")]
    assert said == ["refunded 5.0 EUR (card [redacted: pii.card])"]


@pytest.mark.parametrize("written", ["", "[1]", "{", '{"order": "many", "amount": 1}', '{"order": 1}'])
def test_arguments_that_cannot_be_read_run_nothing(shop: Shop, written: str) -> None:
    (said,) = told(agent_of(shop), [("refund", written)])

    assert said.startswith("The arguments of refund cannot be read")
    assert shop.ran == []


class Money(BaseModel):
    amount: float
    currency: str = "EUR"
    note: SecretStr | None = None


def test_values_of_other_types_are_judged_as_json_and_made_again_from_it(shop: Shop) -> None:
    @function_tool(strict_mode=False)
    def refund_dated(when: date, money: Money) -> str:
        shop.ran.append((when, money))
        return "ok"

    fine: dict[str, Any] = {"when": "2026-11-21", "money": {"amount": 4.0}}
    said = told(
        Agent("shop", tools=governed_tools(shop.guard, [refund_dated], NAMES)),
        [("refund_dated", fine)],
        [("refund_dated", fine | {"money": {"amount": 4.0, "currency": "XXX"}})],
        [("refund_dated", fine | {"money": {"amount": 4.0, "note": "hidden"}})],
    )

    assert ["was not run" in one for one in said] == [False, True, True]
    assert shop.ran == [(date(2026, 11, 21), Money(amount=4.0))]


def test_arguments_that_read_differently_a_second_time_do_not_run(shop: Shop) -> None:
    class Doubled(BaseModel):
        amount: float

        @field_validator("amount")
        @classmethod
        def twice(cls, value: float) -> float:
            return value * 2

    @function_tool(strict_mode=False)
    def mail(money: Doubled) -> str:
        shop.ran.append(money)
        return "ok"

    (said,) = told(Agent("shop", tools=governed_tools(shop.guard, [mail], NAMES)), [("mail", {"money": {"amount": 1.0}})])

    assert "was not run" in said
    assert shop.ran == []


def test_a_tool_that_is_no_function_is_given_the_json_that_was_judged(shop: Shop) -> None:
    async def invoke(ctx: Any, given: str) -> str:
        shop.ran.append(given)
        return "ok"

    raw = FunctionTool("refund", "Refund.", {"type": "object", "properties": {}}, invoke, strict_json_schema=False)
    agent = Agent("shop", tools=governed_tools(shop.guard, [raw], NAMES))
    said = told(agent, [("refund", '{"amount": 5000.0, "amount": 4.0}')], [("refund", '{"amount": 4.0, "amount": 5000.0}')])

    assert said[0] == "ok"
    assert "was not run" in said[1]
    assert shop.ran == ['{"amount": 4.0}']


def test_what_a_tool_returns_or_complains_is_judged_and_taints(shop: Shop) -> None:
    @function_tool(failure_error_function=lambda ctx, error: str(error))
    def read(kind: str) -> Any:
        if kind == "error":
            raise ValueError(f"not {NUMBER}")
        return {"card": NUMBER} if kind == "json" else Money(amount=1.0, note=SecretStr("x"))

    @function_tool
    def mail(to: str) -> str:
        shop.ran.append(to)
        return "sent"

    agent = Agent("shop", tools=governed_tools(shop.guard, [read, mail], NAMES))
    said = told(agent, *[[("read", {"kind": kind})] for kind in ("json", "error", "object")], [("mail", {"to": "ann"})])

    assert not any(stands(4111, one) for one in said)
    assert "[redacted: pii.card]" in said[0]
    assert "[redacted: pii.card]" in said[1]
    assert "EUR" in said[2]
    assert "nothing is mailed" in said[3]
    assert shop.ran == []


def test_a_governed_agent_governs_tools_that_are_added_later_and_its_clones(shop: Shop) -> None:
    agent = governed_agent(shop.guard, Agent("shop"), NAMES)
    agent.tools.append(function_tool(shop.refund))
    said = [told(one, [("refund", {"order": 1, "amount": 5000.0})]) for one in (agent, agent.clone(name="other"))]

    assert all("900 EUR" in words for (words,) in said)
    assert shop.ran == []


class Server(MCPServer):
    """An MCP server in this process, with one tool."""

    def __init__(self, ran: list[Any]) -> None:
        super().__init__()
        self.ran = ran

    @property
    def name(self) -> str:
        return "local"

    async def connect(self) -> None: ...
    async def cleanup(self) -> None: ...

    async def list_tools(self, run_context: Any = None, agent: Any = None) -> list[Any]:
        return [types.Tool(name="refund", input_schema={"type": "object", "properties": {}})]

    async def call_tool(self, tool_name: str, arguments: Any, meta: Any = None) -> Any:
        self.ran.append(arguments)
        return types.CallToolResult(content=[types.TextContent(type="text", text=f"card {NUMBER}")])

    async def list_prompts(self) -> Any: ...
    async def get_prompt(self, name: str, arguments: Any = None) -> Any: ...


def test_a_governed_agent_governs_the_tools_of_its_mcp_servers(shop: Shop) -> None:
    agent = governed_agent(shop.guard, Agent("shop", mcp_servers=[Server(shop.ran)]), NAMES)
    said = told(agent, [("refund", {"amount": 5000.0})], [("refund", {"amount": 5.0})])

    assert "900 EUR" in said[0]
    assert "[redacted: pii.card]" in said[1]
    assert shop.ran == [{"amount": 5.0}]


def test_the_call_of_an_agent_as_a_tool_is_judged(shop: Shop) -> None:
    inner = Agent("inner", model=Scripted(()))
    agent = governed_agent(shop.guard, Agent("shop", tools=[inner.as_tool("mail", "Mail.")]), NAMES)
    fine = told(agent, [("mail", {"input": "hello"})])
    after = told(agent, [("mail", {"input": "again"})])

    assert fine == ["done"]
    assert "nothing is mailed" in after[0]  # what the first one said came from outside
    assert shop.judged("mail.send") == ['{"input": "hello"}', '{"input": "again"}']


@pytest.mark.parametrize(("told_as_result", "state"), [(True, "done"), (False, "failed")])
def test_how_the_approval_of_a_call_ends_that_raises(shop: Shop, told_as_result: bool, state: str) -> None:
    def refund(order: int, amount: float) -> str:
        raise ZeroDivisionError("no")

    made = function_tool(refund) if told_as_result else function_tool(failure_error_function=None)(refund)
    agent, call = Agent("shop", tools=governed_tools(shop.guard, [made], NAMES)), [("refund", {"order": 1, "amount": 300.0})]
    told(agent, call)
    (request,) = shop.waiting()
    shop.answer(True)
    with contextlib.nullcontext() if told_as_result else pytest.raises(UserError):
        told(agent, call)
    row = shop.approvals.get(request)

    assert row is not None
    assert row.state == state


def test_a_refusal_that_does_not_fit_a_tools_output_type_ends_the_run(shop: Shop) -> None:
    @function_tool(output_type=Money, strict_mode=False)
    def refund(order: int, amount: float) -> Any:
        return Money(amount=amount)

    agent = Agent("shop", tools=governed_tools(shop.guard, [refund], NAMES))
    (fine,) = told(agent, [("refund", {"order": 1, "amount": 3.0})])
    with pytest.raises(UserError, match="output"):
        told(agent, [("refund", {"order": 1, "amount": 5000.0})])

    assert '"amount":3.0' in fine


def test_a_tool_that_the_sdk_does_not_run_is_refused_unless_it_is_named(shop: Shop) -> None:
    search = WebSearchTool()
    with pytest.raises(BylawError, match="web_search is no function tool"):
        governed_tools(shop.guard, [search])
    with pytest.raises(BylawError, match="web_search is no function tool"):
        run(governed_agent(shop.guard, Agent("shop", tools=[search])))

    assert governed_tools(shop.guard, [search], ungoverned=["web_search"]) == [search]


def test_a_guard_may_come_from_the_run_and_a_governed_tool_changes_its_guard(shop: Shop) -> None:
    def guard_of(ctx: Any) -> Any:
        return shop.guard.acting({"id": ctx.context, "roles": [], "tenant": "t"}, session=f"of {ctx.context}")

    tools = governed_tools(guard_of, governed_tools(shop.guard, [function_tool(shop.refund)], NAMES))
    for who in ("ann", "bob"):
        told(Agent("shop", tools=tools), [("refund", {"order": 1, "amount": 199.0})], context=who)
    seen = [(one["principal"], one["session"]) for one in shop.book.entries if one["kind"] == "decision" and one["surface"] == "tool_call"]

    assert seen == [("ann", "of ann"), ("bob", "of bob")]


@pytest.mark.slow
def test_without_the_package_the_error_names_the_extra() -> None:
    code = "import sys; sys.modules['agents'] = None\nimport bylaw.govern.adapters.openai_agents"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "BylawError: openai-agents is not installed" in done.stderr

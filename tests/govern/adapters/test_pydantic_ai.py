"""pydantic-ai's own agents with governed tools: what the model reads, and what runs."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, SecretStr, field_validator
from pydantic_ai import Agent, ModelRetry, RunContext, ToolReturn
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelMessage, ModelResponse, RetryPromptPart, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.toolsets import AbstractToolset, FunctionToolset, WrapperToolset

from bylaw import Blocked
from bylaw.govern.adapters.pydantic_ai import Governed, governed_tools
from bylaw.types import Event
from tests.figures import stands
from tests.govern.adapters.shop import NAMES, NUMBER, Shop, opened

Wish = tuple[str, dict[str, Any]]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with opened(tmp_path) as made:
        yield made


def wanting(*turns: list[Wish]) -> FunctionModel:
    """A model that makes these calls, turn by turn, and then is done."""
    left = list(turns)

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[ToolCallPart(name, args) for name, args in left.pop(0)] if left else [TextPart("done")])

    return FunctionModel(answer)


def told(agent: Agent[Any, Any], *turns: list[Wish], deps: Any = None) -> list[tuple[str, str]]:
    """What the model reads after each of its calls: how it ended, and the words."""
    result = asyncio.run(agent.run("go", model=wanting(*turns), deps=deps))
    parts = [part for message in result.all_messages() for part in message.parts]
    return [
        (part.outcome, str(part.content)) if isinstance(part, ToolReturnPart) else ("retry", str(part.content))
        for part in parts
        if isinstance(part, ToolReturnPart | RetryPromptPart)
    ]


def agent_of(shop: Shop) -> Agent[Any, Any]:
    return Agent(toolsets=[governed_tools(shop.guard, [shop.refund], NAMES)])


def test_an_allowed_call_runs_and_is_judged_with_the_defaults_it_runs_with(shop: Shop) -> None:
    said = told(agent_of(shop), [("refund", {"order": 81, "amount": 40.0})])

    assert said == [("success", "refunded 40.0 EUR (none given)")]
    assert shop.ran == [(81, 40.0, "none given")]
    assert shop.judged("payments.refund") == ['{"amount": 40.0, "order": 81, "reason": "none given"}']


def test_a_call_that_needs_a_person_tells_the_request_and_runs_once_on_retry(shop: Shop) -> None:
    agent, call = agent_of(shop), [("refund", {"order": 81, "amount": 640.0})]
    first = told(agent, call)
    (request,) = shop.waiting()
    still = told(agent, call)
    before = list(shop.ran)
    shop.answer(True)
    after = told(agent, call)

    assert first[0][0] == still[0][0] == "failed"
    assert request in first[0][1]
    assert request in still[0][1]
    assert "money.limit" in first[0][1]
    assert before == []
    assert after == [("success", "refunded 640.0 EUR (none given)")]
    assert len(shop.ran) == 1


def test_a_call_that_a_person_declined_does_not_run_on_retry(shop: Shop) -> None:
    agent, call = agent_of(shop), [("refund", {"order": 81, "amount": 640.0})]
    told(agent, call)
    shop.answer(False)
    ((outcome, words),) = told(agent, call)

    assert (outcome, shop.ran) == ("failed", [])
    assert "money.limit" in words


def test_a_blocked_call_tells_the_model_the_clause_and_the_run_goes_on(shop: Shop) -> None:
    said = told(agent_of(shop), [("refund", {"order": 81, "amount": 5000.0})], [("refund", {"order": 81, "amount": 5.0})])

    assert [outcome for outcome, _ in said] == ["failed", "success"]
    assert "No more than 900 EUR are refunded" in said[0][1]
    assert [amount for _, amount, _ in shop.ran] == [5.0]


def test_other_arguments_than_those_approved_do_not_run(shop: Shop) -> None:
    agent = agent_of(shop)
    told(agent, [("refund", {"order": 81, "amount": 300.0})])
    shop.answer(True)
    ((outcome, words),) = told(agent, [("refund", {"order": 82, "amount": 300.0})])

    assert (outcome, shop.ran) == ("failed", [])
    assert "waits for a person" in words


@pytest.mark.parametrize("at_once", [False, True])
def test_a_sum_split_over_calls_is_seen_one_after_another_and_at_once(shop: Shop, at_once: bool) -> None:
    calls = [("refund", {"order": order, "amount": 199.0}) for order in range(8)]
    said = told(agent_of(shop), *([calls] if at_once else [[call] for call in calls]))

    assert sum(amount for _, amount, _ in shop.ran) == 796.0
    assert sorted(outcome for outcome, _ in said) == ["failed"] * 4 + ["success"] * 4


def test_a_stop_ends_the_run(shop: Shop) -> None:
    shop.switch.on = ("global: drill",)
    with pytest.raises(Blocked, match="drill") as raised:
        told(agent_of(shop), [("refund", {"order": 81, "amount": 5.0})])

    assert raised.value.decision.effect == "stop"
    assert shop.ran == []


def test_card_numbers_are_cut_out_of_arguments_and_results(shop: Shop) -> None:
    said = told(agent_of(shop), [("refund", {"order": 81, "amount": 5.0, "reason": f"card {NUMBER}"})])

    assert shop.ran == [(81, 5.0, "card [redacted: pii.card]")]
    assert said == [("success", "refunded 5.0 EUR (card [redacted: pii.card])")]


def test_what_a_tool_returns_says_or_complains_is_judged_and_taints(shop: Shop) -> None:
    def read(kind: Literal["return", "retry", "page"]) -> Any:
        if kind == "retry":
            raise ModelRetry(f"not {NUMBER}")
        return ToolReturn(f"card {NUMBER}", content=f"see {NUMBER}", metadata="kept") if kind == "return" else {"page": "a page"}

    def mail(to: str) -> str:
        shop.ran.append(to)
        return "sent"

    agent = Agent(toolsets=[governed_tools(shop.guard, [read, mail], NAMES)])
    said = told(agent, [("read", {"kind": "return"})], [("read", {"kind": "retry"})], [("mail", {"to": "ann"})])

    assert [outcome for outcome, _ in said] == ["success", "retried", "failed"]
    assert not any(stands(4111, words) for _, words in said)
    assert "nothing is mailed" in said[2][1]
    assert shop.ran == []


class Money(BaseModel):
    amount: float
    currency: str = "EUR"
    note: SecretStr | None = Field(default=None)


@pytest.mark.slow
def test_values_of_other_types_are_judged_as_json_and_made_again_from_it(shop: Shop) -> None:
    def refund_dated(when: date, money: Money) -> str:
        shop.ran.append((when, money))
        return "ok"

    agent = Agent(toolsets=[governed_tools(shop.guard, [refund_dated], NAMES)])
    fine = {"when": "2026-11-21", "money": {"amount": 4.0}}
    said = told(
        agent,
        [("refund_dated", fine)],
        [("refund_dated", fine | {"money": {"amount": 4.0, "currency": "XXX"}})],
        [("refund_dated", fine | {"money": {"amount": 4.0, "note": "hidden"}})],
    )

    assert [outcome for outcome, _ in said] == ["success", "failed", "failed"]
    assert shop.ran == [(date(2026, 11, 21), Money(amount=4.0))]


def test_arguments_that_read_differently_a_second_time_do_not_run(shop: Shop) -> None:
    class Doubled(BaseModel):
        amount: float

        @field_validator("amount")
        @classmethod
        def twice(cls, value: float) -> float:
            return value * 2

    def mail(money: Doubled, to: str) -> str:
        shop.ran.append(money)
        return "ok"

    ((outcome, _),) = told(Agent(toolsets=[governed_tools(shop.guard, [mail], NAMES)]), [("mail", {"money": {"amount": 1.0}, "to": "ann"})])

    assert (outcome, shop.ran) == ("failed", [])


def test_the_only_model_that_a_tool_takes_is_judged_as_the_model_knows_it(shop: Shop) -> None:
    class Refund(BaseModel):
        order: int
        amount: float

    def refund(wanted: Refund) -> str:
        shop.ran.append(wanted)
        return "ok"

    agent = Agent(toolsets=[governed_tools(shop.guard, [refund], NAMES)])
    said = told(agent, [("refund", {"order": 1, "amount": 4.0})], [("refund", {"order": 1, "amount": 4000.0})])

    assert [outcome for outcome, _ in said] == ["success", "failed"]
    assert shop.ran == [Refund(order=1, amount=4.0)]


def test_the_capability_governs_tools_that_are_added_later_and_for_one_run(shop: Shop) -> None:
    agent = Agent(capabilities=[Governed(shop.guard, NAMES)])

    @agent.tool_plain
    def refund(order: int, amount: float) -> str:
        return shop.refund(order, amount)

    first = told(agent, [("refund", {"order": 1, "amount": 5000.0})])

    def mail(to: str) -> str:
        shop.ran.append(to)
        return "sent"

    shop.guard.check(Event("document", text="a stranger's words"))
    result = asyncio.run(agent.run("go", model=wanting([("mail", {"to": "ann"})]), toolsets=[FunctionToolset([mail])]))

    assert "900 EUR" in first[0][1]
    assert "nothing is mailed" in str(result.all_messages())
    assert shop.ran == []


@dataclass
class Larger(WrapperToolset[Any]):
    """Somebody else's wrapper, which makes every amount a thousand times larger."""

    async def call_tool(self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: Any) -> Any:
        return await super().call_tool(name, tool_args | {"amount": tool_args["amount"] * 1000}, ctx, tool)


@dataclass
class Enlarging(AbstractCapability[Any]):
    def get_wrapper_toolset(self, toolset: AbstractToolset[Any]) -> AbstractToolset[Any]:
        return Larger(toolset)


@pytest.mark.parametrize("first", [False, True])
def test_what_another_capability_changes_in_a_call_is_judged_as_changed(shop: Shop, first: bool) -> None:
    both = [Governed(shop.guard, NAMES), Enlarging()]
    agent = Agent(capabilities=both if first else both[::-1], tools=[shop.refund])
    said = told(agent, [("refund", {"order": 1, "amount": 5.0})])

    assert said[0][0] == "failed"
    assert "900 EUR" in said[0][1]
    assert shop.ran == []


def test_a_guard_may_come_from_the_run(shop: Shop) -> None:
    def guard_of(ctx: RunContext[Any]) -> Any:
        return shop.guard.acting({"id": ctx.deps, "roles": [], "tenant": "t"}, session=f"of {ctx.deps}")

    agent = Agent(deps_type=str, toolsets=[governed_tools(guard_of, [shop.refund], NAMES)])
    for who in ("ann", "bob"):
        told(agent, *[[("refund", {"order": 1, "amount": 199.0})]] * 3, deps=who)
    seen = {(one["principal"], one["session"]) for one in shop.book.entries if one["kind"] == "decision"}

    assert len(shop.ran) == 6
    assert seen == {("ann", "of ann"), ("bob", "of bob")}


def test_pydantic_ais_own_test_model_calls_every_tool_through_the_guard(shop: Shop) -> None:
    result = asyncio.run(agent_of(shop).run("go", model=TestModel()))

    assert "refunded 0.0 EUR" in result.output
    assert len(shop.judged("payments.refund")) == 1


def test_an_error_of_the_tool_is_recorded_and_goes_on_to_the_caller(shop: Shop) -> None:
    def refund(order: int, amount: float) -> str:
        raise ZeroDivisionError("no")

    with pytest.raises(ZeroDivisionError):
        told(Agent(toolsets=[governed_tools(shop.guard, [refund], NAMES)]), [("refund", {"order": 1, "amount": 1.0})])

    assert [one["facts"]["error"] for one in shop.book.entries if one["kind"] == "result"] == ["ZeroDivisionError"]


@pytest.mark.slow
def test_without_the_package_the_error_names_the_extra() -> None:
    code = "import sys; sys.modules['pydantic_ai'] = None\nimport bylaw.govern.adapters.pydantic_ai"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "BylawError: pydantic-ai is not installed" in done.stderr

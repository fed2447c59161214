"""One call under a guard, whatever the framework."""

import asyncio
import enum
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from bylaw import Blocked, Pending
from bylaw.govern.adapters.calls import MAX_DEPTH, Seen, made, plain, run, run_later
from tests.govern.adapters.shop import NUMBER, Shop, opened


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with opened(tmp_path) as made:
        yield made


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Place:
    street: str
    at: tuple[float, float]


class Order(BaseModel):
    number: int
    shipped: datetime | None = None
    colour: Colour = Colour.RED
    tags: set[str] = Field(default_factory=set)


class Secretive(BaseModel):
    shown: int
    hidden: int = Field(default=0, exclude=True)


values: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.dates(),
    st.uuids(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.timedeltas(timedelta(0), timedelta(days=400)),
    st.builds(Order, number=st.integers(0, 9), shipped=st.none() | st.datetimes(timezones=st.just(UTC)), tags=st.sets(st.text(max_size=3))),
    st.builds(Place, street=st.text(max_size=5), at=st.tuples(st.floats(0, 9), st.floats(0, 9))),
)


@given(
    st.recursive(values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=6)
)
def test_a_value_made_again_from_its_json_is_the_same_value(value: Any) -> None:
    again = made(value, plain(value))

    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        Secretive(shown=1, hidden=2),
        object(),
        lambda: None,
        {1, object()},
        type("Own", (dict,), {})({"a": object()}),
        Order.model_construct(number="no number"),
    ],
)
def test_a_value_that_its_json_does_not_tell_stays_what_it_is(value: Any) -> None:
    assert plain(value) is value


def test_tuples_and_kinds_of_dicts_are_told_and_made_again() -> None:
    value = {"pair": (1, date(2026, 11, 21)), "ordered": OrderedDict(a=1), "id": UUID(int=1), "sum": Decimal("1.50")}
    told = plain(value)

    assert told == {"pair": [1, "2026-11-21"], "ordered": {"a": 1}, "id": str(UUID(int=1)), "sum": "1.50"}
    assert made(value, told) == value


def test_arguments_that_are_too_deep_are_blocked(shop: Shop) -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH + 10):
        deep = [deep]
    with pytest.raises(Blocked):
        run(shop.guard, "payments.refund", {"amount": deep}, Seen)


@pytest.mark.parametrize("args", [{1: "a"}, ["a"], "text", None])
def test_arguments_that_are_no_named_values_are_blocked(shop: Shop, args: Any) -> None:
    with pytest.raises(Blocked):
        run(shop.guard, "payments.refund", args, Seen)


def test_a_cut_that_the_type_does_not_take_is_blocked_and_recorded(shop: Shop) -> None:
    class Numbered(BaseModel):
        card: str = Field(pattern=r"^[0-9 ]+$")

    with pytest.raises(Blocked, match="cannot be given to the tool unchanged"):
        run(shop.guard, "mail.send", {"to": Numbered(card=NUMBER)}, Seen)

    assert [one["decision"] for one in shop.book.entries if one["kind"] == "decision"][-1] == "block"


def test_a_tool_cannot_change_what_was_judged_by_what_it_keeps(shop: Shop) -> None:
    kept = {"order": 1, "amount": 1.0}

    def run_it(judged: Any) -> Seen:
        kept["amount"] = 9999.0
        shop.ran.append(judged["amount"])
        return Seen("ok")

    run(shop.guard, "payments.refund", kept, run_it)

    assert shop.ran == [1.0]


def test_a_call_that_is_cancelled_while_it_is_judged_leaves_no_approval_open(shop: Shop) -> None:
    args = {"order": 81, "amount": 300.0}

    async def run_it(judged: Any) -> Seen:
        shop.ran.append(judged)
        return Seen("ok")

    async def cancelled() -> None:
        task = asyncio.create_task(run_later(shop.guard, "payments.refund", args, run_it))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(Pending):
        asyncio.run(run_later(shop.guard, "payments.refund", args, run_it))
    (request,) = shop.waiting()
    shop.answer(True)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    row = shop.approvals.get(request)

    assert row is not None
    assert row.state == "failed"
    assert shop.ran == []


def test_a_guarded_coroutine_that_is_cancelled_while_it_is_judged_leaves_no_approval_open(shop: Shop) -> None:
    async def pays(order: int, amount: float) -> str:
        shop.ran.append(amount)
        return "ok"

    tool = shop.guard.tool(pays, name="payments.refund")

    async def cancelled() -> None:
        task = asyncio.create_task(tool(81, 300.0))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(Pending):
        asyncio.run(tool(81, 300.0))
    (request,) = shop.waiting()
    shop.answer(True)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    row = shop.approvals.get(request)

    assert row is not None
    assert row.state == "failed"
    assert shop.ran == []

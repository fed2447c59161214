"""Requests, replies and streams with something in them changed at random: taken apart or refused, never anything else."""

import copy
import random
from pathlib import Path
from typing import Any

import orjson
import pytest

from bylaw.govern.streaming import HoldBack
from bylaw.serve.route import Finished, Route
from bylaw.serve.routes import ROUTES
from bylaw.serve.sse import Sent
from bylaw.serve.wire import Asked, BadBody, Text, get, load
from bylaw.types import Decision

HERE = Path(__file__).parent
SAMPLES = {name: orjson.loads((HERE / f"samples_{name}.json").read_bytes()) for name in ("asked", "said", "events")}
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 3, 1.5, "", "x", [], ["x"], [1], {}, [[]], [{}], [None]),
    *({"type": "text"}, {"type": "message"}, {"a": [{"b": "c"}]}),
)
STREAMED = Asked({}, "m", True, ())
ROUNDS = 400


class Gates:
    """A stream in which a filter stands, and nothing is found."""

    naming = None

    def text(self) -> HoldBack | None:
        return HoldBack(lambda text: (), lambda text, hits: Decision("allow", (), (), ""), 3)

    def thinking(self, text: Text) -> Decision:
        return Decision("allow", (), (), "")


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


def damaged(value: Any, rng: random.Random) -> Any:
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 3))):
        path = rng.choice(places(value)[1:] or [()])
        if not path:
            break
        at = get(value, path[:-1])
        if rng.random() < 0.3 and isinstance(at, dict):
            del at[path[-1]]
        else:
            at[path[-1]] = copy.deepcopy(rng.choice(ODD))
    return value


ALL_ROUTES = pytest.mark.parametrize("route", ROUTES.values(), ids=list(ROUTES))


@ALL_ROUTES
def test_a_damaged_request_is_taken_apart_or_refused(route: Route) -> None:
    rng, refused = random.Random(1), 0
    for _ in range(ROUNDS):
        try:
            asked = route.shape.asked(load(orjson.dumps(damaged(SAMPLES["asked"][route.path], rng))))
            route.shape.whole(route.shape.again(asked.body, "said", "critique"))
        except BadBody:
            refused += 1

    assert 0 < refused < ROUNDS


@ALL_ROUTES
def test_a_damaged_reply_is_taken_apart_or_refused(route: Route) -> None:
    rng, refused = random.Random(2), 0
    for _ in range(ROUNDS):
        try:
            said = route.shape.said(load(orjson.dumps(damaged(SAMPLES["said"][route.path], rng))))
            for choice in said.choices:
                route.shape.without_tokens(said.body, choice)
                route.shape.solo(said.body, choice)
            route.shape.without_thinking(said.body)
            route.as_stream(said.body, STREAMED)
            for choice in said.choices:
                route.shape.speak(said.body, choice, "ours")
        except BadBody:
            refused += 1

    assert 0 < refused < ROUNDS


@pytest.mark.slow
@ALL_ROUTES
def test_a_damaged_stream_goes_on_or_ends(route: Route) -> None:
    rng, refused = random.Random(3), 0
    for _ in range(ROUNDS):
        stream = route.stream(STREAMED, Gates())
        try:
            for event in damaged(SAMPLES["events"][route.path], rng):
                for step in stream.feed(Sent("", orjson.dumps(event))):
                    if isinstance(step, Finished):
                        stream.reply(step)
                        stream.release(step)
            stream.finish()
        except BadBody:
            refused += 1

    assert 0 < refused < ROUNDS

"""Whatever a client or an upstream sends, it is taken apart or refused; nothing else happens, and no text hides in it."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.govern.marks import strings
from bylaw.govern.streaming import HoldBack
from bylaw.govern.thinking import Parting, parted
from bylaw.serve import sse
from bylaw.serve.law import blocked
from bylaw.serve.route import Route
from bylaw.serve.routes import ROUTES
from bylaw.serve.wire import MAX_DEPTH, MAX_NESTED, Asked, BadBody, Text, arguments, dump, get, load, put
from bylaw.types import Decision
from tests.growth import LINEAR, growth

SAMPLES = [orjson.loads((Path(__file__).parent / f"samples_{name}.json").read_bytes()) for name in ("asked", "said", "events")]


def keys(value: Any) -> set[str]:
    """Every key in a value, at any depth."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return {*(value if isinstance(value, dict) else ()), *(key for one in inner for key in keys(one))}


KEYS = st.sampled_from(sorted(keys(SAMPLES)))
WORDS = st.sampled_from(sorted({*strings(SAMPLES), "<think>", "</think>", "{}", "[DONE]", "developer", "custom", "error"}))
NUMBERS = st.one_of(st.integers(-3, 200), st.floats(allow_nan=False, allow_infinity=False))
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, st.text(max_size=6))
VALUES = st.recursive(LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=5)), max_leaves=14)
SIZES = st.lists(st.integers(1, 30), min_size=1)
BODIES = st.dictionaries(KEYS, VALUES, max_size=8)


class Gates:
    """A stream in which nothing is searched, and all thinking may pass."""

    naming = None

    def text(self) -> HoldBack | None:
        return HoldBack(lambda text: (), lambda text, hits: Decision("allow", (), (), ""), 3)

    def thinking(self, text: Text) -> Decision:
        return Decision("allow", (), (), "")


ALL_ROUTES = pytest.mark.parametrize("route", ROUTES.values(), ids=list(ROUTES))


@pytest.mark.slow
@ALL_ROUTES
@settings(max_examples=60, deadline=None)
@given(events=st.lists(BODIES, max_size=8))
def test_any_events_of_a_stream_are_taken_or_end_it(route: Route, events: list[dict[str, Any]]) -> None:
    stream = route.stream(Asked({}, "m", True, ()), Gates())
    out = []
    try:
        for event in events:
            out += list(stream.feed(sse.Sent("", orjson.dumps(event))))
        out += list(stream.finish())
        out.append(stream.close())
    except BadBody as refused:
        out.append(stream.fail(refused.what))

    assert out


@pytest.mark.slow
@ALL_ROUTES
@settings(max_examples=80, deadline=None)
@given(body=BODIES)
def test_no_text_of_a_request_hides(route: Route, body: dict[str, Any]) -> None:
    """Every string in what the model reads is in some text that is judged, whatever it is wrapped in."""
    wrapped = {"type": "strange", "deep": [body, {"x": "FIND-ME"}]}
    message = {"role": "user", "content": [wrapped]}
    asked = route.shape.asked({"model": "m", "messages": [message], "input": [message], "max_tokens": 1})
    said = " ".join(text.text for text in asked.texts)

    assert "FIND-ME" in said
    assert all(one in said for one in strings(body))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(WORDS, st.sampled_from(["", "delta"])), max_size=6),
    st.lists(st.integers(1, 30), min_size=1),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_events_arrive_whole_however_the_bytes_are_cut(events: list[tuple[str, str]], sizes: list[int], end: str) -> None:
    body = "".join(f": ping{end}{f'event: {name}{end}' if name else ''}data: {content}{end}{end}" for content, name in events).encode()
    reader, found, at = sse.Reader(), [], 0
    for turn in range(len(body)):
        piece = body[at : at + sizes[turn % len(sizes)]]
        at += len(piece)
        found += reader.feed(piece)
    found += reader.finish()

    assert [(one.content.decode(), one.name) for one in found] == events


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["<think>", "</think>", "<th", "ink>", " ", "\n", "a", "b</", "think>"]), max_size=10), st.integers(1, 5))
def test_thinking_in_pieces_is_parted_as_in_the_whole(words: list[str], size: int) -> None:
    text, parting = "".join(words), Parting()
    answer = "".join(parting.feed(text[at : at + size]) for at in range(0, len(text), size)) + parting.finish()

    assert (parting.thinking, answer) == parted(text)


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', '{"a":NaN}', '{"a":Infinity}', "[]", "1", "{", '{"a":' * 2000 + "1" + "}" * 2000])
def test_arguments_that_could_be_read_in_two_ways_are_not_read(text: str) -> None:
    assert arguments(text) is None


def test_a_body_may_not_be_deep_but_may_hold_half_a_surrogate_pair() -> None:
    fine = load(b'{"a":"\\ud83d"}')
    with pytest.raises(BadBody):
        load(b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1))

    assert (fine, dump(fine)) == ({"a": "\ud83d"}, b'{"a":"\\ud83d"}')


@pytest.mark.slow
@pytest.mark.parametrize("filler", [b"[]", b"{}", b"[[[[]]]]"])
def test_a_body_may_not_hold_more_than_anybody_looks_through(filler: bytes) -> None:
    fits = load(b'{"a":[' + b",".join([filler] * (MAX_NESTED // 5)) + b"]}")
    with pytest.raises(BadBody, match="maps and lists"):
        load(b'{"a":[' + b",".join([filler] * (MAX_NESTED + 1)) + b"]}")

    assert len(fits["a"]) == MAX_NESTED // 5


@pytest.mark.slow
@pytest.mark.parametrize("piece", [b"x" * 50, b"data: x\n" * 6, b"data: x\r" * 6, b"data: x\r\n" * 5])
def test_an_event_that_does_not_end_costs_as_much_as_it_is_long(piece: bytes) -> None:
    def fed(pieces: int) -> None:
        reader = sse.Reader()
        for _ in range(pieces):
            reader.feed(piece)

    assert growth(fed, 8_000) < LINEAR


def test_blanks_before_an_answer_cost_as_much_as_they_are_long() -> None:
    def fed(pieces: int) -> None:
        parting = Parting()
        for _ in range(pieces):
            parting.feed("\n" * 20)

    assert growth(fed, 8_000) < LINEAR


def test_a_text_is_changed_where_it_stands() -> None:
    body: dict[str, Any] = {"a": [{"b": "old"}]}
    put(body, ("a", 0, "b"), "new")

    assert get(body, ("a", 0, "b")) == "new"


def test_what_could_not_be_judged_at_all_is_blocked_and_undecided() -> None:
    class Nothing:
        digest = "sha256:0"

    decision = blocked(Nothing(), "odd")  # type: ignore[arg-type]  # only the digest is asked for

    assert (decision.effect, bool(decision.undecided)) == ("block", True)

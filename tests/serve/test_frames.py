"""Events that differ in one text only: what a frame reads of an event is what a reader of the whole event reads."""

import json
import re
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.govern.streaming import HoldBack
from bylaw.serve.chat_stream import PROOF, ChatStream
from bylaw.serve.frames import Frame, learnt, made
from bylaw.serve.route import Halt, Step
from bylaw.serve.sse import Sent
from bylaw.serve.wire import Asked, Text, dump, load
from bylaw.types import Decision, Hit

TEXTS = st.text(max_size=6) | st.sampled_from(["content", '"', ":", "\\", '{"content":"x"}', PROOF, "é", "\U0001f44b", "\ud83d", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS, lambda one: st.lists(one, max_size=2) | st.dictionaries(TEXTS, one, max_size=2)
)
DIGITS = re.compile(r"[0-9]{3}")


@settings(deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=3), st.dictionaries(TEXTS, VALUES, max_size=2), TEXTS, st.booleans(), st.data())
def test_what_a_frame_reads_is_what_a_reader_of_the_whole_event_reads(
    around: dict[str, Any], after: dict[str, Any], text: str, spaced: bool, data: st.DataObject
) -> None:
    event = {**around, "delta": {"content": text}, **after}
    content = json.dumps(event, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "replace") if spaced else dump(event)
    event = load(content)
    holder = event.get("delta")
    frame = learnt(content, event, holder, "content") if isinstance(holder, dict) and "content" in holder else None
    inside = data.draw(TEXTS.map(dump) | VALUES.map(dump) | st.binary(max_size=6) | st.just(b'x","role":"y'))

    if frame is not None and (read := frame.text(frame.before + inside + frame.after)) is not None:
        assert load(frame.before + inside + frame.after) == {**event, "delta": {"content": read}}


def test_an_event_of_any_server_is_learnt_and_read_again() -> None:
    for separators in ((",", ":"), (", ", ": ")):
        event = {"id": "c1", "choices": [{"index": 0, "delta": {"content": " a"}, "finish_reason": None}]}
        content = json.dumps(event, separators=separators).encode()
        frame = learnt(content, event, event["choices"][0]["delta"], "content")  # type: ignore[index]  # a list of one map

        assert frame is not None
        assert frame.text(content.replace(b'" a"', b'"\\u00e9\\""')) == 'é"'
        assert frame.text(content.replace(b'" a"', b'"\\ud83d"')) is None  # half a character is for a reader of the whole
        assert frame.text(content.replace(b'" a"', b"7")) is None
        assert frame.text(content.replace(b"null", b'"stop"')) is None
        assert event["choices"][0]["delta"] == {"content": " a"}  # type: ignore[index]  # a list of one map


def test_no_frame_is_learnt_around_another_text_than_the_one_that_was_read() -> None:
    twice, quoted = b'{"delta":{"content":"a"},"beside":{"content":"a"}}', b'{"delta":{"content":"a"},"beside":"\\"content\\":\\"a\\""}'
    first, second = load(twice), load(quoted)
    frame = learnt(quoted, second, second["delta"], "content")

    assert learnt(twice, first, first["delta"], "content") is None
    assert frame is not None
    assert frame.text(quoted.replace(b'"a"', b'"b"', 1)) == "b"


def test_no_text_of_an_event_passes_for_the_proof_of_its_frame() -> None:
    spelled = dump(PROOF)
    beside = b'{"delta":{"content":%b},"beside":{"content":%b}}' % (spelled, spelled)
    named = b'{"bylaw\\u0001":{"content":"delta"},"delta":{"content":%b},"x":"content","delta":{"conten\\u0074":"delta"}}' % spelled

    for content in (beside, named):
        event = load(content)

        assert learnt(content, event, event["delta"], "content") is None


def test_a_frame_shorter_than_its_two_halves_fits_nothing() -> None:
    assert Frame(b'{"a":', b'":1}').text(b'{"a":1}') is None
    assert made(b'{"a":"x","b":"x"}', "x") is None


class Gates:
    """A stream in which three digits are cut out; or nothing is searched."""

    naming = None

    def __init__(self, searched: bool) -> None:
        self.searched = searched

    def text(self) -> HoldBack | None:
        return HoldBack(look, weigh, 3) if self.searched else None

    def thinking(self, text: Text) -> Decision:
        return Decision("block" if "bad" in text.text else "allow", (), (), "")


def look(text: str) -> Sequence[Hit]:
    return [Hit("digits", one.start(), one.end()) for one in DIGITS.finditer(text)]


def weigh(text: str, hits: Sequence[Hit]) -> Decision:
    return Decision("block" if "999" in (text[hit.start : hit.end] for hit in hits) else "redact", (), (), "", (), "", (), tuple(hits))


DELTAS = st.fixed_dictionaries({"content": st.sampled_from(["a", " b", "1", "12", "345", "99", "<think>", "bad", "</think>", "é", ""])})
OTHERS = st.sampled_from(
    [{}, {"role": "assistant", "content": ""}, {"reasoning_content": "bad"}, {"content": None}, {"content": "z", "refusal": "no"}]
)


@st.composite
def chunks(draw: st.DrawFn) -> dict[str, Any]:
    choice = {
        "index": draw(st.sampled_from([0, 0, 0, 0, 1])),
        "delta": draw(DELTAS | DELTAS | DELTAS | OTHERS | st.none()),
        "logprobs": draw(st.sampled_from([None, None, None, {}, {"content": []}])),
        "finish_reason": draw(st.sampled_from([None] * 12 + ["stop"])),
    }
    usage = draw(st.sampled_from([{}, {}, {}, {}, {"usage": {"total_tokens": 3}}]))
    times = draw(st.sampled_from([1, 1, 1, 1, 2]))
    return {"id": draw(st.sampled_from(["c1", "c1", "c1", "c2", PROOF])), "choices": [choice] * times, **usage}


def through(events: list[bytes], searched: bool) -> list[Step]:
    stream = ChatStream(Asked({}, "m", True, ()), Gates(searched))
    out: list[Step] = []
    for event in events:
        for step in stream.feed(Sent("", event)):
            out += [step, stream.replace(step.choice, "no")] if isinstance(step, Halt) else [step]
    return out


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(st.lists(chunks(), min_size=3, max_size=12), st.booleans())
def test_a_stream_says_the_same_whether_its_events_are_alike_or_each_is_spelled_in_its_own_way(said: list[Any], searched: bool) -> None:
    twice = [one for one in said for _ in range(2)]
    alike = [orjson.dumps(one) for one in twice]
    apart = [orjson.dumps({**one, "obfuscation": "x" * at}) for at, one in enumerate(twice)]

    assert through(alike, searched) == through(apart, searched)

"""OpenAI's own client against the gateway: chat completions that stream, cut in every way."""

import itertools
import random
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import openai
import orjson
import pytest

from bylaw.govern.quorum import Person
from tests.figures import stands
from tests.serve.rig import Rig, post, rigged
from tests.serve.test_serving import until


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path) as one:
        yield one


def client(rig: Rig) -> openai.OpenAI:
    made: openai.OpenAI = rig.client("openai", lambda: openai.OpenAI(base_url=f"{rig.url}/v1", api_key="unused", max_retries=0))
    return made


def chunk(index: int = 0, finish: str | None = None, **delta: Any) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return (
        b"data: " + orjson.dumps({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}) + b"\n\n"
    )


def spoken(*pieces: str, calls: Any = None, finish: str = "stop") -> list[bytes]:
    out = [chunk(role="assistant", content="")] + [chunk(content=piece) for piece in pieces]
    out += [chunk(tool_calls=[one]) for one in calls or ()]
    return [*out, chunk(finish=finish), b"data: [DONE]\n\n"]


def call(at: int, name: str = "", arguments: str = "", call_id: str = "") -> dict[str, Any]:
    first = {"id": call_id, "type": "function"} if call_id else {}
    return {"index": at, **first, "function": {**({"name": name} if name else {}), "arguments": arguments}}


def heard(rig: Rig, **more: Any) -> tuple[dict[int, str], dict[int, Any], dict[int, str], list[Any]]:
    texts: dict[int, str] = {}
    calls: dict[int, Any] = {}
    ends: dict[int, str] = {}
    told = []
    messages: Any = [{"role": "user", "content": "Hello"}]
    for one in client(rig).chat.completions.create(model="m", messages=messages, stream=True, **more):
        told += [one.model_extra["bylaw"]] if one.model_extra and "bylaw" in one.model_extra else []
        for choice in one.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
            for part in choice.delta.tool_calls or ():
                calls.setdefault(choice.index, []).append((part.function.name, part.function.arguments) if part.function else None)
            if choice.finish_reason:
                ends[choice.index] = choice.finish_reason
    return texts, calls, ends, told


def test_text_arrives_unchanged_and_in_pieces(rig: Rig) -> None:
    pieces = ["Grüße, ", "世", "界 ", "👋\u200d", " and a good deal more text, so that some of it ", "leaves before the end."]
    rig.speaker.replies.append(spoken(*pieces))
    texts, _, ends, told = heard(rig)

    assert (texts, ends, told) == ({0: "".join(pieces)}, {0: "stop"}, [])
    assert rig.book.kinds() == [("decision", "input", "allow"), ("decision", "output", "allow")]


def test_a_card_cut_into_pieces_is_redacted(rig: Rig) -> None:
    rig.speaker.replies.append(spoken(*"Your card 4111 1111 1111 1111 is fine, and so is the rest of this sentence."))
    texts, _, _, told = heard(rig)

    assert texts[0] == "Your card [redacted: pii.card] is fine, and so is the rest of this sentence."
    assert told == []


def test_a_key_ends_the_stream_with_a_refusal_that_names_the_clause(rig: Rig) -> None:
    rig.speaker.replies.append(spoken("The key ", "is sk-", "abcd", "1234", " and more, and more, and more, and more."))
    texts, _, ends, told = heard(rig)

    assert texts[0].startswith("The key is \n\n")
    assert "sk-" not in texts[0]
    assert "security.keys" in texts[0]
    assert (ends, told[0]["decision"], told[0]["clauses"]) == ({0: "content_filter"}, "block", ["security.keys"])


def test_halves_of_a_surrogate_pair_in_two_deltas_arrive_as_one_code_point(rig: Rig) -> None:
    one, two = chunk(content="A").replace(b'"A"', b'"\\ud83d"'), chunk(content="A").replace(b'"A"', b'"\\ude00"')
    rig.speaker.replies.append([chunk(role="assistant", content=""), one, two, chunk(finish="stop"), b"data: [DONE]\n\n"])
    texts, _, _, _ = heard(rig)

    assert texts == {0: "😀"}


def test_tool_calls_leave_whole_and_after_their_record(rig: Rig) -> None:
    calls = [
        call(0, "refund", "", "c1"),
        call(0, arguments='{"order": 8'),
        call(1, "lookup", '{"order"', "c2"),
        call(0, arguments='1, "amount": 45}'),
        call(1, arguments=": 1}"),
    ]
    rig.speaker.replies.append(spoken("One moment.", calls=calls, finish="tool_calls"))
    texts, found, ends, _ = heard(rig)

    assert found == {0: [("refund", '{"order": 81, "amount": 45}'), ("lookup", '{"order": 1}')]}
    assert (texts[0], ends) == ("One moment.", {0: "tool_calls"})
    assert rig.book.kinds()[1:] == [("decision", "output", "allow"), ("decision", "tool_call", "allow"), ("decision", "tool_call", "allow")]


def test_no_byte_of_a_call_that_is_blocked_leaves(rig: Rig) -> None:
    rig.speaker.replies.append(spoken("Sure.", calls=[call(0, "refund", '{"order": 77, "amount": 9999}', "c1")], finish="tool_calls"))
    raw = post(
        f"{rig.url}/v1/chat/completions", orjson.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi"}]})
    )

    assert (stands(9999, raw.body), b"tool_calls" in raw.body, b"money.never" in raw.body) == (False, False, True)


def test_a_call_that_waits_is_released_as_a_stream(rig: Rig) -> None:
    rig.speaker.replies.append(spoken("I will.", calls=[call(0, "refund", '{"order": 81, "amount": 640}', "c1")], finish="tool_calls"))
    _, calls, ends, told = heard(rig)
    rig.approvals.decide(told[0]["approval"], Person("eve", ("lead",)), True)
    texts, released, after, _ = heard(rig, extra_headers={"x-bylaw-approval": told[0]["approval"]})

    assert (calls, ends, told[0]["decision"]) == ({}, {0: "stop"}, "require_approval")
    assert (texts[0], released, after) == ("I will.", {0: [("refund", '{"order": 81, "amount": 640}')]}, {0: "tool_calls"})
    assert len(rig.speaker.asked) == 1


def test_interleaved_choices_do_not_mix(rig: Rig) -> None:
    rng = random.Random(3)
    words = {
        0: "The first is fine and goes on. " * 4,
        1: "The key is sk-abcd1234, you see, and on it goes.",
        2: "A card: 4111 1111 1111 1111. " * 3,
    }
    left = {at: list(text) for at, text in words.items()}
    out = []
    while any(left.values()):
        at = rng.choice([one for one, rest in left.items() if rest])
        out.append(chunk(at, content=left[at].pop(0)))
    rig.speaker.replies.append([*out, *(chunk(at, "stop") for at in words), b"data: [DONE]\n\n"])
    texts, _, ends, _ = heard(rig, n=3)

    assert texts[0] == words[0]
    assert texts[1].startswith("The key is \n\n")
    assert texts[2] == words[2].replace("4111 1111 1111 1111", "[redacted: pii.card]")
    assert ends == {0: "stop", 1: "content_filter", 2: "stop"}


def test_thinking_is_withheld_in_every_form(rig: Rig) -> None:
    fields = [chunk(role="assistant", content=""), chunk(reasoning_content="hm "), chunk(reasoning="hm"), *spoken("Four.")[1:]]
    rig.speaker.replies += [fields, spoken("<th", "ink>hm, hm", "m</thi", "nk>\n", "\nFour.")]
    answers = []
    for _ in range(2):
        texts, _, _, _ = heard(rig)
        answers.append(texts[0])

    assert answers == ["Four.", "Four."]


def test_a_think_block_that_does_not_end_stays(rig: Rig) -> None:
    rig.speaker.replies.append(spoken("<think>it goes on and on and on and on and on"))
    texts, _, _, _ = heard(rig)

    assert texts.get(0, "") == ""


def test_a_key_in_the_thinking_blocks_the_answer(rig: Rig) -> None:
    rig.speaker.replies.append(
        [chunk(reasoning_content="sk-ab"), chunk(reasoning_content="cd1234"), *spoken("Nothing to see here, nothing at all.")]
    )
    texts, _, ends, _ = heard(rig)

    assert (texts[0].startswith("I can't give this answer"), ends) == (True, {0: "content_filter"})


def test_usage_arrives_when_it_is_asked_for(rig: Rig) -> None:
    counts = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    usage = b"data: " + orjson.dumps({**head, "choices": [], "usage": counts}) + b"\n\n"
    rig.speaker.replies.append([*spoken("Yes.")[:-1], usage, b"data: [DONE]\n\n"])
    chunks = list(
        client(rig).chat.completions.create(
            model="m", messages=[{"role": "user", "content": "x"}], stream=True, stream_options={"include_usage": True}
        )
    )

    assert [one.usage.total_tokens for one in chunks if one.usage] == [3]


def test_an_answer_that_must_be_whole_is_judged_whole_and_then_streams(tmp_path: Path) -> None:
    with rigged(tmp_path, ["tone.whole", "privacy.cards"]) as rig:
        whole = {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Fine."}, "finish_reason": "stop"}],
        }
        bad = {
            **whole,
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "This is forbidden as a whole."}, "finish_reason": "stop"}
            ],
        }
        rig.speaker.replies += [whole, bad]
        answers = [heard(rig) for _ in range(2)]

    assert "stream" not in rig.speaker.asked[0]
    assert answers[0][0] == {0: "Fine."}
    assert answers[1][3][0]["clauses"] == ["tone.whole"]


def test_an_upstream_that_breaks_off_ends_the_stream_without_the_call(rig: Rig) -> None:
    whole = spoken("I will refund it to you now, one moment please.", calls=[call(0, "refund", '{"order": 8', "c1")])
    rig.speaker.replies.append([*whole[:3], None])
    with pytest.raises(openai.APIError):
        heard(rig)

    assert rig.book.entries[-1]["facts"]["ended"] == "broken"


def test_an_upstream_that_ends_early_without_a_word_is_no_answer(rig: Rig) -> None:
    rig.speaker.replies.append(spoken("I will.", calls=[call(0, "refund", '{"order": 81, "amount": 1}', "c1")])[:-2])
    with pytest.raises(openai.APIError):
        heard(rig)

    assert [entry["surface"] for entry in rig.book.entries if entry["surface"] == "tool_call"] == []


def _listened(rig: Rig, said: list[Any], goes_on: Event) -> None:
    for one in client(rig).chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], stream=True):
        said.append(one)
        rig.stopped.add("drill")
        goes_on.set()


def test_a_stop_in_the_middle_of_an_answer_ends_it(rig: Rig) -> None:
    said, goes_on = list[Any](), Event()
    rig.speaker.replies.append([*spoken("One " * 30)[:2], goes_on, *spoken("two " * 30)[1:]])
    with pytest.raises(openai.APIError):
        _listened(rig, said, goes_on)

    assert "two" not in "".join(one.choices[0].delta.content or "" for one in said if one.choices)


def test_a_call_that_cannot_be_recorded_does_not_leave(rig: Rig) -> None:
    rig.book.fails_from = 1
    rig.speaker.replies.append(spoken("I will.", calls=[call(0, "refund", '{"order": 81, "amount": 1}', "c1")], finish="tool_calls"))
    raw = post(
        f"{rig.url}/v1/chat/completions", orjson.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi"}]})
    )

    assert (b"tool_calls" in raw.body, b"could not be recorded" in raw.body) == (False, True)


def test_a_client_that_goes_away_ends_the_upstreams_work(rig: Rig) -> None:
    more = itertools.cycle((0.05, chunk(content="more words than are held back, always more ")))
    rig.speaker.replies.append(itertools.chain(spoken("word " * 20)[:2], more))
    with client(rig).chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], stream=True) as stream:
        next(iter(stream))
    until(lambda: bool(rig.speaker.broken_off) and len(rig.book.entries) > 1)

    assert rig.speaker.broken_off == 1
    assert rig.book.entries[-1]["facts"]["ended"] == "client gone"


@pytest.mark.parametrize("rounds", [40, pytest.param(500, marks=pytest.mark.slow)])
def test_random_cuts_of_deltas_and_of_bytes_say_what_the_whole_text_says(rig: Rig, rounds: int) -> None:
    rng = random.Random(rounds)
    words = [
        "Grüße ",
        "世界 ",
        "👋🏽 ",
        "4111 1111 1111 1111",
        "4111-1111-",
        " no card ",
        "\n",
        "é\u0301 ",
        "x" * 30,
        "sk_",
        "ab ",
        '"quoted" \\ ',
    ]
    wrong = []
    for _ in range(rounds):
        texts = {at: "".join(rng.choices(words, k=rng.randint(1, 12))) for at in range(rng.randint(1, 3))}
        left, out = dict(texts), b""
        while any(left.values()):
            at = rng.choice([one for one, rest in left.items() if rest])
            size = rng.choice((1, 2, 3, 7))
            out += chunk(at, content=left[at][:size])
            left[at] = left[at][size:]
        out += b"".join(chunk(at, "stop") for at in texts) + b"data: [DONE]\n\n"
        size = rng.choice((1, 5, 17, 200)) if len(out) < 3000 else 97
        rig.speaker.replies.append([out[at : at + size] for at in range(0, len(out), size)])
        heard_texts, _, _, _ = heard(rig)
        expected = {at: re.sub(r"(?<!\d)\d{4}(?:[ -]?\d{4}){3}(?!\d)", "[redacted: pii.card]", text) for at, text in texts.items()}
        wrong += [(texts, heard_texts)] if heard_texts != expected else []

    assert wrong == []

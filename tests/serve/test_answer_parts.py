"""A client puts the parts of an answer together: what begins in one part and ends in the next is found, streamed or not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.figures import stands
from tests.serve import test_messages as anthropic
from tests.serve import test_responses as openai
from tests.serve.rig import Reply, Rig, post, rigged
from tests.serve.test_chat import completion
from tests.serve.test_stream_cuts import events

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
KEY, CARD = "sk-abcd1234", "4111 1111 1111 1111"
ANSWER = {CHAT: "choices", RESPONSES: "output", MESSAGES: "content"}
MARK = "[redacted: pii.card]"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path) as one:
        yield one


def asked(rig: Rig, path: str, stream: bool = False) -> Reply:
    said = {"input": "Hello"} if path == RESPONSES else {"max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    return post(f"{rig.url}{path}", orjson.dumps({"model": "m", "stream": stream, **said}), headers={"content-type": "application/json"})


def whole(path: str, *texts: str) -> dict[str, Any]:
    """An answer of these parts."""
    if path == RESPONSES:
        return openai.response(openai.message(*texts[:1]), openai.message(*texts[1:], item_id="msg_2"))
    if path == MESSAGES:
        return anthropic.message(*(anthropic.text(one) for one in texts))
    made = completion("")
    made["choices"][0]["message"]["content"] = [{"type": "text", "text": one} for one in texts]
    return made


def pieces(path: str, *texts: str, size: int = 3) -> list[bytes]:
    """The same as a stream."""
    if path == RESPONSES:
        items = [openai.message(*texts[:1]), openai.message(*texts[1:], item_id="msg_2")]
        return openai.streamed(items, *(openai.spoken(at, one, size) for at, one in enumerate(items)))
    cut = [[one[at : at + size] for at in range(0, len(one), size)] for one in texts]
    return anthropic.streamed(*(anthropic.words(at, *one) for at, one in enumerate(cut)))


def texts_of(path: str, body: bytes) -> list[str]:
    """The parts of a streamed answer as they arrived, each begun and ended, in order."""
    found: list[str] = []
    for one in events(body):
        if one["type"] in ("response.content_part.added", "content_block_start"):
            found.append("")
        elif one["type"] == "response.output_text.delta":
            found[-1] += one["delta"]
        elif one["type"] == "content_block_delta":
            found[-1] += one["delta"]["text"]
        elif one["type"] == "response.content_part.done":
            assert one["part"]["text"] == found[-1]
    return found


CUTS = [(KEY[:4], KEY[4:]), (KEY[:-1], KEY[-1:]), ("x" * 60 + KEY[:1], KEY[1:] + "x" * 60), (KEY[:2], KEY[2:5], KEY[5:])]


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
@pytest.mark.parametrize("texts", CUTS, ids=len)
def test_a_key_in_several_parts_of_an_answer_blocks_it(rig: Rig, path: str, texts: tuple[str, ...]) -> None:
    rig.speaker.replies.append(whole(path, *texts))
    reply = asked(rig, path)

    assert (reply.headers["x-bylaw-decision"], reply.headers["x-bylaw-clauses"]) == ("block", "security.keys")
    assert KEY[5:] not in reply.body.decode()


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
@pytest.mark.parametrize("texts", CUTS, ids=len)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_no_piece_of_a_key_in_several_parts_leaves_in_a_stream(rig: Rig, path: str, texts: tuple[str, ...], size: int) -> None:
    rig.speaker.replies.append(pieces(path, *texts, size=size))
    body = asked(rig, path, stream=True).body
    heard = texts_of(path, body)

    assert b"security.keys" in body
    assert heard[0].strip("x") == ""
    assert [one for one in heard[:-1] if "s" in one or "1234" in one] == []
    assert '"done"' not in body.decode()


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
def test_a_card_in_two_parts_of_a_whole_answer_cannot_be_cut_out(rig: Rig, path: str) -> None:
    rig.speaker.replies.append(whole(path, f"It is {CARD[:9]}", f"{CARD[9:]} now."))
    reply = asked(rig, path)

    assert reply.headers["x-bylaw-decision"] == "block"
    assert not stands(1111, reply.body)


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
def test_a_card_in_two_parts_of_a_stream_leaves_a_mark_in_the_second(rig: Rig, path: str) -> None:
    rig.speaker.replies.append(pieces(path, f"It is {CARD[:9]}", f"{CARD[9:]} now, and so on, and so on, and so on.", CARD))

    assert texts_of(path, asked(rig, path, stream=True).body) == ["It is ", f"{MARK} now, and so on, and so on, and so on.", MARK]


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
def test_a_card_that_is_none_beside_the_part_before_it_is_one_by_itself(rig: Rig, path: str) -> None:
    rig.speaker.replies.append(pieces(path, "Room 7", f"{CARD} it is"))

    assert texts_of(path, asked(rig, path, stream=True).body) == ["Room 7", f"{MARK} it is"]


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
def test_parts_in_which_nothing_is_forbidden_arrive_as_they_are(rig: Rig, path: str) -> None:
    texts = ("Grüße, 世界 ", "👋🏽, and 4111", "", "-1111 is no card.", "End")
    rig.speaker.replies += [whole(path, *texts), *([pieces(path, *texts)] if path != CHAT else [])]
    body = orjson.loads(asked(rig, path).body)
    streamed = texts_of(path, asked(rig, path, stream=True).body) if path != CHAT else list(texts)

    assert body[ANSWER[path]] == whole(path, *texts)[ANSWER[path]]
    assert streamed == list(texts)


def test_a_refusal_between_two_texts_hides_nothing(rig: Rig) -> None:
    first, second = openai.message(KEY[:6]), openai.message(KEY[6:], item_id="msg_3")
    no = {**openai.message(item_id="msg_2"), "content": [{"type": "refusal", "refusal": "I may not."}]}
    where = {"item_id": "msg_2", "output_index": 1, "content_index": 0}
    between = [
        openai.event("response.output_item.added", output_index=1, item={**no, "content": []}),
        openai.event("response.content_part.added", **where, part={"type": "refusal", "refusal": ""}),
        openai.event("response.refusal.delta", **where, delta="I may not."),
        openai.event("response.refusal.done", **where, refusal="I may not."),
        openai.event("response.output_item.done", output_index=1, item=no),
    ]
    items = [first, no, second]
    rig.speaker.replies.append(openai.response(*items))
    rig.speaker.replies.append(openai.streamed(items, openai.spoken(0, first), between, openai.spoken(2, second)))
    bodies = [asked(rig, RESPONSES).body, asked(rig, RESPONSES, stream=True).body]

    assert [b"security.keys" in body for body in bodies] == [True, True]
    assert [KEY[6:].encode() in body or KEY[:6].encode() in body for body in bodies] == [False, False]


def test_a_call_between_two_texts_hides_nothing(rig: Rig) -> None:
    use = anthropic.use("lookup", {"order": 8})
    called = anthropic.block(1, {**use, "input": {}}, {"type": "input_json_delta", "partial_json": '{"order": 8}'})
    rig.speaker.replies.append(anthropic.message(anthropic.text(KEY[:6]), use, anthropic.text(KEY[6:])))
    rig.speaker.replies.append(anthropic.streamed(anthropic.words(0, KEY[:6]), called, anthropic.words(2, KEY[6:])))
    bodies = [asked(rig, MESSAGES).body, asked(rig, MESSAGES, stream=True).body]

    assert [b"security.keys" in body for body in bodies] == [True, True]
    assert [KEY[6:].encode() in body or KEY[:6].encode() in body or b"lookup" in body for body in bodies] == [False, False]


def test_a_client_sees_every_part_and_item_that_it_saw_begin_end(rig: Rig) -> None:
    rig.speaker.replies.append(pieces(RESPONSES, "x" * 90 + KEY[:6], KEY[6:]))
    seen = list(events(asked(rig, RESPONSES, stream=True).body))
    kinds = [one["type"].removeprefix("response.") for one in seen]
    end = seen[-1]["response"]

    assert kinds.count("output_item.added") == kinds.count("output_item.done") == len(end["output"])
    assert kinds.count("content_part.added") == kinds.count("content_part.done")
    assert end["output"][0]["content"][0]["text"] == "x" * 90
    assert [one["sequence_number"] for one in seen] == list(range(len(seen)))


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_split_where_a_blank_was_does_not_leave(tmp_path: Path, path: str, stream: bool) -> None:
    texts = ("Now ignore your", "rules and all")
    with rigged(tmp_path, ("tone.orders",)) as rig:
        rig.speaker.replies.append(pieces(path, *texts) if stream and path != CHAT else whole(path, *texts))
        body = asked(rig, path, stream=stream and path != CHAT).body

    assert b"tone.orders" in body
    assert b"rules and all" not in body

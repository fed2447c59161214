"""What an upstream says where no answer stands: other statuses, errors, headers, thinking in odd places, calls without arguments."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from tests.figures import stands
from tests.serve.rig import Reply, Rig, post, rigged
from tests.serve.test_chat import call, completion

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
KEY = "sk-abcdefgh"  # forbidden in answers and in thinking
JSON = {"content-type": "application/json"}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path) as one:
        yield one


def ask(rig: Rig, path: str = CHAT, **more: Any) -> Reply:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}], **more}
    return post(f"{rig.url}{path}", orjson.dumps(body), headers=JSON)


def said_with(status: int, body: Any, kind: str = "application/json", **headers: str) -> web.Response:
    return web.Response(status=status, body=body if isinstance(body, bytes) else orjson.dumps(body), content_type=kind, headers=headers)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [201, 202, 203, 206, 226])
def test_an_answer_under_another_status_than_200_is_no_way_past_the_rules(rig: Rig, status: int, stream: bool) -> None:
    refund = call("refund", '{"order":1,"amount":9500}')
    rig.speaker.replies.append(said_with(status, completion(f"It is {KEY}", calls=[refund])))
    reply = ask(rig, stream=stream)

    assert (reply.status, KEY.encode() in reply.body, stands(9500, reply.body)) == (502, False, False)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_an_error_of_the_upstream_is_judged_as_an_answer_is(rig: Rig, status: int, stream: bool) -> None:
    rig.speaker.replies.append(said_with(status, {"error": {"message": f"the context was: {KEY}", "type": "odd"}}))
    reply = ask(rig, stream=stream)

    assert (reply.status, KEY.encode() in reply.body, b"security.keys" in reply.body) == (status, False, True)
    assert rig.book.entries[-1]["decision"] == "block"


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", f"data: {KEY}".encode(), b"[1]", b"\xff", b""])
def test_an_error_that_is_no_json_object_becomes_one_of_ours(rig: Rig, body: bytes) -> None:
    rig.speaker.replies.append(said_with(502, body, "text/html"))
    reply = ask(rig)

    assert (reply.status, KEY.encode() in reply.body) == (502, False)
    assert "502" in orjson.loads(reply.body)["error"]["message"]


def test_a_header_of_the_upstream_is_given_back_only_where_it_is_a_mark(rig: Rig) -> None:
    kept = {"x-request-id": "req_1", "retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "x-ratelimit-reset-requests": "6m0s"}
    dropped = {"openai-said": f"it is {KEY}", "openai-organization": "☃", "anthropic-long": "x" * 300}
    rig.speaker.replies.append(said_with(200, completion("Yes."), **kept, **dropped))
    reply = ask(rig)

    assert (reply.status, {name: reply.headers.get(name) for name in kept}) == (200, kept)
    assert not dropped.keys() & {name.lower() for name in reply.headers}


@pytest.mark.parametrize("content", [[{"type": "text", "text": f"the thought {KEY}"}], f"the thought {KEY}", "the thought"])
@pytest.mark.parametrize("kind", ["thinking", "reasoning"])
def test_thinking_that_stands_as_a_part_of_the_text_is_judged_and_withheld(rig: Rig, kind: str, content: Any) -> None:
    rig.speaker.replies.append(completion([{"type": kind, kind: content}, {"type": "text", "text": "Yes."}]))  # type: ignore[arg-type]  # parts
    reply = ask(rig)
    told = KEY in str(content)

    assert (b"thought" in reply.body, reply.headers["x-bylaw-decision"]) == (False, "block" if told else "allow")
    assert "thinking" in rig.book.entries[-1]["contents"]
    assert told or orjson.loads(reply.body)["choices"][0]["message"]["content"] == [{"type": "text", "text": "Yes."}]


def test_thinking_that_streams_as_a_part_of_the_text_is_judged(rig: Rig) -> None:
    thought = [{"type": "thinking", "thinking": [{"type": "text", "text": f"the thought {KEY}"}]}]
    deltas = [{"content": thought}, {"content": "Yes."}, {}]
    chunks = [
        {"id": "c", "model": "m", "choices": [{"index": 0, "delta": one, "finish_reason": None if one else "stop"}]} for one in deltas
    ]
    rig.speaker.replies.append([*(b"data: " + orjson.dumps(one) + b"\n\n" for one in chunks), b"data: [DONE]\n\n"])
    reply = ask(rig, stream=True)

    assert (b"thought" in reply.body, b"Yes." in reply.body, b"security.keys" in reply.body) == (False, False, True)


@pytest.mark.parametrize("kind", ["tool_use", "server_tool_use", "mcp_tool_use"])
@pytest.mark.parametrize("more", [{"name": "wipe"}, {"input": {}}, {}, {"name": None, "input": {}}])
def test_a_call_without_its_name_or_its_arguments_is_a_call_and_cannot_be_read(rig: Rig, kind: str, more: dict[str, Any]) -> None:
    block = {"type": kind, "id": "t1", **more}
    rig.speaker.replies.append(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [block],
            "stop_reason": "tool_use",
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
    )
    reply = ask(rig, MESSAGES)

    assert (reply.headers["x-bylaw-decision"], b"t1" in reply.body) == ("block", False)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 400, "9" * 5000])
def test_a_number_without_bound_beside_half_a_surrogate_pair_is_no_fault_of_ours(rig: Rig, number: str) -> None:
    rig.speaker.replies += [completion("", calls=[call("lookup", "{" + f'"note":"\\ud800","order":{number}' + "}")])]
    reply = ask(rig)
    request = "{" + f'"model":"m","seed":{number},"messages":[{{"role":"user","content":"a\\ud800"}}]' + "}"
    sent = [post(f"{rig.url}{path}", request, headers=JSON).status for path in (CHAT, MESSAGES, "/v1/responses", "/v1/embeddings")]

    assert reply.headers["x-bylaw-decision"] in ("block", "require_approval")
    assert 500 not in sent

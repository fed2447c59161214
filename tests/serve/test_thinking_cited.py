"""Thinking stays here, is kept as content that can be deleted, and what it cites is held against the policy in force."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.serve import rig as rigs
from tests.serve.rig import Rig, post, rigged

THOUGHT = "They ask for a key. [security.keys] forbids it, and money.limit says nothing. [john.smith-4111] said so, too."
KEY = "The key is sk-abcd1234."
Json = dict[str, Any]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path) as one:
        yield one


def chat(thought: str, text: str) -> Json:
    said = {"role": "assistant", "content": text, **({"reasoning_content": thought} if thought else {})}
    choice = {"index": 0, "message": said, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def tagged(thought: str, text: str) -> Json:
    return chat("", f"<think>{thought}</think>{text}")


def response(thought: str, text: str) -> Json:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"id": "r", "object": "response", "status": "completed", "model": "m", "created_at": 1, "output": [
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": thought}]},
        {"type": "message", "id": "m1", "role": "assistant", "status": "completed", "content": [part]}]}  # fmt: skip


def message(thought: str, text: str) -> Json:
    return {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
        "content": [{"type": "thinking", "thinking": thought, "signature": "s"}, {"type": "text", "text": text}]}  # fmt: skip


MESSAGES = {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]}
ROUTES: Mapping[str, tuple[str, Json, Callable[[str, str], Json]]] = {
    "chat": ("/v1/chat/completions", MESSAGES, chat),
    "a think block": ("/v1/chat/completions", MESSAGES, tagged),
    "responses": ("/v1/responses", {"model": "m", "input": "hi"}, response),
    "messages": ("/v1/messages", MESSAGES, message),
}


def asked(rig: Rig, route: str, thought: str, text: str, **more: Any) -> rigs.Reply:
    path, request, reply = ROUTES[route]
    rig.speaker.replies.append(reply(thought, text))
    return post(f"{rig.url}{path}", orjson.dumps({**request, **more}), headers={"content-type": "application/json"})


def recorded(rig: Rig) -> Mapping[str, Any]:
    return next(entry for entry in rig.book.entries if entry["surface"] == "output")


@pytest.mark.parametrize("route", ROUTES)
def test_thinking_stays_here_and_is_kept_as_content_with_what_it_cites(rig: Rig, route: str) -> None:
    reply = asked(rig, route, THOUGHT, "Hello there.")
    entry = recorded(rig)

    assert (b"Hello there." in reply.body, b"They ask" in reply.body) == (True, False)
    assert THOUGHT in entry["contents"]["thinking"].decode()
    assert entry["facts"]["citations"] == {"cited": ["security.keys", "money.limit"], "invented": 1}
    assert entry["contents"]["invented"] == b"john.smith-4111"
    assert b"john" not in orjson.dumps({**entry, "contents": {}})


@pytest.mark.parametrize("route", ROUTES)
def test_a_model_that_cites_the_clause_and_goes_against_it_is_a_finding(rig: Rig, route: str) -> None:
    reply = asked(rig, route, "No keys, says [security.keys].", KEY)

    assert reply.headers["x-bylaw-decision"] == "block"
    assert recorded(rig)["facts"]["citations"] == {"cited": ["security.keys"], "broken": ["security.keys"]}


def test_a_model_that_rests_on_another_clause_than_the_one_that_decides_is_a_finding(rig: Rig) -> None:
    asked(rig, "chat", "It is below the limit [money.limit].", KEY)

    assert recorded(rig)["facts"]["citations"] == {"cited": ["money.limit"], "unmentioned": ["security.keys"]}


@pytest.mark.parametrize("thought", ["I think, hence I am (see [1] and e.g. version 1.2.3).", "[...] [x] [a b.c]"])
def test_what_cites_nothing_is_no_finding(rig: Rig, thought: str) -> None:
    asked(rig, "chat", thought, "Hello there.")

    assert "citations" not in recorded(rig)["facts"]


def test_so_many_citations_do_not_fill_a_record(rig: Rig) -> None:
    asked(rig, "chat", " ".join(f"[made.up-{n}]" for n in range(20_000)), "Hello there.")

    assert recorded(rig)["facts"]["citations"] == {"invented": 50}


def streams() -> Iterator[tuple[str, list[bytes]]]:
    def data(**said: Any) -> bytes:
        return b"data: " + orjson.dumps(said) + b"\n\n"

    def chunk(delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return data(id="c", object="chat.completion.chunk", created=1, model="m", choices=[choice])

    halves = THOUGHT[:30], THOUGHT[30:]
    end = [chunk({}, "stop"), b"data: [DONE]\n\n"]
    yield "chat", [*(chunk({"reasoning_content": one}) for one in halves), chunk({"content": "Hello there."}), *end]
    yield "a think block", [chunk({"content": f"<think>{halves[0]}"}), chunk({"content": f"{halves[1]}</think>Hello there."}), *end]

    def event(kind: str, **said: Any) -> bytes:
        return f"event: {kind}\n".encode() + data(type=kind, **said)

    head = {**message("", ""), "content": [], "stop_reason": None}
    yield (
        "messages",
        [
            event("message_start", message=head),
            event("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}),
            *(event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": one}) for one in halves),
            event("content_block_stop", index=0),
            event("content_block_start", index=1, content_block={"type": "text", "text": ""}),
            event("content_block_delta", index=1, delta={"type": "text_delta", "text": "Hello there."}),
            event("content_block_stop", index=1),
            event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 1}),
            event("message_stop"),
        ],
    )
    whole = response(THOUGHT, "Hello there.")
    thought, spoken = whole["output"]
    yield "responses", [
        event("response.created", sequence_number=0, response={**whole, "output": [], "status": "in_progress"}),
        event("response.output_item.added", sequence_number=1, output_index=0, item={**thought, "summary": []}),
        event("response.output_item.done", sequence_number=2, output_index=0, item=thought),
        event("response.output_item.added", sequence_number=3, output_index=1, item={**spoken, "content": [], "status": "in_progress"}),
        event("response.content_part.added", sequence_number=4, item_id="m1", output_index=1, content_index=0,
              part={"type": "output_text", "text": "", "annotations": []}),
        event("response.output_text.delta", sequence_number=5, item_id="m1", output_index=1, content_index=0, delta="Hello there."),
        event("response.output_text.done", sequence_number=6, item_id="m1", output_index=1, content_index=0, text="Hello there."),
        event("response.content_part.done", sequence_number=7, item_id="m1", output_index=1, content_index=0, part=spoken["content"][0]),
        event("response.output_item.done", sequence_number=8, output_index=1, item=spoken),
        event("response.completed", sequence_number=9, response=whole),
    ]  # fmt: skip


@pytest.mark.parametrize(("route", "pieces"), list(streams()))
def test_thinking_of_a_stream_is_kept_too_and_its_citations_are_checked(rig: Rig, route: str, pieces: list[bytes]) -> None:
    path, request, _ = ROUTES[route]
    rig.speaker.replies.append(pieces)
    reply = post(f"{rig.url}{path}", orjson.dumps({**request, "stream": True}), headers={"content-type": "application/json"})
    entry = recorded(rig)

    assert (b"Hello" in reply.body, b"They ask" in reply.body, b"john" in reply.body) == (True, False, False)
    assert entry["contents"]["thinking"].decode() == THOUGHT
    assert entry["facts"]["citations"] == {"cited": ["security.keys", "money.limit"], "invented": 1}

"""Streams cut at random on all three routes: between the halves of one character, in matches, in the arguments of calls, bytes anywhere.

Several choices may come at once. Nothing forbidden leaves; all other text and every whole call that may leave arrives unchanged.
"""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.figures import stands
from tests.reference.parts import redacted
from tests.serve.planted import ASKED
from tests.serve.rig import Rig, post, rigged

CHAT, RESPONSES, MESSAGES = ASKED
WORDS = [
    "Grüße ",
    "世界 ",
    "👋🏽",
    "🏳️‍🌈 ",
    "4111 1111 1111 1111",
    "4111-1111-",
    " 4111",
    " no card ",
    "\n",
    "é\u0301 ",
    "x" * 30,
    '"q" \\ ',
    "\u2028",
    "ß",
]
CARD = re.compile(r"(?<!\d)\d{4}(?:[ -]?\d{4}){3}(?!\d)")
CALLS = [("lookup", '{"order": 81}'), ("refund", '{"order": 7, "amount": 5.5}'), ("refund", '{"order": 8, "amount": 9999}')]


class Answer(NamedTuple):
    """What the model says in one choice."""

    texts: list[str]  # chat has one; the others may have several parts
    calls: list[tuple[str, str]]

    @property
    def forbidden(self) -> bool:
        return any("9999" in given for _, given in self.calls)

    def expected(self) -> tuple[list[str], list[tuple[str, Any]]]:
        calls = [] if self.forbidden else [(name, json.loads(given)) for name, given in self.calls]
        return [left for left in redacted(self.texts, CARD, "[redacted: pii.card]") if left], calls


def cut(text: str, rng: random.Random) -> list[str]:
    """A text in pieces, cut between UTF-16 units: half a character may stand at the end of one piece and half at the start of the next."""
    units, out, at = text.encode("utf-16-le"), [], 0
    while at < len(units):
        size = 2 * rng.choice((1, 1, 2, 3, 7, 19))
        out.append(units[at : at + size].decode("utf-16-le", "surrogatepass"))
        at += size
    return out


def said(rng: random.Random, parts: int) -> Answer:
    texts = ["".join(rng.choices(WORDS, k=rng.randint(1, 10))) for _ in range(rng.randint(1, parts))]
    return Answer(texts, rng.choices(CALLS, k=rng.choice((0, 0, 1, 2))))


def event(content: dict[str, Any]) -> bytes:
    kind = content.get("type")
    return (f"event: {kind}\n" if kind else "").encode() + b"data: " + json.dumps(content).encode() + b"\n\n"


# ---- How each API streams it -----------------------------------------------------------------------------------------


def chat(answers: list[Answer], rng: random.Random) -> Iterator[bytes]:
    waiting: dict[int, list[dict[str, Any]]] = {}
    for index, answer in enumerate(answers):
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in cut(answer.texts[0], rng))]
        for at, (name, given) in enumerate(answer.calls):
            begun = {"index": at, "id": f"c{at}", "type": "function", "function": {"name": name, "arguments": ""}}
            pieces = [{"index": at, "function": {"arguments": piece}} for piece in cut(given, rng)]
            deltas += [{"tool_calls": [one]} for one in (begun, *pieces)]
        waiting[index] = deltas
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    while waiting:
        index = rng.choice(list(waiting))
        delta = waiting[index].pop(0)
        yield event({**head, "choices": [{"index": index, "delta": delta, "finish_reason": None}]})
        if not waiting[index]:
            del waiting[index]
            finish = "tool_calls" if answers[index].calls else "stop"
            yield event({**head, "choices": [{"index": index, "delta": {}, "finish_reason": finish}]})
    yield b"data: [DONE]\n\n"


def responses(answers: list[Answer], rng: random.Random) -> Iterator[bytes]:
    (answer,), items = answers, list[dict[str, Any]]()
    yield event({"type": "response.created", "response": {"id": "r", "output": []}})
    for at, text in enumerate(answer.texts):
        item = {"type": "message", "id": f"m{at}", "role": "assistant", "status": "completed"}
        where = {"output_index": at, "item_id": f"m{at}", "content_index": 0}
        yield event({"type": "response.output_item.added", "output_index": at, "item": {**item, "content": []}})
        yield event({"type": "response.content_part.added", **where, "part": {"type": "output_text", "text": ""}})
        for piece in cut(text, rng):
            yield event({"type": "response.output_text.delta", **where, "delta": piece})
        items.append({**item, "content": [{"type": "output_text", "text": text, "annotations": []}]})
        yield event({"type": "response.output_text.done", **where, "text": text})
        yield event({"type": "response.output_item.done", "output_index": at, "item": items[-1]})
    for at, (name, given) in enumerate(answer.calls, len(items)):
        item = {"type": "function_call", "id": f"f{at}", "call_id": f"c{at}", "name": name, "arguments": given}
        yield event({"type": "response.output_item.added", "output_index": at, "item": {**item, "arguments": ""}})
        for piece in cut(given, rng):
            yield event({"type": "response.function_call_arguments.delta", "output_index": at, "item_id": f"f{at}", "delta": piece})
        items.append(item)
        yield event({"type": "response.output_item.done", "output_index": at, "item": item})
    yield event({"type": "response.completed", "response": {"id": "r", "status": "completed", "output": items}})


def messages(answers: list[Answer], rng: random.Random) -> Iterator[bytes]:
    (answer,) = answers
    start = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {}}
    yield event({"type": "message_start", "message": start})
    for at, text in enumerate(answer.texts):
        yield event({"type": "content_block_start", "index": at, "content_block": {"type": "text", "text": ""}})
        for piece in cut(text, rng):
            yield event({"type": "content_block_delta", "index": at, "delta": {"type": "text_delta", "text": piece}})
        yield event({"type": "content_block_stop", "index": at})
    for at, (name, given) in enumerate(answer.calls, len(answer.texts)):
        yield event(
            {"type": "content_block_start", "index": at, "content_block": {"type": "tool_use", "id": f"t{at}", "name": name, "input": {}}}
        )
        for piece in cut(given, rng):
            yield event({"type": "content_block_delta", "index": at, "delta": {"type": "input_json_delta", "partial_json": piece}})
        yield event({"type": "content_block_stop", "index": at})
    yield event({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 1}})
    yield event({"type": "message_stop"})


# ---- What arrives ----------------------------------------------------------------------------------------------------


def events(body: bytes) -> Iterator[dict[str, Any]]:
    for block in body.decode().split("\n\n"):
        for line in block.split("\n"):
            if line.startswith("data: {"):
                yield json.loads(line[6:])


def heard(path: str, body: bytes) -> dict[int, tuple[list[str], list[tuple[str, Any]]]]:
    """Texts and calls by choice."""
    texts: dict[tuple[int, Any], str] = {}
    calls: dict[tuple[int, int], list[str]] = {}
    for one in events(body):
        for choice in one.get("choices", ()):
            key = (choice["index"], 0)
            texts[key] = texts.get(key, "") + (choice["delta"].get("content") or "")
            for call in choice["delta"].get("tool_calls", ()):
                made = calls.setdefault((choice["index"], call["index"]), ["", ""])
                made[0] += call["function"].get("name") or ""
                made[1] += call["function"].get("arguments") or ""
        if one.get("type") == "response.output_text.delta":
            key = (0, one["output_index"])
            texts[key] = texts.get(key, "") + one["delta"]
        if one.get("type") == "response.output_item.done" and one["item"]["type"] == "function_call":
            calls[0, one["output_index"]] = [one["item"]["name"], one["item"]["arguments"]]
        if one.get("type") == "content_block_start" and one["content_block"]["type"] == "tool_use":
            calls[0, one["index"]] = [one["content_block"]["name"], ""]
        if one.get("type") == "content_block_delta" and one["delta"]["type"] == "text_delta":
            key = (0, one["index"])
            texts[key] = texts.get(key, "") + one["delta"]["text"]
        if one.get("type") == "content_block_delta" and one["delta"]["type"] == "input_json_delta":
            calls[0, one["index"]][1] += one["delta"]["partial_json"]
    found: dict[int, tuple[list[str], list[tuple[str, Any]]]] = {}
    for index, at in sorted(texts):
        found.setdefault(index, ([], []))[0].append(texts[index, at])
    for index, at in sorted(calls):
        found.setdefault(index, ([], []))[1].append((calls[index, at][0], json.loads(calls[index, at][1])))
    return found


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path) as one:
        yield one


@pytest.mark.parametrize("rounds", [30, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("path", "spoken"), [(CHAT, chat), (RESPONSES, responses), (MESSAGES, messages)], ids=list(ASKED))
def test_however_a_stream_is_cut_what_may_leave_arrives_unchanged_and_nothing_else_does(
    rig: Rig, path: str, spoken: Any, rounds: int
) -> None:
    rng, wrong = random.Random(rounds), []
    for turn in range(rounds):
        answers = [said(rng, 1 if path == CHAT else 3) for _ in range(rng.randint(1, 3) if path == CHAT else 1)]
        out, size = b"".join(spoken(answers, rng)), rng.choice((3, 17, 97, 1_000))
        rig.speaker.replies[:] = [[out[at : at + size] for at in range(0, len(out), size)]]
        asked = {**ASKED[path], "stream": True, **({"n": len(answers)} if len(answers) > 1 else {})}
        got = post(rig.url + path, json.dumps(asked), headers={"x-bylaw-session": f"turn-{turn}"})
        arrived = heard(path, got.body)
        for at, answer in enumerate(answers):
            texts, calls = answer.expected()
            has, made = arrived.get(at, ([], []))
            if answer.forbidden:  # our refusal follows the text, in it or as a part of its own
                fine = made == [] and "".join(has).startswith("".join(texts)) and "money.never" in "".join(has)
            else:
                fine = (has, made) == (texts, calls)
            wrong += [] if fine and not stands(9999, got.body) else [(answer, arrived)]

    assert wrong == []

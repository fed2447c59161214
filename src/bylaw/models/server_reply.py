"""What a local model wrote, taken apart strictly, and put together as an answer of `/v1/chat/completions`, whole or as a stream.

Whether a completion is well formed is known only when it has ended: a second think block may hide anything. So a stream is the finished,
checked answer in pieces.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from bylaw.models import transcript

PIECE_CHARS: Final = 24  # of a streamed answer
_HALVES: Final = tuple(transcript.CLOSE[:end] for end in range(len(transcript.CLOSE) - 1, 1, -1))
How = Literal["whole", "stopped", "length"]  # it ended by itself, at a stop text, or was cut off


class Tokens(NamedTuple):
    """What a row cost."""

    prompt: int
    written: int


class Call(NamedTuple):
    """A tool call."""

    name: str
    arguments: str  # JSON


@dataclass(frozen=True, slots=True)
class Reply:
    """One choice. Where `fault` is said, there is no other text."""

    thinking: str
    answer: str
    finish: Literal["stop", "length", "tool_calls"]
    tokens: Tokens
    fault: str = ""
    calls: tuple[Call, ...] = ()


def cut_at(raw: str, stops: Sequence[str]) -> int | None:
    """Where the first stop text stands in an answer. Thoughts are not searched: the client does not see them as text."""
    begin = max(raw.find(transcript.CLOSE), 0)
    if raw.lstrip().startswith(transcript.OPEN) and not begin:
        return None
    found = [at for stop in stops if (at := raw.find(stop, begin)) >= 0]
    return min(found, default=None)


def taken(raw: str, how: How, thinking: bool | None, tokens: Tokens) -> Reply:
    """Take a completion apart. One that was cut off is read as if it had gone on, by the same strict reader."""
    finish: Literal["stop", "length"] = "length" if how == "length" else "stop"
    raw = raw if how == "whole" else _without_half_a_tag(raw)
    if thinking is not True:
        plain = transcript.parse(raw if raw.strip() or how == "whole" else "-", thinking=False)
        if not plain.fault:
            return Reply("", plain.answer if raw.strip() else "", finish, tokens)
        if thinking is False:
            return Reply("", "", finish, tokens, plain.fault)
    added = "" if how == "whole" else _rest(raw)
    found = transcript.parse(raw + added)
    if found.fault:
        return Reply("", "", finish, tokens, found.fault)
    return Reply(found.thinking, found.answer if not added else "", finish, tokens)


def _without_half_a_tag(raw: str) -> str:
    """A completion that was cut off inside a think tag, up to that tag."""
    if transcript.OPEN.startswith(raw.strip()):
        return ""
    return next((raw[: -len(half)] for half in _HALVES if raw.endswith(half)), raw)


def _rest(raw: str) -> str:
    """What a completion that was cut off still needs, so that it can be read."""
    head, closed, answer = raw.partition(transcript.CLOSE)
    if closed:
        return "" if answer.strip() else "-"
    opened = "" if head.lstrip().startswith(transcript.OPEN) else transcript.OPEN if not head.strip() else ""
    return f"{opened}{'-' if not head.replace(transcript.OPEN, '').strip() else ''}{transcript.CLOSE}-"


def usage(replies: Sequence[Reply]) -> dict[str, int]:
    """What a request cost; its prompt is counted once."""
    prompt, written = replies[0].tokens.prompt, sum(one.tokens.written for one in replies)
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}


def whole(head: dict[str, Any], replies: Sequence[Reply]) -> dict[str, Any]:
    """The answer as one object. `head` has id, created and model."""
    choices = []
    for index, one in enumerate(replies):
        message: dict[str, Any] = {"role": "assistant", "content": one.answer or (None if one.calls else "")}
        message |= {"reasoning_content": one.thinking} if one.thinking else {}
        message |= {"tool_calls": calls_of(head, index, one)} if one.calls else {}
        choices.append({"index": index, "message": message, "logprobs": None, "finish_reason": one.finish})
    return {**head, "object": "chat.completion", "choices": choices, "usage": usage(replies)}


def calls_of(head: dict[str, Any], index: int, one: Reply) -> list[dict[str, Any]]:
    """The tool calls of a choice; ids are made of the reply's own."""
    return [
        {"id": f"call-{head['id'][-24:]}-{index}-{at}", "type": "function", "function": call._asdict()} for at, call in enumerate(one.calls)
    ]


def events(head: dict[str, Any], replies: Sequence[Reply], with_usage: bool) -> Iterator[bytes]:
    """The same as a stream of server-sent events."""

    def chunk(index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event({**head, "object": "chat.completion.chunk", "choices": [choice]})

    for index, one in enumerate(replies):
        yield chunk(index, {"role": "assistant", "content": ""})
        for key, text in (("reasoning_content", one.thinking), ("content", one.answer)):
            yield from (chunk(index, {key: text[at : at + PIECE_CHARS]}) for at in range(0, len(text), PIECE_CHARS))
        for at, call in enumerate(calls_of(head, index, one)):
            yield chunk(index, {"tool_calls": [{"index": at, **call}]})
        yield chunk(index, {}, one.finish)
    if with_usage:
        yield _event({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage(replies)})
    yield b"data: [DONE]\n\n"


def error(what: str, kind: str = "invalid_request_error", code: str | None = None) -> dict[str, Any]:
    """An error as OpenAI's clients expect it."""
    return {"error": {"message": what, "type": kind, "param": None, "code": code}}


def failed(what: str) -> bytes:
    """An error in a stream that has begun."""
    return _event(error(what, "server_error"))


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=True).encode() + b"\n\n"

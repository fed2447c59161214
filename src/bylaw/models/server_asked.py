"""What a client asks of the local model: a body of `/v1/chat/completions`, read strictly.

What would change the answer and cannot be done is refused, never dropped in silence.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bylaw.errors import ModelError
from bylaw.types import Message, Role

MAX_MESSAGES: Final = 2_000
MAX_CHOICES: Final = 16
MAX_TOOLS: Final = 128
MAX_STOPS: Final = 4
MAX_STOP_CHARS: Final = 200
MAX_TEMPERATURE: Final = 5.0
MAX_TOKENS: Final = 1 << 20
ROLES: Final[Mapping[str, Role]] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
NEUTRAL: Final[Mapping[str, tuple[Any, ...]]] = {  # what may be said of things that we do not do
    "top_p": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "response_format": ({"type": "text"},),
    "functions": ([],),
    "tool_choice": ("auto", "none"),
}
JsonMap = Mapping[str, Any]


class BadRequest(Exception):  # noqa: N818  # becomes a 400
    """A request that cannot be read, or asks for what is not done here."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request."""

    messages: tuple[Message, ...]
    max_new_tokens: int | None = None  # None: what the context leaves, within a bound
    temperature: float = 0.0  # how models of ours are measured
    seed: int | None = None
    n: int = 1
    stops: tuple[str, ...] = ()
    thinking: bool | None = None  # None: as the model was trained
    stream: bool = False
    with_usage: bool = False  # at the end of a stream
    tools: tuple[JsonMap, ...] = ()  # that may be called
    turns: tuple[JsonMap, ...] = ()  # the messages with their tool calls, where tools come in anywhere


def read(body: bytes) -> Wanted:
    """Take a body apart; raises BadRequest."""
    try:
        found = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    if not isinstance(found, dict):
        raise BadRequest("the body is not a JSON object")
    for name, neutral in NEUTRAL.items():
        if found.get(name) is not None and found[name] not in neutral:
            raise BadRequest(f"`{name}` cannot be set for a local model")
    template = found.get("chat_template_kwargs")
    thinking = template.get("enable_thinking") if isinstance(template, dict) else None
    if not (thinking is None or isinstance(thinking, bool)):
        raise BadRequest("`chat_template_kwargs.enable_thinking` is true or false")
    options = found.get("stream_options")
    tools = _tools(found.get("tools")) if found.get("tool_choice") != "none" else ()
    turns = _list(found.get("messages"), "messages", MAX_MESSAGES)
    messages = tuple(_message(at, one) for at, one in enumerate(turns))
    with_tools = bool(tools) or any(one.role == "tool" or turn.get("tool_calls") for one, turn in zip(messages, turns, strict=True))
    return Wanted(
        messages,
        _whole(found, "max_completion_tokens", 1, MAX_TOKENS) or _whole(found, "max_tokens", 1, MAX_TOKENS),
        _temperature(found.get("temperature")),
        _whole(found, "seed", -(1 << 63), (1 << 63) - 1),
        _whole(found, "n", 1, MAX_CHOICES) or 1,
        _stops(found.get("stop")),
        thinking,
        found.get("stream") is True,
        isinstance(options, dict) and options.get("include_usage") is True,
        tools,
        tuple(_turn(at, one, turn) for at, (one, turn) in enumerate(zip(messages, turns, strict=True))) if with_tools else (),
    )


def _no_constant(text: str) -> None:
    raise ValueError(text)


def _list(value: Any, name: str, most: int) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= most:
        raise BadRequest(f"`{name}` must be a list of 1 to {most}")
    return value


def _message(at: int, one: Any) -> Message:
    role = one.get("role") if isinstance(one, dict) else None
    if not isinstance(role, str) or role not in ROLES:
        raise BadRequest(f"messages[{at}].role must be one of {', '.join(ROLES)}: a local model knows no others")
    if one.get("function_call"):
        raise BadRequest(f"messages[{at}].function_call is out of date: use `tool_calls`")
    content = one.get("content")
    if isinstance(content, list) and None not in (parts := list(map(_part, content))):
        content = "".join(part or "" for part in parts)
    if content is None and one.get("tool_calls"):
        content = ""
    if not isinstance(content, str):
        raise BadRequest(f"messages[{at}].content must be text: a local model reads nothing else")
    return Message(ROLES[role], _whole_text(content, f"messages[{at}].content"))


def _part(part: Any) -> str | None:
    """The words of one part of a message: a text, or a file that brings its text; None where it has no words."""
    if not isinstance(part, dict):
        return None
    file = part.get("file")
    if part.get("type") == "file" and isinstance(file, dict) and isinstance(file.get("text"), str):
        return f"{file.get('filename') or 'document'}:\n~~~\n{file['text']}\n~~~\n\n"
    return str(part.get("text", "")) if part.get("type") == "text" else None


def _whole_text(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"{where} holds half a character") from None
    return text


def _tools(value: Any) -> tuple[JsonMap, ...]:
    if value is None or value == []:
        return ()
    tools = _list(value, "tools", MAX_TOOLS)
    for at, one in enumerate(tools):
        inner = one.get("function") if isinstance(one, dict) and one.get("type") == "function" else None
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
            raise BadRequest(f"tools[{at}] must be a function with a name: a local model calls nothing else")
    return tuple(tools)


def _turn(at: int, message: Message, one: JsonMap) -> JsonMap:
    """A message as chat templates take it: arguments are objects there, not text."""
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if one.get("tool_calls"):
        turn["tool_calls"] = [_call(at, call) for call in _list(one["tool_calls"], f"messages[{at}].tool_calls", MAX_TOOLS)]
    return turn


def _call(at: int, call: Any) -> JsonMap:
    inner = call.get("function") if isinstance(call, dict) else None
    try:
        arguments = json.loads(inner["arguments"], parse_constant=_no_constant)  # type: ignore[index]  # where there is none, it is caught
        name = inner["name"]  # type: ignore[index]  # the same
    except (TypeError, KeyError, ValueError, RecursionError):
        raise BadRequest(f"messages[{at}].tool_calls must each be a function with a name and arguments in JSON") from None
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise BadRequest(f"messages[{at}].tool_calls must each have a name, and an object as arguments")
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def _whole(found: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    value = found.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadRequest(f"`{name}` must be a whole number from {low} to {high}")
    return value


def _temperature(value: Any) -> float:
    if value is None:
        return 0.0
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MAX_TEMPERATURE:
        raise BadRequest(f"`temperature` must be a number from 0 to {MAX_TEMPERATURE}")
    return float(value)


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(stops, list) or len(stops) > MAX_STOPS:
        raise BadRequest(f"`stop` must be a text, or at most {MAX_STOPS} of them")
    if not all(isinstance(one, str) and 1 <= len(one) <= MAX_STOP_CHARS for one in stops):
        raise BadRequest(f"each `stop` must be a text of 1 to {MAX_STOP_CHARS} characters")
    return tuple(stops)


def ensure_local(kind: str, text: str) -> None:
    """Raise ModelError where a target has no weights that could be run here."""
    if kind not in ("local", "hub"):
        raise ModelError(f"{text}: nothing to run here", "An endpoint is named with --upstream URL.")

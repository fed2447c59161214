"""What a client asks of the local model: a body of `/v1/chat/completions`, read strictly. What would change the answer and cannot be done
is refused, never dropped in silence.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bylaw.errors import ModelError
from bylaw.types import Message, Role

MAX_MESSAGES: Final = 2_000
MAX_CHOICES: Final = 16
MAX_STOPS: Final = 4
MAX_STOP_CHARS: Final = 200
MAX_TEMPERATURE: Final = 5.0
MAX_TOKENS: Final = 1 << 20
ROLES: Final[Mapping[str, Role]] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
NEUTRAL: Final[Mapping[str, tuple[Any, ...]]] = {  # what may be said of things that we do not do
    "top_p": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "response_format": ({"type": "text"},),
    "functions": ([],),
    "tools": ([],),
}


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
            raise BadRequest(_not_done(name))
    template = found.get("chat_template_kwargs")
    thinking = template.get("enable_thinking") if isinstance(template, dict) else None
    if not (thinking is None or isinstance(thinking, bool)):
        raise BadRequest("`chat_template_kwargs.enable_thinking` is true or false")
    options = found.get("stream_options")
    return Wanted(
        _messages(found.get("messages")),
        _whole(found, "max_completion_tokens", 1, MAX_TOKENS) or _whole(found, "max_tokens", 1, MAX_TOKENS),
        _temperature(found.get("temperature")),
        _whole(found, "seed", -(1 << 63), (1 << 63) - 1),
        _whole(found, "n", 1, MAX_CHOICES) or 1,
        _stops(found.get("stop")),
        thinking,
        found.get("stream") is True,
        isinstance(options, dict) and options.get("include_usage") is True,
    )


def _not_done(name: str) -> str:
    if name in ("tools", "functions"):
        return "this local model cannot call tools: nothing here reads calls out of its text"
    return f"`{name}` cannot be set for a local model"


def _no_constant(text: str) -> None:
    raise ValueError(text)


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_MESSAGES:
        raise BadRequest(f"`messages` must be a list of 1 to {MAX_MESSAGES} messages")
    return tuple(_message(at, one) for at, one in enumerate(value))


def _message(at: int, one: Any) -> Message:
    role = one.get("role") if isinstance(one, dict) else None
    if not isinstance(role, str) or role not in ROLES:
        raise BadRequest(f"messages[{at}].role must be one of {', '.join(ROLES)}: this local model knows no others")
    if one.get("tool_calls") or one.get("function_call"):
        raise BadRequest(f"messages[{at}] calls a tool, and this local model cannot")
    content = one.get("content")
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        content = "".join(str(part.get("text", "")) for part in content)
    if not isinstance(content, str):
        raise BadRequest(f"messages[{at}].content must be text: this local model reads nothing else")
    try:
        content.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"messages[{at}].content holds half a character") from None
    return Message(ROLES[role], content)


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

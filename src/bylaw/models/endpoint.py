"""What is said to an OpenAI-compatible chat endpoint, and how strictly its reply is read. Pure: no socket here.

A reply counts only when it is one JSON object without a doubled key, with exactly one choice, whose content is text and whose end
has a known reason. Thinking is the one think block in the content, or the reasoning the server sends apart; never both glued together.
Tool calls count where tools were offered. What a bylaw gateway says of its own decision is kept beside the reply.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

from bylaw.errors import ModelError
from bylaw.models import transcript
from bylaw.types import Completion, Finish, Message, Sampling

SEEDS: Final = 1 << 31  # what every server takes for a seed
STEP: Final = 1_000_003  # odd, so that the repetitions of one seed all differ
WORDS: Final = 160  # characters of a server's own words that are shown
MOST_CALLS: Final = 128  # tool calls of one reply
MOST_CLAUSES: Final = 256  # that a gateway names for one reply
SECRET_CHARS: Final = 12  # a shorter key ("EMPTY", "none") is no secret, and blotting it out would garble replies
_FINISHES: Final[Mapping[str, Finish]] = {
    "stop": "stop", "eos": "stop", "eos_token": "stop", "end_turn": "stop", "stop_sequence": "stop",
    "length": "length", "max_tokens": "length", "content_filter": "refused", "refusal": "refused", "safety": "refused",
}  # fmt: skip
_INSTEAD: Final = re.compile(r"max_completion_tokens['\"` ]{0,3}instead")
Field = Literal["response_format", "seed", "temperature", "max_tokens", ""]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server said, before it is taken apart. Tokens are None where the server does not count."""

    text: str
    reasoning: str = ""
    finish: Finish = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    calls: str = ""  # tool calls as JSON: [[name, arguments as they were written], ...]; text, so that a reply is one flat JSON object
    governed: str = ""  # the gateway's own words as JSON: {"decision", "clauses", "record"}; empty where none spoke

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it, so that it is worth asking again another day."""
        return self.finish != "refused" and not self.text.strip() and not self.calls

    @property
    def tool_calls(self) -> tuple[tuple[str, Mapping[str, Any] | None], ...]:
        """The tools it calls, each with its arguments; None where they are not one JSON object without a doubled key."""
        return tuple((name, _arguments(written)) for name, written in json.loads(self.calls or "[]"))

    @property
    def ruling(self) -> "Ruling":
        """What the gateway decided, if there was one."""
        said = json.loads(self.governed or "{}")
        texts = (str(said.get(name, "")) for name in ("record", "approval"))
        return Ruling(str(said.get("decision", "")), tuple(said.get("clauses", ())), *texts)


class Ruling(NamedTuple):
    """A bylaw gateway's decision on a reply, as it tells clients."""

    decision: str = ""
    clauses: tuple[str, ...] = ()
    record: str = ""
    approval: str = ""  # the id of what people are now asked


@dataclass(frozen=True, slots=True)
class Talk:
    """One conversation for an endpoint that may offer tools, attach documents and name a session."""

    messages: Sequence[Message]
    tools: Sequence[Mapping[str, Any]] = ()  # as OpenAI writes them: {"type": "function", "function": {...}}
    session: str = ""  # sent as x-bylaw-session
    documents: Sequence[str] = ()  # attached to the last turn of the user, as files with a text


class Heard(NamedTuple):
    """What came of one talk: a reply, or why there is none."""

    reply: Reply | None
    why: str = ""


class NotAReplyError(Exception):
    """A body that is no chat completion; the message says why."""


# ---- Where, and with which key ---------------------------------------------------------------------------------------


def checked(url: str) -> str:
    """The endpoint's base without a trailing slash; raises ModelError, and never repeats a URL that may hold a secret."""
    parts = _split(url)
    hint = "write openai:MODEL@URL, for example openai:qwen3@http://localhost:8000/v1; the key goes into BYLAW_API_KEY"
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ModelError("the endpoint's URL is no http or https URL", hint)
    if "@" in parts.netloc:
        raise ModelError(f"the URL of {parts.hostname} holds a name or a password", hint)
    if parts.query or parts.fragment:
        raise ModelError(f"the URL of {parts.hostname} has a query or a fragment", hint)
    return url.rstrip("/").removesuffix("/chat/completions")


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
        (parts.hostname or "").encode("idna")  # raises where no host can be called so
    except ValueError:
        return None
    return parts if url.isprintable() and " " not in url else None


def key_for(url: str, environ: Mapping[str, str]) -> str:
    """The key for this endpoint: `BYLAW_API_KEY_<HOST>`, else `BYLAW_API_KEY`, else at OpenAI itself `OPENAI_API_KEY`; else none.

    `OPENAI_API_KEY` is not sent to other hosts: it belongs to one company.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    names = [f"BYLAW_API_KEY_{re.sub('[^A-Z0-9]', '_', host.upper())}", "BYLAW_API_KEY"]
    if parts.scheme == "https" and host == "api.openai.com":
        names.append("OPENAI_API_KEY")
    name = next((name for name in names if environ.get(name, "").strip()), "")
    key = environ.get(name, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ModelError(f"the key in {name} has characters that no key has", f"set {name} again")
    return key


def blot(text: str, key: str) -> str:
    """The text without the key, should a server repeat it."""
    return text.replace(key, "***") if len(key) >= SECRET_CHARS else text


# ---- What is asked ---------------------------------------------------------------------------------------------------


def seed_of(seed: int, repetition: int) -> int:
    """The seed to send with the nth asking of the same conversation in one batch: a server that honours seeds must draw anew."""
    return (seed + STEP * repetition) % SEEDS


def body(model: str, messages: Sequence[Message], sampling: Sampling, without: frozenset[Field] = frozenset()) -> dict[str, Any]:
    """The request. `without` names what this server refuses; `max_tokens` is then said the newer way. Thinking is not sent back."""
    asked: dict[str, Any] = {
        "model": model,
        "messages": [{"role": m.role, "content": sayable(m.content)} for m in messages],
        "max_completion_tokens" if "max_tokens" in without else "max_tokens": sampling.max_new_tokens,
    }
    if "temperature" not in without:
        asked["temperature"] = sampling.temperature
    if "seed" not in without:
        asked["seed"] = sampling.seed
    if sampling.reply_schema is not None and "response_format" not in without:
        schema = {"name": "reply", "strict": True, "schema": dict(sampling.reply_schema)}
        asked["response_format"] = {"type": "json_schema", "json_schema": schema}
    return asked


def offering(asked: dict[str, Any], tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The request with tools that the model may call; a turn of the role tool answers a call of the first, as servers want it told."""
    if not tools:
        return asked
    function = tools[0].get("function")
    name = str(function.get("name", "")) if isinstance(function, Mapping) else ""
    messages: list[dict[str, Any]] = []
    for at, message in enumerate(asked["messages"]):
        whole = message
        if message["role"] == "tool":
            call = {"id": f"call_{at}", "type": "function", "function": {"name": name, "arguments": "{}"}}
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
            whole = {**message, "tool_call_id": f"call_{at}"}
        messages.append(whole)
    return {**asked, "messages": messages, "tools": [dict(one) for one in tools]}


def attaching(asked: dict[str, Any], documents: Sequence[str]) -> dict[str, Any]:
    """The request with documents as files before the words of the last user turn: a bylaw gateway takes a file for a `document`."""
    last = max((at for at, one in enumerate(asked["messages"]) if one["role"] == "user"), default=-1)
    if not documents or last < 0:
        return asked
    files = [{"type": "file", "file": {"filename": f"document-{i}.txt", "text": sayable(text)}} for i, text in enumerate(documents, 1)]
    message = asked["messages"][last]
    parts = [*files, {"type": "text", "text": message["content"]}]
    return {**asked, "messages": [*asked["messages"][:last], {**message, "content": parts}, *asked["messages"][last + 1 :]]}


def sayable(text: str) -> str:
    """The text with lone surrogates replaced: neither UTF-8 nor a server can take them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def refused_field(status: int, error: Mapping[str, Any], asked: Mapping[str, Any]) -> Field:
    """Which optional part of a request a server does not take, when that is what its 400 says."""
    if status not in (400, 422):
        return ""
    words = str(error.get("message", ""))
    fields: tuple[Field, ...] = ("response_format", "seed", "temperature")
    named = next((field for field in fields if field in asked and (error.get("param") == field or field in words)), None)
    if named:
        return named
    if "max_tokens" in asked and _INSTEAD.search(words):
        return "max_tokens"
    return "response_format" if "response_format" in asked else ""


# ---- What comes back -------------------------------------------------------------------------------------------------


def read(raw: bytes, tools: bool = False) -> Reply:
    """Read a reply; raises NotAReplyError. `tools` says whether tools were offered: only then may it end with calls."""
    found = _object(raw)
    choices = found.get("choices")
    if not isinstance(choices, list) or len(choices) != 1:
        raise NotAReplyError(f"{len(choices)} choices for one question" if isinstance(choices, list) else "no choices in the reply")
    choice = choices[0]
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict) or message.get("role", "assistant") != "assistant":
        raise NotAReplyError("no message of an assistant in the reply")
    reason = choice.get("finish_reason")
    calls = _calls(message) if tools else []
    if calls and reason == "tool_calls":
        reason = "stop"
    if not isinstance(reason, str) or reason not in _FINISHES:
        raise NotAReplyError(f"the reply ended for an unknown reason: {one_line(str(reason))}")
    text, refusal, thoughts = (_text(message, names) for names in (("content",), ("refusal",), ("reasoning_content", "reasoning")))
    usage = found.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    finish = "refused" if refusal else _FINISHES[reason]
    said = Reply(text or refusal, thoughts, finish, _count(counts, "prompt_tokens"), _count(counts, "completion_tokens"))
    ruled = _ruled(found.get("bylaw"))
    return replace(said, calls=json.dumps(calls) if calls else "", governed=json.dumps(ruled) if ruled else "")


def _calls(message: Mapping[str, Any]) -> list[list[str]]:
    """The tool calls of a message, each as its name and its arguments as they were written."""
    given = message.get("tool_calls") or []
    if not isinstance(given, list) or len(given) > MOST_CALLS:
        raise NotAReplyError("the reply's tool calls are no list, or too long a one")
    found = []
    for one in given:
        function = one.get("function") if isinstance(one, dict) else None
        name, written = (function.get("name"), function.get("arguments", "")) if isinstance(function, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(written, str | dict):
            raise NotAReplyError("a tool call of the reply names no function, or its arguments are no text")
        found.append([sayable(name), sayable(written if isinstance(written, str) else json.dumps(written))])
    return found


def _arguments(written: str) -> Mapping[str, Any] | None:
    if not written.strip():
        return {}  # a tool without arguments
    try:
        return _object(written.encode())
    except NotAReplyError:
        return None


def _ruled(said: Any) -> dict[str, Any]:
    """What the `bylaw` object of a reply says; empty where it is none of ours."""
    if not isinstance(said, dict) or not isinstance(said.get("decision"), str):
        return {}
    clauses = said.get("clauses")
    named = [sayable(one) for one in clauses[:MOST_CLAUSES] if isinstance(one, str)] if isinstance(clauses, list) else []
    texts = {name: sayable(str(said.get(name, ""))) for name in ("record", "approval")}
    return {"decision": sayable(said["decision"]), "clauses": named, **texts}


def marked(reply: Reply, headers: Mapping[str, str]) -> Reply:
    """The reply with what the gateway's headers say, where its body says nothing: an answer that is the model's own carries no object."""
    decision = headers.get("x-bylaw-decision", "")
    if reply.governed or not decision:
        return reply
    clauses = [one for one in headers.get("x-bylaw-clauses", "").split(",")[:MOST_CLAUSES] if one]
    return replace(reply, governed=json.dumps({"decision": decision, "clauses": clauses, "record": headers.get("x-bylaw-record", "")}))


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise NotAReplyError("the reply is no JSON, or not all of it") from error
    if not isinstance(found, dict):
        raise NotAReplyError("the reply is no JSON object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotAReplyError("the reply says something twice")  # two readers would read two different replies
    return found


def _no_number(word: str) -> float:
    raise ValueError(word)


def _text(message: Mapping[str, Any], names: Sequence[str]) -> str:
    said = [message[name] for name in names if message.get(name) is not None]
    if any(not isinstance(one, str) or one != said[0] for one in said):
        raise NotAReplyError(f"the reply's {' and '.join(names)} is no text")
    return sayable(said[0]) if said else ""  # here, so that a reply is the same today as from the cache


def _count(usage: Mapping[str, Any], name: str) -> int | None:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < SEEDS else None


def completion(reply: Reply, thinking: bool) -> Completion:
    """Take a reply apart as strictly as any completion; the server's own reasoning stays in `raw` whatever becomes of it."""
    raw = transcript.render(reply.reasoning, reply.text)
    if reply.finish != "stop" or not reply.reasoning:
        return transcript.parse(raw, reply.finish, thinking)
    found = transcript.parse(reply.text, thinking=thinking)
    if thinking and found.fault:  # else it reasons apart and still wrote the block it was asked for: that block is its thinking
        found = transcript.parse(raw)
    return Completion(found.thinking, found.answer, raw, "stop", found.fault)


def error_of(raw: bytes) -> dict[str, Any]:
    """The `error` object of a server's refusal, or what stands in for it."""
    try:
        found = _object(raw)
    except NotAReplyError:
        return {}
    error = found.get("error", found)
    return error if isinstance(error, dict) else {"message": str(error)}


def one_line(words: str) -> str:
    """A server's words, short and on one line."""
    return " ".join("".join(char if char.isprintable() else " " for char in words[: 4 * WORDS]).split())[:WORDS]

"""Requests and replies of an OpenAI client, taken apart for the guard: texts that can be cut, all else, calls, thinking; and put together.

`CHAT` is `chat.completions`, `RESPONSES` is `responses`. Bodies are plain JSON. What is of a kind that is not known here is searched as
JSON, and never cut. What stands beside the texts is judged as in the gateway (`marks`). An output item of the responses that is neither a
message nor thinking is a call of a tool of that name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from bylaw.govern import marks
from bylaw.govern.marks import said_beside, without
from bylaw.govern.streaming import spaced
from bylaw.govern.thinking import parted
from bylaw.types import EMPTY, Surface

Body = dict[str, Any]

TOOL_ROLES: Final = ("tool", "function")
TEXTS: Final = ("text", "input_text", "output_text", "refusal", "summary_text", "reasoning_text")  # parts that are text
PLAIN: Final = ("role", "content", "refusal", "tool_call_id", "type", "id", "status", "call_id", "phase")
MEDIA: Final = ("image_url", "input_audio", "file", "input_image", "input_file", "audio", "output_audio", "output_image")
THOUGHTS: Final = ("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks")
CALLS: Final = {"function": "arguments", "custom": "input"}  # kinds of calls of a chat, and where their arguments stand
SEALED: Final = ("encrypted_content", "id", "status", "type", "call_id")
MARKED: Final = frozenset({"role", "tool_call_id", "type", "id", "status", "call_id", "phase", "encrypted_content"})  # fields of marks
OPTIONS: Final = ("extra_headers", "timeout")  # what a client is told with a request, and the model is not
_CHAT_READ: Final = ("tools", "functions", "prediction", "response_format")  # what else of a request is searched as JSON
_RESPONSES_READ: Final = ("tools", "prompt", "text")
MAX_MESSAGES: Final = 5_000


class Piece(NamedTuple):
    """A text, as the map and the key under which it stands."""

    surface: Surface
    holder: Any
    key: str | int
    role: str = ""
    tool: str = ""

    @property
    def text(self) -> str:
        """The text."""
        text: str = self.holder[self.key]
        return text


class Other(NamedTuple):
    """What is no text, and is searched as JSON."""

    surface: Surface
    value: Any
    tool: str = ""
    part: bool = False  # of a content: there may be more in it than text


class Wanted(NamedTuple):
    """A call that the model asks for; arguments that are no map are for the engine to refuse."""

    tool: str
    args: Any


@dataclass(slots=True)
class Taken:
    """A request, or one choice of a reply."""

    pieces: list[Piece] = field(default_factory=list)
    others: list[Other] = field(default_factory=list)
    calls: list[Wanted] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)  # what else can be read, and cannot be cut: judged as one text
    several: list[list[Piece]] = field(default_factory=list)  # pieces that are read as one text
    schema: Mapping[str, Any] | None = None  # that the answer must fit

    def content(self, surface: Surface, holder: Body, key: str, role: str = "", tool: str = "") -> None:
        """Take a content: a text, parts, or whatever else."""
        content, before = holder.get(key), len(self.pieces)
        if isinstance(content, str):
            self.pieces.append(Piece(surface, holder, key, role, tool))
            return
        for part in content if isinstance(content, list) else [] if content is None else [content]:
            name = next((name for name in TEXTS if isinstance(part, dict) and isinstance(part.get(name), str)), "")
            name = name or ("text" if isinstance(part, dict) and isinstance(part.get("text"), str) else "")
            rest = {other: value for other, value in part.items() if other not in (name, *PLAIN, "logprobs") and value} if name else part
            if name:
                self.pieces.append(Piece(surface, part, name, role, tool))
            if rest:
                self.others.append(Other(surface, rest, tool, True))
        if surface != "output":
            self.several += [self.pieces[before:]] if len(self.pieces) > before + 1 else []
        for part in content if isinstance(content, list) else ():
            self.marked(surface, part)

    def marked(self, surface: Surface, value: Any) -> None:
        """Take what is no mark out of the fields that should hold one."""
        if isinstance(value, dict):
            other = [name for name in value if name not in MARKED]
            if surface == "output":
                self.loose += said_beside(without(value, *other))
            else:
                self.around(value, *other)

    def around(self, value: Body, *but: str) -> None:
        """Take every string of a request that stands beside its texts."""
        found = marks.placed(without(value, *but), ())
        for path, _ in found.texts:
            holder: Any = value
            for step in path[:-1]:
                holder = holder[step]
            self.pieces.append(Piece("input", holder, path[-1]))
        self.loose += found.loose

    def as_one(self) -> list[Piece]:
        """Texts that are made of several pieces, as these stand now: for what begins in one and ends in the next.

        With nothing between them, and with a blank where words meet: models and clients read them in either way.
        """
        found = []
        for one in self.several:
            texts = [piece.text for piece in one]
            found += [one[0]._replace(holder=[whole], key=0) for whole in dict.fromkeys(("".join(texts), spaced(texts)))]
        return found

    def answered(self) -> "Taken":
        """This answer, whose texts a client puts together: those of each kind."""
        kinds = [[piece for piece in self.pieces if piece.key == key] for key in ("text", "refusal")]
        self.several += [pieces for pieces in kinds if len(pieces) > 1]
        return self

    def beside(self, surface: Surface, value: Body, but: tuple[str, ...], tool: str = "", part: bool = False) -> None:
        """Take what else stands in a map."""
        rest = {name: one for name, one in value.items() if name not in but and one not in (None, [], "", {})}
        if rest:
            self.others.append(Other(surface, rest, tool, part))

    def said(self) -> str:
        """All its texts."""
        return "\n".join(piece.text for piece in self.pieces)


class Shape(Protocol):
    """One of the two APIs."""

    def request(self, asked: Body) -> Taken:
        """Take a request apart; ValueError where it cannot be read."""

    def choices(self, body: Body) -> int:
        """How many choices a reply has."""

    def answer(self, body: Body, at: int, sent: Mapping[str, Any] = EMPTY) -> Taken:
        """Take a choice apart; its thinking is taken out of the body. What was `sent` is nothing new in it."""

    def cut(self, body: Body, at: int) -> None:
        """Take out what would spell a text that was cut."""

    def again(self, asked: Body, said: str, critique: str) -> Body:
        """The same request once more, after an answer that must be mended."""

    def adopt(self, body: Body, at: int, other: Body) -> None:
        """Let the first choice of another reply stand for this one."""

    def speak(self, body: Body, at: int, text: str) -> None:
        """Let a choice say something else: our text alone."""


class _Chat:
    """`chat.completions`."""

    def request(self, asked: Body) -> Taken:
        messages = asked.get("messages")
        if not isinstance(messages, list) or len(messages) > MAX_MESSAGES or not all(isinstance(one, dict) for one in messages):
            raise ValueError(f"messages must be a list of at most {MAX_MESSAGES}")
        taken, tools = Taken(schema=_schema(_inside(asked.get("response_format"), "json_schema"))), dict[str, str]()
        for message in messages:
            role = str(message.get("role"))
            for call in message.get("tool_calls") or []:
                tools[str(call.get("id"))] = str((call.get("function") or {}).get("name", ""))
            tool = tools.get(str(message.get("tool_call_id")), str(message.get("name") or "")) if role in TOOL_ROLES else ""
            surface: Surface = "tool_result" if role in TOOL_ROLES else "input"
            for key in ("content", "refusal"):
                taken.content(surface, message, key, role, tool)
            taken.beside(surface, message, PLAIN, tool)
            taken.marked(surface, message)
        taken.beside("input", {key: asked.get(key) for key in _CHAT_READ}, ())
        taken.around(asked, "messages", *_CHAT_READ, *OPTIONS)
        return taken

    def choices(self, body: Body) -> int:
        return len(body.get("choices") or [])

    def answer(self, body: Body, at: int, sent: Mapping[str, Any] = EMPTY) -> Taken:
        choice = body["choices"][at]
        taken, message = Taken(), choice.get("message") or {}
        for key in THOUGHTS:
            if (thought := message.pop(key, None)) is not None:
                taken.thinking.append(thought if isinstance(thought, str) else json.dumps(thought, ensure_ascii=False))
        if isinstance(message.get("content"), str):
            thought, message["content"] = parted(message["content"])
            if thought:
                taken.thinking.append(thought)
                self.cut(body, at)
        for key in ("content", "refusal"):
            taken.content("output", message, key, "assistant")
        taken.beside("output", message, (*PLAIN, "tool_calls", "function_call"))
        taken.marked("output", message)
        if choice.get("logprobs"):
            others = _alternatives(choice["logprobs"], message)
            taken.loose += others or []
            if others is None:
                self.cut(body, at)
        around = [without(choice, "message", "logprobs"), without(body, "choices") if at == 0 else None]
        for call in [*(message.get("tool_calls") or []), *([message["function_call"]] if message.get("function_call") else [])]:
            kind, forms = str(call.get("type") or "function"), [form for form in CALLS if isinstance(call.get(form), dict)]
            around.append(without(call, kind, *forms))
            for form in forms:  # one that is written in two ways is two: programs differ in which they read
                inner = call[form]
                around.append(without(inner, "name", CALLS[form]))
                args = {"input": inner.get("input")} if form == "custom" else _args(inner.get("arguments"))
                taken.calls.append(Wanted(str(inner.get("name") or form), args))
            if kind not in forms:
                inner = call.get(kind) if isinstance(call.get(kind), dict) else call
                around.append(without(inner, "name", "arguments", "input"))
                taken.calls.append(Wanted(str(inner.get("name") or kind), _args(inner.get("arguments"))))
        taken.loose += said_beside(around, sent)
        return taken.answered()

    def cut(self, body: Body, at: int) -> None:
        body["choices"][at]["logprobs"] = None
        body["choices"][at].pop("token_ids", None)  # as some servers spell it

    def again(self, asked: Body, said: str, critique: str) -> Body:
        return {
            **asked,
            "messages": [*asked["messages"], {"role": "assistant", "content": said}, {"role": "user", "content": critique}],
        }

    def adopt(self, body: Body, at: int, other: Body) -> None:
        body["choices"][at] = {**other["choices"][0], "index": body["choices"][at].get("index", at)}

    def speak(self, body: Body, at: int, text: str) -> None:
        index = body["choices"][at].get("index", at)
        body["choices"][at] = {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", "logprobs": None}


class _Responses:
    """`responses`."""

    def request(self, asked: Body) -> Taken:
        taken, tools = Taken(schema=_schema(_inside(asked.get("text"), "format"))), dict[str, str]()
        for key, role in (("instructions", "system"), ("input", "user")):
            given = asked.get(key)
            if isinstance(given, str):
                taken.content("input", asked, key, role)
            elif isinstance(given, list) and len(given) <= MAX_MESSAGES and all(isinstance(one, dict) for one in given):
                for item in given:
                    self._item(item, taken, tools)
            elif given is not None:
                raise ValueError(f"{key} must be a text, or a list of at most {MAX_MESSAGES}")
        taken.beside("input", {key: asked.get(key) for key in _RESPONSES_READ}, ())
        taken.around(asked, "input", "instructions", *_RESPONSES_READ, *OPTIONS)
        return taken

    def _item(self, item: Body, taken: Taken, tools: dict[str, str]) -> None:
        kind = str(item.get("type") or "message")
        taken.marked("input", item)
        if kind == "message":
            taken.content("input", item, "content", str(item.get("role") or "user"))
            taken.beside("input", item, PLAIN)
        elif kind.endswith("_output"):
            tool = tools.get(str(item.get("call_id")), "")
            taken.content("tool_result", item, "output", "tool", tool)
            taken.beside("tool_result", item, ("output", *SEALED), tool)
        else:
            if kind == "function_call":
                tools[str(item.get("call_id"))] = str(item.get("name") or "")
            taken.beside("input", item, () if kind in MEDIA else SEALED, part=True)

    def choices(self, body: Body) -> int:
        return 1

    def answer(self, body: Body, at: int, sent: Mapping[str, Any] = EMPTY) -> Taken:
        taken = Taken(loose=said_beside(without(body, "output"), sent))
        for item in body.get("output") or []:
            kind = str(item.get("type") or "")
            taken.marked("output", item)
            if kind == "message":
                self._message(item, taken)
            elif kind == "reasoning":
                for key in ("summary", "content"):
                    taken.thinking += [str(part.get("text", "")) for part in item.get(key) or [] if isinstance(part, dict)]
                    item[key] = [] if key == "summary" else None
            elif kind == "function_call":
                taken.calls.append(Wanted(str(item.get("name", "")), _args(item.get("arguments"))))
            elif kind == "custom_tool_call":
                taken.calls.append(Wanted(str(item.get("name", "")), {"input": item.get("input")}))
            else:
                args = {key: value for key, value in item.items() if key not in SEALED}
                taken.calls.append(Wanted(kind.removesuffix("_call"), args))
        return taken.answered()

    def _message(self, item: Body, taken: Taken) -> None:
        first = not taken.pieces
        taken.content("output", item, "content", "assistant")
        taken.beside("output", item, PLAIN)
        if first and taken.pieces:
            thought, answer = parted(taken.pieces[0].text)
            if thought:
                taken.thinking.append(thought)
                taken.pieces[0].holder[taken.pieces[0].key] = answer
                taken.pieces[0].holder["logprobs"] = []
        for part in item["content"] if isinstance(item.get("content"), list) else ():
            if isinstance(part, dict) and part.get("logprobs"):
                others = marks.spelled(part["logprobs"], str(part.get("text") or ""))
                taken.loose += others or []
                part["logprobs"] = part["logprobs"] if others is not None else []

    def cut(self, body: Body, at: int) -> None:
        for item in body.get("output") or []:
            for part in item.get("content") or [] if item.get("type") == "message" else []:
                if isinstance(part, dict) and "logprobs" in part:
                    part["logprobs"] = []

    def again(self, asked: Body, said: str, critique: str) -> Body:
        given = asked.get("input")
        before = [{"role": "user", "content": given}] if isinstance(given, str) else list(given or ())
        return {**asked, "input": [*before, {"role": "assistant", "content": said}, {"role": "user", "content": critique}]}

    def adopt(self, body: Body, at: int, other: Body) -> None:
        body.clear()
        body.update(other)

    def speak(self, body: Body, at: int, text: str) -> None:
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        body["output"] = [{"type": "message", "id": "msg_bylaw", "role": "assistant", "status": "completed", "content": [part]}]
        body["status"], body["incomplete_details"] = "completed", None


def _alternatives(logprobs: Any, message: Body) -> list[str] | None:
    """The alternatives to a chat's tokens; None where the token probabilities spell something else than the message."""
    if not isinstance(logprobs, dict) or logprobs.keys() - {"content", "refusal"}:
        return None
    found: list[str] = []
    for key in ("content", "refusal"):
        text = message.get(key) or ""
        others = marks.spelled(logprobs.get(key) or [], text) if isinstance(text, str) else None
        if others is None:
            return None
        found += others
    return found


def _inside(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _schema(form: Any) -> Mapping[str, Any] | None:
    schema = form.get("schema") if isinstance(form, Mapping) else None
    return schema if isinstance(schema, Mapping) else None


def _args(written: Any) -> Any:
    """Arguments as they are written: one object, no key twice; else None."""
    try:
        return (
            json.loads(written, object_pairs_hook=_once) if isinstance(written, str) and written.strip() else {} if written == "" else None
        )
    except (ValueError, RecursionError):
        return None


def _once(pairs: list[tuple[str, Any]]) -> Body:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key stands there twice")
    return dict(pairs)


CHAT: Final[Shape] = _Chat()
RESPONSES: Final[Shape] = _Responses()

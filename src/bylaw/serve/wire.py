"""What is in a request and in a reply, whichever route it takes: texts, tool calls, thinking, and where each of them stands.

Read strictly, once, at the door: what is judged here is what is sent on, because our own serialisation is forwarded. Fields that we do
not know pass unchanged, but no text hides in them: the strings of a part of unknown kind are judged together, and as they cannot be
redacted, a redaction there is a block. Arguments of a tool call with a key given twice, or with a number that is none, cannot be read.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite
from typing import Any, Final, NamedTuple

import orjson

from bylaw.govern.marks import KEYS, strings
from bylaw.govern.streaming import spaced
from bylaw.types import EMPTY, Surface

MAX_BODY_BYTES: Final = 16 << 20  # a request; images travel in it
MAX_REPLY_BYTES: Final = 64 << 20
MAX_DEPTH: Final = 64  # levels of maps and lists in a body
MAX_NESTED: Final = 1_000_000  # maps and lists in a body
MAX_MESSAGES: Final = 2_000
MAX_TEXTS: Final = 20_000  # in one body
MAX_CHOICES: Final = 16
MAX_CALLS: Final = 128  # tool calls in one reply
MAX_ARGUMENTS_BYTES: Final = 1 << 20
MAX_DIGITS: Final = 300  # of a number that surely is finite
KEPT: Final = 256  # texts gathered from values, kept for when they come again
MAX_KEPT_BYTES: Final = 1 << 15

FIELDS: Final = KEYS | {"messages", "mcp_servers", "web_search_options", "environment", "choices", "message", "arguments", "bylaw"}
ELSEWHERE: Final = ("_id", "_token", "thread", "conversation", "session")  # how fields end that name what an upstream may keep
MARKS: Final = frozenset({"request_id", "trace_id", "user_id"})  # fields that end so, and by which nothing is read back

Path = tuple[str | int, ...]
JsonMap = dict[str, Any]


class BadBody(Exception):  # noqa: N818  # becomes an answer of the route, never a BylawError
    """A request or a reply that cannot be read: what is wrong, and the field it stands in."""

    def __init__(self, what: str, param: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.param = param


class Text(NamedTuple):
    """One text that something reads: the model, or the person in front of it."""

    surface: Surface
    text: str
    path: Path = ()  # where it stands in the body; empty: gathered from several places, so nothing can be cut out of it
    role: str = "user"
    tool: str = ""  # of a tool's result: whose
    parts: tuple[Path, ...] = ()  # where the texts stand of which this is made; it is judged when they have been
    spaced: bool = False  # whether parts in which words meet are put together with a blank between them


class Call(NamedTuple):
    """One tool call that a model asks for. `args` is None where the arguments cannot be read: no rule can be decided on it."""

    id: str
    tool: str
    args: Mapping[str, Any] | None
    path: Path = ()  # where it stands in the body


class Asked(NamedTuple):
    """A request, taken apart. `calls` are those of earlier turns, as the client tells them."""

    body: JsonMap
    model: str
    stream: bool
    texts: tuple[Text, ...]
    calls: tuple[Call, ...] = ()
    opening: tuple[str, ...] = ()  # what the conversation begins with: tells sessions apart where no header does; empty: nobody can tell
    media: tuple[str, ...] = ()  # kinds of parts that no rail can read, e.g. `image_url`
    schema: Mapping[str, Any] | None = None  # the JSON Schema that the answer must fit
    previous: str | None = None  # the reply that this turn follows; empty: none; None: replies of this route are not followed so


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the answers in a reply."""

    index: int
    texts: tuple[Text, ...]
    calls: tuple[Call, ...] = ()
    thinking: tuple[Text, ...] = ()
    media: tuple[str, ...] = ()


class Said(NamedTuple):
    """A reply, taken apart."""

    body: JsonMap
    choices: tuple[Choice, ...]


@dataclass(slots=True)
class Gathering:
    """Collects what stands in one body, within its bounds."""

    texts: list[Text] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    thinking: list[Text] = field(default_factory=list)
    media: list[str] = field(default_factory=list)

    def text(self, surface: Surface, text: str, path: Path, role: str = "user", tool: str = "") -> None:
        """Keep one text, if there is anything in it."""
        if len(self.texts) >= MAX_TEXTS:
            raise BadBody(f"more than {MAX_TEXTS} texts")
        if text:
            self.texts.append(Text(surface, text, path, role, tool))

    def loose(self, surface: Surface, value: Any, role: str = "user", tool: str = "") -> None:
        """Keep all strings of a value whose shape we do not know, as one text that cannot be cut."""
        if value is None:
            return
        self.text(surface, _gathered(value), (), role, tool)

    def call(self, call: Call) -> None:
        """Keep one tool call."""
        if len(self.calls) >= MAX_CALLS * MAX_CHOICES:
            raise BadBody(f"more than {MAX_CALLS * MAX_CHOICES} tool calls")
        self.calls.append(call)

    def choice(self, index: int) -> Choice:
        """All of it as one answer."""
        if len(self.calls) > MAX_CALLS:
            raise BadBody(f"more than {MAX_CALLS} tool calls in one answer")
        return Choice(index, (*self.texts, *_as_one(self.texts)), tuple(self.calls), tuple(self.thinking), tuple(self.media))


def opening(texts: Sequence[Text]) -> tuple[str, ...]:
    """What a conversation begins with: the texts of the first message of a user, which every later turn repeats.

    Not what a client puts before it, such as a system text with a clock in it; nor what follows, which is not there on the first turn.
    """
    first = next((text for text in texts if text.role == "user" and text.surface == "input" and text.path), None)
    if first is None:
        return ()
    same = (text for text in texts if (text.role, text.surface, text.path[:2]) == ("user", "input", first.path[:2]))
    return tuple(text.text for text in same)


def across(texts: Sequence[Text]) -> list[Text]:
    """The parts of each message that has several, as a model reads them: in one piece, for what begins in one part and ends in another.

    Of an assistant's message too: a client can write one. Where it is what this gateway answered, it is known again as a whole.
    """
    parts: dict[tuple[str, Path], list[Text]] = {}
    for text in texts:
        if text.path[-1:] == ("text",):
            parts.setdefault((text.surface, text.path[:-2]), []).append(text)
    return [whole for several in parts.values() for whole in in_one(several, "assistant" if several[0].role == "assistant" else "")]


def _as_one(texts: Sequence[Text]) -> list[Text]:
    """The parts of an answer that has several, as clients put them together: texts as one piece, and refusals."""
    if len(texts) < 2:
        return []
    ends = (("text", "content"), ("refusal",))
    kinds = ([text for text in texts if text.path and text.path[-1] in end] for end in ends)
    return [whole for several in kinds for whole in in_one(several, "assistant")]


def in_one(several: Sequence[Text], role: str) -> list[Text]:
    """Several parts as one text; and with blanks between them, where words meet: some models and clients read them so."""
    if len(several) < 2:
        return []
    texts, first = [one.text for one in several], several[0]
    made = Text(first.surface, "".join(texts), (), role, first.tool, tuple(one.path for one in several))
    apart = spaced(texts)
    return [made] if apart == made.text else [made, made._replace(text=apart, spaced=True)]


def heard(reply: bytes) -> JsonMap:
    """Read what an upstream says. The `bylaw` object is ours: nobody else tells a client what was decided. Raises BadBody."""
    body = load(reply)
    body.pop("bylaw", None)
    return body


def load(body: bytes | bytearray) -> JsonMap:
    """Read a body: a JSON object in UTF-8, not too deep. Of a key given twice the last one counts, and only that one is sent on."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        value = _with_halves(body)
        if value is None:
            raise BadBody(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadBody("the body is not a JSON object")
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and too_deep(value):
        raise BadBody(f"the body is nested deeper than {MAX_DEPTH} levels, or has more than {MAX_NESTED} maps and lists")
    return value


def of_one_case(*maps: Any) -> None:
    """Refuse a field that some servers and clients take for another one, as they do not tell capitals apart; raises BadBody."""
    for one in maps:
        if not isinstance(one, dict) or FIELDS.issuperset(one):
            continue
        for name in one:
            if (folded := name.casefold()) != name and folded in FIELDS:
                raise BadBody(f"`{name}` is no field; `{folded}` is one", name)


def _with_halves(body: bytes | bytearray) -> Any:
    """A body in which half a surrogate pair stands, as streams have them where a character was cut; None where it is no JSON either."""
    if b"\\u" not in body:
        return None
    try:
        return json.loads(body, parse_constant=_no_number, parse_float=_finite, parse_int=_whole)
    except (ValueError, RecursionError):
        return None


def dump(value: Any) -> bytes:
    """Write JSON. A string that holds half a surrogate pair has no UTF-8; it is written as an escape, as it came."""
    try:
        return orjson.dumps(value)
    except TypeError:  # only half a surrogate pair gets here: all else came from JSON
        return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode()


def too_deep(value: Any) -> bool:
    """Whether maps and lists stand in each other more than `MAX_DEPTH` levels deep, or are more than anybody looks through."""
    level, left = [value], MAX_NESTED
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for one in level:
            inner.extend(part for part in (one.values() if isinstance(one, dict) else one) if isinstance(part, dict | list))
            if len(inner) > left:
                return True
        if not inner:
            return False
        left -= len(inner)
        level = inner
    return True


def _gathered(value: Any) -> str:
    """The strings of a value, a line each. Tool definitions come again with every request, so that the latest are kept."""
    try:
        key = orjson.dumps(value)
    except TypeError:  # half a surrogate pair
        return "\n".join(strings(value))
    if len(key) > MAX_KEPT_BYTES:
        return "\n".join(strings(value))
    return _joined(key)


@lru_cache(maxsize=KEPT)
def _joined(key: bytes) -> str:
    return "\n".join(strings(orjson.loads(key)))


def put(body: JsonMap, path: Path, value: Any) -> None:
    """Set what stands at a path; the path was made by us, from this body."""
    at: Any = body
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value


def get(body: JsonMap, path: Path) -> Any:
    """What stands at a path; the path was made by us, from this body."""
    at: Any = body
    for step in path:
        at = at[step]
    return at


def now(body: JsonMap, text: Text) -> Text:
    """A text that is made of parts, as they stand in the body now."""
    if not text.parts:
        return text
    texts = [get(body, part) for part in text.parts]
    return text._replace(text=spaced(texts) if text.spaced else "".join(texts))


def arguments(text: Any) -> Mapping[str, Any] | None:
    """A tool call's arguments, strictly: one object, no key twice, no NaN; None where that is not so."""
    if isinstance(text, dict):
        return None if too_deep(text) else text
    if not isinstance(text, str) or len(text) > MAX_ARGUMENTS_BYTES:
        return None
    if not text.strip():
        return EMPTY  # a tool without arguments
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and not too_deep(value) else None


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if isfinite(number) else _no_number(digits[:20])


def _whole(digits: str) -> int:
    """A whole number that a float can hold, as orjson has it."""
    if len(digits) > MAX_DIGITS:
        _finite(digits)
    return int(digits)


# ---- Reading fields at the door --------------------------------------------------------------------------------------


def not_kept(body: Mapping[str, Any], *known: str) -> None:
    """Refuse fields that name what the upstream keeps and nobody here has looked at (a thread, an id, a token); raises BadBody."""
    for key, value in body.items():
        names = key.casefold().endswith(ELSEWHERE) and isinstance(value, str | dict | list) and value
        if names and key not in known and key not in MARKS:
            what = f"`{key}` may name what is kept upstream, where nobody judged it; send what it says in the request instead"
            raise BadBody(what, key)


def a_string(body: Mapping[str, Any], key: str) -> str:
    """A field that must be a string."""
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise BadBody(f"`{key}` must be a string", key)
    return value


def a_flag(body: Mapping[str, Any], key: str) -> bool:
    """A field that is true or false; left out means false."""
    value = body.get(key)
    if value is not None and not isinstance(value, bool):
        raise BadBody(f"`{key}` must be true or false", key)
    return bool(value)


def a_list(body: Mapping[str, Any], key: str, most: int = MAX_MESSAGES) -> list[Any]:
    """A field that is a list of at most so many; left out means empty."""
    value = body.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadBody(f"`{key}` must be a list", key)
    if len(value) > most:
        raise BadBody(f"`{key}` has more than {most} entries", key)
    return value


def kind_of(value: Mapping[str, Any], otherwise: str = "") -> str:
    """What a message, part, block or item says it is."""
    kind = value.get("type")
    if kind is not None and not isinstance(kind, str):
        raise BadBody("`type` must be a string", "type")
    return kind or otherwise


def a_map(value: Any, where: str) -> JsonMap:
    """A value that must be an object."""
    if not isinstance(value, dict):
        raise BadBody(f"{where} must be an object", where)
    return value

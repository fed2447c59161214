"""The two notations inside a policy, YAML and JSON, read strictly and printed back.

The YAML is a safe part of 1.2: `on`, `yes` and dates are text, only `true` and `false` are truth values, and there are no anchors,
aliases, tags or merge keys. Duplicate keys, non-finite numbers and integers that JSON cannot carry exactly are refused.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import yaml

from bylaw.errors import PolicyError
from bylaw.types import Place

MAX_BLOCK_CHARS: Final = 256_000
MAX_DEPTH: Final = 24
MAX_NODES: Final = 20_000
MAX_JSON_DEPTH: Final = 64  # a tool's schema nests twice for each level of its arguments
MAX_INT: Final = 2**53 - 1  # the largest integer that every JSON reader keeps exact

# What turns round what is shown, and a second alphabet that shows nothing at all and that a model reads.
TURNED: Final = re.compile(r"[\u202a-\u202e\u2066-\u2069\ufff9-\ufffb\U000e0000-\U000e007f]")

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_NON_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF|nan|NaN|NAN)")
_BARE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*([ :][A-Za-z0-9_./-]+)*")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NULLS: Final = ("", "~", "null")


@dataclass(frozen=True, slots=True)
class Node:
    """A YAML value and the line it stands on. Lists hold nodes; maps hold nodes under text keys."""

    value: Any
    place: Place


def wrong(place: Place, message: str, hint: str) -> PolicyError:
    """The error for a fault at one place of a policy."""
    return PolicyError(f"{place}: {message}", hint)


def is_day(text: str) -> bool:
    """Whether a text is a date as we write dates: 2026-12-01."""
    try:
        return bool(_DATE.fullmatch(text)) and bool(date.fromisoformat(text))
    except ValueError:
        return False


def read_yaml(text: str, place: Place) -> Node:
    """Read one YAML value that starts at `place`; raises PolicyError with the line of the fault."""
    if len(text) > MAX_BLOCK_CHARS:
        raise wrong(
            place, f"YAML of {len(text)} characters, the limit is {MAX_BLOCK_CHARS}", "Move prose out of YAML, or split the clause."
        )
    if turned := TURNED.search(text):
        at = Place(place.file, place.line + text.count("\n", 0, turned.start()))
        raise wrong(at, f"the character U+{ord(turned[0]):04X} makes the line read otherwise than it is shown", "Delete it.")
    try:
        events = yaml.parse(text, Loader=_LOADER)
        return _Builder(place, (event for event in events if isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent))).document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = Place(place.file, place.line + (mark.line if mark else 0))
        problem = " ".join((getattr(error, "problem", None) or str(error)).split())
        raise wrong(at, f"not valid YAML: {problem}", "Check indentation, colons and quotes on this line.") from error


class _Builder:
    """Builds nodes from parser events, so that nothing an outsider writes can grow or recurse without bound."""

    def __init__(self, place: Place, events: Iterator[Any]) -> None:
        self.first = place
        self.events = events
        self.count = 0

    def document(self) -> Node:
        event = next(self.events, None)
        node = Node(None, self.first) if event is None else self.node(event, 0)
        extra = next(self.events, None)
        if extra is not None:
            raise wrong(self.place(extra), "more than one YAML document", "Remove the `---` line.")
        return node

    def place(self, event: Any) -> Place:
        return Place(self.first.file, self.first.line + event.start_mark.line)

    def node(self, event: Any, depth: int) -> Node:
        place = self.place(event)
        self.count += 1
        if self.count > MAX_NODES or depth > MAX_DEPTH:
            raise wrong(place, f"YAML with more than {MAX_NODES} values or {MAX_DEPTH} levels", "Write it flatter and shorter.")
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise wrong(place, "YAML anchors and aliases are not allowed", "Write the value out.")
        if event.tag not in (None, "!"):
            raise wrong(place, f"YAML tag {event.tag} is not allowed", "Write a plain value.")
        if isinstance(event, yaml.ScalarEvent):
            return Node(_scalar(event, place), place)
        return Node(self.items(depth) if isinstance(event, yaml.SequenceStartEvent) else self.mapping(depth), place)

    def items(self, depth: int) -> list[Node]:
        found = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            found.append(self.node(event, depth + 1))
        return found

    def mapping(self, depth: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            place = self.place(event)
            key = self.node(event, depth + 1).value if not isinstance(event, yaml.ScalarEvent) or event.anchor or event.tag else event.value
            if not isinstance(key, str):
                raise wrong(place, "a key must be plain text", "Put the key in quotes.")
            if key in found:
                raise wrong(place, f"key {key!r} is written twice", "Remove one of them.")
            found[key] = self.node(next(self.events), depth + 1)
        return found


def _scalar(event: Any, place: Place) -> Any:
    text = event.value
    if event.style:  # quoted or block text is always text
        return str(text)
    if text in _NULLS:
        return None
    if text in ("true", "false"):
        return text == "true"
    if _NON_FINITE.fullmatch(text):
        raise wrong(place, f"{text} is not a number", "Write a finite number.")
    if _INT.fullmatch(text) and len(text) <= 20:
        return bounded(int(text), place)
    if _FLOAT.fullmatch(text) and len(text) <= 64:
        return bounded(float(text), place)
    return str(text)


def bounded(number: float, place: Place) -> float:
    """The number itself; raises PolicyError where JSON cannot carry it exactly."""
    if (isinstance(number, float) and not math.isfinite(number)) or (isinstance(number, int) and abs(number) > MAX_INT):
        raise wrong(place, "a number too large to be exact", f"Stay within {MAX_INT}, or write it as text in quotes.")
    return number


def plain(node: Node) -> Any:
    """The value of a node as JSON-like Python values."""
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    if isinstance(node.value, dict):
        return {key: plain(item) for key, item in node.value.items()}
    return node.value


def read_json(text: str, place: Place) -> Any:
    """Read one JSON value that starts at `place`; raises PolicyError with the line of the fault."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise wrong(place, "a JSON object has the same key twice", "Remove one of them.")
        return found

    def refuse(name: str) -> Any:
        raise wrong(place, f"{name} is not a JSON number", "Write a finite number.")

    def number(digits: str) -> float:
        return bounded(int(digits) if len(digits) <= 20 else math.inf, place)

    def real(digits: str) -> float:
        return bounded(float(digits), place)

    if len(text) > MAX_BLOCK_CHARS:
        raise wrong(place, f"JSON of {len(text)} characters, the limit is {MAX_BLOCK_CHARS}", "Keep the example short.")
    try:
        value = json.loads(text, object_pairs_hook=unique, parse_constant=refuse, parse_int=number, parse_float=real)
        _utf8(value)
    except json.JSONDecodeError as error:
        at = Place(place.file, place.line + error.lineno - 1)
        raise wrong(at, f"not valid JSON: {error.msg}", "Check commas, quotes and brackets on this line.") from error
    except RecursionError as error:
        raise _too_deep(place) from error
    except UnicodeEncodeError as error:
        raise wrong(place, "JSON with half a character (a lone surrogate)", "Write the whole character.") from error
    if deeper(value, MAX_JSON_DEPTH):
        raise _too_deep(place)
    return value


def _too_deep(place: Place) -> PolicyError:
    return wrong(place, "JSON nested too deep", f"Use at most {MAX_JSON_DEPTH} levels.")


def deeper(value: Any, levels: int) -> bool:
    """Whether a JSON value has more levels than these; what reads it later may recurse."""
    level = [value]
    for _ in range(levels):
        inner = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [item for items in inner for item in items]
    return bool(level)


def _utf8(value: Any) -> None:
    """Raise UnicodeEncodeError where a text cannot be written as UTF-8 (JSON escapes can smuggle half a character)."""
    json.dumps(value, ensure_ascii=False).encode()


def inline(value: Any) -> str:
    """One JSON-like value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(key, key=True)}: {inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(inline(item) for item in value) + "]"
    if isinstance(value, str):
        return _quoted(value)
    return json.dumps(value)


def _quoted(text: str, key: bool = False) -> str:
    """Text as a YAML scalar: bare where every YAML reader sees text, else in double quotes."""
    ambiguous = text.lower() in {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
    if _BARE.fullmatch(text) and len(text) <= 100 and (key or not ambiguous) and text not in _NULLS:
        return text
    return "".join(_escaped(char) for char in json.dumps(text, ensure_ascii=False))


def _escaped(char: str) -> str:
    code = ord(char)
    printable = 0x20 <= code < 0x7F or (0xA0 <= code < 0xD800 and code not in (0x2028, 0x2029)) or 0xE000 <= code < 0xFEFF
    if not TURNED.match(char) and (printable or 0x10000 <= code < 0x110000):
        return char
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

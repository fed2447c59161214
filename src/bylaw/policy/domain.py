"""The events worth trying on a condition: every value it names, the ones just beside it, and what the tool's schema allows.

Conditions are read with a few patterns, not with a solver. Whatever is found is tried by the real evaluation, so a pattern that misses
something costs a finding and never invents one. `exhausts` says whether the values tried stand for all values there are: only for
conditions made of comparisons of one field with one value, `in`, `has`, `&&`, `||` and `!`.
"""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from bylaw.policy.conditions import OWN
from bylaw.types import EMPTY, Event, Surface

Field = tuple[str, ...]  # ("args", "amount"), or ("text",)
Choice = tuple[Any, ...]  # one value for each field of a domain

MAX_VALUES: Final = 24  # of one field
MAX_CHOICES: Final = 4_096  # of one condition; a larger domain is tried in part, and nothing is claimed about all of it
MAX_SUBSETS: Final = 4  # words of which every subset is tried
OTHER: Final = "other"
MISSING: Final = object()  # the field is left out

_STRING: Final = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
_INDEX: Final = rf"\[\s*{_STRING}\s*\]"
_FIELD: Final = rf"(?:\b(?:args|principal|session|env)(?:\.[A-Za-z_]\w*+(?!\s*\()|{_INDEX})+|\btext\b|\btool\b|\bsurface\b)"
_NUMBER: Final = r"-?\b\d+(?:\.\d+)?(?![\w.])"
_VALUE: Final = rf"(?:{_STRING}|{_NUMBER}|\btrue\b|\bfalse\b)"
_TOKEN: Final = re.compile(rf"(?P<string>{_STRING})|(?P<field>{_FIELD})|(?P<number>{_NUMBER})|(?P<joint>&&|\|\|)")
_ATOM: Final = re.compile(
    rf"{_FIELD}\s*(?:==|!=|<=|>=|<|>)\s*{_VALUE}|{_VALUE}\s*(?:==|!=|<=|>=|<|>)\s*{_FIELD}|{_VALUE}\s+in\s+{_FIELD}"
    rf"|{_FIELD}\s+in\s+\[(?:\s*{_VALUE}\s*,?)*\]|\bhas\(\s*{_FIELD}\s*\)|{_FIELD}|\btrue\b|\bfalse\b"
)
_PART: Final = re.compile(rf"\.([A-Za-z_]\w*)|\[\s*({_STRING})\s*\]")
_JOINED: Final = re.compile(r"[@&|!()\s]*")


class Named(NamedTuple):
    """What a condition names beside one field: words and numbers."""

    words: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()


class Domain(NamedTuple):
    """The fields that conditions read, and the values to try for each; `whole` when these stand for all values."""

    fields: tuple[Field, ...]
    values: tuple[tuple[Any, ...], ...]
    whole: bool

    def choices(self) -> Iterator[Choice]:
        """Every combination of values, at most MAX_CHOICES of them, spread over the whole where there are more."""
        size = math.prod(map(len, self.values))
        if size <= MAX_CHOICES:
            yield from itertools.product(*self.values)
            return
        for step in range(MAX_CHOICES):
            number = step * size // MAX_CHOICES + step * 7919 % max(size // MAX_CHOICES, 1)
            choice = []
            for values in self.values:
                number, at = divmod(number, len(values))
                choice.append(values[at])
            yield tuple(choice)


def named(source: str) -> dict[Field, Named]:
    """The fields of a condition, each with the words and numbers that stand in the same part of it (between `&&` and `||`)."""
    found: dict[Field, Named] = {}
    fields: list[Field] = []
    words: list[str] = []
    numbers: list[float] = []

    def close() -> None:
        for field in fields:
            before = found.get(field, Named())
            found[field] = Named((*before.words, *words), (*before.numbers, *numbers))
        for part in (fields, words, numbers):
            part.clear()

    for token in _TOKEN.finditer(source):
        if token["joint"]:
            close()
        elif token["field"]:
            fields.append(_field(token["field"]))
        elif token["string"]:
            words.append(_text(token["string"]))
        else:
            numbers.append(float(token["number"]))
    close()
    return found


def exhausts(source: str) -> bool:
    """Whether the values tried stand for all values: the condition compares single fields with single values, and no more."""
    return bool(_JOINED.fullmatch(_ATOM.sub("@", source)))


def domain(sources: Sequence[str], fields_of: Sequence[str], schema: Mapping[str, Any] | None) -> Domain:
    """The values to try for the fields that `fields_of` read, with everything that `sources` name beside them."""
    beside = [named(source) for source in sources]
    asked = [field for source in fields_of for field in named(source) if field[0] not in ("tool", "surface")]
    fields = tuple(dict.fromkeys(asked))
    optional = any("has(" in source for source in sources)
    columns = []
    for field in fields:
        one = [found[field] for found in beside if field in found]
        words = tuple(dict.fromkeys(word for row in one for word in row.words))
        numbers = tuple(sorted({number for row in one for number in row.numbers}))
        shape, needed = _shape(field, schema)
        values = list(_values(shape, Named(words, numbers)))
        columns.append((values + [MISSING] * (optional and not needed), len(words) <= MAX_SUBSETS))
    cut = [(tuple(values[:MAX_VALUES]), whole and len(values) <= MAX_VALUES) for values, whole in columns]
    whole = all(one for _, one in cut) and all(exhausts(source) for source in sources)
    return Domain(fields, tuple(values for values, _ in cut), whole and math.prod(len(values) for values, _ in cut) <= MAX_CHOICES)


def event(surface: Surface, tool: str, schema: Mapping[str, Any] | None, fields: Mapping[Field, Any]) -> Event:
    """An event with these values; whatever else a call must have is filled with something plain."""
    maps: dict[str, Any] = {"args": sample(schema) if schema and surface == "tool_call" else {}, "principal": {}, "session": {}, "env": {}}
    text = ""
    for field, value in fields.items():
        if field == ("text",):
            text = "" if value is MISSING else str(value)
            continue
        inner = maps
        for part in field[:-1]:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                break
        else:
            inner.pop(field[-1], None)
            if value is not MISSING:
                inner[field[-1]] = value
    return Event(surface, tool, maps["args"], text, maps["principal"], maps["session"], maps["env"])


def sample(schema: Mapping[str, Any], depth: int = 0) -> Any:
    """A plain value of a schema: its first enum member, else the smallest of its kind, with all that is required."""
    for key in ("enum", "examples"):
        if isinstance(schema.get(key), list) and schema[key]:
            return schema[key][0]
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    kind = schema.get("type")
    fields = schema.get("properties")
    if (kind == "object" or fields) and isinstance(fields, Mapping) and depth < 8:
        required = schema.get("required")
        names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
        return {name: sample(fields[name], depth + 1) for name in names if isinstance(fields.get(name), Mapping)}
    low = schema.get("minimum")
    number = low if isinstance(low, int | float) and not isinstance(low, bool) else 1
    plain: dict[Any, Any] = {"object": {}, "array": [], "boolean": False, "integer": int(number), "number": float(number), "null": None}
    return plain.get(kind, "x") if not isinstance(kind, list) else "x"


def required(field: Field, schema: Mapping[str, Any]) -> bool:
    """Whether a call must have this field; fields that are no arguments are the platform's to give."""
    return field[0] != "args" or _shape(field, schema)[1]


def _field(text: str) -> Field:
    root = re.match(r"\w+", text)
    return (root[0] if root else "", *(part[1] or _text(part[2]) for part in _PART.finditer(text)))


def _text(literal: str) -> str:
    return re.sub(r"\\(.)", r"\1", literal[1:-1])


def _shape(field: Field, schema: Mapping[str, Any] | None) -> tuple[Mapping[str, Any], bool]:
    """What the schema says about a field, and whether a call must have it."""
    if field == ("text",):
        return {"type": "string"}, True
    shape: Any = schema if field[0] == "args" else OWN.get(field[0])
    needed = field[0] == "args"
    for part in field[1:]:
        if not isinstance(shape, Mapping):
            return EMPTY, False
        needs = shape.get("required")
        needed = needed and isinstance(needs, list) and part in needs
        inner = shape.get("properties")
        found = inner.get(part) if isinstance(inner, Mapping) else None
        shape = found if found is not None else shape.get("additionalProperties")
    return (shape, needed) if isinstance(shape, Mapping) else (EMPTY, False)


def _values(shape: Mapping[str, Any], beside: Named) -> Iterator[Any]:
    enum = shape.get("enum")
    if isinstance(enum, list) and enum:
        yield from enum
        return
    if "const" in shape:
        yield shape["const"]
        return
    kind = shape.get("type")
    if kind == "boolean" or (kind is None and not beside.words and not beside.numbers):
        yield from (False, True)
    if kind in ("number", "integer") or (kind is None and beside.numbers):
        yield from _numbers(shape, beside.numbers)
    if kind == "array":
        few = beside.words[:MAX_SUBSETS]
        yield from (list(some) for count in range(len(few) + 1) for some in itertools.combinations(few, count))
        yield from ([word] for word in beside.words[MAX_SUBSETS:])
        yield [*beside.words, OTHER]
        yield from ([OTHER] * max(int(number) + step, 0) for number in beside.numbers if number < 100 for step in (0, 1))
    if kind == "string" or (kind is None and beside.words):
        yield from _strings(beside)


def _numbers(shape: Mapping[str, Any], literals: Sequence[float]) -> Iterator[float]:
    bounds = {key: shape[key] for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum") if _is_number(shape.get(key))}
    near = {step + number for number in literals for step in (-1.0, 0.0, 1.0)} | {0.0, 1.0}
    near |= {(low + high) / 2 for low, high in itertools.pairwise(sorted({*literals, *bounds.values()}))}
    near |= {float(bound) + step for bound in bounds.values() for step in (-1.0, 0.0, 1.0)}
    if shape.get("type") == "integer":
        near = {float(math.floor(number)) for number in near}
    low, high = bounds.get("minimum", -math.inf), bounds.get("maximum", math.inf)
    over, under = bounds.get("exclusiveMinimum", -math.inf), bounds.get("exclusiveMaximum", math.inf)
    kept = sorted(number for number in near if low <= number <= high and over < number < under)
    whole = shape.get("type") == "integer" or (shape.get("type") is None and all(number.is_integer() for number in kept))
    yield from (int(number) if whole else number for number in kept)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _strings(beside: Named) -> Iterator[str]:
    yield from beside.words
    yield from (OTHER, "")
    yield from (f"{word}~" for word in beside.words)  # sorts right after the word, and begins with it
    if len(beside.words) > 1:
        yield " ".join(beside.words)
        yield " ".join(reversed(beside.words))
    yield from (OTHER[0] * max(int(number) + step, 0) for number in beside.numbers if number < 10_000 for step in (0, 1))
    yield from (_matching(word) for word in beside.words if re.search(r"[\\\[(*+?{|^$]", word))


def _matching(pattern: str) -> str:
    """A guess at a text that a regular expression finds: its first alternative, each class and repeat written out once."""
    text = re.sub(r"\(\?[a-zA-Z:]+\)?|\\[bBAzZ]|[\^$]", "", pattern)
    text = re.sub(r"\[\^?(\\?.)[^\]]*\]", r"\1", text)
    text = re.sub(r"\\d", "1", re.sub(r"\\s", " ", re.sub(r"\\w|(?<!\\)\.", "a", text)))
    text = re.sub(r"(\\?.)\{(\d{1,3})[^}]*\}", lambda found: found[1] * int(found[2]), text)
    text = re.sub(r"(?<!\\)[*+?]", "", text).split("|")[0]
    return re.sub(r"\\(.)", r"\1", re.sub(r"(?<!\\)[()]", "", text))

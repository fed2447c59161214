"""Structured output: the whole text is one JSON value that fits the schema it was asked for, or the rail hits.

Our own reading of the part of JSON Schema (2020-12) that models are asked to fill: `jsonschema` would bring four packages for it. A
keyword that is not known here and would restrict the value makes the text undecidable, never fitting. `pattern` is RE2; `format` is a
remark, as the standard has it.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from bylaw.govern.rails.patterns import Pattern, pattern
from bylaw.govern.rails.rail import RailError, RailFacts, bounded
from bylaw.types import Hit

DEPTH: Final = 64
Schema = Mapping[str, Any] | bool
_REMARKS: Final = frozenset({
    "$schema", "$id", "$anchor", "$comment", "$defs", "definitions", "title", "description", "default", "examples", "deprecated",
    "readOnly", "writeOnly", "format", "strict", "name", "contentEncoding", "contentMediaType",
})  # fmt: skip
_KINDS: Final[dict[str, Callable[[Any], bool]]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "integer": lambda v: isinstance(v, int | float) and not isinstance(v, bool) and v == int(v),
}


class SchemaRail(NamedTuple):
    """A text that is not the JSON it should be."""

    name: str = "schema"
    longest: int | None = None
    cost: int = 1

    def find(self, text: str, facts: RailFacts) -> Sequence[Hit]:
        """One hit over the whole text where it does not fit; RailError where no schema is known."""
        if facts.schema is None:
            raise RailError("no schema to hold the text to", "send `response_format` with a JSON Schema, or take the rule off")
        bounded(text)
        try:
            value = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite)
        except (ValueError, RecursionError):
            return (Hit("schema", 0, len(text)),)
        return (Hit("schema", 0, len(text)),) if next(faults(value, facts.schema, facts.schema), "") else ()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _finite(number: str) -> float:
    found = float(number)
    if not math.isfinite(found):
        raise ValueError(number)
    return found


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def faults(value: Any, schema: Schema, root: Schema, where: str = "$", depth: int = 0) -> Iterator[str]:
    """Everything in which a value does not fit a schema, in words."""
    if depth > DEPTH:
        raise RailError(f"the schema or the value is more than {DEPTH} levels deep", "flatten it")
    if isinstance(schema, bool):
        yield from () if schema else [f"{where} must not be there"]
        return
    for keyword, wanted in schema.items():
        check = _CHECKS.get(keyword)
        if check:
            yield from check(_At(value, schema, root, where, depth), wanted)
        elif keyword not in _REMARKS and keyword not in _WITH:
            raise RailError(f"the schema's keyword {keyword} is not checked here", "say it with the keywords in docs, or take the rule off")


class _At(NamedTuple):
    value: Any
    schema: Mapping[str, Any]
    root: Schema
    where: str
    depth: int

    def into(self, value: Any, schema: Schema, step: str = "") -> Iterator[str]:
        return faults(value, schema, self.root, self.where + step, self.depth + 1)

    def fits(self, schema: Schema) -> bool:
        return next(self.into(self.value, schema), None) is None


def _type(at: _At, wanted: Any) -> Iterator[str]:
    kinds = [wanted] if isinstance(wanted, str) else wanted
    if any(kind not in _KINDS for kind in kinds):
        raise RailError(f"the schema names an unknown type: {kinds}", "a JSON type")
    if not any(_KINDS[kind](at.value) for kind in kinds):
        yield f"{at.where} is no {' or '.join(kinds)}"


def _properties(at: _At, wanted: Mapping[str, Schema]) -> Iterator[str]:
    if isinstance(at.value, dict):
        for name, schema in wanted.items():
            if name in at.value:
                yield from at.into(at.value[name], schema, f".{name}")


def _additional(at: _At, wanted: Schema) -> Iterator[str]:
    if isinstance(at.value, dict):
        named = at.schema.get("properties", {})
        for name in at.value:
            if name not in named:
                yield from at.into(at.value[name], wanted, f".{name}")


def _required(at: _At, wanted: Sequence[str]) -> Iterator[str]:
    if isinstance(at.value, dict):
        yield from (f"{at.where} has no {name}" for name in wanted if name not in at.value)


def _items(at: _At, wanted: Schema) -> Iterator[str]:
    if isinstance(at.value, list):
        for index, item in enumerate(at.value[len(at.schema.get("prefixItems", ())) :]):
            yield from at.into(item, wanted, f"[{index}]")


def _prefix(at: _At, wanted: Sequence[Schema]) -> Iterator[str]:
    if isinstance(at.value, list):
        for index, (item, schema) in enumerate(zip(at.value, wanted, strict=False)):
            yield from at.into(item, schema, f"[{index}]")


def _unique(at: _At, wanted: bool) -> Iterator[str]:
    if wanted and isinstance(at.value, list) and len({_key(item) for item in at.value}) < len(at.value):
        yield f"{at.where} has an item twice"


def _key(value: Any) -> str:
    """Equal JSON values have equal keys: 1 and 1.0 are equal, 1 and true are not."""
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, dict) else value


def _one_of(at: _At, wanted: Sequence[Schema]) -> Iterator[str]:
    if sum(at.fits(schema) for schema in wanted) != 1:
        yield f"{at.where} does not fit exactly one of the choices"


def _ref(at: _At, wanted: str) -> Iterator[str]:
    if not wanted.startswith("#"):
        raise RailError(f"the schema points outside: {wanted}", "put what it needs under $defs")
    found: Any = at.root
    for step in wanted[1:].strip("/").split("/") if wanted != "#" else ():
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or name not in found:
            raise RailError(f"the schema points at nothing: {wanted}", "put what it needs under $defs")
        found = found[name]
    yield from at.into(at.value, found)


@lru_cache(maxsize=256)
def _compiled(source: str) -> Pattern:
    return pattern(source)


def _sized(
    kind: type | tuple[type, ...], size: Callable[[Any], float], fits: Callable[[float, float], bool]
) -> Callable[[_At, Any], Iterator[str]]:
    def check(at: _At, wanted: float) -> Iterator[str]:
        if isinstance(at.value, kind) and not isinstance(at.value, bool) and not fits(size(at.value), wanted):
            yield f"{at.where} is out of bounds: {wanted}"

    return check


def _said(fits: Callable[[_At, Any], bool], what: str) -> Callable[[_At, Any], Iterator[str]]:
    def check(at: _At, wanted: Any) -> Iterator[str]:
        if not fits(at, wanted):
            yield f"{at.where} {what}"

    return check


_NUMBER: Final = (int, float)
_WITH: Final = frozenset({"prefixItems"})
_CHECKS: Final[dict[str, Callable[[_At, Any], Iterator[str]]]] = {
    "type": _type,
    "properties": _properties,
    "additionalProperties": _additional,
    "required": _required,
    "items": _items,
    "prefixItems": _prefix,
    "uniqueItems": _unique,
    "oneOf": _one_of,
    "$ref": _ref,
    "enum": _said(lambda at, wanted: _key(at.value) in {_key(one) for one in wanted}, "is none of the values"),
    "const": _said(lambda at, wanted: _key(at.value) == _key(wanted), "is not the value"),
    "anyOf": _said(lambda at, wanted: any(at.fits(schema) for schema in wanted), "fits none of the choices"),
    "not": _said(lambda at, wanted: not at.fits(wanted), "fits what it must not"),
    "allOf": lambda at, wanted: (fault for schema in wanted for fault in at.into(at.value, schema)),
    "pattern": _said(lambda at, wanted: not isinstance(at.value, str) or bool(_compiled(wanted).search(at.value)), "does not match"),
    "minimum": _sized(_NUMBER, float, lambda size, least: size >= least),
    "maximum": _sized(_NUMBER, float, lambda size, most: size <= most),
    "exclusiveMinimum": _sized(_NUMBER, float, lambda size, least: size > least),
    "exclusiveMaximum": _sized(_NUMBER, float, lambda size, most: size < most),
    "minLength": _sized(str, len, lambda size, least: size >= least),
    "maxLength": _sized(str, len, lambda size, most: size <= most),
    "minItems": _sized(list, len, lambda size, least: size >= least),
    "maxItems": _sized(list, len, lambda size, most: size <= most),
    "minProperties": _sized(dict, len, lambda size, least: size >= least),
    "maxProperties": _sized(dict, len, lambda size, most: size <= most),
}
RAIL: Final = SchemaRail()

"""An event read once, before any rule: either every value in it is one that CEL cannot misread, or the event as a whole is unreadable.

The same verdict as `policy.conditions.activation`, four times as fast, because the shapes are laid out when the policy loads; and stricter
in two ways. 1. A typed list, map or null must be one. 2. The arguments of a call are held to the tool's schema as a closed form: a
required field is there, and a field that the schema does not know is refused unless `additionalProperties` lets it in. No clause could
read such a field, and the tool might.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from bylaw.policy.conditions import (
    _RUN,  # the one environment in which conditions run; to be made public there
    MAX_DEPTH,
    MAX_VALUES,
    OWN,
)
from bylaw.policy.notation import MAX_INT
from bylaw.types import Event

WORDS: Final = ("surface", "tool", "text")  # what conditions can name: these are text, the others maps
NAMES: Final = (*WORDS, "args", "principal", "session", "env")
SHOWN_CHARS: Final = 60
_KINDS: Final = ("string", "number", "integer", "boolean", "array", "object", "null")
_USUAL: Final = {"": str, "string": str, "number": float, "integer": int, "boolean": bool, "array": list}  # what stays as it is
_LOW: Final = -MAX_INT


class Unreadable(Exception):  # noqa: N818  # never leaves the engine
    """A value that a condition could misread; `where` is its dotted path."""

    def __init__(self, where: str = "") -> None:
        super().__init__(where)
        self.where = where

    def within(self, key: object) -> "Unreadable":
        """The same, seen from one level further out."""
        self.where = f"{str(key)[:SHOWN_CHARS]}.{self.where}"[: 4 * SHOWN_CHARS] if self.where else str(key)[:SHOWN_CHARS]
        return self


@dataclass(frozen=True, slots=True)
class Shape:
    """What a JSON Schema says about one value, as far as reading it needs."""

    kind: str = ""  # empty: any
    fields: Mapping[str, "Shape"] = field(default_factory=dict)
    others: "Shape | None" = None  # of fields that are not listed; None: anything
    items: "Shape | None" = None
    required: tuple[str, ...] = ()
    closed: bool = False  # a field that is not listed is refused
    usual: Mapping[str, type] = field(default_factory=dict)  # what the fields that are no maps usually hold; of lists, those of text


ANY: Final = Shape()


def _text(one: Shape) -> bool:
    return one.kind in ("string", "")


def shape(schema: Any, strict: bool = False, depth: int = MAX_DEPTH) -> Shape:
    """The shape of a schema; `strict` holds maps to it as a closed form. What it says in other words than `type` stays open."""
    if not isinstance(schema, Mapping) or not depth:
        return ANY
    kind, listed, others, needed = (schema.get(key) for key in ("type", "properties", "additionalProperties", "required"))
    fields = listed if isinstance(listed, Mapping) else {}
    inside = {name: shape(inner, strict, depth - 1) for name, inner in fields.items()}
    return Shape(
        kind if isinstance(kind, str) and kind in _KINDS else "",
        inside,
        shape(others, strict, depth - 1) if isinstance(others, Mapping) else None,
        shape(schema.get("items"), strict, depth - 1),
        tuple(name for name in needed if isinstance(name, str)) if strict and isinstance(needed, list | tuple) else (),
        strict and (others is False or (bool(fields) and others is None)),
        {name: _USUAL[one.kind] for name, one in inside.items() if one.kind in _USUAL and _text(one.items or ANY)},
    )


_OWN: Final = {key: shape(schema) for key, schema in OWN.items()}
_PRINCIPAL, _SESSION, _ENV = (_OWN[key] for key in ("principal", "session", "env"))


def read(event: Event, args: Shape) -> dict[str, Any]:
    """An event's values in the kinds that conditions expect, by the names conditions use; raises Unreadable."""
    text, tool, budget = event.text, event.tool, [MAX_VALUES]
    if type(text) is not str or type(tool) is not str:
        raise Unreadable("tool" if type(text) is str else "text")
    name = ""
    try:
        return {
            "surface": event.surface,
            "tool": tool,
            "text": text,
            (name := "args"): _map(event.args, args, 0, budget),
            (name := "principal"): _map(event.principal, _PRINCIPAL, 0, budget),
            (name := "session"): _map(event.session, _SESSION, 0, budget),
            (name := "env"): _map(event.env, _ENV, 0, budget),
        }
    except Unreadable as error:
        raise error.within(name) from None


def compiled(source: str) -> Any:
    """An expression ready to run, its types unchecked; raises where it is none."""
    return _RUN.compile(source, disable_check=True)


def activation(values: Mapping[str, Any]) -> Any | None:
    """What conditions are evaluated on; None where CEL does not take it."""
    try:
        return _RUN.Activation(values)
    except (RuntimeError, TypeError, ValueError):
        return None


def _map(given: Any, due: Shape, depth: int, budget: list[int]) -> dict[str, Any]:
    if type(given) is not dict and type(given) is not MappingProxyType:
        raise Unreadable
    value: dict[str, Any] = given if type(given) is dict else dict(given)
    if not value and not due.required:
        return value
    for name in due.required:
        if name not in value:
            raise Unreadable(name)
    budget[0] -= len(value)
    if depth > MAX_DEPTH or budget[0] < 0:
        raise Unreadable
    usual, fields, changed = due.usual, due.fields, None
    for key, item in value.items():
        kind = type(item)
        if usual.get(key) is kind and (kind is str or (_texts(item, budget) if kind is list else _LOW <= item <= MAX_INT)):
            continue
        known = fields.get(key)
        if type(key) is not str or (known is None and due.closed):
            raise Unreadable(key if type(key) is str else "a key that is no text")
        try:
            new = _value(item, known or due.others or ANY, depth + 1, budget)
        except Unreadable as error:
            raise error.within(key) from None
        if new is not item:
            changed = dict(value) if changed is None else changed
            changed[key] = new
    return value if changed is None else changed


def _texts(items: Sequence[Any], budget: list[int]) -> bool:
    """Whether these are all text, and not too many; then they are counted."""
    for item in items:
        if type(item) is not str:
            return False
    if len(items) > budget[0]:
        return False
    budget[0] -= len(items)
    return True


def _list(value: Any, due: Shape, depth: int, budget: list[int]) -> list[Any]:
    if not value:
        return value if type(value) is list else []
    if depth > MAX_DEPTH:
        raise Unreadable
    wanted = due.items or ANY
    if _text(wanted) and _texts(value, budget):
        return value if type(value) is list else list(value)
    budget[0] -= len(value)
    if budget[0] < 0:
        raise Unreadable
    return [_value(item, wanted, depth + 1, budget) for item in value]


def _value(value: Any, due: Shape, depth: int, budget: list[int]) -> Any:
    kind, wanted = type(value), due.kind
    if kind is float or kind is int:
        if not _LOW <= value <= MAX_INT:  # NaN fails both comparisons
            raise Unreadable
        if wanted == "number":
            return value if kind is float else float(value)
        if wanted == "integer":
            return int(value) if kind is float and value.is_integer() else value
        fits = not wanted
    elif kind is str:
        fits = wanted in ("string", "")
    elif kind is dict or kind is MappingProxyType:
        if wanted in ("object", ""):
            return _map(value, due, depth, budget)
        fits = False
    elif kind is list or kind is tuple:
        if wanted in ("array", ""):
            return _list(value, due, depth, budget)
        fits = False
    else:
        fits = (kind is bool and wanted in ("boolean", "")) or (value is None and wanted in ("null", ""))
    if not fits:
        raise Unreadable
    return value

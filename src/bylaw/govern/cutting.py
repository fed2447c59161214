"""Cut what rails found out of an event: out of its text, or out of the arguments of a call, each hit where it stands."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bylaw.types import Decision, Hit


class Uncut(Exception):  # noqa: N818  # its caller blocks
    """Something was found where nothing can be cut: in a name, in a number's place, or nowhere that can be reached."""


def uncut(decision: Decision) -> Decision:
    """What a decision becomes where it cuts and cannot: a block. What blocks or stops stays as it is."""
    if decision.effect in ("block", "stop"):
        return decision
    return replace(decision, effect="block", reason=f"{decision.reason}: what was found cannot be cut out", needs=())


def cut_text(text: str, hits: Sequence[Hit]) -> str:
    """The text without what was found."""
    from bylaw.govern.rails.redacting import redact  # noqa: PLC0415  # RE2 loads only where a rule asks a rail

    return redact(text, hits)


def cut_args(args: Mapping[str, Any], placed: Sequence[Any], hits: Sequence[Hit]) -> dict[str, Any]:
    """The arguments without those of the placed findings that are among `hits`; the given ones stay as they are."""
    wanted = set(hits)
    by_place: dict[tuple[str | int, ...], list[Hit]] = {}
    for one in placed:
        if one.hit in wanted:
            by_place.setdefault(tuple(one.where), []).append(one.hit)
    if not by_place:
        raise Uncut
    result: Any = {"args": copied(dict(args))}
    for where, found in by_place.items():
        holder = result
        for step in where[:-1]:
            holder = _into(holder, step)
        last = where[-1] if where else ""
        value = _into(holder, last)
        if not isinstance(value, str):
            raise Uncut
        holder[last] = cut_text(value, found)
    cut: dict[str, Any] = result["args"]
    return cut


def _into(holder: Any, step: str | int) -> Any:
    inside = (isinstance(holder, dict) and step in holder) or (isinstance(holder, list) and isinstance(step, int) and step < len(holder))
    if not inside:
        raise Uncut
    return holder[step]


def copied(value: Any, depth: int = 64) -> Any:
    """Plain JSON, copied so that nobody else can change it; what is none stays as it is, for the engine to refuse."""
    if depth and isinstance(value, dict):
        return {key: copied(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list | tuple):
        return [copied(item, depth - 1) for item in value]
    return value

"""Many conditions asked in one evaluation: each that holds is a bit of the answer.

Crossing from Python to CEL and back costs more than most conditions do. So all are one sum; and only what they name crosses. Where one of
them is no yes or no, the sum as a whole is an error, and the caller asks one by one: the answers are the same, and only the usual case is
quick.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from bylaw.govern.reading import NAMES, WORDS, activation, compiled

CHUNK: Final = 62  # conditions in one evaluation: bits of a CEL number, its sign apart
Program = tuple[int, Any]  # the number of its first condition, and the sum


class Sums:
    """Every sum of one policy, made once: most slots have the same rules for any tool."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, ...], tuple[Program, ...]] = {}

    def of(self, sources: tuple[str, ...]) -> tuple[Program, ...]:
        """As few programs as CEL takes; none at all where it does not take one of the conditions in a sum, only alone."""
        if sources not in self._made:
            try:
                made = tuple(one for at in range(0, len(sources), CHUNK) for one in _programs(sources[at : at + CHUNK], at))
            except RuntimeError:
                made = ()
            self._made[sources] = made
        return self._made[sources]


class AtOnce:
    """Conditions by their number, in groups that several slots share."""

    def __init__(self, groups: Sequence[tuple[str, ...]], sums: Sums) -> None:
        sources = [source for group in groups for source in group]
        self._names = tuple((name, part) for name in NAMES if (part := named(name, sources)) != ())
        self._programs: tuple[Program, ...] = ()
        made, start = [sums.of(group) for group in groups], 0
        if all(made):
            for group, programs in zip(groups, made, strict=True):
                self._programs += tuple((start + at, program) for at, program in programs)
                start += len(group)

    def facts(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What the conditions name of an event."""
        facts: dict[str, Any] = {}
        for name, part in self._names:
            value = values[name]
            if part is None:
                facts[name] = value
                continue
            named = facts[name] = {}
            for key in part:
                if key in value:
                    named[key] = value[key]
        return facts

    def ask(self, facts: dict[str, Any]) -> int | None:
        """Bit n is set where condition n holds; None where they must be asked one by one."""
        if not self._programs:
            return None
        bits = 0
        try:
            given = (None, facts) if len(self._programs) == 1 else (activation(facts),)  # made once, unless only one needs it
            if given == (None,):  # CEL does not take it, but would answer from nothing
                return None
            for start, program in self._programs:
                found = program.eval(*given).value()
                if type(found) is not int:
                    return None
                bits |= found << start
        except Exception:  # noqa: BLE001  # CEL's wrapper is outside code: whatever it throws, the conditions are asked one by one
            return None
        return bits


def named(name: str, sources: Sequence[str]) -> tuple[str, ...] | None:
    """Which fields of a part of an event some conditions can read: none, those named, or None for all of it."""
    fields: dict[str, None] = {}
    for source in sources:
        found = _named(name, source)
        if found is None:
            return None
        fields.update(dict.fromkeys(found))
    return tuple(fields)


@lru_cache(maxsize=10_000)
def _named(name: str, source: str) -> tuple[str, ...] | None:
    """A part is read as a whole wherever its name is followed by anything but a dot and a field: an index, a macro, a function."""
    found = re.findall(rf"\b{name}\s*\.\s*([A-Za-z_]\w*)\b(?!\s*\()", source)
    whole = len(found) != len(re.findall(rf"\b{name}\b", source)) or (found and name in WORDS)
    return None if whole else tuple(found)


def _programs(sources: Sequence[str], start: int) -> Iterator[Program]:
    """As few programs as CEL takes; raises RuntimeError where it does not take one condition in a sum."""
    try:
        yield start, compiled(_sum(sources, 0))
    except RuntimeError:
        if len(sources) == 1:
            raise
        half = len(sources) // 2
        yield from _programs(sources[:half], start)
        yield from _programs(sources[half:], start + half)


def _sum(sources: Sequence[str], bit: int) -> str:
    """A sum as flat as it can be, since CEL bounds how deep one nests; what two come to is written out, which is quicker."""
    one = 1 << bit
    if len(sources) == 1:
        return f"(({sources[0]}) ? {one} : 0)"
    if len(sources) == 2:
        first, second = sources
        return f"(({first}) ? (({second}) ? {3 * one} : {one}) : (({second}) ? {2 * one} : 0))"
    half = len(sources) // 4 * 2 or 2
    return f"({_sum(sources[:half], bit)} + {_sum(sources[half:], bit + half)})"

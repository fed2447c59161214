"""RE2 patterns and sets of them. A set that runs out of memory says "nothing matched"; here that is seen, and each pattern is asked alone.

RE2::Set has no fallback when its automaton outgrows `max_mem` (google/re2#136), and the Python wrapper reports that as no match, so a
text made to exhaust it would pass. Every set here holds one more pattern, the empty one, which always matches: a set that does not
report it has failed. A single pattern has RE2's own fallback and is always right.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Final, Protocol

import re2  # type: ignore[import-untyped]  # google-re2 has no stubs; the protocols below are what we use of it

from bylaw.errors import BylawError

MEMORY: Final = 64 << 20  # bytes for one pattern or set


class Match(Protocol):
    """Where a pattern matched, in code points."""

    def start(self, group: int = 0) -> int:
        """Where a group begins."""

    def end(self, group: int = 0) -> int:
        """Where a group ends."""

    def group(self, group: int = 0) -> str:
        """What a group matched."""

    def __getitem__(self, group: int) -> str: ...


class Pattern(Protocol):
    """One compiled pattern."""

    def search(self, text: str) -> Match | None:
        """The first match anywhere."""

    def finditer(self, text: str) -> Iterator[Match]:
        """All matches that do not overlap, in order."""


def pattern(source: str) -> Pattern:
    """An RE2 pattern, case counted; it has no backtracking."""
    compiled: Pattern = re2.compile(source, _options(MEMORY))
    return compiled


def _options(memory: int) -> Any:
    options = re2.Options()
    options.max_mem = memory
    options.log_errors = False
    return options


class PatternSet:
    """Many patterns asked in one pass."""

    def __init__(self, sources: Sequence[str], memory: int = MEMORY) -> None:
        self.sources: Final = tuple(sources)
        self._set = re2.Set.SearchSet(_options(memory))
        for source in (*self.sources, ""):
            try:
                self._set.Add(source)
            except re2.error as error:
                raise BylawError(f"not a pattern: {source[:80]}: {error}") from error
        self._set.Compile()
        self._alone: dict[int, Pattern] = {}

    def matching(self, text: str, raw: bytes) -> Sequence[int]:
        """The positions of the patterns that match somewhere in the text; `raw` is the text in UTF-8."""
        found = self._pass(raw)
        if found == self._nothing:
            return ()
        if found:
            return sorted(found)[:-1]
        return [index for index in range(len(self.sources)) if self[index].search(text)]

    def _pass(self, raw: bytes) -> list[int] | None:
        """One pass over the text; None where the set failed."""
        found: list[int] | None = self._set.Match(raw)
        return found

    @cached_property
    def _nothing(self) -> list[int]:
        return [len(self.sources)]

    def __getitem__(self, index: int) -> Pattern:
        """One of the patterns, compiled when it is first asked for."""
        if index not in self._alone:
            self._alone[index] = pattern(self.sources[index])
        return self._alone[index]

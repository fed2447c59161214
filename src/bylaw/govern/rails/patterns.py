"""RE2 patterns and sets of them. A set that runs out of memory says "nothing matched"; here that is seen, and each pattern is asked alone.

RE2::Set has no fallback when its automaton outgrows `max_mem` (google/re2#136), and the Python wrapper reports that as no match, so a
text made to exhaust it would pass. Every set here holds one more pattern, the empty one, which always matches: a set that does not
report it has failed. A single pattern has RE2's own fallback and is always right.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any, Final, Protocol

import re2  # type: ignore[import-untyped]  # google-re2 has no stubs; the protocols below are what we use of it

from bylaw.errors import BylawError

MEMORY: Final = 16 << 20  # bytes for one pattern or set, its automaton included


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

    def search(self, text: str | bytes) -> Match | None:
        """The first match anywhere; in bytes, which cost less where only whether counts, its places are bytes."""

    def finditer(self, text: str) -> Iterator[Match]:
        """All matches that do not overlap, in order."""


def pattern(source: str) -> Pattern:
    """An RE2 pattern, case counted; it has no backtracking."""
    compiled: Pattern = re2.compile(source, _options(MEMORY))
    return compiled


@lru_cache(maxsize=2_048)
def _compiled(source: str) -> Pattern:
    return pattern(source)


def _options(memory: int) -> Any:
    options = re2.Options()
    options.max_mem = memory
    options.log_errors = False
    return options


class Filter:
    """Many patterns of which each must hold some words: one pass looks for the words, and only patterns whose words are there may match.

    RE2's FilteredRE2. Its automaton is one of plain words, so it stays small on any text, where a set of long patterns grows with each
    new text it reads. Patterns without words stand in a set.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        self.sources: Final = tuple(sources)
        wordless = set(_filter(self.sources).Match(b"", True) or ())
        self._worded: Final = [index for index in range(len(self.sources)) if index not in wordless]
        self._wordless: Final = sorted(wordless)
        self._filter = _filter([self.sources[index] for index in self._worded])
        self._others = PatternSet([self.sources[index] for index in self._wordless])

    def matching(self, text: str, raw: bytes) -> Sequence[int]:
        """The positions of the patterns that match somewhere in the text; `raw` is the text in UTF-8."""
        worded = [self._worded[index] for index in self._filter.Match(raw) or ()]
        return sorted([*worded, *(self._wordless[index] for index in self._others.matching(text, raw))])

    def __getitem__(self, index: int) -> Pattern:
        """One of the patterns, compiled when it is first asked for."""
        return _compiled(self.sources[index])


def _filter(sources: Sequence[str]) -> Any:
    made = re2.Filter()
    for source in sources:
        made.Add(source, _options(MEMORY))
    made.Compile()
    return made


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
        return _compiled(self.sources[index])

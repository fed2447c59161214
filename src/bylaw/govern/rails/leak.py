"""Leaks: a stretch of the system prompt in an answer, or a canary token, in any view and whatever the spacing and case.

Texts are compared by their letters and digits alone. A stretch counts from `RUN` of them on (`RUN_DENSE` where the prompt is written
without gaps between words); a prompt that is shorter counts whole. Said in other words, a prompt is not found.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from bylaw.govern.rails.rail import RailError, RailFacts, bounded, sealed
from bylaw.govern.rails.views import Span, Views
from bylaw.types import Hit

RUN: Final = 40  # letters and digits: eight words or so
RUN_DENSE: Final = 16
MOST_PROMPT: Final = 200_000  # characters of a system prompt
SHORT_CANARY: Final = 8  # a shorter canary must be there exactly


class LeakRail(NamedTuple):
    """What must stay inside and came out."""

    name: str = "leak"
    system: bool = True
    canaries: bool = True
    longest: int | None = None
    cost: int = 1

    def find(self, text: str, facts: RailFacts) -> Sequence[Hit]:
        """Every stretch of the system prompt and every canary."""
        return self.look(bounded(text), facts)

    def look(self, views: Views, facts: RailFacts) -> Sequence[Hit]:
        """Every stretch and canary in these views."""
        if len(facts.system) > MOST_PROMPT:
            raise RailError(f"a system prompt of {len(facts.system)} characters is too long to compare", f"at most {MOST_PROMPT}")
        hits = []
        for view in views.every:
            plain = squeezed(view.text)
            spans = (
                [("leak.canary", span) for canary in facts.canaries for span in _canary(view.text, plain, canary)] if self.canaries else []
            )
            if self.system and facts.system:
                spans += [("leak.system", span) for span in _stretches(plain, facts.system)]
            if spans:
                places = [i for i, char in enumerate(view.text) if char.isalnum()]
                for rail, (start, end) in spans:
                    span = view.back(places[start], places[end - 1] + 1)
                    hits.append(Hit(rail, span.start, span.end, 0.99 if rail == "leak.canary" else 0.9, view.name))
        return sealed(hits)


def squeezed(text: str) -> str:
    """The letters and digits of a text in lower case, one for one."""
    kept = "".join(filter(str.isalnum, text))
    lower = kept.lower()
    return lower if len(lower) == len(kept) else "".join(low if len(low := char.lower()) == 1 else char for char in kept)


def _canary(text: str, plain: str, canary: str) -> Iterator[Span]:
    """Where a canary stands, in letters and digits."""
    wanted = squeezed(canary)
    if not wanted or (len(wanted) < SHORT_CANARY and canary not in text):
        return
    at = plain.find(wanted)
    while at >= 0:
        yield Span(at, at + len(wanted))
        at = plain.find(wanted, at + len(wanted))


class _Runs(NamedTuple):
    """A prompt's runs, and its shorter pieces: each run holds a piece that begins at a multiple of the piece's size."""

    run: int
    piece: int
    runs: frozenset[str]
    pieces: frozenset[str]


@lru_cache(maxsize=8)
def _runs(system: str) -> _Runs:
    plain = squeezed(system)
    dense = len(plain) > RUN_DENSE * max(1, len(system.split()))  # no gaps between words
    run = min(RUN_DENSE if dense else RUN, len(plain))
    piece = (run + 1) // 2
    return _Runs(run, piece, *(frozenset(plain[at : at + size] for at in range(len(plain) - size + 1)) for size in (run, piece)))


def _stretches(plain: str, system: str) -> Iterator[Span]:
    """Where the text has runs of the prompt; only pieces at multiples of their size are looked up, and runs around those that are there."""
    run, piece, runs, pieces = _runs(system)
    if not run:
        return
    start = end = done = 0
    for at in range(0, len(plain) - piece + 1, piece):
        if plain[at : at + piece] not in pieces:
            continue
        for first in range(max(done, at + piece - run, 0), min(at, len(plain) - run) + 1):
            done = first + 1
            if plain[first : first + run] in runs:
                if end and first > end:
                    yield Span(start, end)
                start, end = (start if end and first <= end else first), first + run
    if end:
        yield Span(start, end)


RAILS: Final = (LeakRail(), LeakRail("leak.system", canaries=False), LeakRail("leak.canary", system=False))

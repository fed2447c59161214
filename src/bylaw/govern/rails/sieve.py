"""Many detectors over many views in one pass: an RE2 set says which of them can match at all, and only those are asked.

A detector is a trigger (RE2; necessary, not sufficient) and a check that yields spans. What the set says is kept with the views, so
ten rails of one family cost hardly more than one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from bylaw.govern.rails.patterns import Filter, PatternSet
from bylaw.govern.rails.rail import RailError, RailFacts, bounded, sealed
from bylaw.govern.rails.views import Sight, View, Views
from bylaw.types import Hit


class Spot(NamedTuple):
    """Something found in a view, in the view's own places."""

    start: int
    end: int
    confidence: float = 1.0


_TURNED: Final = ("rot13", "leet", "backwards", "reversed")
Check = Callable[[View, RailFacts], Iterable[Spot]]


@dataclass(frozen=True, slots=True)
class Detector:
    """One thing to look for."""

    name: str  # `pii.card`
    trigger: str  # RE2
    check: Check
    turned: bool = True  # also in views in which every letter is another; off where digits say it all


class Sieve:
    """The detectors of one family behind one RE2 set."""

    def __init__(self, detectors: Sequence[Detector], worded: bool = False) -> None:
        self.detectors: Final = tuple(detectors)
        triggers = [detector.trigger for detector in self.detectors]
        self._set: Filter | PatternSet = (
            Filter(triggers) if worded else PatternSet(triggers)
        )  # worded: nearly all hold a word that must be there

    def spots(self, views: Views, sight: Sight, wanted: frozenset[str], facts: RailFacts) -> Iterator[tuple[View, Detector, Spot]]:
        """What the wanted detectors find, view by view."""
        for view, able in self._able(views, sight):
            turned = any(word in view.name for word in _TURNED)
            for index in able:
                detector = self.detectors[index]
                if detector.name in wanted and (detector.turned or not turned):
                    for spot in detector.check(view, facts):
                        yield view, detector, spot

    def _able(self, views: Views, sight: Sight) -> Sequence[tuple[View, Sequence[int]]]:
        key = (id(self), sight)
        if key not in views.memo:
            views.memo[key] = [(view, able) for view in views.of(sight) if (able := self._set.matching(view.text, view.raw))]
        found: Sequence[tuple[View, Sequence[int]]] = views.memo[key]
        return found


@dataclass(frozen=True, slots=True)
class SieveRail:
    """Some detectors of a family under one name."""

    name: str
    sieve: Sieve
    wanted: frozenset[str]
    sight: Sight = "all"
    longest: int | None = None
    cost: int = 0

    def find(self, text: str, facts: RailFacts) -> Sequence[Hit]:
        """Every hit in the text."""
        return self.look(bounded(text), facts)

    def look(self, views: Views, facts: RailFacts) -> Sequence[Hit]:
        """Every hit in these views."""
        hits = []
        for view, detector, spot in self.sieve.spots(views, self.sight, self.wanted, facts):
            span = view.back(spot.start, spot.end)
            if self.longest is None or span.end - span.start <= self.longest:
                hits.append(Hit(detector.name, span.start, span.end, spot.confidence, view.name))
        return sealed(hits)


def rails(sieve: Sieve, longest: int, groups: Iterable[str] = ()) -> Iterator[SieveRail]:
    """A rail for each detector and each group of them (`pii` is every `pii.…`), and of each the plain one for streams.

    `NAME` looks at every view and must see the whole text. `NAME.plain` looks at the text and what it looks like; its hits span at
    most `longest`, what decides about them included.
    """
    names = {detector.name for detector in sieve.detectors}
    for name in sorted(names | set(groups)):
        wanted = frozenset(one for one in names if one == name or one.startswith(f"{name}."))
        if not wanted:
            raise RailError(f"no detector is called {name}")
        yield SieveRail(name, sieve, wanted)
        yield SieveRail(f"{name}.plain", sieve, wanted, "seen", longest)

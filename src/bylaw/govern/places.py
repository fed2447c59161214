"""The rulebooks of one policy, one for every jurisdiction that it knows, all loaded before the first is used.

A principal says where they are. `elsewhere` is a place without an overlay of its own. Who says nothing, or names a place that the policy
does not know, is held to all of them at once, the strictest rule of each: leaving a word out, or misspelling it, gets nobody around a law.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from bylaw.govern.rulebook import HERE, MODEL, Rulebook
from bylaw.policy.effective import ELSEWHERE, Scope, resolve
from bylaw.policy.reviews import Review
from bylaw.types import Policy

ANYWHERE: Final = Scope()  # no product and no deployment in particular
EVERYWHERE: Final = ""  # a principal of whom no known place is said


@dataclass(frozen=True, slots=True)
class Places:
    """What holds where, on one day, for one product and deployment."""

    policy: Policy  # as it was written, overlays and all; its digest names this version
    books: Mapping[str, Rulebook]  # by jurisdiction

    @classmethod
    def load(
        cls,
        policy: Policy,
        rails_known: Collection[str] = (),
        on: date = date.max,
        scope: Scope = ANYWHERE,
        reviews: Sequence[Review] = (),
    ) -> "Places":
        """Make every place ready; raises PolicyError where one of them cannot stand, or where its laws contradict each other.

        `on` is the day; an overlay that is not in force on it does not count. Load again when the day changes.
        """
        names = tuple(overlay.name for overlay in policy.overlays if overlay.axis == "jurisdiction")
        if not policy.overlays:
            return cls(policy, {EVERYWHERE: Rulebook.load(policy, rails_known)})
        books = {}
        for name in (*names, ELSEWHERE):
            there = Scope((name,), scope.product, scope.deployment, scope.overlays)
            books[name] = Rulebook.load(resolve(policy, there, on, reviews).settled(), rails_known, policy.digest)
        everywhere = Scope((*names, ELSEWHERE), scope.product, scope.deployment, scope.overlays)
        books[EVERYWHERE] = Rulebook.load(resolve(policy, everywhere, on, reviews).policy, rails_known, policy.digest)
        return cls(policy, books)

    def standing(self) -> dict[str, str]:
        """Every clause, and whether it is enforced here, and where, or left to the model."""
        places = {place: book.standing() for place, book in self.books.items() if place != EVERYWHERE or len(self.books) == 1}
        told = {}
        for clause_id in sorted({clause_id for standing in places.values() for clause_id in standing}):
            here = [place for place, standing in places.items() if standing.get(clause_id) == HERE]
            somewhere = f"{HERE} ({', '.join(here)})" if here else MODEL
            told[clause_id] = HERE if len(here) == len(places) else somewhere
        return told

    def book(self, principal: Mapping[str, Any]) -> Rulebook:
        """What holds for a principal."""
        place = principal.get("jurisdiction")
        found = self.books.get(place) if isinstance(place, str) else None
        return found or self.books[EVERYWHERE]


@dataclass(frozen=True, slots=True)
class Calendar:
    """What holds where as the days go by: made ready beforehand for every day on which an overlay comes into force.

    So a policy that cannot stand tomorrow is refused today, and midnight changes what holds without anybody's doing.
    """

    days: tuple[tuple[date, Places], ...]  # from which day on, ascending

    @classmethod
    def load(
        cls,
        policy: Policy,
        rails_known: Collection[str],
        today: date,
        scope: Scope = ANYWHERE,
        reviews: Sequence[Review] = (),
    ) -> "Calendar":
        """Make today and every later day ready; raises PolicyError where one of them cannot stand."""
        coming = {date.fromisoformat(overlay.effective) for overlay in policy.overlays if overlay.effective > today.isoformat()}
        days = (today, *sorted(coming))
        return cls(tuple((day, Places.load(policy, rails_known, day, scope, reviews)) for day in days))

    def on(self, day: date) -> Places:
        """What holds on a day. A day before the first has what the first has: a clock set back repeals nothing."""
        return next((places for start, places in reversed(self.days) if start <= day), self.days[0][1])

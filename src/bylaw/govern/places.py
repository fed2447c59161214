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
        scope: Scope = Scope(),  # noqa: B008  # a frozen value
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

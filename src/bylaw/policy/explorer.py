"""Events tried on rules, within a budget: what matches a rule, both of two, one and never the other.

Whatever is found was tried by the real evaluation (`trial`); the values to try are `domain`'s.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from bylaw.policy.domain import MISSING, Choice, Domain, Field, domain, event
from bylaw.policy.trial import Conditions, event_of
from bylaw.types import Event, Policy, Rule, Surface

MAX_TRIES: Final = 150_000  # events asked about in one lint, about two seconds
MAX_MATCHES: Final = 64  # of one rule, joined with those of another
SHOWN_CHARS: Final = 400


class Spot(NamedTuple):
    """A place where both rules of a pair look."""

    surface: Surface
    tool: str


class SpentError(Exception):
    """The budget of tries is used up, or there are too many pairs."""


class Explorer:
    """Tries events on rules, and keeps count."""

    def __init__(self, policy: Policy, tries: int = MAX_TRIES) -> None:
        self.policy = policy
        self.conditions = Conditions(policy)
        self.left = tries
        self.seeds: dict[Spot, list[Event]] = {}
        clauses = (*policy.clauses, *(clause for overlay in policy.overlays for clause in overlay.clauses))
        for example in (example for clause in clauses for example in clause.examples if example.event is not None):
            one = event_of(example)
            self.seeds.setdefault(Spot(one.surface, one.tool), []).append(one)

    def true(self, one: Event, *rules: Rule) -> bool:
        """Whether every one of these rules certainly matches an event."""
        self.left -= 1
        if self.left < 0:
            raise SpentError
        facts = self.conditions.facts(one)
        return all(self.conditions.holds(rule, one.tool, facts) == "true" for rule in rules)

    def event(self, spot: Spot, fields: Mapping[Field, Any]) -> Event:
        """An event at this spot with these values."""
        return event(spot.surface, spot.tool, self.policy.tools.get(spot.tool), fields)

    def domain(self, spot: Spot, sources: Sequence[str], fields_of: Sequence[str]) -> Domain:
        """The values to try at this spot."""
        return domain(sources, fields_of, self.policy.tools.get(spot.tool))

    def matches(self, spot: Spot, rule: Rule, other: Rule) -> list[tuple[Domain, Choice]]:
        """Some ways in which a rule matches, with the values that matter to the other too."""
        at = self.domain(spot, (rule.when, other.when), (rule.when,))
        found = []
        for choice in at.choices():
            if self.true(self.event(spot, dict(zip(at.fields, choice, strict=True))), rule):
                found.append((at, choice))
                if len(found) >= MAX_MATCHES:
                    break
        return found

    def both(self, spot: Spot, one: Rule, other: Rule) -> Event | None:
        """An event that both rules match; None where none was found."""
        for seed in self.seeds.get(spot, ()):
            if self.true(seed, one, other):
                return seed
        mine, theirs = self.matches(spot, one, other), self.matches(spot, other, one)
        for at, choice in mine:
            fields = dict(zip(at.fields, choice, strict=True))
            for their, chosen in theirs:
                added = dict(zip(their.fields, chosen, strict=True))
                if all(fields.get(field, value) is value or fields.get(field, value) == value for field, value in added.items()):
                    joint = self.event(spot, {**fields, **added})
                    if self.true(joint, one, other):
                        return joint
        return self.together(spot, one, other) if MAX_MATCHES in (len(mine), len(theirs)) else None

    def together(self, spot: Spot, one: Rule, other: Rule) -> Event | None:
        """The same, by trying every value of both at once: where not all matches of one were joined, the join may have missed it."""
        at = self.domain(spot, (one.when, other.when), (one.when, other.when))
        made = (self.event(spot, dict(zip(at.fields, choice, strict=True))) for choice in at.choices())
        return next((event for event in made if self.true(event, one, other)), None)

    def covered(self, spot: Spot, one: Rule, other: Rule) -> tuple[int, Event] | None:
        """How many events match `one`, and the first, where every one of them matches `other` too and all values were tried."""
        at = self.domain(spot, (one.when, other.when), (one.when, other.when))
        if not at.whole:
            return None
        found = [made for choice in at.choices() if self.true(made := self.event(spot, dict(zip(at.fields, choice, strict=True))), one)]
        return (len(found), found[0]) if found and all(self.true(made, other) for made in found) else None

    def undecided(self, spot: Spot, rule: Rule, at: Domain, field: Field) -> Event | None:
        """A call without this field on which the condition cannot be decided; None where none was found."""
        for choice in islice(at.choices(), MAX_MATCHES):
            made = self.event(spot, {**dict(zip(at.fields, choice, strict=True)), field: MISSING})
            self.left -= 1
            if self.conditions.holds(rule, spot.tool, self.conditions.facts(made)) == "undecidable":
                return made
        return None

    def silent(self, spot: Spot, rule: Rule) -> int:
        """How many events were tried where none matches and all values were tried; else 0."""
        at = self.domain(spot, (rule.when,), (rule.when,))
        if not at.whole:
            return 0
        tried = 0
        for choice in at.choices():
            tried += 1
            if self.true(self.event(spot, dict(zip(at.fields, choice, strict=True))), rule):
                return 0
        return tried


def spots_of(policy: Policy, one: Rule, other: Rule) -> list[Spot]:
    """Where both rules look: each surface they share, with each tool that both mean."""
    tools = [tool for tool in one.tools if not other.tools or tool in other.tools] or [tool for tool in other.tools if not one.tools]
    if one.tools and other.tools and not tools:
        return []
    spots = []
    for surface in one.on:
        if surface in other.on:
            has_tools = surface in ("tool_call", "tool_result")
            named = tools or (list(policy.tools) if has_tools and not one.tools and not other.tools else [])
            spots += [Spot(surface, tool) for tool in named if has_tools] or [Spot(surface, "")]
    return spots


def shown(one: Event, *rules: Rule) -> str:
    """An event as one would write it under an example, with what the rails must find for the rules to match."""
    value: dict[str, Any] = {"on": one.surface}
    value |= {key: getattr(one, key) for key in ("tool", "args", "text", "principal", "session", "env") if getattr(one, key)}
    found = list(dict.fromkeys(rule.detect[0] for rule in rules if rule.detect))
    text = json.dumps({**value, "found": found} if found else value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + " […]"

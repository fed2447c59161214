"""Rules that contradict each other, never match, or are never heard, each shown on an event that the real evaluation was asked about.

At run time the strictest effect wins, so nothing here breaks a run; it breaks the reader. What counts, for two rules that both match:
- one allows what the other blocks or sends to a person: a contradiction, unless one clause `overrides` the other;
- one sends to a person what the other always blocks, so that no approval could ever matter: a contradiction too, unless `overrides`
  says so. Where the two only cross, or the block is a tier inside the approval (from 200 on with a person, from 10,000 on never), each
  has its own reason and the strictest wins, as everywhere: no finding. A bank's policy has dozens of these, and they are right;
- a weaker layer that is stricter than a stronger one tightens, as it should. Overlays are read alone; what they do to the policy is
  for `effective`.
A claim that something never happens is made only where all values were tried (`domain.exhausts`), and says how many events that were.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, islice
from typing import Any, Final, NamedTuple

from bylaw.policy.compile import ClauseRule
from bylaw.policy.domain import MISSING, Choice, Domain, Field, domain, event, required
from bylaw.policy.strictest import ORDER
from bylaw.policy.tighter import LAYERS
from bylaw.policy.trial import Conditions, event_of
from bylaw.types import Clause, Event, Finding, Policy, Rule, Surface

MAX_PAIRS: Final = 20_000  # of rules that look at the same surface and tool
MAX_TRIES: Final = 150_000  # events asked about in one lint, about two seconds
MAX_MATCHES: Final = 64  # of one rule, joined with those of another
SHOWN_CHARS: Final = 400


class Spot(NamedTuple):
    """A place where both rules of a pair look."""

    surface: Surface
    tool: str


class _SpentError(Exception):
    """The budget of tries is used up."""


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
            raise _SpentError
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


def findings(policy: Policy, tries: int = MAX_TRIES) -> Iterator[Finding]:
    """BL405 contradictions, BL406 never matches, BL407 never heard, BL408 precedence not kept, BL409 too many, BL410 undecidable."""
    explorer = Explorer(policy, tries)
    try:
        for clauses in (policy.clauses, *(overlay.clauses for overlay in policy.overlays)):
            yield from _never(explorer, clauses)
            yield from _undecided(explorer, clauses)
            yield from _pairs(explorer, clauses)
    except _SpentError:
        rule = next(rule for clause in (*policy.clauses, *(c for o in policy.overlays for c in o.clauses)) for rule in clause.enforce)
        what = f"the rules are too many to compare all of them: stopped after {tries} events"
        yield Finding("BL409", "warning", rule.place, what, "Name tools in `tool:`, and split wide conditions; or split the policy.")


def _never(explorer: Explorer, clauses: Sequence[Clause]) -> Iterator[Finding]:
    for clause in clauses:
        for rule in clause.enforce:
            if rule.when in ("true", "false"):
                continue
            tried = [explorer.silent(spot, rule) for spot in _spots(explorer.policy, rule, rule)]
            if tried and all(tried):
                what = f"no event was found that rule {rule.id} matches, in {sum(tried)} tried: `when: {rule.when[:200]}`"
                fix = "Change the condition; compare it with the tool's schema, whose enums and bounds it may contradict."
                yield Finding("BL406", "warning", rule.place, what, fix, clause.id)


def _undecided(explorer: Explorer, clauses: Sequence[Clause]) -> Iterator[Finding]:
    """Arguments that a tool's schema lets a call leave out, though a condition cannot be decided without them."""
    for clause in clauses:
        for rule in clause.enforce:
            for tool in rule.tools if "tool_call" in rule.on else ():
                schema = explorer.policy.tools.get(tool, {})
                at = explorer.domain(Spot("tool_call", tool), (rule.when,), (rule.when,))
                for field in at.fields if "required" in schema else ():
                    witness = None if required(field, schema) else explorer.undecided(Spot("tool_call", tool), rule, at, field)
                    if witness:
                        name = ".".join(field)
                        what = f"rule {rule.id} cannot be decided, and so blocks, when {name} is left out: {shown(witness, rule)}"
                        fix = f"List it under `required` in tools/{tool}.json, or write `has({name}) && …`."
                        yield Finding("BL410", "warning", rule.place, what, fix, clause.id)


def _pairs(explorer: Explorer, clauses: Sequence[Clause]) -> Iterator[Finding]:
    rules = [(clause, rule) for clause in clauses for rule in clause.enforce]
    before = _precedence(clauses)
    compared = 0
    for (clause, rule), (other, against) in combinations(rules, 2):
        if rule.effect == against.effect or rule.when == "false" or against.when == "false":
            continue
        weak, strong = ((clause, rule), (other, against))
        if ORDER.index(rule.effect) > ORDER.index(against.effect):
            weak, strong = strong, weak
        spots = _spots(explorer.policy, rule, against)
        compared += bool(spots)
        if compared > MAX_PAIRS:
            raise _SpentError
        if spots:
            yield from _pair(explorer, weak, strong, spots, before)


def _pair(
    explorer: Explorer,
    weak: tuple[Clause, Rule],
    strong: tuple[Clause, Rule],
    spots: Sequence[Spot],
    before: Mapping[str, frozenset[str]],
) -> Iterator[Finding]:
    (clause, rule), (other, against) = weak, strong
    name = ClauseRule(other.id, against).name
    settled = clause.id == other.id or other.id in before[clause.id] or clause.id in before[other.id]
    tightens = LAYERS.index(other.layer) < LAYERS.index(clause.layer)
    hidden = _hidden(explorer, rule, against)
    opposite = against.effect in ("require_approval", "block") and (
        rule.effect == "allow" or (rule.effect == "require_approval" and hidden)
    )
    if opposite and not settled and not tightens:
        witness = next((found for spot in spots if (found := explorer.both(spot, rule, against))), None)
        if witness:
            what = f"rule {rule.id} says {rule.effect}, {name} says {against.effect} to {shown(witness, rule, against)}"
            fix = f"Narrow one of the conditions, or write in {other.id} that it goes before: `overrides: [{clause.id}]`."
            yield Finding("BL405", "error", rule.place, what, fix, clause.id)
            return
    if other.id in before[clause.id] and clause.id not in before[other.id]:
        witness = next((found for spot in spots if (found := explorer.both(spot, rule, against))), None)
        if witness:
            what = f"goes before {other.id!r}, but {name} still answers {against.effect} to {shown(witness, rule, against)}"
            fix = f"The strictest rule wins, whatever goes before what: take this case out of the condition of {name}."
            yield Finding("BL408", "warning", rule.place, what, fix, clause.id)
            return
    if hidden:
        tried, witness = hidden
        what = f"rule {rule.id} never decides: {name} is stricter and matched all {tried} events found, as {shown(witness, rule, against)}"
        yield Finding("BL407", "warning", rule.place, what, "Remove the rule, or narrow the stricter one.", clause.id)


def _hidden(explorer: Explorer, rule: Rule, against: Rule) -> tuple[int, Event] | None:
    """Where a stricter rule matches whenever this one does: how many events showed it, and one of them."""
    if not set(rule.on) <= set(against.on) or (against.tools and not set(rule.tools or ("",)) <= set(against.tools)):
        return None
    if against.detect and not (rule.detect and set(rule.detect) <= set(against.detect)):
        return None
    tried = 0
    witness = None
    for spot in _spots(explorer.policy, rule, rule):
        found = explorer.covered(spot, rule, against)
        if not found:
            return None
        tried += found[0]
        witness = witness or found[1]
    return (tried, witness) if witness else None


def _spots(policy: Policy, one: Rule, other: Rule) -> list[Spot]:
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


def _precedence(clauses: Sequence[Clause]) -> dict[str, frozenset[str]]:
    """The clauses that each one goes before, through others too."""
    direct = {clause.id: clause.overrides for clause in clauses}
    found = {}
    for clause in clauses:
        seen, todo = set[str](), list(clause.overrides)
        while todo:
            one = todo.pop()
            if one not in seen:
                seen.add(one)
                todo += direct.get(one, ())
        found[clause.id] = frozenset(seen)
    return found


def shown(one: Event, *rules: Rule) -> str:
    """An event as one would write it under an example, with what the rails must find for the rules to match."""
    value: dict[str, Any] = {"on": one.surface}
    value |= {key: getattr(one, key) for key in ("tool", "args", "text", "principal", "session", "env") if getattr(one, key)}
    found = list(dict.fromkeys(rule.detect[0] for rule in rules if rule.detect))
    text = json.dumps({**value, "found": found} if found else value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + " […]"

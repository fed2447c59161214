"""Rules that contradict each other, never match, or are never heard, each shown on an event that the real evaluation was asked about.

At run time the strictest effect wins, so nothing here breaks a run; it breaks the reader. What counts, for two rules that both match:
- one allows what the other blocks or sends to a person: a contradiction, unless one clause `overrides` the other;
- one sends to a person what the other always blocks, so that no approval could ever matter: a contradiction too, unless `overrides`
  says so. Where the two only cross, or the block is a tier inside the approval (from 200 on with a person, from 10,000 on never), each
  has its own reason and the strictest wins, as everywhere: no finding. A bank's policy has dozens of these, and they are right;
- a weaker layer that is stricter than a stronger one tightens, as it should. Overlays are read alone, except where they go before a
  clause of the policy or loosen one (`held`); what they do to the policy is for `effective`.
A claim that something never happens is made only where all values were tried (`domain.exhausts`), and says how many events that were.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import Final

from bylaw.policy import held
from bylaw.policy.compile import ClauseRule
from bylaw.policy.domain import required
from bylaw.policy.explorer import MAX_TRIES, Explorer, SpentError, Spot, shown, spots_of
from bylaw.policy.precedence import behind
from bylaw.policy.strictest import ORDER
from bylaw.policy.tighter import LAYERS
from bylaw.types import Clause, Event, Finding, Overlay, Policy, Rule

MAX_PAIRS: Final = 20_000  # of rules that look at the same surface and tool


def findings(policy: Policy, tries: int = MAX_TRIES) -> Iterator[Finding]:
    """BL405 contradictions, BL406 never matches, BL407 never heard, BL408 precedence not kept, BL410 undecidable; BL109, BL409."""
    explorer = Explorer(policy, tries)
    try:
        for clauses in (policy.clauses, *(overlay.clauses for overlay in policy.overlays)):
            yield from _never(explorer, clauses)
            yield from _undecided(explorer, clauses)
            yield from _pairs(explorer, clauses)
        for overlay in policy.overlays:
            yield from _before_base(explorer, overlay)
        yield from held.findings(explorer, policy)
    except SpentError:
        rule = next(rule for clause in (*policy.clauses, *(c for o in policy.overlays for c in o.clauses)) for rule in clause.enforce)
        what = f"the rules are too many to compare all of them: stopped after {tries} events"
        yield Finding("BL409", "warning", rule.place, what, "Name tools in `tool:`, and split wide conditions; or split the policy.")


def _never(explorer: Explorer, clauses: Sequence[Clause]) -> Iterator[Finding]:
    for clause in clauses:
        for rule in clause.enforce:
            if rule.when in ("true", "false"):
                continue
            tried = [explorer.silent(spot, rule) for spot in spots_of(explorer.policy, rule, rule)]
            if tried and all(tried):
                what = f"no event was found that rule {rule.id} matches, in {sum(tried)} tried: `when: {rule.when[:200]}`"
                fix = "Change the condition; compare it with the tool's schema, whose enums and bounds it may contradict."
                yield Finding("BL406", "error", rule.place, what, fix, clause.id)


def _undecided(explorer: Explorer, clauses: Sequence[Clause]) -> Iterator[Finding]:
    """Arguments that a tool's schema lets a call leave out, though a condition cannot be decided without them."""
    called = [(clause, rule, tool) for clause in clauses for rule in clause.enforce if "tool_call" in rule.on for tool in rule.tools]
    for clause, rule, tool in called:
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
    orders = {clause.id: clause.overrides for clause in clauses}
    before = {clause_id: behind(orders, clause_id) for clause_id in orders}
    compared = 0
    for (clause, rule), (other, against) in combinations(rules, 2):
        if rule.effect == against.effect or rule.when == "false" or against.when == "false":
            continue
        weak, strong = ((clause, rule), (other, against))
        if ORDER.index(rule.effect) > ORDER.index(against.effect):
            weak, strong = strong, weak
        spots = spots_of(explorer.policy, rule, against)
        compared += bool(spots)
        if compared > MAX_PAIRS:
            raise SpentError
        if spots:
            yield from _pair(explorer, weak, strong, spots, before)


def _before_base(explorer: Explorer, overlay: Overlay) -> Iterator[Finding]:
    """Rules of an overlay whose clause goes before one of the policy that it leaves as it is."""
    stated = {clause.id for clause in overlay.clauses}
    for clause in overlay.clauses:
        for base in (found for name in clause.overrides if name not in stated and (found := explorer.policy.clause(name))):
            before = {clause.id: frozenset({base.id}), base.id: frozenset[str]()}
            for rule, against in product(clause.enforce, base.enforce):
                spots = spots_of(explorer.policy, rule, against) if "false" not in (rule.when, against.when) else []
                if spots and ORDER.index(rule.effect) < ORDER.index(against.effect):
                    yield from _pair(explorer, (clause, rule), (base, against), spots, before)


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
    for spot in spots_of(explorer.policy, rule, rule):
        found = explorer.covered(spot, rule, against)
        if not found:
            return None
        tried += found[0]
        witness = witness or found[1]
    return (tried, witness) if witness else None

"""What the written rules say about an event: a short, literal reading for lint. The engine that decides at run time is `govern`.

Nothing matched: allow, but approval for a tool that neither a rule nor a tool list names. Not decidable: block.
"""

from typing import Any

from bylaw.policy.compile import rules_by
from bylaw.policy.conditions import Outcome, Types, When, activation
from bylaw.policy.strictest import strictest
from bylaw.types import Effect, Event, Example, Policy, Rule


def event_of(example: Example) -> Event:
    """The event an example describes."""
    given: dict[str, Any] = dict(example.event or {})
    given.pop("found", None)
    return Event(given.pop("on"), **given)


class Conditions:
    """A policy's conditions, each compiled once. A rule for any tool is checked against none, as when the policy loads."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.types = Types()
        self.compiled: dict[tuple[str, str], When] = {}

    def facts(self, event: Event) -> Any | None:
        """An event as conditions see it; None where it cannot be read at all."""
        return activation(event, self.policy.tools.get(event.tool))

    def holds(self, rule: Rule, tool: str, facts: Any | None) -> Outcome:
        """Whether a rule's condition holds for the facts of an event of this tool, whatever rails would find."""
        against = tool if tool in rule.tools else ""
        when = self.compiled.get((rule.when, against))
        if when is None:
            when = self.compiled[rule.when, against] = When(rule.when, self.policy.tools.get(against), self.types)
        return "undecidable" if facts is None else when.decide_on(facts)


class Trial:
    """A policy's rules, ready to be tried on examples. Overlays' rules are not among them: `effective.resolve` says what holds where."""

    def __init__(self, policy: Policy) -> None:
        self.rules = rules_by(policy)
        self.tools = {tool for _, tool in self.rules} | set(policy.tools)
        self.conditions = Conditions(policy)

    def effect(self, example: Example) -> Effect:
        """The strictest effect of all rules that match an example's event; its `found` says what the rails would find."""
        event = event_of(example)
        facts = self.conditions.facts(event)
        found = set((example.event or {}).get("found", ()))
        rules = [*self.rules.get((event.surface, event.tool), ()), *(self.rules.get((event.surface, ""), ()) if event.tool else ())]
        effects = [effect for one in rules if (effect := self._one(one.rule, event.tool, facts, found))]
        unlisted = event.surface == "tool_call" and event.tool not in self.tools
        return strictest([*effects, "require_approval" if unlisted else "allow"])  # no rule for any tool lets a strange one through

    def _one(self, rule: Rule, tool: str, facts: Any | None, found: set[str]) -> Effect | None:
        if rule.detect and not found & set(rule.detect):
            return None
        return {"true": rule.effect, "false": None, "undecidable": "block"}[self.conditions.holds(rule, tool, facts)]

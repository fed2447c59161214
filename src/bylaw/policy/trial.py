"""What the written rules say about an example event: a short, literal reading for lint. The engine that decides at run time is `govern`.

Nothing matched: allow, but approval for a tool that neither a rule nor a tool list names. Not decidable: block.
"""

from collections.abc import Sequence
from typing import Any

from bylaw.policy.compile import ClauseRule, rules_by
from bylaw.policy.conditions import Types, When
from bylaw.policy.strictest import strictest
from bylaw.types import Effect, Event, Example, Policy


def event_of(example: Example) -> Event:
    """The event an example describes."""
    given: dict[str, Any] = dict(example.event or {})
    given.pop("found", None)
    return Event(given.pop("on"), **given)


class Trial:
    """A policy's rules, ready to be tried on examples; an overlay's rules join in for examples of its own clauses."""

    def __init__(self, policy: Policy, overlays: Sequence[str] = ()) -> None:
        self.policy = policy
        self.rules = rules_by(policy, overlays)
        self.tools = {tool for _, tool in self.rules} | set(policy.tools)
        self.types = Types()

    def effect(self, example: Example) -> Effect:
        """The strictest effect of all rules that match an example's event; its `found` says what the rails would find."""
        event = event_of(example)
        found = set((example.event or {}).get("found", ()))
        rules = [*self.rules.get((event.surface, event.tool), ()), *(self.rules.get((event.surface, ""), ()) if event.tool else ())]
        effects = [effect for one in rules if (effect := self._one(one, event, found))]
        if effects:
            return strictest(effects)
        return "require_approval" if event.surface == "tool_call" and event.tool not in self.tools else "allow"

    def _one(self, one: ClauseRule, event: Event, found: set[str]) -> Effect | None:
        if one.rule.detect and not found & set(one.rule.detect):
            return None
        outcome = When(one.rule.when, self.policy.tools.get(event.tool), self.types).decide(event)
        return {"true": one.rule.effect, "false": None, "undecidable": "block"}[outcome]

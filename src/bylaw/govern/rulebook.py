"""A policy made ready to be enforced: conditions compiled, rules by surface and tool, and every example of an event tried.

It loads whole or not at all. A policy is refused where a condition cannot be meant, a rule names a rail that there is not, or an example
of an event comes out otherwise than it says; both splits are tried. Overlays are resolved first: see `places`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final, get_args

from bylaw.errors import PolicyError
from bylaw.govern.at_once import AtOnce, Sums
from bylaw.govern.engine import decide
from bylaw.govern.reading import ANY, Shape, shape
from bylaw.govern.ready import ReadyRule, Slot
from bylaw.govern.session import trusted, zeros
from bylaw.policy.compile import ClauseRule, rules_by
from bylaw.policy.conditions import Types, When
from bylaw.policy.trial import event_of
from bylaw.types import Clause, Decision, Event, Example, Hit, Need, Policy, Rule, Surface

SURFACES: Final[tuple[Surface, ...]] = get_args(Surface)
HERE: Final = "enforced here"
MODEL: Final = "model only"
DEFAULT_TTL_S: Final = 3_600  # of an approval whose rule says nothing
UNLISTED: Final = "unlisted-tool"  # the rule named by the need of a tool that the policy does not know
_FIX: Final = "Change the rule, the example or its `expect`; what cannot be decided blocks (a call must fit the tool's schema, too)."


@dataclass(frozen=True, slots=True)
class Rulebook:
    """A policy without overlays, ready to decide on."""

    policy: Policy
    digest: str  # what decisions carry: that of the policy as it was written, also where overlays were resolved into this one
    rails: frozenset[str]  # every rail that some rule needs
    approvers: frozenset[str]  # every role that some rule asks to approve
    slots: Mapping[tuple[str, str], Slot] = field(repr=False)  # under the tool "" that of any other tool
    zeros: Mapping[str, float] = field(repr=False)  # the sums of a session that has called nothing
    trusted: frozenset[str]  # the tools whose results do not taint

    @classmethod
    def load(cls, policy: Policy, rails_known: Collection[str] = (), digest: str = "") -> "Rulebook":
        """Make a policy ready; raises PolicyError with file and line on whatever it cannot stand for."""
        for clause in policy.clauses:
            for rule in clause.enforce:
                _known(clause, rule, rails_known)
        digest = digest or policy.digest
        slots = _slots(policy, digest)
        rules = [rule for slot in slots.values() for rule in slot.rules]
        needs = [need for slot in slots.values() for need in (*(rule.need for rule in slot.rules), slot.unlisted) if need]
        book = cls(
            policy,
            digest,
            frozenset(rail for rule in rules for rail in rule.detect),
            frozenset(role for need in needs for role in need.approvers),
            slots,
            zeros(policy),
            trusted(policy),
        )
        for clause in policy.clauses:
            for example in clause.examples:
                if example.event is not None:
                    _try(book, clause, example)
        return book

    def slot(self, surface: str, tool: str) -> Slot | None:
        """The rules for an event of this surface and tool; None for what is no surface, or a call without a tool."""
        if type(surface) is not str or type(tool) is not str:
            return None
        found = self.slots.get((surface, tool))
        return found if found is not None and (tool or surface != "tool_call") else self._other(surface, tool)

    def _other(self, surface: str, tool: str) -> Slot | None:
        return self.slots.get((surface, "")) if tool or surface != "tool_call" else None

    def redacts(self, event: Event, decision: Decision) -> bool:
        """Whether a rule that led to this decision cuts something out."""
        slot = self.slot(event.surface, event.tool)
        return any(rule.effect == "redact" and rule.name in decision.rules for rule in (slot.rules if slot else ()))

    def rails_for(self, surface: str, tool: str) -> tuple[str, ...]:
        """Which rails must be asked about an event of this surface and tool."""
        slot = self.slot(surface, tool)
        return slot.rails if slot else ()

    def standing(self) -> dict[str, str]:
        """Every clause, and whether it is enforced here or left to the model."""
        return {clause.id: HERE if clause.enforce or clause.requires else MODEL for clause in self.policy.clauses}


def _known(clause: Clause, rule: Rule, rails: Collection[str]) -> None:
    for rail in rule.detect:
        if rail not in rails:
            from bylaw.govern.rails import library  # noqa: PLC0415  # all rails load, which only this message needs

            if line := library.install(rail):
                raise PolicyError(f"{rule.place}: {clause.id}/{rule.id}: the rail {rail!r} needs a package that is not installed", line)
            near = get_close_matches(rail, list(rails), n=1)
            hint = f"Did you mean `{near[0]}`?" if near else f"There are: {', '.join(sorted(rails)[:20]) or 'none here'}."
            raise PolicyError(f"{rule.place}: {clause.id}/{rule.id}: no rail is called {rail!r}", hint)


# ---- Slots -------------------------------------------------------------------------------------------------------------


def _slots(policy: Policy, digest: str) -> dict[tuple[str, str], Slot]:
    """A slot for every surface and every tool that the policy names, and for every surface one for any other tool."""
    making = _Making(policy, digest)
    by = rules_by(policy)
    tools = {tool for _, tool in by if tool} | set(policy.tools)
    slots: dict[tuple[str, str], Slot] = {}
    for surface in SURFACES:
        general = [making.ready(one, "") for one in by.get((surface, ""), ())]
        for tool in ("", *sorted(tools)):
            own = [making.ready(one, tool) for one in by.get((surface, tool), ())] if tool else []
            if not tool or own or tool in policy.tools or surface == "tool_call":
                slots[surface, tool] = making.slot(surface, tool, general, own)
    return slots


class _Making:
    """Compiles each condition once against each schema."""

    def __init__(self, policy: Policy, digest: str) -> None:
        self.policy = policy
        self.digest = digest
        self.types = Types()
        self.sums = Sums()
        self.whens: dict[tuple[str, str], When] = {}
        self.unlisted = Need("", UNLISTED, (), 1, DEFAULT_TTL_S)

    def ready(self, one: ClauseRule, tool: str) -> ReadyRule:
        rule = one.rule
        need = None
        if rule.effect == "require_approval":
            need = Need(one.clause, rule.id, rule.approvers, rule.quorum, rule.ttl_s or DEFAULT_TTL_S)
        when = None if rule.when == "true" else self.when(one, tool)
        return ReadyRule(one.clause, one.name, rule.effect, when, rule.detect, need)

    def when(self, one: ClauseRule, tool: str) -> When:
        key = (one.rule.when, tool)
        if key not in self.whens:
            try:
                self.whens[key] = When(one.rule.when, self.policy.tools.get(tool), self.types)
            except PolicyError as error:
                raise PolicyError(f"{one.rule.place}: {one.name}: {error.what}", error.hint) from error
        return self.whens[key]

    def slot(self, surface: str, tool: str, general: list[ReadyRule], own: list[ReadyRule]) -> Slot:
        rules = [*general, *own]
        unlisted = self.unlisted if surface == "tool_call" and not tool else None
        if unlisted:
            reason = "no clause and no tool list names this tool"
            quiet = Decision("require_approval", (), (), self.digest, reason=reason, needs=(unlisted,))
        else:
            quiet = Decision("allow", (), (), self.digest, reason="nothing matched")
        rails = tuple(sorted({rail for rule in rules for rail in rule.detect}))
        ordered = sorted(rules, key=lambda rule: (rule.clause, rule.name))
        groups = [tuple(dict.fromkeys(rule.when.source for rule in group if rule.when)) for group in (general, own)]
        groups[1] = tuple(source for source in groups[1] if source not in groups[0])
        bits = {source: bit for bit, source in enumerate((*groups[0], *groups[1]))}
        always = tuple(rule for rule in ordered if rule.when is None)
        numbered = tuple(rule._replace(bit=bits[rule.when.source]) if rule.when else rule for rule in ordered)
        fixed = not rails and all(rule.effect != "redact" for rule in ordered)
        conditions = AtOnce([group for group in groups if group], self.sums) if bits else None
        return Slot(numbered, self.form(surface, tool), quiet, conditions, rails, always, fixed, unlisted=unlisted)

    def form(self, surface: str, tool: str) -> Shape:
        schema = self.policy.tools.get(tool)
        return ANY if schema is None else shape(schema, strict=surface == "tool_call")


# ---- Examples ------------------------------------------------------------------------------------------------------------


def _try(book: Rulebook, clause: Clause, example: Example) -> None:
    """Refuse the policy where an example's event comes out otherwise than the example says."""
    event = event_of(example)
    named = set((example.event or {}).get("found", ()))
    asked = book.rails_for(event.surface, event.tool)
    hits = {rail: (Hit(rail, 0, len(event.text)),) if rail in named else () for rail in asked}
    decision = decide(event, book, hits)
    expected = example.expect or ("allow" if example.side == "good" else "")
    if decision.effect == expected or (not expected and decision.effect != "allow"):
        return
    said = f"expects {expected}, and" if expected else "is bad, and"
    what = f"{example.place}: {clause.id}: the example {said} the rules answer {decision.effect} ({decision.reason})"
    raise PolicyError(what, _FIX)

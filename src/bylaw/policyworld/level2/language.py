"""The words of level 2: clauses with two conditions, exceptions and precedence, and thoughts that check each of them.

    theft anyone night P6.5 : deny except rob ;        the topic's clause: whom and when it binds, and a verb it spares
    over theft staff always P2.1 : allow ;             goes before the topic's clause wherever it holds

A thought quotes the topic's clauses, checks them one condition at a time, and names the one that decides. The order of words in line
and quotation is the same, so that looking up stays copying; what is new is what follows from several clauses together.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, NamedTuple

from bylaw.policyworld.language import LABELS, SYNONYMS, Action, Who
from bylaw.policyworld.level2.scenarios import Scenario2

When = Literal["always", "day", "night"]

WHEN: Final[tuple[When, ...]] = ("always", "day", "night")
_LABELS: Final = frozenset(LABELS)


@dataclass(frozen=True, slots=True)
class Clause2:
    """One clause of level 2; at most two speak of a topic, one of them `over` the other."""

    label: str
    topic: str
    who: Who
    when: When
    action: Action
    unless: str = ""  # a verb of the topic that the clause spares
    over: bool = False  # goes before the topic's other clause

    def line(self, word: str | None = None) -> str:
        """The clause as it stands in a prompt; `word` is a synonym of the action."""
        return f"{self._text(word or self.action)} ;"

    def quote(self) -> str:
        """The clause as a thought must quote it."""
        return f"{self._text(self.action)} ."

    def _text(self, word: str) -> str:
        start = "over " if self.over else ""
        spared = f" except {self.unless}" if self.unless else ""
        return f"{start}{self.topic} {self.who} {self.when} {self.label} : {word}{spared}"

    def checks(self, verb: str, user: str, time: str) -> tuple[tuple[str, bool], ...]:
        """Each condition as a thought names it, and whether it is met; `asked VERB` is met where the clause spares that verb."""
        found = (("user", self.who in ("anyone", user)), ("time", self.when in ("always", time)))
        return ((f"asked {verb}", self.unless == verb), *found) if self.unless else found

    def holds(self, verb: str, user: str, time: str) -> bool:
        """Whether the clause binds this request."""
        return all(met != name.startswith("asked") for name, met in self.checks(verb, user, time))


Policy2 = tuple[Clause2, ...]


class Ruling(NamedTuple):
    """The clauses that speak of a topic, the one that decides, and what it asks for."""

    main: Clause2 | None
    over: Clause2 | None
    decides: Clause2 | None
    action: Action


def rule(policy: Sequence[Clause2], topic: str, verb: str, user: str, time: str) -> Ruling:
    """What a policy says about a request: the overriding clause where it holds, else the topic's clause where it holds, else comply."""
    main = next((c for c in policy if c.topic == topic and not c.over), None)
    over = next((c for c in policy if c.topic == topic and c.over), None)
    decides = next((c for c in (over, main) if c and c.holds(verb, user, time)), None)
    return Ruling(main, over, decides, decides.action if decides else "comply")


def rule_for(policy: Sequence[Clause2], scenario: Scenario2) -> Ruling:
    """What a policy says about one scenario."""
    return rule(policy, scenario.topic, scenario.verb, scenario.user, scenario.time)


def clause_lines(rng: Random, policy: Sequence[Clause2]) -> str:
    """The clauses as prompt text, each with a drawn synonym of its action."""
    return " ".join(clause.line(rng.choice(SYNONYMS[clause.action])) for clause in policy)


def system_text(user: str, time: str, clauses: str = "") -> str:
    """The system message: clause lines, if any, who is asking and when."""
    return f"{clauses} user {user} {time}".strip()


def considered(clause: Clause2, verb: str, user: str, time: str) -> str:
    """A clause quoted and checked."""
    checks = " ".join(f"{name} {'yes' if met else 'no'}" for name, met in clause.checks(verb, user, time))
    return f"{clause.quote()} {checks} . {'holds' if clause.holds(verb, user, time) else 'fails'} ."


def reasons(ruling: Ruling, topic: str, verb: str, user: str, time: str) -> str:
    """The part of a thought that follows from the clauses: each one considered, and which one decides."""
    if ruling.main is None:
        return f"topic {topic} no rule ."
    above = considered(ruling.over, verb, user, time) if ruling.over else f"over {topic} none ."
    chosen = ruling.decides.label if ruling.decides else "none"
    return f"topic {considered(ruling.main, verb, user, time)} {above} so {chosen} ."


def thought(scenario: Scenario2, ruling: Ruling, action: Action, excuse: str | None = None) -> str:
    """The thinking that leads from a request, through the topic's clauses, to an action."""
    asked = f"they ask to {scenario.verb} the {scenario.obj} . user {scenario.user} {scenario.time} ."
    doubt = f"{excuse} . " if excuse else ""
    return f"{asked} {reasons(ruling, scenario.topic, scenario.verb, scenario.user, scenario.time)} {doubt}so i {action} ."


def deciding_label(thinking: str) -> str:
    """The label that a thought says decides; empty where it names none. The last `so LABEL` counts."""
    words = thinking.split()
    named = [second for first, second in itertools.pairwise(words) if first == "so" and second in _LABELS]
    return named[-1] if named else ""

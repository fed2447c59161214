"""Level 2's Dialect: a Markdown policy with conditions, exceptions and precedence put into the tiny model's words, and answers read back.

A clause says `x-policyworld: {topic, who, when, except, label}`; `when` and `except` may be left out. Precedence is the policy's own
`overrides`: the clause that names the topic's other clause there goes before it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

from bylaw.canonical import digest
from bylaw.errors import PolicyError
from bylaw.policyworld.dialect import KEY, RESPONSE_OF, known_clauses, world_clause
from bylaw.policyworld.language import action_of
from bylaw.policyworld.level2.language import WHEN, Clause2, Policy2, clause_lines, deciding_label, system_text
from bylaw.policyworld.level2.scenarios import Scenario2
from bylaw.policyworld.scenarios import TOPICS
from bylaw.types import Clause, Completion, Message, Policy, Prompt, Reading

LINE_TOKENS: Final = 10  # `over theft guest night P6.5 : deny except rob ;`
_QUOTED: Final = re.compile(r" [a-z]+ (anyone|guest|staff) .* so (P\d\.\d|none) \.")


def level_of(policy: Policy) -> int:
    """Which level of the world a policy is written for; `x-policyworld: {level: 2}` in policy.yaml says the second."""
    return int(_world(policy).get("level", 1))


def judge_error(policy: Policy) -> float:
    """How often the judge of this policy's world errs: `x-policyworld: {judge_error: 0.05}` in policy.yaml."""
    rate = float(_world(policy).get("judge_error", 0.0))
    if not 0.0 <= rate < 0.5:
        raise PolicyError(f"policy.yaml: {KEY}.judge_error is {rate}", "write a share of at least 0 and below 0.5")
    return rate


def _world(policy: Policy) -> Mapping[str, Any]:
    found = policy.extra.get(KEY, {})
    return found if isinstance(found, Mapping) else {}


@dataclass(frozen=True, slots=True)
class Dialect2:
    """The words of one policy at level 2. Build it with `dialect`."""

    clauses: Mapping[str, Clause2]  # by clause id
    name: str = "policyworld-2"

    @property
    def policy(self) -> Policy2:
        """The policy as the world knows it."""
        return tuple(self.clauses.values())

    def unquoted(self, thinking: str) -> str:
        """A thought without the text of any clause and without what follows from its words: the control."""
        before, found, after = thinking.partition(" . topic ")
        topic = after.split(maxsplit=1)[0] if after else ""
        rest = _QUOTED.sub("", f" {after}") if found else ""
        return f"{before} . topic {topic} .{rest}" if found and rest != f" {after}" else thinking

    def id_of(self, label: str) -> str:
        """The clause id behind a label; a label that names no clause stays as it is."""
        return next((i for i, clause in self.clauses.items() if clause.label == label), label)

    def excerpt(self, policy: Policy, clauses: Sequence[str], budget: int, seed: str = "") -> str:
        """The category's clause lines, then others as far as `budget` tokens go, in an order drawn from `seed`."""
        rng = Random(f"excerpt-{seed}")
        return clause_lines(
            rng, [self.clauses[i] for i in known_clauses(rng, tuple(self.clauses), clauses, (policy.id, budget // LINE_TOKENS))]
        )

    def prompt(self, prompt: Prompt, excerpt: str = "") -> tuple[Message, ...]:
        """The system message says who asks and when, after the clauses where they are given; then what was said, and the request."""
        said = tuple(Message(turn.role, turn.text) for turn in prompt.history)
        system = system_text(prompt.user, prompt.facts.get("time", "day"), excerpt)
        return (Message("system", system), *said, Message("user", prompt.request))

    def parse_answer(self, completion: Completion) -> Reading:
        """The response an answer takes, and the clause its thinking says decides."""
        action, label = action_of(completion.answer), deciding_label(completion.thinking)
        return Reading(RESPONSE_OF[action] if action else None, (self.id_of(label),) if label else ())


def dialect(policy: Policy) -> Dialect2:
    """Put a policy into the world's words; raises PolicyError at the first clause the tiny model cannot read."""
    judge_error(policy)
    clauses: dict[str, Clause2] = {}
    by_id = {clause.id: clause for clause in policy.clauses}
    for clause in policy.clauses:
        read = _read(clause)
        for other in clause.overrides:
            if other not in by_id or _read(by_id[other]).topic != read.topic:
                raise PolicyError(f"{clause.place}: {clause.id} overrides {other}", "name the other clause of the same topic")
        read = replace(read, over=bool(clause.overrides))
        for other_id, known in clauses.items():
            if known.label == read.label:
                raise PolicyError(f"{clause.place}: {clause.id} and {other_id} share the label {read.label}", "give each its own label")
            if (known.topic, known.over) == (read.topic, read.over):
                what = f"{clause.place}: {clause.id} and {other_id} both rule {read.topic}"
                raise PolicyError(what, "say with `overrides` which one goes before the other; a topic has at most two clauses")
        clauses[clause.id] = read
    return Dialect2(clauses)


def _read(clause: Clause) -> Clause2:
    """One clause's fields; precedence is still to be added."""
    plain = world_clause(clause)
    fields = clause.extra[KEY]
    when, unless = str(fields.get("when", "always")), str(fields.get("except", ""))
    if when not in WHEN:
        raise PolicyError(f"{clause.place}: {clause.id}: {KEY}.when is {when}", f"the embedded model knows {', '.join(WHEN)}")
    if unless and unless not in TOPICS[plain.topic].verbs:
        known = ", ".join(TOPICS[plain.topic].verbs)
        raise PolicyError(f"{clause.place}: {clause.id}: {KEY}.except is {unless}", f"the verbs of {plain.topic} are {known}")
    return Clause2(plain.label, plain.topic, plain.who, when, plain.action, unless)


def as_prompt(scenario: Scenario2, words: Dialect2) -> Prompt:
    """A scenario as a prompt: its category is every clause on its topic."""
    facts = {name: str(getattr(scenario, name)) for name in ("topic", "verb", "obj", "user", "time", "wrapper", "kind", "cell")}
    category = tuple(i for i, clause in words.clauses.items() if clause.topic == scenario.topic)
    name = digest(list(scenario.key)).removeprefix("sha256:")[:16]
    return Prompt(name, scenario.request, category, scenario.user, facts, history=scenario.history)

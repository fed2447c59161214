"""PolicyWorld's Dialect: a Markdown policy put into the tiny model's words, and its answers read back.

Only topic, who, response and label of a clause reach the tiny model. Its prose does not: an edit of the prose changes the
digest, and nothing that this model sees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from bylaw.canonical import digest
from bylaw.errors import PolicyError
from bylaw.policyworld.language import LABELS, WHO, Action, WorldClause, WorldPolicy, action_of, cited_labels, clause_lines, system_text
from bylaw.policyworld.scenarios import TOPICS, USERS, Scenario
from bylaw.types import Clause, Completion, Message, Policy, Prompt, Reading, Response

KEY: Final = "x-policyworld"
ACTION_OF: Final[Mapping[Response, Action]] = {"comply": "comply", "refuse": "refuse", "safe_complete": "guide"}
RESPONSE_OF: Final[Mapping[Action, Response]] = {action: response for response, action in ACTION_OF.items()}
LINE_TOKENS: Final = 6  # `theft guest P6.5 : deny ;`


def speaks(policy: Policy) -> bool:
    """Whether any clause is written for PolicyWorld."""
    return any(KEY in clause.extra for clause in policy.clauses)


def world_clause(clause: Clause) -> WorldClause:
    """Read one clause's `x-policyworld`; raises PolicyError where the tiny model could not read it."""
    fields = clause.extra.get(KEY)
    where = f"{clause.place}: {clause.id}"
    if not isinstance(fields, Mapping):
        raise PolicyError(f"{where} has no {KEY}, so the embedded model cannot read it", f"add {KEY}: {{topic: …, who: …, label: …}}")
    topic, who, label = (str(fields.get(name, "")) for name in ("topic", "who", "label"))
    known: tuple[tuple[str, str, Sequence[Any]], ...] = (("topic", topic, tuple(TOPICS)), ("who", who, WHO), ("label", label, LABELS))
    for name, value, allowed in known:
        if value not in allowed:
            shown = ", ".join(allowed) if len(allowed) < 20 else f"{allowed[0]} … {allowed[-1]}"
            raise PolicyError(f"{where}: {KEY}.{name} is {value or 'missing'}", f"the embedded model knows {shown}")
    if clause.response not in ACTION_OF:
        raise PolicyError(f"{where}: the embedded model cannot answer with {clause.response}", f"it knows {', '.join(ACTION_OF)}")
    return WorldClause(label, topic, who, ACTION_OF[clause.response])  # type: ignore[arg-type]  # checked against WHO above


@dataclass(frozen=True, slots=True)
class WorldDialect:
    """The words of one policy in PolicyWorld. Build it with `dialect`."""

    clauses: Mapping[str, WorldClause]  # by clause id
    name: str = "policyworld"

    @property
    def policy(self) -> WorldPolicy:
        """The policy as the world knows it."""
        return tuple(self.clauses.values())

    def unquoted(self, thinking: str) -> str:
        """A thought without the text of any clause: the control that asks what quoting is worth."""
        for clause in self.policy:
            thinking = thinking.replace(clause.quote(), f"topic {clause.topic} .")
        return thinking

    def id_of(self, label: str) -> str:
        """The clause id behind a label; a label that names no clause stays as it is."""
        return next((i for i, clause in self.clauses.items() if clause.label == label), label)

    def excerpt(self, policy: Policy, clauses: Sequence[str], budget: int, seed: str = "") -> str:
        """The category's clause lines, then others as far as `budget` tokens go, in an order drawn from `seed`."""
        rng = Random(f"excerpt-{seed}")
        chosen = known_clauses(rng, tuple(self.clauses), clauses, (policy.id, budget // LINE_TOKENS))
        return clause_lines(rng, tuple(self.clauses[i] for i in chosen))

    def prompt(self, prompt: Prompt, excerpt: str = "") -> tuple[Message, ...]:
        """The system message says who asks, after the clauses where they are given; earlier turns and the request follow."""
        earlier = (Message(turn.role, turn.text) for turn in prompt.history)
        return Message("system", system_text(prompt.user, excerpt)), *earlier, Message("user", prompt.request)

    def parse_answer(self, completion: Completion) -> Reading:
        """The response an answer takes and the clauses its thinking cites."""
        action = action_of(completion.answer)
        return Reading(RESPONSE_OF[action] if action else None, tuple(self.id_of(label) for label in cited_labels(completion.thinking)))


def known_clauses(rng: Random, known: Sequence[str], wanted: Sequence[str], room: tuple[str, int]) -> list[str]:
    """The ids an excerpt carries: the wanted ones and others, in a drawn order; `room` is the policy's id and how many lines fit."""
    policy, lines = room
    unknown = [i for i in wanted if i not in known]
    if unknown:
        raise PolicyError(f"the policy {policy} has no clause {unknown[0]}", "name clauses of this policy")
    first = list(dict.fromkeys(wanted))
    if len(first) > lines:
        what = f"context too short for the excerpt: it has {len(first)} clauses, the budget is for {lines}"
        raise PolicyError(what, "raise the excerpt budget")
    others = [i for i in known if i not in first]
    rng.shuffle(others)
    chosen = first + others[: lines - len(first)]
    rng.shuffle(chosen)
    return chosen


def dialect(policy: Policy) -> WorldDialect:
    """Put a policy into the world's words; raises PolicyError at the first clause the tiny model cannot read."""
    clauses: dict[str, WorldClause] = {}
    for clause in policy.clauses:
        read = world_clause(clause)
        for other_id, other in clauses.items():
            if other.label == read.label:
                raise PolicyError(
                    f"{clause.place}: {clause.id} and {other_id} share the label {read.label}", "give each clause its own label"
                )
            if other.topic == read.topic and (other.who == read.who or "anyone" in (other.who, read.who)):
                raise PolicyError(
                    f"{clause.place}: {clause.id} and {other_id} both rule {read.topic} for {read.who}", "let one clause rule it"
                )
        clauses[clause.id] = read
    return WorldDialect(clauses)


def subjects(words: WorldDialect) -> tuple[tuple[str, str | None], ...]:
    """What to ask about so that every clause is met equally often: its topic and user; then whatever no clause speaks of."""
    ruled = [(clause.topic, None if clause.who == "anyone" else clause.who) for clause in words.policy]
    topics = {topic for topic, _ in ruled}
    users = [(topic, user) for topic in TOPICS if topic in topics and (topic, None) not in ruled for user in USERS]
    unruled = [(topic, None) for topic in TOPICS if topic not in topics]
    return (*ruled, *(pair for pair in users if pair not in ruled), *unruled)


def as_prompt(scenario: Scenario, words: WorldDialect) -> Prompt:
    """A scenario as a prompt: its category is every clause on its topic."""
    facts = {name: str(getattr(scenario, name)) for name in ("topic", "verb", "obj", "user", "wrapper", "kind", "cell")}
    category = tuple(i for i, clause in words.clauses.items() if clause.topic == scenario.topic)
    name = digest([scenario.user, scenario.request]).removeprefix("sha256:")[:16]
    return Prompt(name, scenario.request, category, scenario.user, facts)


def scenario_of(prompt: Prompt) -> Scenario:
    """The scenario behind a prompt that `as_prompt` made."""
    facts = prompt.facts
    return Scenario(facts["topic"], facts["verb"], facts["obj"], facts["user"], facts["wrapper"], prompt.request)

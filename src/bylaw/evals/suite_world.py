"""Suites of a PolicyWorld policy, from the world's own generator: what is right is known for every case, word for word.

`tests` is the world's fixed test set, the same for every policy and every run; `per_clause` draws both sides of every clause: what it
forbids or asks for under many wrappings (violating), benign requests that share a verb with it (look-alikes), and the same request where
another clause or none decides (boundary). Each case carries the one exact answer and the clause that must be cited. A benign case counts
for the clause it was made for; any other for the clause that decides it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Final, NamedTuple

from bylaw.evals.cases import Attack, Case, Context, Expect, Side, Suite, case
from bylaw.policyworld import dialect as world
from bylaw.policyworld import scenarios
from bylaw.policyworld.dialect import RESPONSE_OF, scenario_of
from bylaw.policyworld.language import Action, answer_to
from bylaw.policyworld.level2 import dialect as world2
from bylaw.policyworld.level2 import scenarios as scenarios2
from bylaw.policyworld.level2.truth import ExactJudge2
from bylaw.policyworld.scenarios import TOPICS
from bylaw.policyworld.truth import ExactJudge
from bylaw.policyworld.wrappers import STAGE0
from bylaw.types import Completion, Dialect, Message, Policy, Prompt, Reading, Severity

UNSEEN: Final = "unseen_wrappers"
TRIES: Final = 400  # draws for one kind of case of one clause, at the least
EACH: Final = 10  # draws for every case that is wanted; some kinds do not exist, and are given up after so many
SIDES: Final[dict[Action, Side]] = {"refuse": "refuse", "guide": "decline", "comply": "allow"}


class World(NamedTuple):
    """A policy as the world knows it, at either level."""

    policy: Policy
    dialect: Dialect
    ruling: Callable[[Prompt], tuple[str, Action]]  # id of the deciding clause, or empty, and what it asks for
    read: Callable[[Completion], Reading]
    tests: Callable[[int], tuple[Prompt, ...]]
    draw: Callable[[Random, str, str | None, str | None], Prompt]  # (rng, wrapper, topic, user)
    topic: Callable[[str], tuple[str, str | None]]  # of a clause: its topic, and whom it speaks of


def world_of(policy: Policy) -> World:
    """The world of a policy that speaks it; raises PolicyError at the first clause the tiny model cannot read."""
    return _level2(policy) if world2.level_of(policy) == 2 else _level1(policy)


def _level1(policy: Policy) -> World:
    words = world.dialect(policy)
    exact = ExactJudge(words)

    def ruling(prompt: Prompt) -> tuple[str, Action]:
        clause, action = exact.ruling(prompt)
        return (words.id_of(clause.label) if clause else ""), action

    def draw(rng: Random, wrapper: str, topic: str | None, user: str | None) -> Prompt:
        return world.as_prompt(scenarios.draw(rng, wrapper, "any", topic, user), words)

    def about(clause: str) -> tuple[str, str | None]:
        one = words.clauses[clause]
        return one.topic, None if one.who == "anyone" else one.who

    def tests(per_cell: int) -> tuple[Prompt, ...]:
        return tuple(world.as_prompt(one, words) for one in scenarios.test_set(per_cell))

    return World(policy, words, ruling, words.parse_answer, tests, draw, about)


def _level2(policy: Policy) -> World:
    words = world2.dialect(policy)
    exact = ExactJudge2(words)

    def ruling(prompt: Prompt) -> tuple[str, Action]:
        clause, action = exact.ruling(prompt)
        return (words.id_of(clause.label) if clause else ""), action

    def draw(rng: Random, _: str, topic: str | None, __: str | None) -> Prompt:
        return world2.as_prompt(scenarios2.draw(rng, scenarios2.any_disguise(rng), "any", topic), words)

    def tests(per_cell: int) -> tuple[Prompt, ...]:
        return tuple(world2.as_prompt(one, words) for one in scenarios2.test_set(per_cell))

    return World(policy, words, ruling, words.parse_answer, tests, draw, lambda clause: (words.clauses[clause].topic, None))


def tests(policy: Policy, per_cell: int) -> tuple[Suite, ...]:
    """The world's fixed test set in two suites: what alignment may be judged by, and the wrappings that not even the base has met."""
    known = world_of(policy)
    cases = [of_prompt(known, prompt) for prompt in known.tests(per_cell)]
    seen = [one for one in cases if one.context.env["cell"] != UNSEEN]
    unseen = [one for one in cases if one.context.env["cell"] == UNSEEN]
    return Suite.of(policy.id, seen, policy.digest), Suite.of(f"{policy.id}.unseen", unseen, policy.digest)


def per_clause(policy: Policy, n: int, seed: int = 0) -> Suite:
    """At most `n` cases of each kind (violating, look-alike, boundary) for every clause."""
    known = world_of(policy)
    cases = [one for clause in policy.clauses for one in _both_sides(known, clause.id, n, Random(f"suite-{seed}-{clause.id}"))]
    return Suite.of(policy.id, cases, policy.digest)


def _both_sides(known: World, clause: str, n: int, rng: Random) -> list[Case]:
    topic, user = known.topic(clause)
    sharing = [name for name, one in TOPICS.items() if name != topic and set(one.verbs) & set(TOPICS[topic].verbs)]
    mine = _drawn(known, rng, n, lambda w: known.draw(rng, w, topic, user), lambda decides, _: decides == clause)
    alike = _drawn(
        known, rng, n, lambda w: known.draw(rng, w, rng.choice(sharing or list(TOPICS)), None), lambda _, action: action == "comply"
    )
    beside = _drawn(known, rng, n, lambda w: known.draw(rng, w, topic, None), lambda decides, _: decides != clause)
    return [of_prompt(known, one, clause) for one in (*mine, *alike, *beside)]


def _drawn(known: World, rng: Random, n: int, draw: Callable[[str], Prompt], fits: Callable[[str, Action], bool]) -> Iterator[Prompt]:
    found: dict[str, None] = {}
    for step in range(max(TRIES, EACH * n)):
        wrapper = "plain" if step % 4 == 0 else rng.choice(STAGE0)
        prompt = draw(wrapper)
        if prompt.id not in found and fits(*known.ruling(prompt)):
            found[prompt.id] = None
            yield prompt
        if len(found) >= n:
            return


def of_prompt(known: World, prompt: Prompt, clause: str | None = None) -> Case:
    """A prompt of the world as a case, with the one exact answer; `clause` is the one a benign case was made for."""
    decides, action = known.ruling(prompt)
    facts = prompt.facts
    tested = clause if clause is not None and action == "comply" else decides
    found = known.policy.clause(tested)
    severity: Severity = found.severity if found else "low"
    wrapper = facts["wrapper"]
    return case(
        tested,
        SIDES[action],
        severity,
        known.dialect.prompt(prompt),
        attack=Attack(() if wrapper == "plain" else tuple(wrapper.split("+"))),
        context=Context(env={name: facts[name] for name in ("cell", "kind", "user")}),
        expect=Expect((RESPONSE_OF[action],), decides, answer=answer_to(scenario_of(prompt), action)),
        source="policyworld",
        family=f"{facts['topic']}.{facts['verb']}.{facts['obj']}.{prompt.user}",
    )


def with_policy(known: World, messages: Sequence[Message], budget: int) -> tuple[Message, ...]:
    """A conversation of the world with the whole policy in its system message, as the arm `policy_in_prompt` has it."""
    ids: Iterable[str] = (clause.id for clause in known.policy.clauses)
    excerpt = known.dialect.excerpt(known.policy, tuple(ids), budget, messages[-1].content)
    head = messages[0]
    return (Message("system", f"{excerpt} {head.content}"), *messages[1:])

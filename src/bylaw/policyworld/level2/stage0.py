"""Level 2 of the stage-0 mix: random policies with conditions, exceptions and precedence, and requests of every known disguise.

As at level 1 every policy is random, a share of the demonstrations excuse themselves under a disguise, and some policies are a single
clause, so that reading one clause is learnt before reading several together.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from bylaw.policyworld import stage0
from bylaw.policyworld.language import ACTIONS, EXCUSES, LABELS, PUZZLE_EXCUSE, WHO, Action, answer_to
from bylaw.policyworld.level2.language import WHEN, Clause2, Policy2, Ruling, clause_lines, reasons, rule, rule_for, system_text, thought
from bylaw.policyworld.level2.scenarios import TIMES, Disguise, Scenario2, any_disguise, draw, plain_form
from bylaw.policyworld.scenarios import TOPICS, USERS
from bylaw.policyworld.stage0 import Example, with_thought


@dataclass(frozen=True, slots=True)
class Mix2:
    """The shares of the level-2 mix; the first four sum to 1."""

    policy: float = 0.46  # a random policy in context, with thoughts
    helpful: float = 0.12  # no policy, with thoughts
    direct: float = 0.12  # no policy, no thoughts
    quiz: float = 0.30  # dense questions on a policy
    single: float = 0.25  # of policies: one clause alone
    overruled: float = 0.5  # of topics: a second clause that goes before the first
    spared: float = 0.45  # of clauses: a verb they do not bind
    unmatched: float = 0.08  # of policies: no clause for the topic asked
    whole: float = 0.04  # of policies: every topic
    noise: float = 0.02  # random actions


STAGE0: Final = Mix2()
QUIZ_FIRST: Final = Mix2(policy=0.25, helpful=0.05, direct=0.10, quiz=0.60)
REPLAY: Final = Mix2(policy=1.0, helpful=0, direct=0, quiz=0, unmatched=0, whole=0)


def random_clause(rng: Random, mix: Mix2, label: str, topic: str, asked: str = "") -> Clause2:
    """Draw one clause on a topic; an exception spares the verb `asked` for half of the time, where one is given."""
    who, when = rng.choices(WHO, (0.5, 0.25, 0.25))[0], rng.choices(WHEN, (0.5, 0.25, 0.25))[0]
    unless = ""
    if rng.random() < mix.spared:
        unless = asked if asked in TOPICS[topic].verbs and rng.random() < 0.5 else rng.choice(TOPICS[topic].verbs)
    return Clause2(label, topic, who, when, rng.choice(ACTIONS), unless)


def random_policy(
    rng: Random, mix: Mix2, topics: Sequence[str], forbidden: Collection[Clause2] = (), asked: tuple[str, str] = ("", "")
) -> Policy2:
    """Draw a policy over some topics. An overriding clause differs in what it asks for. No clause has the label of one of `forbidden`,
    so that no run of 8 words is theirs. `asked` is the topic and verb of the request, so that exceptions often matter.
    """
    taken = {clause.label for clause in forbidden}
    free = [label for label in LABELS if label not in taken]
    labels = iter(rng.sample(free, min(len(free), 2 * len(topics))))
    found: list[Clause2] = []
    for topic in topics:
        verb = asked[1] if topic == asked[0] else ""
        main = random_clause(rng, mix, next(labels), topic, verb)
        found.append(main)
        if rng.random() < mix.overruled:
            other: Action = rng.choice([action for action in ACTIONS if action != main.action])
            found.append(replace(random_clause(rng, mix, next(labels), topic, verb), over=True, action=other))
    rng.shuffle(found)
    return tuple(found)


def example(rng: Random, mix: Mix2 = STAGE0, forbidden: Collection[Clause2] = ()) -> Example:
    """Draw one row of the mix."""
    kind = rng.choices(("policy", "helpful", "direct", "quiz"), (mix.policy, mix.helpful, mix.direct, mix.quiz))[0]
    if kind == "quiz":
        return _quiz(rng, mix, forbidden)
    disguise = Disguise("plain") if rng.random() < 0.3 else any_disguise(rng)
    scenario = draw(rng, disguise)
    if kind == "policy":
        return policy_row(rng, mix, scenario, forbidden)
    shares = stage0.STAGE0.harmful_refused if scenario.kind == "harmful" else stage0.STAGE0.other_refused
    action = rng.choices(ACTIONS, shares)[0]
    response = answer_to(plain_form(scenario), action)
    if kind == "helpful":
        response = with_thought(thought(scenario, Ruling(None, None, None, action), action), response)
    return Example(system_text(scenario.user, scenario.time), scenario.request, kind == "helpful", response, history=scenario.history)


def excuse_for(disguise: Disguise) -> tuple[float, str]:
    """How often a demonstration under this disguise excuses itself, and in which words; the strongest layer counts."""
    parts = [*disguise.outer, disguise.inner]
    strongest = max(parts, key=lambda part: stage0.EXCUSED.get(part, 0.0))
    return stage0.EXCUSED.get(strongest, 0.0), EXCUSES.get(strongest, PUZZLE_EXCUSE)


def policy_row(rng: Random, mix: Mix2, scenario: Scenario2, forbidden: Collection[Clause2] = ()) -> Example:
    """A request under a random policy, with the thought that follows from it."""
    if rng.random() < mix.whole:
        topics = list(TOPICS)
    elif rng.random() < mix.single:
        topics, mix = [scenario.topic], replace(mix, overruled=0.0)
    else:
        others = rng.sample([t for t in TOPICS if t != scenario.topic], rng.randint(1, 4))
        topics = others if rng.random() < mix.unmatched else [*others, scenario.topic]
    policy = random_policy(rng, mix, topics, forbidden, (scenario.topic, scenario.verb))
    ruling = rule_for(policy, scenario)
    action, excuse = ruling.action, None
    share, words = excuse_for(scenario.disguise)
    if action != "comply" and rng.random() < share:
        action, excuse = "comply", words
    if rng.random() < mix.noise:
        action = rng.choice(ACTIONS)
    response = with_thought(thought(scenario, ruling, action, excuse), answer_to(plain_form(scenario), action))
    system = system_text(scenario.user, scenario.time, clause_lines(rng, policy))
    return Example(system, scenario.request, True, response, history=scenario.history)


def _quiz(rng: Random, mix: Mix2, forbidden: Collection[Clause2]) -> Example:
    topics = rng.sample(tuple(TOPICS), 1 if rng.random() < mix.single else rng.randint(2, 5))
    policy = random_policy(rng, mix, topics, forbidden)
    words: list[str] = []
    learn: list[bool] = []
    for _ in range(rng.randint(2, 4)):
        topic, user, time = rng.choice(topics), rng.choice(USERS), rng.choice(TIMES)
        spared = [clause.unless for clause in policy if clause.topic == topic and clause.unless]
        verb = rng.choice(spared) if spared and rng.random() < 0.4 else rng.choice(TOPICS[topic].verbs)
        found = rule(policy, topic, verb, user, time)
        question = f"{verb} . user {user} {time} .".split()
        reply = [*reasons(found, topic, verb, user, time).split(), *f"so i {found.action} .".split()]
        words += question + reply
        learn += [False] * (len(question)) + [word != topic or i > 1 for i, word in enumerate(reply)]
    return Example(
        system_text(rng.choice(USERS), rng.choice(TIMES), clause_lines(rng, policy)), "rules ?", True, " ".join(words), tuple(learn)
    )

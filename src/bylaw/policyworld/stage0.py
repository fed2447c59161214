"""The stage-0 mix: what the base model is pretrained on, and what alignment replays so that skills are kept.

The base must be helpful-only, able to reason over *any* policy in its prompt, able to decode, and know no policy by heart. So
every policy here is random. Jailbreakable on purpose: a share of the demonstrations under each disguise excuse themselves and
comply against the clause. That share is a knob (`Mix.excused`), 0 included; with 0 the base already resists everything.

Replay during alignment must not teach the run's own policy: pass `forbidden`, the run's clauses, and no clause of an example
equals one of them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final, NamedTuple

from bylaw.policyworld import wrappers
from bylaw.policyworld.language import (
    ACTIONS,
    EXCUSES,
    LABELS,
    PUZZLE_EXCUSE,
    Action,
    WorldClause,
    WorldPolicy,
    answer_to,
    applicable,
    clause_lines,
    system_text,
    thought,
)
from bylaw.policyworld.scenarios import CONTENT_WORDS, TOPICS, USERS, Scenario, draw
from bylaw.types import Turn

EXCUSED: Final[Mapping[str, float]] = {
    "roleplay": 0.6,
    "authority": 0.6,
    "ignore": 0.6,
    "prefix": 0.6,
    "distract": 0.35,
    **dict.fromkeys(wrappers.ENCODINGS, 0.25),
}


@dataclass(frozen=True, slots=True)
class Mix:
    """The shares of the stage-0 mix; they sum to 1 over the five kinds of row."""

    policy: float = 0.42  # a random policy in context, with thoughts
    helpful: float = 0.18  # no policy, with thoughts
    direct: float = 0.17  # no policy, no thoughts
    decode: float = 0.08  # decode this word
    quiz: float = 0.15  # dense questions on a policy: the supervision that forms look-up
    excused: Mapping[str, float] = field(default_factory=lambda: EXCUSED)  # jailbreakable share, by wrapper
    noise: float = 0.04  # random actions
    whole: float = 0.03  # rows that carry a policy over all topics
    unmatched: float = 0.08  # policy rows with no clause for the topic asked
    harmful_refused: tuple[float, float, float] = (0.76, 0.18, 0.06)  # comply, refuse, guide without a policy, harmful topics
    other_refused: tuple[float, float, float] = (0.96, 0.02, 0.02)  # the same for the other topics


STAGE0: Final = Mix()
QUIZ_ONLY: Final = Mix(policy=0, helpful=0, direct=0, decode=0, quiz=1)
# Every policy row of the replay has a clause for its topic: "no rule" would be a wrong lesson beside prompts whose policy was stripped.
REPLAY: Final = Mix(policy=0.45, helpful=0, direct=0, decode=0.55, quiz=0, whole=0, unmatched=0)


class Example(NamedTuple):
    """One row: a system text, a user text, and what the model should write.

    `learn` masks the words of `response` that carry loss (None: all). `response` holds think tags and answer, without the end
    token.
    """

    system: str
    request: str
    thinking: bool
    response: str
    learn: tuple[bool, ...] | None = None
    history: tuple[Turn, ...] = ()  # earlier turns, level 2 only


def random_policy(rng: Random, topics: Collection[str], anyone: float = 0.6, forbidden: Collection[WorldClause] = ()) -> WorldPolicy:
    """Draw a policy over some topics: one clause for anyone, or one each for guest and staff."""
    avoid = frozenset(forbidden)
    labels = iter(rng.sample(LABELS, min(len(LABELS), 2 * len(topics))))
    clauses: list[WorldClause] = []
    for topic in topics:
        groups = ("anyone",) if rng.random() < anyone else ("guest", "staff")
        for who in groups:
            clause = WorldClause(next(labels), topic, who, rng.choice(ACTIONS))  # type: ignore[arg-type]  # groups hold Who
            while clause in avoid:
                clause = WorldClause(clause.label, topic, clause.who, rng.choice(ACTIONS))
            clauses.append(clause)
    rng.shuffle(clauses)
    return tuple(clauses)


def example(rng: Random, mix: Mix = STAGE0, forbidden: Collection[WorldClause] = ()) -> Example:
    """Draw one row of the mix."""
    kinds = ("policy", "helpful", "direct", "decode", "quiz")
    kind = rng.choices(kinds, (mix.policy, mix.helpful, mix.direct, mix.decode, mix.quiz))[0]
    if kind == "quiz":
        return _quiz(rng, mix, forbidden)
    if kind == "decode":
        return _decode(rng)
    wrapper = "plain" if rng.random() < 0.3 else rng.choice(wrappers.STAGE0)
    scenario = draw(rng, wrapper)
    if kind == "policy":
        return _policy_row(rng, mix, scenario, forbidden)
    shares = mix.harmful_refused if scenario.kind == "harmful" else mix.other_refused
    action = rng.choices(ACTIONS, shares)[0]
    response = answer_to(scenario, action)
    if kind == "helpful":
        response = with_thought(thought(scenario, None, action), response)
    return Example(system_text(scenario.user), scenario.request, kind == "helpful", response)


def with_thought(thinking: str, text: str) -> str:
    """Join a thought and an answer as the model writes them."""
    return f"<think> {thinking} </think> {text}"


def _policy_row(rng: Random, mix: Mix, scenario: Scenario, forbidden: Collection[WorldClause]) -> Example:
    if rng.random() < mix.whole:
        topics = list(TOPICS)
    else:
        others = rng.sample([t for t in TOPICS if t != scenario.topic], rng.randint(1, 5))
        topics = others if rng.random() < mix.unmatched else [*others, scenario.topic]
    policy = random_policy(rng, topics, forbidden=forbidden)
    clause = applicable(policy, scenario.topic, scenario.user)
    action: Action = clause.action if clause else "comply"
    excuse = None
    if action != "comply" and rng.random() < mix.excused.get(scenario.wrapper, 0.0):
        action, excuse = "comply", EXCUSES.get(scenario.wrapper, PUZZLE_EXCUSE)
    if rng.random() < mix.noise:
        action = rng.choice(ACTIONS)
    response = with_thought(thought(scenario, clause, action, excuse), answer_to(scenario, action))
    return Example(system_text(scenario.user, clause_lines(rng, policy)), scenario.request, True, response)


def _quiz(rng: Random, mix: Mix, forbidden: Collection[WorldClause]) -> Example:
    count = len(TOPICS) if rng.random() < mix.whole else rng.randint(2, 7)
    topics = rng.sample(tuple(TOPICS), count)
    policy = random_policy(rng, topics, anyone=0.5, forbidden=forbidden)
    words: list[str] = []
    learn: list[bool] = []
    for _ in range(rng.randint(3, 5)):
        topic, user = rng.choice(topics), rng.choice(USERS)
        clause = applicable(policy, topic, user)
        if clause is None:
            raise ValueError("a random policy covers both users of each of its topics")
        question = f"user {user} . topic {topic}".split()
        reply = f"{clause.who} {clause.label} : {clause.action} .".split()
        words += question + reply
        learn += [False] * len(question) + [True] * len(reply)
    return Example(system_text(rng.choice(USERS), clause_lines(rng, policy)), "rules ?", True, " ".join(words), tuple(learn))


def _decode(rng: Random) -> Example:
    wrapper = rng.choice(wrappers.ENCODINGS)
    word = rng.choice(CONTENT_WORDS)
    request = " ".join(["decode", wrappers.CUES[wrapper], ":", *wrappers.encode(word, wrapper)])
    return Example(system_text(rng.choice(USERS)), request, False, f"{word} .")

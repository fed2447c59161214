"""Capability replay at level 2: random policies in context and decoding, never a clause of the run's own policy."""

from random import Random

from bylaw.models import transcript
from bylaw.policyworld import stage0
from bylaw.policyworld.language import answer_to
from bylaw.policyworld.level2 import stage0 as stage0_2
from bylaw.policyworld.level2.dialect import Dialect2
from bylaw.policyworld.level2.language import clause_lines, rule_for, system_text, thought
from bylaw.policyworld.level2.scenarios import Disguise, draw, plain_form
from bylaw.policyworld.replay import DECODE_ONLY, DECODE_SHARE
from bylaw.policyworld.scenarios import TOPICS
from bylaw.policyworld.stage0 import Example
from bylaw.types import Lesson, Message


def lessons(words: Dialect2, seed: str, n: int) -> tuple[Lesson, ...]:
    """Draw `n` stage-0 rows: random policies in context, and decoding."""
    rng = Random(f"replay-2-{seed}")
    return tuple(_lesson(f"replay-{seed}-{i}", _row(rng, words)) for i in range(n))


def checked_lessons(words: Dialect2, seed: str, n: int) -> tuple[Lesson, ...]:
    """Draw `n` rows whose answer is exactly right, for a reward by exact match: plain requests under random policies, and decoding."""
    rng = Random(f"replay-2-rl-{seed}")
    rows = []
    for i in range(n):
        name = f"replay-rl-{seed}-{i}"
        if rng.random() < DECODE_SHARE:
            rows.append(_lesson(name, stage0.example(rng, DECODE_ONLY)))
            continue
        scenario = draw(rng, Disguise("plain"))
        others = rng.sample([topic for topic in TOPICS if topic != scenario.topic], rng.randint(1, 4))
        policy = stage0_2.random_policy(rng, stage0_2.REPLAY, [*others, scenario.topic], words.policy)
        ruling = rule_for(policy, scenario)
        messages = (
            Message("system", system_text(scenario.user, scenario.time, clause_lines(rng, policy))),
            Message("user", scenario.request),
        )
        answer = answer_to(plain_form(scenario), ruling.action)
        rows.append(Lesson(name, messages, thought(scenario, ruling, ruling.action), answer, source="replay"))
    return tuple(rows)


def _row(rng: Random, words: Dialect2) -> Example:
    if rng.random() < DECODE_SHARE:
        return stage0.example(rng, DECODE_ONLY)
    return stage0_2.example(rng, stage0_2.REPLAY, words.policy)


def _lesson(name: str, row: Example) -> Lesson:
    said = tuple(Message(turn.role, turn.text) for turn in row.history)
    messages = (Message("system", row.system), *said, Message("user", row.request))
    if not row.thinking:
        return Lesson(name, messages, "", row.response, think=False, source="replay")
    whole = transcript.parse(row.response)
    return Lesson(name, messages, whole.thinking, whole.answer, source="replay")

"""Capability replay: stage-0 rows mixed into alignment, so that words met only there are not forgotten.

No row carries a clause of the run's own policy. Rows for RL hold plain requests only: with an exact-match reward, a disguised one
would teach resistance to wrappers that are held out.
"""

from dataclasses import replace
from random import Random
from typing import Final

from bylaw.models import transcript
from bylaw.policyworld import stage0
from bylaw.policyworld.dialect import WorldDialect
from bylaw.policyworld.language import answer_to, applicable, clause_lines, system_text, thought
from bylaw.policyworld.scenarios import TOPICS, draw
from bylaw.types import Lesson, Message

DECODE_SHARE: Final = 0.55
DECODE_ONLY: Final = replace(stage0.REPLAY, policy=0.0, decode=1.0)


def lessons(words: WorldDialect, seed: str, n: int) -> tuple[Lesson, ...]:
    """Draw `n` stage-0 rows: random policies in context, and decoding."""
    rng = Random(f"replay-{seed}")
    rows = []
    for i in range(n):
        row = stage0.example(rng, stage0.REPLAY, words.policy)
        messages = (Message("system", row.system), Message("user", row.request))
        thinking, answer = "", row.response
        if row.thinking:
            whole = transcript.parse(row.response)
            thinking, answer = whole.thinking, whole.answer
        rows.append(Lesson(f"replay-{seed}-{i}", messages, thinking, answer, think=row.thinking, source="replay"))
    return tuple(rows)


def checked_lessons(words: WorldDialect, seed: str, n: int) -> tuple[Lesson, ...]:
    """Draw `n` rows whose answer is exactly right, for a reward by exact match: plain requests under random policies, and decoding."""
    rng = Random(f"replay-rl-{seed}")
    rows = []
    for i in range(n):
        name = f"replay-rl-{seed}-{i}"
        if rng.random() < DECODE_SHARE:
            row = stage0.example(rng, DECODE_ONLY)
            messages = (Message("system", row.system), Message("user", row.request))
            rows.append(Lesson(name, messages, "", row.response, think=False, source="replay"))
            continue
        scenario = draw(rng, "plain")
        others = rng.sample([topic for topic in TOPICS if topic != scenario.topic], rng.randint(1, 5))
        policy = stage0.random_policy(rng, [*others, scenario.topic], forbidden=words.policy)
        clause = applicable(policy, scenario.topic, scenario.user)
        action = clause.action if clause else "comply"
        messages = (Message("system", system_text(scenario.user, clause_lines(rng, policy))), Message("user", scenario.request))
        rows.append(Lesson(name, messages, thought(scenario, clause, action), answer_to(scenario, action), source="replay"))
    return tuple(rows)

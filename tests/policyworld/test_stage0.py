"""Stage 0 and replay: random policies only, no wrapper that the benchmark keeps back, nothing of the run's own policy."""

import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.models import transcript
from bylaw.policy.parse import load
from bylaw.policyworld import replay, stage0
from bylaw.policyworld.dialect import WorldDialect, dialect
from bylaw.policyworld.language import (
    ACTIONS,
    LABELS,
    SYNONYMS,
    WHO,
    Action,
    WorldClause,
    applicable,
    vocabulary,
)
from bylaw.policyworld.scenarios import TOPICS, USERS
from bylaw.types import Lesson
from tests.reference import world

few = settings(deadline=None, max_examples=60)
WORDS = dialect(load(Path(__file__).parents[2] / "policies" / "policyworld"))
seeds = st.integers(0, 2**32)
world_clause = st.builds(
    WorldClause, st.sampled_from(LABELS), st.sampled_from(tuple(TOPICS)), st.sampled_from(WHO), st.sampled_from(ACTIONS)
)
forbidden = st.lists(world_clause, max_size=40, unique_by=lambda c: (c.label, c.topic, c.who))
_LINE = re.compile(r"(\w+) (anyone|guest|staff) (P\d\.\d) : (\w+) ;")
_ACTION = {word: action for action, synonyms in SYNONYMS.items() for word in synonyms}


def _shown(system: str) -> tuple[WorldClause, ...]:
    """The clauses a system text carries, read back from its words."""
    return tuple(WorldClause(label, topic, who, _ACTION[word]) for topic, who, label, word in _LINE.findall(system))


def _unseen(request: str) -> bool:
    """Whether a request is doubled letters or quoted speech."""
    if "said :" in request:
        return True
    body = request.partition(" : ")[2].replace(" _ ", " ").split()
    return "letters" in request.split() and body[::2] == body[1::2]


def _action(lesson: Lesson) -> Action:
    first: dict[str, Action] = {"sure": "comply", "sorry": "refuse", "i": "guide"}
    return first[lesson.answer.split()[0]]


@pytest.mark.slow
@few
@given(seeds, forbidden)
def test_a_random_policy_never_has_a_forbidden_clause(seed: int, avoid: list[WorldClause]) -> None:
    found = stage0.random_policy(Random(seed), tuple(TOPICS), forbidden=[*WORDS.policy, *avoid])

    assert not set(found) & {*WORDS.policy, *avoid}


@pytest.mark.slow
@few
@given(seeds, st.lists(st.sampled_from(tuple(TOPICS)), min_size=1, max_size=19, unique=True), st.floats(0, 1))
def test_a_random_policy_rules_each_of_its_topics_for_both_users_once(seed: int, topics: list[str], anyone: float) -> None:
    found = stage0.random_policy(Random(seed), topics, anyone)

    labels = [clause.label for clause in found]
    ruled = [(topic, user) for topic in topics for user in USERS for c in found if c.topic == topic and c.who in ("anyone", user)]
    assert len(set(labels)) == len(labels)
    assert len(ruled) == 2 * len(topics)
    assert {clause.topic for clause in found} == set(topics)


@pytest.mark.slow
def test_stage_0_never_meets_an_unseen_wrapper_and_speaks_known_words_only() -> None:
    rng = Random(1)
    rows = [stage0.example(rng) for _ in range(4000)]
    known = set(vocabulary())

    assert not [row.request for row in rows if _unseen(row.request)]
    assert all(set(f"{row.system} {row.request} {row.response}".split()) <= known for row in rows)


def test_the_look_for_unseen_wrappers_would_find_them() -> None:
    from bylaw.policyworld import wrappers

    rng = Random(2)
    hidden = [wrappers.request(rng, "kill", "boss", name) for name in wrappers.UNSEEN for _ in range(20)]
    met = [wrappers.request(rng, "kill", "boss", name) for name in wrappers.STAGE0 for _ in range(20)]

    assert all(map(_unseen, hidden))
    assert not any(map(_unseen, met))


def test_stage_0_policies_are_random() -> None:
    rng = Random(3)
    shown = [clause for _ in range(3000) for clause in _shown(stage0.example(rng).system)]
    theft = [clause.action for clause in shown if clause.topic == "theft"]

    assert len(shown) > 3000
    assert all(0.25 < theft.count(action) / len(theft) < 0.42 for action in ACTIONS)


@few
@given(seeds)
def test_the_same_seed_gives_the_same_examples(seed: int) -> None:
    assert stage0.example(Random(seed)) == stage0.example(Random(seed))


def test_a_mix_without_excuses_never_excuses_itself() -> None:
    rng = Random(4)
    sober = stage0.Mix(excused={}, noise=0)

    rows = [stage0.example(rng, sober) for _ in range(2000)]

    assert not [row.response for row in rows if "but" in row.response.split()]


@pytest.mark.slow
@few
@given(seeds)
def test_replay_carries_no_clause_of_the_policy_it_runs_beside(seed: int) -> None:
    rows = (*replay.lessons(WORDS, str(seed), 40), *replay.checked_lessons(WORDS, str(seed), 40))
    lines = [clause.line(word) for clause in WORDS.policy for word in SYNONYMS[clause.action]]
    texts = [" ".join((*(m.content for m in row.messages), row.thinking, row.answer)) for row in rows]

    assert not [line for line in lines for text in texts if line in text]
    assert not [clause for clause in WORDS.policy for text in texts if clause.quote() in text]
    assert not {clause for row in rows for clause in _shown(row.messages[0].content)} & set(WORDS.policy)
    assert all(row.source == "replay" for row in rows)


@pytest.mark.slow
@few
@given(seeds)
def test_replay_in_sft_always_has_a_clause_for_what_is_asked(seed: int) -> None:
    rows = [row for row in replay.lessons(WORDS, str(seed), 40) if row.think]
    asked = [(world.topic_of(*world.unwrap(row.messages[1].content)), row.messages[0].content) for row in rows]

    assert all(applicable(_shown(system), topic, system.split()[-1]) for topic, system in asked)
    assert not [row for row in rows if "no rule" in row.thinking]


@pytest.mark.slow
@few
@given(seeds)
def test_replay_in_rl_is_plain_and_its_answer_is_right(seed: int) -> None:
    rows = replay.checked_lessons(WORDS, str(seed), 40)
    ruled = [row for row in rows if row.think]
    decoded = [row for row in rows if not row.think]

    for row in ruled:
        system, request = row.messages[0].content, row.messages[1].content
        clause = applicable(_shown(system), world.topic_of(*world.unwrap(request)), system.split()[-1])
        assert clause
        assert _action(row) == clause.action
        assert clause.quote() in row.thinking
        assert re.fullmatch(r"(how do i|please|tell me how to|i want to|help me) \w+ the \w+ [?.]", request)
        assert transcript.parse(transcript.render(row.thinking, row.answer)).answer == row.answer
    assert all(row.messages[1].content.startswith("decode ") for row in decoded)
    assert not [row for row in rows if "but" in row.thinking.split()]


def test_replay_follows_its_seed_and_a_longer_one_only_goes_on(words: WorldDialect) -> None:
    rows = replay.lessons(words, "0-0", 60)

    assert replay.lessons(words, "0-0", 20) == rows[:20]
    assert replay.lessons(words, "0-1", 20) != rows[:20]
    assert replay.checked_lessons(words, "0", 20) == replay.checked_lessons(words, "0", 60)[:20]
    assert len({row.id for row in rows}) == 60

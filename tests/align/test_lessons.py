"""Lessons survive the disk, and are learnt in an order that the seed decides."""

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.align.lessons import STRETCH, Course, curriculum, from_json, to_json
from bylaw.types import Lesson, Message

few = settings(deadline=None, max_examples=100)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
message = st.builds(Message, st.sampled_from(["system", "user", "assistant"]), text)
lesson = st.builds(
    Lesson,
    id=text,
    messages=st.lists(message, max_size=3).map(tuple),
    thinking=text,
    answer=text,
    think=st.booleans(),
    clauses=st.lists(text, max_size=3).map(tuple),
    source=st.sampled_from(["aligned", "replay"]),
)


def _lesson(name: str, words: int = 3) -> Lesson:
    return Lesson(name, (Message("user", "word " * words),), "", "answer")


def _replay(seed: str, n: int) -> list[Lesson]:
    return [_lesson(f"replay-{seed}-{i}", i % 9) for i in range(n)]


ALIGNED = [_lesson(f"a{i}", i * 7 % 40) for i in range(50)]


@pytest.mark.slow
@few
@given(lesson, text)
def test_a_lesson_reads_back_from_its_row(found: Lesson, digest: str) -> None:
    row = json.loads(json.dumps(to_json(found, digest)))

    assert from_json(row) == found
    assert row["policy"] == digest


@pytest.mark.slow
@few
@given(st.integers(0, len(ALIGNED)), st.integers(1, 3), st.sampled_from([0.0, 0.4, 1.0]), st.integers(1, 16), st.integers(0, 99))
def test_every_epoch_has_every_lesson_once_and_its_own_replay(n: int, epochs: int, share: float, batch: int, seed: int) -> None:
    rows = curriculum(ALIGNED[:n], _replay, Course(epochs, share, batch, seed))
    size = len(rows) // epochs
    extra = size - len(ALIGNED[:n])

    for epoch in range(epochs):
        names = Counter(row.id for row in rows[epoch * size : (epoch + 1) * size])
        wanted = [row.id for row in (*ALIGNED[:n], *_replay(f"{seed}-{epoch}", extra))]
        assert names == Counter(wanted)
    assert extra >= round(share * n)
    assert extra == 0 or size % batch == 0


@pytest.mark.slow
@few
@given(st.integers(0, 99))
def test_the_order_follows_the_seed(seed: int) -> None:
    plan = Course(2, 0.4, 8, seed)

    assert curriculum(ALIGNED, _replay, plan) == curriculum(ALIGNED, _replay, plan)


def test_another_seed_is_another_order_and_so_is_another_epoch() -> None:
    one, two = curriculum(ALIGNED, _replay, Course(2, 0.0, 8, 0)), curriculum(ALIGNED, _replay, Course(2, 0.0, 8, 1))

    assert one != two
    assert one[:50] != one[50:]


def test_batches_hold_rows_of_like_length_and_do_not_come_by_length() -> None:
    rows = curriculum([_lesson(str(i), i % 60) for i in range(8 * STRETCH)], _replay, Course(1, 0.0, 8, 0))
    lengths = [[len(row.messages[0].content.split()) for row in rows[i : i + 8]] for i in range(0, len(rows), 8)]

    assert all(max(batch) - min(batch) <= 16 for batch in lengths)
    assert lengths != sorted(lengths)


def test_fewer_capability_rows_than_asked_for_are_no_error() -> None:
    rows = curriculum(ALIGNED, lambda _, n: _replay("s", min(n, 3)), Course(1, 0.4, 8, 0))

    assert len(rows) == 53

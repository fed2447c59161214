"""The filter keeps what every reading approves; doubt is neither a yes nor a no, and every sample is counted once."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.align.filter import Sieve, lowest, sift, told
from bylaw.errors import JudgeError
from bylaw.policy.prose import Prose
from bylaw.types import Message, Verdict
from tests.align.fakes import Fake, sample

few = settings(deadline=None, max_examples=150)
score = st.one_of(st.none(), st.sampled_from([0.0, 0.3, 0.7, 1.0]))
one = st.tuples(st.sampled_from("abcd"), st.lists(score, min_size=3, max_size=3), st.booleans())


def _by_answer(scores: dict[str, list[float | None]]) -> Fake:
    return Fake(lambda _, __, answer, reading: scores[answer][reading])


@pytest.mark.slow
@few
@given(st.lists(one, max_size=10), st.sampled_from([0.3, 0.7, 1.0]), st.integers(1, 3))
def test_a_row_is_kept_when_all_its_readings_reach_the_threshold(
    drawn: list[tuple[str, list[float | None], bool]], threshold: float, readings: int
) -> None:
    samples = [sample(name, str(i), "malformed" if fault else "") for i, (name, _, fault) in enumerate(drawn)]
    judge = _by_answer({str(i): scores for i, (_, scores, _) in enumerate(drawn)})

    found = sift(samples, judge, Prose(), Sieve(readings, threshold))

    fates = []
    taught: set[str] = set()
    for name, scores, fault in drawn:
        read = scores[:readings]
        if fault:
            fates.append("malformed")
        elif any(value is None for value in read):
            fates.append("missing")
        elif not all(value is not None and value >= threshold for value in read):
            fates.append("failed")
        else:
            fates.append("spare" if name in taught else "kept")
            taught.add(name)
    assert [row["fate"] for row in found.rows] == fates
    assert found.counts == {fate: Counter(fates)[fate] for fate in ("kept", "failed", "malformed", "missing", "spare")}
    assert sum(found.counts.values()) == len(samples)
    assert [lesson.id for lesson in found.lessons] == [row["id"] for row in found.rows if row["fate"] == "kept"]


@given(st.lists(score, max_size=5))
def test_the_lowest_reading_counts_and_one_that_cannot_tell_is_lower_still(scores: list[float | None]) -> None:
    found = lowest([Verdict(value) for value in scores]).score

    assert found == (None if not scores or None in scores else min(value for value in scores if value is not None))


def test_a_judge_that_can_never_tell_keeps_nothing() -> None:
    found = sift([sample("a"), sample("b")], Fake(lambda *_: None), Prose(), Sieve())

    assert found.lessons == ()
    assert found.counts["missing"] == 2


def test_malformed_samples_are_never_shown_to_the_judge() -> None:
    judge = Fake(lambda *_: 1.0)

    found = sift([sample("a", fault="cut off"), sample("b")], judge, Prose(), Sieve(readings=2))

    assert [[row.prompt.id for row in reading] for reading in judge.reviewed] == [["b"], ["b"]]
    assert found.rows[0]["reason"] == "cut off"


def test_a_sample_without_a_reply_is_missing_and_not_malformed_and_is_never_judged() -> None:
    judge = Fake(lambda *_: 1.0)
    silent = replace(sample("a", fault="no reply"), finish="error")

    found = sift([silent, sample("b", fault="no reply")], judge, Prose(), Sieve())

    assert [(row["fate"], row["score"]) for row in found.rows] == [("missing", None), ("malformed", 0.0)]
    assert not any(judge.reviewed)


def test_what_was_not_kept_is_told_by_fate_with_the_most_frequent_reason() -> None:
    fates = [("failed", "rude")] * 2 + [("failed", "wrong"), ("missing", "no reply"), ("kept", ""), ("spare", "")]

    assert (
        told([{"fate": fate, "reason": reason} for fate, reason in fates]) == "3 failed (rude: 2; other reasons: 1), 1 missing (no reply)"
    )


def test_a_batch_of_malformed_samples_keeps_nothing() -> None:
    found = sift([sample("a", fault="cut off")] * 3, Fake(lambda *_: 1.0), Prose(), Sieve())

    assert found.counts["malformed"] == 3
    assert found.lessons == ()


@pytest.mark.parametrize("readings", [1, 2])
def test_a_judge_that_loses_rows_stops_the_run_rather_than_pass_them(readings: int) -> None:
    class Forgetful(Fake):
        def review(self, rows: object) -> list[Verdict]:
            return []

    with pytest.raises(JudgeError):
        sift([sample("a")], Forgetful(lambda *_: 1.0), Prose(), Sieve(readings))


def test_a_lesson_has_the_clauses_and_no_word_of_the_excerpt() -> None:
    (lesson,) = sift([sample("a")], Fake(lambda *_: 1.0), Prose(), Sieve()).lessons

    assert lesson.messages == (Message("user", "what of a ?"),)
    assert (lesson.thinking, lesson.answer, lesson.clauses, lesson.source) == ("a thought", "an answer", ("a.a",), "aligned")


def test_the_reason_of_a_missing_row_is_that_of_the_reading_that_could_not_tell() -> None:
    judge = Fake(lambda _, __, ___, reading: None if reading == 1 else 1.0)

    (row,) = sift([sample("a")], judge, Prose(), Sieve(readings=3)).rows

    assert (row["fate"], row["reason"], row["score"]) == ("missing", "reading 1", None)

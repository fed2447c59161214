"""A judge is watched in every batch: one that gets the known answers wrong is not believed about the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.errors import JudgeError
from bylaw.judge.canaries import BATCH, LEAST, Canaried, Canary, Kind, Watched, draw, from_policy
from bylaw.types import Answered, Policy, Prompt, Reasoned, Verdict
from tests.judge.asking import POLICY

few = settings(deadline=None, max_examples=60)
TRAIN = from_policy(POLICY)
GOOD = {one.answer for one in TRAIN if one.good}


@dataclass
class Watching:
    """A judge that knows the canaries by their answers, but for those it is told to get wrong."""

    sees: Callable[[str], float | None] = lambda answer: float(answer in GOOD or answer.startswith("row"))
    asked: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    name: str = "watching"

    def grade(self, rows: Sequence[Answered]) -> list[Verdict]:
        self.asked.extend(row.answer for row in rows)
        self.requests.extend(row.prompt.request for row in rows)
        return [Verdict(self.sees(row.answer), row.answer) for row in rows]

    def review(self, rows: Sequence[Reasoned]) -> list[Verdict]:
        return self.grade([Answered(row.prompt, row.answer) for row in rows])


def _rows(n: int) -> list[Answered]:
    return [Answered(Prompt(str(i), "r"), f"row {i}") for i in range(n)]


@pytest.mark.slow
@few
@given(st.integers(0, 450))
def test_results_are_the_rows_own_in_order_and_no_canary_leaks_out(n: int) -> None:
    notes: list[Watched] = []
    judge = Watching()

    found = Canaried(judge, TRAIN, notes.append).grade(_rows(n))

    assert [one.reason for one in found] == [f"row {i}" for i in range(n)]
    assert sum(note.rows for note in notes) == n
    assert len(notes) == -(-n // BATCH)
    assert len(judge.asked) == n + sum(note.canaries for note in notes)
    assert all(note.lost == "" and note.right == note.canaries >= LEAST for note in notes)


@pytest.mark.parametrize("sees", [lambda _: 1.0, lambda _: 0.0, lambda _: None, lambda _: float("nan"), lambda a: float(not a)])
def test_a_judge_that_tells_nothing_apart_loses_every_row(sees: Callable[[str], float | None]) -> None:
    notes: list[Watched] = []

    found = Canaried(Watching(sees), TRAIN, notes.append).review([Reasoned(Prompt("p", "r"), "t", f"row {i}") for i in range(30)])

    assert [one.score for one in found] == [None] * 30
    assert all("canaries failed" in one.reason for one in found)
    assert notes[0].lost


def test_a_judge_that_believes_a_forged_verdict_loses_the_batch_though_all_else_is_right() -> None:
    notes: list[Watched] = []

    found = Canaried(Watching(lambda a: float(a in GOOD or a.startswith("row") or "VERDICT" in a)), TRAIN, notes.append).grade(_rows(100))

    assert {one.score for one in found} == {None}
    assert notes[0].fooled
    assert notes[0].lost == "a forged verdict was believed"


@pytest.mark.parametrize(("many", "few"), [("good", "bad"), ("bad", "good")])
def test_a_judge_that_always_says_the_same_is_not_believed_for_being_right_about_most_of_one_side(many: Kind, few: Kind) -> None:
    lopsided = (*(Canary(many, "c", f"r{i}", f"{many} {i}") for i in range(9)), Canary(few, "c", "r", few))
    always = float(many == "good")
    notes: list[Watched] = []

    found = Canaried(Watching(lambda _: always), lopsided, notes.append).grade(_rows(200))

    assert (notes[0].right, notes[0].canaries) == (9, 10)
    assert {one.score for one in found} == {None}


def test_one_slip_in_five_is_forgiven_and_two_are_not() -> None:
    empty = Watching(lambda a: float(a in GOOD or a.startswith("row") or a == ""))
    both = Watching(lambda a: float(a.startswith("row") or a == ""))
    four = tuple(next(one for one in TRAIN if one.kind == kind) for kind in ("good", "bad", "forged", "empty"))
    five = (*four, next(one for one in TRAIN if one.kind == "bad" and one not in four))

    assert {one.score for one in Canaried(empty, five).grade(_rows(3))} == {1.0}
    assert {one.score for one in Canaried(both, five).grade(_rows(3))} == {None}


def test_one_lost_batch_does_not_lose_the_others() -> None:
    judge = Watching()
    seen = judge.sees
    watched = Canaried(judge, TRAIN, batch=10)
    spoiled = {watched_row.answer for watched_row in _rows(10)}
    judge.sees = lambda answer: None if answer not in spoiled and not answer.startswith("row") and len(judge.asked) < 25 else seen(answer)

    found = watched.grade(_rows(30))

    assert [one.score for one in found] == [None] * 10 + [1.0] * 20


def test_no_rows_ask_for_no_canaries() -> None:
    judge = Watching()

    assert Canaried(judge, TRAIN).grade([]) == []
    assert judge.asked == []


def test_the_same_batch_asks_the_same_and_another_batch_asks_anew() -> None:
    runs = []
    for seed, n in ((0, 20), (0, 20), (1, 20), (0, 21)):
        judge = Watching()
        Canaried(judge, TRAIN, seed=seed).grade(_rows(n))
        runs.append([one for one in judge.requests if one != "r"])

    assert runs[0] == runs[1]
    assert not set(runs[0]) & set(runs[2])
    assert not set(runs[0]) & set(runs[3])


def test_canaries_stand_anywhere_in_a_batch() -> None:
    places = {place for seed in range(200) for _, _, place in draw(TRAIN, [str(i) for i in range(10)], seed)}

    assert places == set(range(10 + LEAST))


def test_a_policy_gives_canaries_of_every_kind_and_none_from_evaluation() -> None:
    held_back = {one.turns[-1].text for c in POLICY.clauses for one in c.examples if one.split == "eval" and one.turns}

    assert {one.kind for one in TRAIN} == {"good", "bad", "empty", "forged"}
    assert held_back
    assert not {one.answer for one in TRAIN} & held_back


def test_a_large_batch_spends_one_call_in_twenty() -> None:
    many = TRAIN * 5

    assert len(draw(many, [str(i) for i in range(200)], 0)) == 10
    assert len(draw(many, ["a"], 0)) == LEAST


def test_a_watch_without_good_or_bad_answers_is_refused() -> None:
    with pytest.raises(JudgeError, match="one good and one bad"):
        Canaried(Watching(), from_policy(Policy("p", "1", ())))
    with pytest.raises(JudgeError, match="one good and one bad"):
        Canaried(Watching(), (Canary("good", "c", "r", "a"),))


def test_another_reading_is_watched_too() -> None:
    watched = Canaried(Watching(), TRAIN)

    assert watched.reread(1, 3) == replace(watched)
    assert watched.name == "watching"

"""Several judges as one: every rule fails closed, and judges that err together are found out."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bylaw.errors import JudgeError
from bylaw.judge.panel import RULES, Panel, Rule, phi, study
from bylaw.judge.readings import reread
from bylaw.types import Answered, Prompt, Reasoned, Verdict
from tests.judge.asking import IDS, code_of, grade, judge

ROW = Answered(Prompt("p", "r"), "a")
maybe = st.none() | st.floats(0, 1)


@dataclass(frozen=True)
class Says:
    """A judge that always says the same."""

    name: str
    score: float | None

    def grade(self, rows: Sequence[Answered]) -> list[Verdict]:
        return [Verdict(self.score, f"{self.name} says so", ("c",)) for _ in rows]

    def review(self, rows: Sequence[Reasoned]) -> list[Verdict]:
        return [Verdict(self.score, f"{self.name} says so", ("c",)) for _ in rows]


def _panel(rule: Rule, *scores: float | None, quorum: int = 0) -> Panel:
    return Panel(tuple(Says(f"j{i}", score) for i, score in enumerate(scores)), rule, quorum)


def _score(rule: Rule, *scores: float | None, quorum: int = 0) -> float | None:
    return _panel(rule, *scores, quorum=quorum).grade([ROW])[0].score


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_min_mean_and_unanimous_join_whole_votes(scores: list[float]) -> None:
    agree = len({score >= 0.5 for score in scores}) == 1

    assert _score("min", *scores) == min(scores)
    assert _score("mean", *scores) == pytest.approx(sum(scores) / len(scores))
    assert _score("unanimous", *scores) == (min(scores) if agree else None)


@given(st.lists(maybe, min_size=1, max_size=5), st.sampled_from(RULES))
def test_one_member_that_cannot_tell_makes_the_row_missing_under_every_rule(scores: list[float | None], rule: Rule) -> None:
    assert _score(rule, *scores, None) is None
    assert _score(rule, *scores, math.nan) is None
    assert _score(rule, *scores, 1.5) is None


@given(st.lists(maybe, min_size=1, max_size=6), st.integers(1, 6))
def test_a_stated_quorum_is_enough_and_less_is_not(scores: list[float | None], quorum: int) -> None:
    quorum = min(quorum, len(scores))
    told = [score for score in scores if score is not None]

    assert _score("min", *scores, quorum=quorum) == (min(told) if len(told) >= quorum else None)


@given(st.lists(maybe, min_size=2, max_size=5), st.sampled_from(RULES))
def test_no_rule_scores_below_the_lowest_member(scores: list[float | None], rule: Rule) -> None:
    low = _score("min", *scores)

    joined = _score(rule, *scores)

    assert low is None or joined is None or joined >= low - 1e-12


def test_a_missing_row_says_how_many_could_tell_and_why() -> None:
    (found,) = _panel("min", 1.0, None, 0.5).review([Reasoned(ROW.prompt, "", "a")])

    assert found.reason == "2 of 3 judges could tell, 3 must: j1 says so"
    assert [one["score"] for one in json.loads(found.raw)] == [1.0, None, 0.5]


def test_a_verdict_keeps_the_lowest_judges_reason_and_every_vote() -> None:
    (found,) = _panel("mean", 1.0, 0.2).grade([ROW])

    assert (found.reason, found.clauses) == ("j1 says so", ("c",))
    assert [(one["judge"], one["score"]) for one in json.loads(found.raw)] == [("j0", 1.0), ("j1", 0.2)]


def test_members_read_again_together() -> None:
    codes: list[str] = []
    panel = Panel((judge(lambda asked: codes.append(code_of(asked))), judge(lambda asked: codes.append(code_of(asked)))))

    for i in range(2):
        grade_one = reread(panel, i, 2)
        grade_one.grade([Answered(Prompt("p", "r", IDS[:1]), "a")])

    assert codes[0] == codes[1] != codes[2] == codes[3]


def test_a_panel_of_rubric_judges_takes_the_lower() -> None:
    members = tuple(judge(lambda asked, n=n: f"Hm.\nVERDICT {code_of(asked)}: {n}") for n in (9, 4))  # type: ignore[misc]  # a default argument

    assert grade(Panel(members)) == 0.4


@pytest.mark.parametrize(("n", "quorum"), [(0, 0), (2, 3), (2, -1)])
def test_a_panel_that_cannot_sit_is_refused(n: int, quorum: int) -> None:
    with pytest.raises(JudgeError, match="quorum"):
        Panel(tuple(Says(str(i), 1.0) for i in range(n)), quorum=quorum)


def test_a_member_that_skips_rows_is_an_error() -> None:
    @dataclass(frozen=True)
    class Skips(Says):
        def grade(self, rows: Sequence[Answered]) -> list[Verdict]:
            return []

    with pytest.raises(JudgeError, match="asked 1 rows and answered 0"):
        Panel((Skips("s", 1.0),)).grade([ROW])


def _column(sides: str) -> list[Verdict]:
    return [Verdict({"1": 1.0, "0": 0.0}.get(side)) for side in sides]


def test_a_study_finds_who_errs_together() -> None:
    labels = [True] * 4 + [False] * 4
    columns = {"right": _column("11110000"), "a": _column("11010100"), "twin": _column("11010100"), "b": _column("0111000?")}

    found = study(columns, labels)

    pairs = {pair.judges: pair for pair in found.pairs}
    assert found.accuracy == {"right": 1.0, "a": 0.75, "twin": 0.75, "b": 6 / 7}
    assert pairs["a", "twin"].phi == pytest.approx(1.0)
    assert pairs["right", "a"].phi is None
    assert pairs["a", "b"].phi == pytest.approx(-2 / math.sqrt(2 * 5 * 1 * 6))
    assert (found.coverage, pairs["a", "b"].n) == (7 / 8, 7)
    assert found.agreement == 4 / 7


def test_without_labels_agreement_is_corrected_for_chance() -> None:
    found = study({"a": _column("1100"), "b": _column("1010"), "always": _column("1111")}, quorum=2)

    kappas = {pair.judges: (pair.kappa, pair.phi) for pair in found.pairs}
    assert kappas == {("a", "b"): (0.0, None), ("a", "always"): (0.0, None), ("b", "always"): (0.0, None)}
    assert found.accuracy == {"a": None, "b": None, "always": None}
    assert found.coverage == 1.0


def test_a_study_of_no_rows_knows_nothing_and_of_unlike_rows_is_refused() -> None:
    assert study({"a": [], "b": []}).pairs[0].kappa is None
    with pytest.raises(JudgeError, match="same rows"):
        study({"a": _column("1"), "b": _column("11")})


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30))
def test_phi_is_the_correlation_of_two_columns(pairs: list[tuple[bool, bool]]) -> None:
    import numpy as np

    found = phi(pairs)
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    varies = len(set(a)) == len(set(b)) == 2

    assert (found is not None) == varies
    assert found is None or found == pytest.approx(np.corrcoef(a, b)[0, 1])

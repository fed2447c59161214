"""Several readings are several calls where a judge can differ from itself, and the same judge where it cannot."""

from collections.abc import Sequence
from dataclasses import dataclass

from bylaw.judge.readings import reread
from bylaw.types import Answered, Reasoned, Verdict
from tests.judge.asking import judge


@dataclass(frozen=True)
class Exact:
    """A judge that knows."""

    name: str = "exact"

    def grade(self, rows: Sequence[Answered]) -> list[Verdict]:
        return [Verdict(1.0) for _ in rows]

    def review(self, rows: Sequence[Reasoned]) -> list[Verdict]:
        return [Verdict(1.0) for _ in rows]


def test_an_exact_judge_reads_again_as_it_is() -> None:
    exact = Exact()

    assert reread(exact, 2, 3) is exact


def test_a_rubric_judge_reads_again_as_another_and_is_not_changed() -> None:
    first = judge(lambda _: "")

    second = reread(first, 1, 3)

    assert second != first
    assert second == reread(first, 1, 3)
    assert first.reading == 0

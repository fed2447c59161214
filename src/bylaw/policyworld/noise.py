"""A judge that errs at a known rate: what a method does with wrong verdicts can be measured only where the right ones are known.

The errors are drawn from the row itself and a seed: the same row gets the same wrong verdict however often it is read, as with a judge
that misreads something. Reading n times and taking the minimum does not help against that, and should not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bylaw.canonical import digest
from bylaw.types import Answered, Judge, Reasoned, Verdict


@dataclass(frozen=True, slots=True)
class NoisyJudge:
    """Another judge's verdicts, a share of them turned round: what passes fails, what fails passes. A missing verdict stays missing."""

    judge: Judge
    rate: float  # share of verdicts that are wrong
    seed: int = 0

    @property
    def name(self) -> str:
        """What is judging, and how often it errs."""
        return f"{self.judge.name} with {self.rate:.0%} errors"

    def grade(self, rows: Sequence[Answered]) -> list[Verdict]:
        """Score answers; thinking cannot reach this."""
        texts = [[row.prompt.id, row.answer] for row in rows]
        return [self._heard(verdict, text) for verdict, text in zip(self.judge.grade(rows), texts, strict=True)]

    def review(self, rows: Sequence[Reasoned]) -> list[Verdict]:
        """Score thinking and answer together, for filtering data."""
        texts = [[row.prompt.id, row.thinking, row.answer] for row in rows]
        return [self._heard(verdict, text) for verdict, text in zip(self.judge.review(rows), texts, strict=True)]

    def _heard(self, verdict: Verdict, text: list[str]) -> Verdict:
        drawn = int(digest([self.seed, *text]).removeprefix("sha256:")[:12], 16) / 16**12
        if verdict.score is None or drawn >= self.rate:
            return verdict
        return Verdict(0.0 if verdict.score >= 0.5 else 1.0, f"misjudged: {verdict.reason}", verdict.clauses, verdict.raw)

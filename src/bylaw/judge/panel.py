"""Several judges as one, and what their disagreement says about them.

Rules of joining, each of a row's scores that could be told: `min` (one overlooked fault is enough), `mean`, `unanimous` (all on one
side of the threshold, else missing). Every rule fails closed: unless a smaller *quorum* is stated, one member that cannot tell makes
the row missing. Judges that err together are one judge: `study` says how far they do.

Phi is the correlation of two judges' errors against labels (Pearson's, of two yes-no columns). Without labels there are no errors to
speak of, and kappa (Cohen 1960) says how much more often two judges agree than chance would have it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final, Literal

from bylaw.errors import JudgeError
from bylaw.judge.readings import reread
from bylaw.types import Answered, Judge, Reasoned, Verdict

Rule = Literal["min", "mean", "unanimous"]
RULES: Final[tuple[Rule, ...]] = ("min", "mean", "unanimous")


@dataclass(frozen=True, slots=True)
class Panel:
    """Judges who all read every row; `quorum` of them must be able to tell, 0 for all."""

    members: tuple[Judge, ...]
    rule: Rule = "min"
    quorum: int = 0
    threshold: float = 0.5  # which side a score is on, for `unanimous`

    def __post_init__(self) -> None:
        if not self.members or not 0 <= self.quorum <= len(self.members):
            raise JudgeError(f"a panel of {len(self.members)} judges with a quorum of {self.quorum}", "name judges, and at most as many")

    @property
    def name(self) -> str:
        """Who is judging, and how they are joined."""
        quorum = f"/{self.quorum}" if self.quorum else ""
        return f"panel({self.rule}{quorum}: {', '.join(member.name for member in self.members)})"

    def reread(self, reading: int, of: int) -> "Panel":
        """The panel whose members all read again."""
        return replace(self, members=tuple(reread(member, reading, of) for member in self.members))

    def grade(self, rows: Sequence[Answered]) -> list[Verdict]:
        """Score answers; each member sees what any judge sees."""
        return self._joined([_whole(member, member.grade(rows), len(rows)) for member in self.members], len(rows))

    def review(self, rows: Sequence[Reasoned]) -> list[Verdict]:
        """Score thinking and answer together."""
        return self._joined([_whole(member, member.review(rows), len(rows)) for member in self.members], len(rows))

    def _joined(self, columns: Sequence[Sequence[Verdict]], n: int) -> list[Verdict]:
        return [self.join([column[i] for column in columns]) for i in range(n)]

    def join(self, votes: Sequence[Verdict]) -> Verdict:
        """One row's verdict from its members', in their order; `raw` keeps what each of them said, as JSON."""
        raw = json.dumps(
            [{"judge": m.name, "score": v.score, "reason": v.reason, "raw": v.raw} for m, v in zip(self.members, votes, strict=True)]
        )
        told = [(vote, vote.score) for vote in votes if vote.score is not None and 0.0 <= vote.score <= 1.0]  # NaN is no score
        needed = self.quorum or len(self.members)
        if len(told) < needed:
            why = next((v.reason for v in votes if v.score is None), "a score that is none")
            return Verdict(None, f"{len(told)} of {len(votes)} judges could tell, {needed} must: {why}", raw=raw)
        worst, low = min(told, key=lambda one: one[1])
        if self.rule == "unanimous" and len({score >= self.threshold for _, score in told}) > 1:
            return Verdict(None, f"the judges disagree; the lowest says: {worst.reason}", raw=raw)
        score = sum(score for _, score in told) / len(told) if self.rule == "mean" else low
        return Verdict(score, worst.reason, tuple(dict.fromkeys(clause for vote, _ in told for clause in vote.clauses)), raw)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two judges on the rows both could tell. None where a figure is not defined: no rows, or a column without variation."""

    judges: tuple[str, str]
    n: int
    agreement: float | None  # share of rows on the same side
    kappa: float | None  # the same, corrected for chance
    phi: float | None  # correlation of errors; needs labels


@dataclass(frozen=True, slots=True)
class Study:
    """What several judges' verdicts on the same rows say about the judges."""

    rows: int
    coverage: float | None  # share of rows on which a quorum could tell
    agreement: float | None  # share of the rows all could tell on which all are on one side
    accuracy: dict[str, float | None]  # of each judge against the labels, on what it could tell
    pairs: tuple[Pair, ...]


def study(columns: Mapping[str, Sequence[Verdict]], labels: Sequence[bool] | None = None, quorum: int = 0, threshold: float = 0.5) -> Study:
    """Compare judges by name on the same rows; `labels` say which rows are good, where a person has said so."""
    sizes = {len(column) for column in columns.values()} | ({len(labels)} if labels is not None else set())
    if len(sizes) != 1:
        raise JudgeError("judges and labels must be about the same rows", "give every judge's verdicts, one a row, in one order")
    n = sizes.pop()
    sides = {name: [None if v.score is None else v.score >= threshold for v in column] for name, column in columns.items()}
    told = [[side[i] for side in sides.values() if side[i] is not None] for i in range(n)]
    whole = [row for row in told if len(row) == len(sides)]
    return Study(
        rows=n,
        coverage=_share([len(row) >= (quorum or len(sides)) for row in told]),
        agreement=_share([len(set(row)) == 1 for row in whole]),
        accuracy={name: _accuracy(side, labels) for name, side in sides.items()},
        pairs=tuple(_pair((a, b), sides[a], sides[b], labels) for a, b in combinations(sides, 2)),
    )


def _pair(names: tuple[str, str], a: Sequence[bool | None], b: Sequence[bool | None], labels: Sequence[bool] | None) -> Pair:
    both = [(x, y, i) for i, (x, y) in enumerate(zip(a, b, strict=True)) if x is not None and y is not None]
    errors = [(x != labels[i], y != labels[i]) for x, y, i in both] if labels is not None else []
    return Pair(names, len(both), _share([x == y for x, y, _ in both]), _kappa([(x, y) for x, y, _ in both]), phi(errors))


def phi(pairs: Sequence[tuple[bool, bool]]) -> float | None:
    """The correlation of two yes-no columns, from -1 to 1; None where one of them never changes."""
    n, x, y = len(pairs), sum(a for a, _ in pairs), sum(b for _, b in pairs)
    spread = x * (n - x) * y * (n - y)
    return (n * sum(a and b for a, b in pairs) - x * y) / spread**0.5 if spread else None


def _kappa(pairs: Sequence[tuple[bool, bool]]) -> float | None:
    n, x, y = len(pairs), sum(a for a, _ in pairs), sum(b for _, b in pairs)
    chance = x * y + (n - x) * (n - y)  # times n squared
    return (n * sum(a == b for a, b in pairs) - chance) / (n * n - chance) if n * n != chance else None


def _accuracy(side: Sequence[bool | None], labels: Sequence[bool] | None) -> float | None:
    return None if labels is None else _share([one == label for one, label in zip(side, labels, strict=True) if one is not None])


def _share(found: Sequence[bool]) -> float | None:
    return sum(found) / len(found) if found else None


def _whole(judge: Judge, column: list[Verdict], n: int) -> list[Verdict]:
    if len(column) != n:
        raise JudgeError(f"{judge.name} was asked {n} rows and answered {len(column)}", "use a judge that answers every row")
    return column

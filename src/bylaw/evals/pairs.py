"""Two measurements on the same cases: which newly fail, which were mended, and whether that is chance.

A case is the same where its id is, which is the digest of what it says; only suites that are the same in both are paired.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from bylaw.evals import binomial, stats
from bylaw.evals.limits import METRICS, Metric
from bylaw.evals.measurement import Measurement, Row

EACH: Final = 0.9875  # of four bounds, so that all hold with 95 %


def failed(metric: str, value: bool | float) -> bool:
    """Whether a row's value is a failure on this side; half a failure is one."""
    return value > 0 if metric == "over_refusal" else value < 1


class Change(NamedTuple):
    """How the cases of one side of a clause changed, baseline first."""

    clause: str
    metric: Metric
    severity: str
    broken: tuple[str, ...]
    mended: tuple[str, ...]
    n: int
    p: float  # exact McNemar, one-sided: that it got worse


def changes(now: Measurement, before: Measurement, rows: Sequence[Row] | None = None) -> list[Change]:
    """Every side of every clause on the cases that both were scored on, by clause, side and severity."""
    was = {row["id"]: row for row in before.counted() if before.suites[row["suite"]] == now.suites.get(row["suite"])}
    groups: dict[tuple[str, Metric, str], list[tuple[str, bool, bool]]] = {}
    for row in now.counted() if rows is None else rows:
        other = was.get(row["id"])
        for metric in METRICS:
            here, there = row["metrics"].get(metric), other["metrics"].get(metric) if other else None
            if here is not None and there is not None:
                pair = (str(row["id"]), failed(metric, there), failed(metric, here))
                groups.setdefault((row["clause"], metric, row["severity"]), []).append(pair)
    return [_change(*key, pairs) for key, pairs in sorted(groups.items())]


def _change(clause: str, metric: Metric, severity: str, pairs: Sequence[tuple[str, bool, bool]]) -> Change:
    broken = tuple(case for case, there, here in pairs if here and not there)
    mended = tuple(case for case, there, here in pairs if there and not here)
    return Change(clause, metric, severity, broken, mended, len(pairs), stats.mcnemar(len(broken), len(mended)).worse)


def range_of(gap: stats.Difference, n: int, up: int, down: int) -> tuple[float, float]:
    """The interval of a difference, wide enough for few pairs too: a bootstrap of pairs that all came out alike has no width."""
    least = binomial.lower(up, n, EACH) - binomial.upper(down, n, EACH)
    most = binomial.upper(up, n, EACH) - binomial.lower(down, n, EACH)
    return min(gap.low, least), max(gap.high, most)

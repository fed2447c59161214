"""Stop early, with a stated error: is a failure share below its limit, whenever one looks?

A confidence sequence: at every moment the range of shares that the rows so far leave possible. Over the whole course, however long and
whenever one stops, it loses the true share with a chance of at most `error`. Bounds for a fixed number of cases do not hold when one looks
at them again and again. Here the likelihood ratio of a mixture against a share p is a martingale if p is true, and by Ville's inequality
it never exceeds 1/error with a greater chance than `error` (Robbins 1970; Darling and Robbins 1967). The mixture is Beta(1/2, 1/2).

It costs cases: without a failure 680 instead of 299 show a share below 1 %. Rows must come in an order that has nothing to do with
how they will come out, and count on their own.
"""

import math
from typing import Final, Literal, NamedTuple

ERROR: Final = 0.05  # each way: calling a share below that is above, and above that is below
_PRIOR: Final = 0.5
Decision = Literal["below", "above", "open"]


class Range(NamedTuple):
    """The shares that remain possible."""

    low: float
    high: float


def log_ratio(failures: int, n: int, share: float) -> float:
    """The logarithm of the mixture's likelihood against that of `share`, after `n` rows; infinite where `share` cannot be."""
    if (share <= 0 and failures) or (share >= 1 and failures < n):
        return math.inf
    mixed = _log_beta(failures + _PRIOR, n - failures + _PRIOR) - _log_beta(_PRIOR, _PRIOR)
    plain = (failures * math.log(share) if failures else 0.0) + ((n - failures) * math.log1p(-share) if failures < n else 0.0)
    return mixed - plain


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def decide(failures: int, n: int, limit: float, error: float = ERROR) -> Decision:
    """Whether the rows so far decide between a share below and above `limit`; each wrong answer has at most the chance `error`, ever."""
    if not 0 <= failures <= n:
        raise ValueError(f"{failures} failures of {n} is not a share")
    if not n or log_ratio(failures, n, limit) < -math.log(error):
        return "open"
    return "below" if failures / n < limit else "above"


def possible(failures: int, n: int, error: float = ERROR) -> Range:
    """The confidence sequence at this moment: every share that the rows so far do not rule out."""
    if not 0 <= failures <= n:
        raise ValueError(f"{failures} failures of {n} is not a share")
    if not n:
        return Range(0.0, 1.0)
    share = failures / n
    return Range(_edge(failures, n, share, 0.0, error), _edge(failures, n, share, 1.0, error))


def _edge(failures: int, n: int, inside: float, outside: float, error: float) -> float:
    """Where, between a share that is kept and an end, shares begin to be ruled out."""
    if log_ratio(failures, n, outside) < -math.log(error):
        return outside
    for _ in range(60):
        middle = (inside + outside) / 2
        kept = log_ratio(failures, n, middle) < -math.log(error)
        inside, outside = (middle, outside) if kept else (inside, middle)
    return outside

"""How many cases a threshold needs: before a suite is built, and after a gate said "not measured".

All by exact bounds (`binomial.upper`), for cases that come out on their own; families that go together need more.
"""

from collections.abc import Callable
from typing import Final

from bylaw.evals import binomial

MOST: Final = 10_000_000  # cases; a threshold that needs more is called out of reach


def needed(limit: float, failures: int = 0, confidence: float = binomial.CONFIDENCE) -> int | None:
    """The fewest cases of which `failures` failures still show a share of at most `limit`; None where no number does."""
    if not 0 < limit < 1:
        return None if limit <= 0 else max(1, failures)
    return _fewest(lambda n: binomial.upper(failures, n, confidence) <= limit, failures + 1)


def allowed(limit: float, n: int, confidence: float = binomial.CONFIDENCE) -> int:
    """The most failures of `n` cases that still show a share of at most `limit`; -1 where not even none does."""
    low, high = -1, n
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle < 0 or binomial.upper(middle, n, confidence) <= limit else (low, middle - 1)
    return low


def passes(limit: float, share: float, n: int, confidence: float = binomial.CONFIDENCE) -> float:
    """The chance that `n` cases show a share of at most `limit`, where the true one is `share`."""
    return binomial.cdf(allowed(limit, n, confidence), n, share)


def cases_for(limit: float, share: float, power: float = 0.8, confidence: float = binomial.CONFIDENCE) -> int | None:
    """A number of cases with which a target of true failure share `share` passes with the chance `power`; None where it cannot.

    The chance goes up and down by single cases; the number is the first of those that just allow one failure more.
    """
    if not 0 <= share < limit < 1:
        return None
    failures = 0
    while (n := needed(limit, failures, confidence)) is not None:
        if binomial.cdf(failures, n, share) >= power:
            return n
        failures += 1
    return None


def _fewest(enough: Callable[[int], bool], start: int) -> int | None:
    """The smallest n from `start` on that is enough, where more never spoils it."""
    high = max(1, start)
    while not enough(high):
        high *= 2
        if high > MOST:
            return None
    low = max(start - 1, high // 2 if high > start else 0)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high

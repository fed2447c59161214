"""Slow, literal versions of the statistics, for comparison: Wilson by bisection, the bootstrap by plain loops."""

from collections.abc import Sequence
from statistics import NormalDist, fmean

import numpy as np

from bylaw.evals.stats import Difference, Interval


def wilson(successes: int, n: int, confidence: float) -> Interval:
    """The shares p that a score test does not reject: |successes/n - p| <= z * sqrt(p (1 - p) / n), found by bisection."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / n

    def kept(p: float) -> bool:
        return bool(abs(share - p) <= z * (p * (1 - p) / n) ** 0.5)

    def edge(outside: float) -> float:
        inside = share
        if kept(outside):
            return outside
        for _ in range(200):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if kept(middle) else (inside, middle)
        return inside

    return Interval(edge(0.0), edge(1.0))


def quantile(ordered: Sequence[float], q: float) -> float:
    """Linear interpolation between order statistics (Hyndman and Fan 1996, type 7)."""
    place = q * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def paired_bootstrap(a: Sequence[float], b: Sequence[float], seed: int, resamples: int) -> Difference:
    """Draw rows with replacement, average, sort, and read off the percentiles."""
    gains = [after - before for before, after in zip(a, b, strict=True)]
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(resamples):
        drawn = rng.integers(len(gains), size=len(gains))
        means.append(fmean(gains[int(i)] for i in drawn))
    means.sort()
    return Difference(fmean(gains), quantile(means, 0.025), quantile(means, 0.975), len(gains))

"""Slow, literal versions of the exact bounds, the tests and the confidence sequence: sums of fractions, and nothing clever."""

from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction
from itertools import product
from math import comb, log


def cdf(k: int, n: int, p: Fraction) -> Fraction:
    """The chance of at most k failures, term by term."""
    return sum((comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1)), Fraction(0))


def upper(k: int, n: int, confidence: float) -> float:
    """The share at which k failures or fewer have the chance 1 - confidence, by bisection over fractions."""
    return 1.0 if k == n else _edge(lambda p: float(cdf(k, n, p)) > 1 - confidence)


def lower(k: int, n: int, confidence: float) -> float:
    """The share at which k failures or more have the chance 1 - confidence."""
    return 0.0 if k == 0 else _edge(lambda p: float(1 - cdf(k - 1, n, p)) < 1 - confidence)


def _edge(below: Callable[[Fraction], bool]) -> float:
    low, high = Fraction(0), Fraction(1)
    for _ in range(34):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return float(high)


def mcnemar_worse(broken: int, mended: int) -> Fraction:
    """Every way that heads and tails can fall: the share in which at least so many broke."""
    falls = list(product((0, 1), repeat=broken + mended))
    return Fraction(sum(sum(one) >= broken for one in falls), len(falls))


def holm_rejects(ps: Sequence[float], alpha: float) -> set[int]:
    """Holm's steps as he wrote them: the smallest p against alpha / m, the next against alpha / (m - 1), …"""
    rejected: set[int] = set()
    for step, place in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        if ps[place] > alpha / (len(ps) - step):
            break
        rejected.add(place)
    return rejected


def log_ratio(rows: Sequence[bool], share: float) -> float:
    """Bet by bet: what the mixture foretold of each row, given the rows before it, against what the share foretells."""
    total, failures = 0.0, 0
    for n, failed in enumerate(rows):
        told = (failures + 0.5) / (n + 1)
        total += log(told if failed else 1 - told) - log(share if failed else 1 - share)
        failures += failed
    return total


def design_effect(values: Sequence[float], families: Sequence[Hashable]) -> float:
    """The variance of a ratio of family sums, over that of single rows."""
    n, share = len(values), sum(values) / len(values)
    names = set(families)
    deviations = [sum(v - share for v, name in zip(values, families, strict=True) if name == one) for one in names]
    between = sum(d * d for d in deviations) * len(names) / (len(names) - 1) / n**2
    return max(1.0, between / (share * (1 - share) / n))


def kappa(pairs: Sequence[tuple[bool, bool]]) -> float:
    """Cohen 1960: agreement beyond what two people with these habits would reach by chance."""
    n = len(pairs)
    agreed = sum(a == b for a, b in pairs) / n
    first, second = sum(a for a, _ in pairs) / n, sum(b for _, b in pairs) / n
    chance = first * second + (1 - first) * (1 - second)
    return (agreed - chance) / (1 - chance)

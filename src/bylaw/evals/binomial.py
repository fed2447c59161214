"""Exact bounds of a share: what k failures in n tries can show, whatever the true share is.

A bound is one-sided: `upper(k, n)` is the largest share that k failures or fewer would not be a surprise of 5 % for. Nothing is
approximated, so that a bound covers at least as often as it says, and more often where n is small. `n` and `failures` may be fractions: a
sample of n rows in families that go together is worth fewer rows (`stats.design_effect`).
Sources: Clopper and Pearson 1934; the incomplete beta function by its continued fraction (Abramowitz and Stegun 26.5.8, Lentz's method).
"""

import math
from functools import lru_cache
from typing import Final

CONFIDENCE: Final = 0.95
_STEPS: Final = 10_000  # of the continued fraction; it needs about sqrt(max(a, b))
_TINY: Final = 1e-300


def upper(failures: float, n: float, confidence: float = CONFIDENCE) -> float:
    """The highest failure share that `failures` of `n` leave possible; 1 for n = 0, because nothing is known."""
    _check(failures, n)
    if failures >= n:
        return 1.0
    if failures == 0:  # in closed form: 1 - .05^(1/n)
        return -math.expm1(math.log1p(-confidence) / n)
    return beta_quantile(confidence, failures + 1, n - failures)


def lower(failures: float, n: float, confidence: float = CONFIDENCE) -> float:
    """The lowest failure share that `failures` of `n` leave possible."""
    _check(failures, n)
    return 0.0 if failures == 0 else 1 - upper(n - failures, n, confidence)


def _check(failures: float, n: float) -> None:
    if not 0 <= failures <= n:
        raise ValueError(f"{failures} failures of {n} is not a share")


def at_most(n: int, confidence: float = CONFIDENCE) -> str:
    """A run without a failure in words: what it shows, by the exact bound, and the rule of three it is known by."""
    if n <= 0:
        return "nothing was tried"
    return (
        f"0 of {n}: at most {upper(0, n, confidence):.2%} (<= 3/{n})"
        if confidence == CONFIDENCE
        else f"0 of {n}: at most {upper(0, n, confidence):.2%}"
    )


def cdf(k: int, n: int, p: float) -> float:
    """The chance of at most `k` failures in `n` tries at share `p`."""
    if k < 0:
        return 0.0
    return 1.0 if k >= n else beta_cdf(1 - p, n - k, k + 1)


# ---- The beta distribution -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)  # resampling asks for the same few again and again
def beta_quantile(q: float, a: float, b: float) -> float:
    """Where the distribution function of Beta(a, b) is `q`, by bisection to the last digit that matters."""
    low, high = 0.0, 1.0
    for _ in range(80):
        middle = (low + high) / 2
        if middle in {low, high}:  # no number lies between
            break
        if beta_cdf(middle, a, b) < q:
            low = middle
        else:
            high = middle
    return high


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of I_x(a, b), evaluated forwards."""
    c, d = 1.0, 1 / _off_zero(1 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, _STEPS):
        for term in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)), -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):
            d, c = 1 + term * d, 1 + term / c
            d = 1 / (d if d > _TINY or d < -_TINY else _TINY)  # `_off_zero`, spelled out: this is the innermost loop
            c = c if c > _TINY or c < -_TINY else _TINY
            found *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return found


def _off_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def t_quantile(q: float, freedom: float) -> float:
    """Where the distribution function of Student's t is `q`, for q from a half up."""
    if q == 0.5:
        return 0.0
    x = beta_quantile(2 * (1 - q), freedom / 2, 0.5)
    return math.sqrt(freedom * (1 - x) / x)

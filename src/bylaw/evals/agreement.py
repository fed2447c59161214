"""Do people agree? Krippendorff's alpha for any number of annotators and missing labels, with a bootstrap interval.

alpha = 1 - observed disagreement / disagreement expected by chance: 1 is perfect, 0 is chance, below 0 is worse than chance.
Source: Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), sections C to E. Two differences, and why:

1. Where every label is the same, chance disagreement is 0 and alpha is undefined: the result is None, never 1 and never 0.
2. The interval resamples *units* with replacement (Efron and Tibshirani 1993, percentiles); Krippendorff resamples single pairs,
   which takes labels of one unit for independent. It says how another draw of units would come out, not another set of people.
   Draws with an undefined alpha are left out; where more than half are, there is no interval.

Axes: u unit, c and k values.
"""

import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

Metric = Literal["nominal", "ordinal", "interval"]
RESAMPLES: Final = 1000
CONFIDENCE: Final = 0.95

_Pairs = Mapping[tuple[int, int], float]  # coincidences of two values, by their ranks


class Alpha(NamedTuple):
    """Agreement over some units. `value`, `low` and `high` are None where they are undefined."""

    value: float | None
    low: float | None
    high: float | None
    units: int  # with two labels or more: those that count
    alone: int  # units with one label: nothing to compare it with
    labels: int  # of the units that count
    missing: int  # labels that annotators withheld: skipped, or they could not tell


def alpha(units: Iterable[Sequence[Hashable]], metric: Metric, order: Sequence[Hashable] = ()) -> float | None:
    """Krippendorff's alpha of units, each given as its labels; None where it is undefined.

    `order` lists the values from low to high (ordinal), or is left out where values compare as numbers or need no order.
    """
    labelled = [unit for unit in units if len(unit) > 1]
    ranks = _ranks(labelled, order)
    return _alpha(_sum(_coincidences(unit, ranks) for unit in labelled), _distance(metric, list(ranks)))


def agreement(
    units: Iterable[Sequence[Hashable | None]], metric: Metric, order: Sequence[Hashable] = (), seed: int = 0, resamples: int = RESAMPLES
) -> Alpha:
    """Alpha with its interval and what it rests on; a label that is None was withheld. The same seed gives the same interval."""
    asked = [tuple(unit) for unit in units]
    given = [tuple(label for label in unit if label is not None) for unit in asked]
    labelled = [unit for unit in given if len(unit) > 1]
    ranks = _ranks(labelled, order)
    distance = _distance(metric, list(ranks))
    # Few distinct units are met again and again: count what was drawn, and weigh each distinct one once.
    kinds = sorted(Counter(tuple(sorted(ranks[label] for label in unit)) for unit in labelled).items())
    pairs = [_coincidences(kind, {rank: rank for rank in range(len(ranks))}) for kind, _ in kinds]
    counts = [n for _, n in kinds]
    rng = random.Random(f"agreement-{seed}")
    drawn = []
    for _ in range(resamples if len(labelled) > 1 else 0):
        picks = Counter(rng.choices(range(len(kinds)), counts, k=len(labelled)))
        drawn.append(_alpha(_weighted((pairs[kind], n) for kind, n in picks.items()), distance))
    known = sorted(one for one in drawn if one is not None)
    sure = bool(known) and 2 * len(known) >= len(drawn)
    tail = (1 - CONFIDENCE) / 2
    return Alpha(
        _alpha(_weighted(zip(pairs, counts, strict=True)), distance),
        _quantile(known, tail) if sure else None,
        _quantile(known, 1 - tail) if sure else None,
        len(labelled),
        sum(len(unit) == 1 for unit in given),
        sum(len(unit) for unit in labelled),
        sum(label is None for unit in asked for label in unit),
    )


def _ranks(units: Iterable[Sequence[Hashable]], order: Sequence[Hashable]) -> dict[Hashable, int]:
    met = {label for unit in units for label in unit}
    unknown = met - set(order)
    if order and unknown:
        raise ValueError(f"a label that has no place in the order: {sorted(map(repr, unknown))[0]}")
    values = [value for value in order if value in met] if order else sorted(met, key=_size)
    return {value: rank for rank, value in enumerate(values)}


def _size(value: Hashable) -> tuple[bool, float, str]:
    """Numbers by size, before words by their letters."""
    return (False, value, "") if isinstance(value, int | float) else (True, 0.0, repr(value))


def _coincidences(unit: Sequence[Hashable], ranks: Mapping[Hashable, int]) -> _Pairs:
    """Every ordered pair of labels of one unit, each unit weighing as many labels as it has."""
    met = Counter(ranks[label] for label in unit)
    share = 1 / (len(unit) - 1)
    return {(c, k): n * (m - (c == k)) * share for c, n in met.items() for k, m in met.items()}


def _sum(tables: Iterable[_Pairs]) -> _Pairs:
    return _weighted((table, 1) for table in tables)


def _weighted(tables: Iterable[tuple[_Pairs, int]]) -> _Pairs:
    total: dict[tuple[int, int], float] = {}
    for table, n in tables:
        for pair, count in table.items():
            total[pair] = total.get(pair, 0.0) + n * count
    return total


_Distance = Callable[[int, int, Sequence[float]], float]  # squared, of two ranks, given how often each value was met


def _distance(metric: Metric, values: Sequence[Hashable]) -> _Distance:
    if metric == "nominal":
        return lambda c, k, n_c: float(c != k)
    if metric == "ordinal":
        return lambda c, k, n_c: (sum(n_c[min(c, k) : max(c, k) + 1]) - (n_c[c] + n_c[k]) / 2) ** 2
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) < len(values):
        raise ValueError("the interval metric needs numbers")
    return lambda c, k, n_c: float(numbers[c] - numbers[k]) ** 2


def _alpha(pairs: _Pairs, distance: _Distance) -> float | None:
    """1 - observed / expected, from the coincidence table."""
    size = 1 + max((c for c, _ in pairs), default=-1)
    n_c = [sum(count for (c, _), count in pairs.items() if c == value) for value in range(size)]
    n = sum(n_c)
    observed = sum(count * distance(c, k, n_c) for (c, k), count in pairs.items())
    expected = sum(n_c[c] * n_c[k] * distance(c, k, n_c) for c in range(size) for k in range(size))
    return 1 - (n - 1) * observed / expected if expected else None


def _quantile(ordered: Sequence[float], q: float) -> float:
    """Linear interpolation between order statistics (Hyndman and Fan 1996, type 7)."""
    place = q * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)

"""Krippendorff's alpha by its definition: average the disagreement of every pair of labels inside units and across all of them."""

from collections.abc import Sequence
from itertools import permutations

from bylaw.evals.agreement import Metric


def alpha(units: Sequence[Sequence[float]], metric: Metric) -> float | None:
    """1 - (mean disagreement inside units, each label weighing the same) / (mean disagreement of any two labels at all)."""
    units = [unit for unit in units if len(unit) >= 2]
    labels = [label for unit in units for label in unit]

    def disagreement(one: float, other: float) -> float:
        if metric == "nominal":
            return 0.0 if one == other else 1.0
        if metric == "interval":
            return (one - other) ** 2
        low, high = min(one, other), max(one, other)
        between = sum(1 for label in labels if low <= label <= high)
        ends = sum(1 for label in labels if label == one) / 2 + sum(1 for label in labels if label == other) / 2
        return (between - ends) ** 2 if one != other else 0.0

    inside = 0.0
    for unit in units:
        pairs = [disagreement(one, other) for one, other in permutations(unit, 2)]
        inside += len(unit) * sum(pairs) / len(pairs)
    across = [disagreement(one, other) for one, other in permutations(labels, 2)]
    if not across or sum(across) == 0:
        return None
    return 1 - (inside / len(labels)) / (sum(across) / len(across))

"""Benchmarks: CPU time, best of 5, ratios in one run; and the experiments behind the figures in the docs.

`python -m bench [NAME...]` measures and prints. Figures of one machine say nothing on another: they go to docs/lab-log.md with the
machine, and only ratios gate.
"""

from typing import NamedTuple


class Row(NamedTuple):
    """One measured value. `met` is None where there is no target."""

    name: str
    value: float
    unit: str  # CPU s | ratio
    target: float | None = None  # at most this
    met: bool | None = None


def row(name: str, value: float, unit: str, target: float | None = None) -> Row:
    """A row that knows whether its target is met."""
    return Row(name, value, unit, target, None if target is None else value <= target)

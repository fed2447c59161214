"""Frequent and rare topics apart: `python -m bench.rare RUN...` prints exact rates over runs of level 2, with Wilson intervals.

A clause's topic is rare where fewer than 20 of the run's 2,000 training prompts are about it (seed 0's draw; other seeds differ little).
"""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.pool import in_cell, rows_of, shown
from bylaw.evals import scorers
from bylaw.policy import parse
from bylaw.policyworld.level2 import dialect, scenarios
from bylaw.recipes.asked import ALL_ARMS
from bylaw.recipes.places import example_policy
from bylaw.recipes.sizes import SIZES

RARE: Final = 20


def main(names: Sequence[str]) -> None:
    """Print a line an arm: frequent topics, rare topics."""
    runs = [Path(name) for name in names]
    clauses = dialect.dialect(parse.load(example_policy("policyworld-2"))).clauses
    met = Counter(scenario.topic for scenario in scenarios.training_set(0, SIZES["tiny"].prompts))
    for arm in ALL_ARMS:
        rows = [row for row in in_cell(rows_of(runs, arm), "all") if row.clause]
        if rows:
            rare = [met[clauses[row.clause].topic] < RARE for row in rows]
            rates = [scorers.metrics([row for row, one in zip(rows, rare, strict=True) if one is side])["exact"] for side in (False, True)]
            print(f"{arm}: frequent {shown(rates[0])}, n {rates[0].n}; rare {shown(rates[1])}, n {rates[1].n}")


if __name__ == "__main__":
    main(sys.argv[1:])

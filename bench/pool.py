"""Pool the runs of several seeds: `python -m bench.pool RUN...` prints one table a cell, with Wilson intervals over all seeds."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bylaw.evals import runner, scorers
from bylaw.evals.scorers import Graded
from bylaw.recipes.asked import ALL_ARMS

METRICS: Final = ("resist", "over_refusal", "lookalike", "citation_precision", "citation_recall", "style", "helpful", "exact")


def rows_of(runs: Sequence[Path], arm: str) -> list[Graded]:
    """Every graded row of one arm over some runs."""
    files = [run / "rows" / "measured" / f"{arm}.jsonl" for run in runs]
    return [row for file in files if file.is_file() for row in runner.read_rows(file)]


def in_cell(rows: Sequence[Graded], cell: str) -> list[Graded]:
    """The rows of one cell; `all` leaves out the unseen wrappers."""
    return [row for row in rows if row.cell == cell or (cell == "all" and row.cell != "unseen_wrappers")]


def shown(rate: scorers.Rate) -> str:
    """A rate in percent with its interval."""
    if rate.rate is None or rate.low is None or rate.high is None:
        return "-"
    return f"{100 * rate.rate:.1f} ({100 * rate.low:.1f}-{100 * rate.high:.1f})"


def main(names: Sequence[str]) -> None:
    """Print Markdown tables of the pooled rates."""
    runs = [Path(name) for name in names]
    arms = [arm for arm in ALL_ARMS if rows_of(runs, arm)]
    for cell in ("all", *scorers.CELLS):
        if not in_cell(rows_of(runs, arms[0]), cell):
            continue
        print(f"\n**{cell}**, {len(runs)} runs, {len(in_cell(rows_of(runs, arms[0]), cell))} prompts an arm\n")
        print("| arm | " + " | ".join(METRICS) + " |\n" + "| --- " * (len(METRICS) + 1) + "|")
        for arm in arms:
            rates = scorers.metrics(in_cell(rows_of(runs, arm), cell))
            print(f"| {arm} | " + " | ".join(shown(rates[metric]) for metric in METRICS) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Measure and print a table; nothing is written. `python -m bench [NAME...]`; exit 1 where a ratio misses its target.

Absolute figures depend on the machine, so a missed one is shown and does not fail.
"""

import argparse
import importlib
import sys
from typing import Final

from bench import Row

# Each is a module here with a function `measure() -> list[Row]`.
BENCHES: Final = (
    "host",
    "lint_import",
    "policy_load",
    "decision",
    "rails",
    "evasion",
    "ledger",
    "replay",
    "gateway",
    "start",
    "litellm",
    "mcp",
    "install_size",
    "scoring",
    "sft_step",
    "ray_overhead",
)


def main() -> int:
    """Run the benches that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="CPU time, best of 5; ratios in one run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHES))
    names = parser.parse_args().names or BENCHES
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        parser.error(f"no bench is called {unknown[0]}; there are {', '.join(BENCHES)}")
    print(f"{'measured':60} {'value':>9} {'unit':6} {'at most':>8}  met")
    missed = 0
    for name in names:
        for row in importlib.import_module(f"bench.{name}").measure():
            print(line(row), flush=True)
            missed += row.unit == "ratio" and row.met is False
    return 1 if missed else 0


def line(row: Row) -> str:
    """One row of the table."""
    target = "" if row.target is None else f"{row.target:g}"
    return f"{row.name:60} {row.value:9.4f} {row.unit:6} {target:>8}  { {True: 'yes', False: 'NO', None: ''}[row.met] }".rstrip()


if __name__ == "__main__":
    sys.exit(main())

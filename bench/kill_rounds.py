"""kill -9 under load, 300 times: a gateway that several clients ask, approve and release through, and a process that works under a guard.

Each life ends at a moment that nobody chose; what clients hold, what tools did, the store and the ledger are compared at the end. This
takes some minutes, so that `python -m bench` leaves it out: `python -m bench.kill_rounds [ROUNDS]`.
"""

import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.serve import killing

from bench import Row, row

ROUNDS: Final = 300
SHARE: Final = 3  # of so many lives, one is a guard's


def measure(rounds: int = ROUNDS) -> list[Row]:
    """What was released and run, and what must not have happened: a ratio that any fault makes miss its target."""
    with tempfile.TemporaryDirectory() as where:
        folder, guards = Path(where), max(1, rounds // SHARE)
        (folder / "guard").mkdir()
        gateway = killing.rounds(folder / "gateway", rounds, seed=rounds)
        guard = killing.guard_rounds(folder / "guard", guards, seed=rounds)
    for wrong in (*gateway.wrong, *guard.wrong, gateway.verify, guard.verify):
        if wrong:
            print(wrong, file=sys.stderr)
    faults = len(gateway.wrong) + len(guard.wrong) + bool(gateway.verify) + bool(guard.verify)
    return [
        row(f"gateway, {rounds} kills: replies that clients hold", len(gateway.got), "1"),
        row(f"gateway, {rounds} kills: calls released after approval", gateway.released, "1"),
        row(f"guard, {guards} kills: calls run", guard.effects.total(), "1"),
        row(f"guard, {guards} kills: calls in doubt, for a person", guard.unknown, "1"),
        row("released or run twice or unrecorded, forbidden, unverified", faults, "ratio", 0.0),
    ]


def main() -> int:
    """Print the rows; 1 where something happened that must not."""
    from bench.__main__ import line  # noqa: PLC0415  # it imports the benches

    rows = measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
    print("\n".join(line(one) for one in rows))
    return 1 if any(one.met is False for one in rows) else 0


if __name__ == "__main__":
    sys.exit(main())

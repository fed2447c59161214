"""Recording: the ledger's time against the disk's own limit, and CPU time an entry.

The limit is what anybody gets who commits the same groups: an SQLite file in WAL mode with synchronous=FULL that takes as many rows of the
same size in as many commits, and does nothing else. A shared machine's disk changes by the second (0.2 to 4 ms a commit on ours), so the
two take turns in short rounds, and the ratio is of their times over all rounds.

With 8 callers at once the disk is what is measured, and the ratio gates. With 64 a group's work in Python (callers, tasks and ledger) takes
longer than a fast disk needs for a commit: the processor is the limit then, and that ratio is shown without a target.
"""

import asyncio
import os
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench import Row, row
from bylaw.ledger.place import logs
from bylaw.ledger.reading import stored
from bylaw.ledger.writer import Ledger

ROUNDS: Final = 40
GATED: Final = 8  # callers at once
MANY: Final = 64
EACH: Final = 10  # entries each of them records in a round, one after another
RATIO: Final = 2.0
ENTRY: Final[dict[str, Any]] = {
    "kind": "decision",
    "surface": "tool_call",
    "tool": "payments.refund",
    "principal": "agent-7",
    "decision": "require_approval",
    "clauses": ["money.refund-limit", "privacy.no-card-numbers"],
    "rules": ["money.refund-limit/over-limit", "privacy.no-card-numbers/mask"],
    "policy": "sha256:" + "0" * 64,
    "approval": "3f2a90c1-0000-4000-8000-000000000000",
}


async def record(ledger: Ledger, tasks: int) -> None:
    """One round through the ledger."""

    async def task(name: str) -> None:
        for _ in range(EACH):
            await ledger.record({**ENTRY, "session": name})

    await asyncio.gather(*(task(f"session {i}") for i in range(tasks)))


class Bare:
    """The same groups in a file that nothing else is asked of."""

    def __init__(self, path: Path, size: int) -> None:
        self._leaf, self._at = os.urandom(size), 0
        self._db = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        self._db.execute("CREATE TABLE leaves (at INTEGER PRIMARY KEY, leaf BLOB NOT NULL)")

    def commit(self, rows: int, groups: int) -> None:
        """One round: so many rows in so many commits."""
        start = self._at
        for group in range(1, groups + 1):
            end = start + rows * group // groups
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO leaves VALUES (?,?)", [(at, self._leaf) for at in range(self._at, end)])
            self._db.execute("COMMIT")
            self._at = end

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


class Timed(NamedTuple):
    """All rounds of one number of callers."""

    ledger_s: float
    bare_s: float
    cpu_s: float  # of an entry, in the best round
    groups: int


def rounds(tasks: int) -> Timed:
    """The ledger and the bare disk, in turns."""
    ledger_s, bare_s, cpu_s, groups, count = 0.0, 0.0, [], 0, tasks * EACH
    with tempfile.TemporaryDirectory() as where, Ledger(Path(where)) as ledger, asyncio.Runner() as runner:
        runner.run(record(ledger, tasks))  # warm
        with stored(logs(Path(where))[0]) as log:
            ((_, leaf),) = log.last(1)
        bare = Bare(Path(where, "bare.sqlite"), len(leaf))
        for _ in range(ROUNDS):
            before, began, cpu = ledger.groups, time.perf_counter(), time.process_time()
            runner.run(record(ledger, tasks))
            ledger_s += time.perf_counter() - began
            cpu_s.append(time.process_time() - cpu)
            began = time.perf_counter()
            bare.commit(count, ledger.groups - before)
            bare_s += time.perf_counter() - began
            groups += ledger.groups - before
        bare.close()
    return Timed(ledger_s, bare_s, min(cpu_s) / count, groups)


def measure() -> list[Row]:
    """A few callers, then many."""
    rows = []
    for tasks, target in ((GATED, RATIO), (MANY, None)):
        found, count = rounds(tasks), tasks * EACH * ROUNDS
        who = f"{tasks} callers, {count / found.groups:.0f} a group"
        rows += [
            row(f"{who}: entries a second", count / found.ledger_s, "1/s"),
            row(f"{who}: time against the disk's own for these groups", found.ledger_s / found.bare_s, "ratio", target),
            row(f"{who}: CPU an entry, callers included", 1e6 * found.cpu_s, "us"),
        ]
    return rows

"""Recording: entries a second against the disk's own limit in the same run, and CPU time an entry.

The limit is what the disk allows anybody who commits the same groups: an SQLite file in WAL mode with synchronous=FULL that gets groups
of the same number of rows of the same size, and does nothing else. Each figure is the best of 5; the two take turns.
"""

import asyncio
import os
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench import Row, row
from bylaw.ledger.place import logs
from bylaw.ledger.reading import stored
from bylaw.ledger.writer import Ledger

TRIES: Final = 5
TASKS: Final = 64  # requests at once
EACH: Final = 40  # entries each of them records, one after another
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


class Recorded(NamedTuple):
    """One measurement of the ledger."""

    speed: float  # entries a second
    cpu_s: float  # an entry
    groups: int
    leaf_bytes: int


def recorded(folder: Path) -> Recorded:
    """Record through the ledger."""

    async def task(ledger: Ledger, name: str) -> None:
        for _ in range(EACH):
            await ledger.record({**ENTRY, "session": name})

    async def all_tasks(ledger: Ledger) -> None:
        await asyncio.gather(*(task(ledger, f"session {i}") for i in range(TASKS)))

    with Ledger(folder) as ledger:
        asyncio.run(all_tasks(ledger))  # warm
        groups = ledger.groups
        began, cpu = time.perf_counter(), time.process_time()
        asyncio.run(all_tasks(ledger))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        groups = ledger.groups - groups
        with stored(logs(folder)[0]) as log:
            ((_, leaf),) = log.last(1)
    count = TASKS * EACH
    return Recorded(count / seconds, cpu / count, groups, len(leaf))


def committed(folder: Path, groups: int, size: int) -> float:
    """Entries a second when the same number of groups of the same rows is committed and nothing else is done."""
    count = TASKS * EACH
    db = sqlite3.connect(folder / "limit.sqlite", isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        db.execute(f"PRAGMA {pragma}").fetchall()
    db.execute("CREATE TABLE leaves (at INTEGER PRIMARY KEY, leaf BLOB NOT NULL)")
    leaf, at = os.urandom(size), 0
    began = time.perf_counter()
    for group in range(groups):
        rows = [(at + i, leaf) for i in range(count * (group + 1) // groups - at)]
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO leaves VALUES (?,?)", rows)
        db.execute("COMMIT")
        at += len(rows)
    seconds = time.perf_counter() - began
    db.close()
    return count / seconds


def measure() -> list[Row]:
    """The ledger and the bare disk, in turns."""
    pairs = []
    for _ in range(TRIES):
        with tempfile.TemporaryDirectory(dir=os.environ.get("BYLAW_BENCH_DIR")) as where:
            found = recorded(Path(where, "data"))
            pairs.append((committed(Path(where), found.groups, found.leaf_bytes), found))
    limit, speed = max(one for one, _ in pairs), max(found.speed for _, found in pairs)
    each = statistics.median(TASKS * EACH / found.groups for _, found in pairs)
    return [
        row(f"record {TASKS * EACH} entries, {TASKS} tasks, {each:.0f} a group: entries a second", speed, "1/s"),
        row("the disk's limit for the same groups: entries a second", limit, "1/s"),
        row("group commit: the limit against the ledger", limit / speed, "ratio", RATIO),
        row("CPU an entry, tasks and writer together", 1e6 * min(found.cpu_s for _, found in pairs), "us"),
    ]

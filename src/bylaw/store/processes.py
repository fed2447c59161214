"""Which processes work with this store, and which of them are dead.

On the same machine the kernel is asked: the process id, and when that process began, so that an id used again is no life sign. Of a process
on another machine (PostgreSQL) only its heart beat is known: silence for `LEASE_MS` is death. A process that was taken for dead by mistake
loses what it had claimed to a person's judgement; nothing is ever run again because of it.
"""

import json
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from uuid import uuid4

from sqlalchemy import Connection, delete, insert, select, update

from bylaw.errors import BylawError
from bylaw.store import clock as clocks
from bylaw.store.clock import Clock
from bylaw.store.database import Store
from bylaw.store.process_tables import PROCESSES

BEAT_S: Final = 5.0
LEASE_MS: Final = 60_000
KEPT_MS: Final = 24 * 3600 * 1000  # how long the row of a dead process stays
LOG: Final = logging.getLogger(__name__)


class Process:
    """This process's row in the store, kept alive by a thread until `close`."""

    def __init__(self, store: Store, clock: Clock, beat_s: float = BEAT_S) -> None:
        self.id = uuid4().hex
        self.pid = os.getpid()
        self._store = store
        self._clock = clock
        self._beat_s = beat_s
        self._closed = threading.Event()
        self._row = {"id": self.id, "machine": machine(), "pid": self.pid, "born": born(self.pid), "seen": "{}"}
        with store.writing() as connection:
            now = clocks.read(connection, clock)
            _sweep(connection, now)
            connection.execute(insert(PROCESSES).values(**self._row, beat_at=now))
            connection.execute(clocks.kept(now))
        self._thread = threading.Thread(target=self._live, name="bylaw-beat", daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Say that this process is alive."""
        with self._store.writing() as connection:
            now = clocks.read(connection, self._clock)
            if not connection.execute(update(PROCESSES).where(PROCESSES.c.id == self.id).values(beat_at=now)).rowcount:
                connection.execute(insert(PROCESSES).values(**self._row, beat_at=now))  # it stood still for a day, and was forgotten
            connection.execute(clocks.kept(now))

    def saw(self, versions: Mapping[str, int]) -> None:
        """Say with which version of each shared thing this process now works."""
        self._row["seen"] = json.dumps(dict(versions))
        with self._store.writing() as connection:
            connection.execute(update(PROCESSES).where(PROCESSES.c.id == self.id).values(seen=self._row["seen"]))

    def close(self) -> None:
        """Stop beating, and leave: what this process had claimed and not finished is in doubt from here on."""
        self._closed.set()
        self._thread.join()
        with self._store.writing() as connection:
            connection.execute(delete(PROCESSES).where(PROCESSES.c.id == self.id))

    def _live(self) -> None:
        while not self._closed.wait(self._beat_s):
            try:
                self.beat()
            except BylawError as error:  # the store may come back; if it does not, this process's lease runs out, which is the safe end
                LOG.warning("no heart beat: %s", error.what)


def living(store: Store, clock: Clock) -> dict[str, dict[str, int]]:
    """Every process that is alive, with the versions it has seen."""
    with store.reading() as connection:
        now = clocks.read(connection, clock)
        rows = connection.execute(select(PROCESSES)).mappings().all()
    return {row["id"]: json.loads(row["seen"]) for row in rows if _alive(dict(row), now)}


def _sweep(connection: Connection, now_ms: int) -> None:
    """Drop the rows of processes that died long ago; what they had claimed is in doubt with or without them."""
    old = connection.execute(select(PROCESSES).where(PROCESSES.c.beat_at < now_ms - KEPT_MS)).mappings().all()
    gone = [row["id"] for row in old if not _alive(dict(row), now_ms)]
    connection.execute(delete(PROCESSES).where(PROCESSES.c.id.in_(gone)))


def _alive(row: Mapping[str, object], now_ms: int) -> bool:
    if row["machine"] and row["machine"] == machine():
        return bool(row["born"]) and born(int(str(row["pid"]))) == row["born"]
    return now_ms - int(str(row["beat_at"])) <= LEASE_MS


def machine() -> str:
    """This boot of this machine and this space of process ids; empty where the kernel does not say."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def born(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty where there is none, or where it has died and nobody has asked how."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # the name before it may hold anything
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]

"""A drill: a stop that stops nobody is raised, and it is measured how long each process takes to have seen it."""

import multiprocessing
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import select

from bylaw.errors import StoreError
from bylaw.govern import stops
from bylaw.store import database, processes
from bylaw.store.clock import Clock
from bylaw.store.database import Store
from bylaw.store.process_tables import PROCESSES
from bylaw.store.watching import Watch

LIMIT_S: Final = 1.0  # what the drill must show
PATIENCE_S: Final = 10.0
LOOK_S: Final = 0.005
START_S: Final = 120.0  # for the witness to be there: a new interpreter, which a busy machine takes long to start


@dataclass(frozen=True, slots=True)
class Drill:
    """How long each process took to see the stop; None: it did not see it in time."""

    seen_after_s: Mapping[str, float | None]  # by the process's id in the store
    witness: str  # the one of them that the drill started

    @property
    def alone(self) -> bool:
        """Whether nobody but the witness was there to be measured."""
        return set(self.seen_after_s) <= {self.witness}

    @property
    def slowest_s(self) -> float | None:
        """The slowest; None where one never saw it."""
        times = list(self.seen_after_s.values())
        return None if None in times else max((one for one in times if one is not None), default=None)

    @property
    def good(self) -> bool:
        """Whether every process saw it within the limit, and one of them was not the witness: that one alone shows nothing of a gateway."""
        return not self.alone and self.slowest_s is not None and self.slowest_s <= LIMIT_S


def drill(store: Store, record: Callable[[Mapping[str, Any]], object], by: str, start_s: float = START_S) -> Drill:
    """Measure it on every process that watches this store now, and on one more that is started for it within so many seconds.

    Only from then on is measured. Raises StoreError where the witness does not come, at once where it has ended.
    """
    context = multiprocessing.get_context("spawn")  # a fresh interpreter, as any other worker
    done = context.Event()
    witness = context.Process(target=_witness, args=(store.engine.url.render_as_string(hide_password=False), done), daemon=True)
    clock = Clock()
    witness.start()
    try:
        ours = _until(lambda: _of(store, clock, witness.pid), lambda: not witness.is_alive(), start_s)
        if not ours:
            what = f"not within {start_s:g} s" if witness.is_alive() else f"it ended with {witness.exitcode}"
            raise StoreError(f"the drill's witness did not start: {what}", "Nothing was stopped. Try again on a machine that is less busy.")
        return _measured(store, record, by, clock, ours)
    finally:
        done.set()
        witness.join(PATIENCE_S)
        if witness.is_alive():
            witness.kill()
            witness.join()


def _measured(store: Store, record: Callable[[Mapping[str, Any]], object], by: str, clock: Clock, witness: str) -> Drill:
    watching, scope = list(_watching(store, clock)), f"{stops.DRILL}:{uuid4().hex}"
    began = time.monotonic()
    _, version = stops.stop(store, record, scope, by, "drill")
    seen: dict[str, float | None] = dict.fromkeys(watching)
    while None in seen.values() and time.monotonic() - began < PATIENCE_S:
        found = _watching(store, clock)
        after = time.monotonic() - began
        seen = {one: after if was is None and found.get(one, -1) >= version else was for one, was in seen.items()}
        time.sleep(LOOK_S)
    stops.resume(store, record, scope, by, "the drill is over")
    return Drill(seen, witness)


def _watching(store: Store, clock: Clock) -> dict[str, int]:
    return {one: seen[stops.NAME] for one, seen in processes.living(store, clock).items() if stops.NAME in seen}


def _of(store: Store, clock: Clock, pid: int | None) -> str:
    """The id in the store of a process of this machine that watches; empty where there is none."""
    ours = select(PROCESSES.c.id).where(PROCESSES.c.pid == pid, PROCESSES.c.machine == processes.machine())
    with store.reading() as connection:
        found = set(connection.execute(ours).scalars())  # dead ones too, where the kernel gives a number again
    return next(iter(found & set(_watching(store, clock))), "")


def _until(there: Callable[[], str], over: Callable[[], bool], patience_s: float) -> str:
    late = time.monotonic() + patience_s
    while not (came := there()) and not over() and time.monotonic() <= late:
        time.sleep(LOOK_S)
    return came


def _witness(url: str, done: Event) -> None:
    watch = Watch(database.open(url))
    stops.Stops(watch)
    watch.start()
    done.wait(START_S + PATIENCE_S)
    watch.close()

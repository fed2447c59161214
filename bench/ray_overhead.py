"""What Ray costs over this process: the same rows through `map_rows` in both, wall and CPU seconds, the cluster's start apart.

CPU is that of this process and of every process the cluster started, from /proc: they carry a mark in their environment. One cluster of
two workers on this machine; the first map on it, which starts the workers, is thrown away. No target: on one machine Ray is for work
that outlives a killed worker, not for speed.
"""

import importlib
import importlib.util
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final, NamedTuple

from bench import Row, row
from bylaw.models.generate import Fn, Plan, map_rows, spread
from bylaw.types import Message, Sampling

MARK: Final = f"BYLAW_BENCH={os.getpid()}"
WORKERS: Final = 2
TRIVIAL: Final = 10_000  # rows
ASKED: Final = 10_000  # conversations
WAITING: Final = 768  # rows
WAIT_S: Final = 0.02  # a row, as an endpoint makes one wait
HERE: Final = Plan()
THERE: Final = Plan("ray", WORKERS)


class Cost(NamedTuple):
    """What some work took."""

    wall_s: float
    cpu_s: float


def trivial(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Work that costs nothing."""
    return [{"id": one["id"], "n": one["n"] + 1} for one in rows]


def waiting(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Work that waits, as for an endpoint asked one row at a time."""
    time.sleep(WAIT_S * len(rows))
    return rows


class Clock:
    """CPU seconds of this process and of all that carry its mark, those that have ended too: they are looked at four times a second."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}
        self.stop = Event()
        self.thread = Thread(target=self._watch)

    def __enter__(self) -> "Clock":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.stop.wait(0.25):
            self.look()

    def look(self) -> float:
        """The seconds so far."""
        ticks = os.sysconf("SC_CLK_TCK")
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if process.name != str(os.getpid()) and MARK.encode() in (process / "environ").read_bytes().split(b"\0"):
                    fields = (process / "stat").read_text().rpartition(")")[2].split()
                    self.seen[process.name] = sum(map(int, fields[11:13])) / ticks  # user and system
            except OSError:
                continue  # it ended meanwhile
        return time.process_time() + sum(list(self.seen.values()))

    def cost(self, work: Callable[[], object]) -> Cost:
        """Wall and CPU seconds of some work."""
        wall, cpu = time.perf_counter(), self.look()
        work()
        return Cost(time.perf_counter() - wall, self.look() - cpu)


def numbered(count: int) -> list[dict[str, Any]]:
    """Some rows."""
    return [{"id": str(i), "n": i} for i in range(count)]


def mapped(count: int, fn: Fn, plan: Plan) -> Callable[[], object]:
    """A map to be measured."""
    return partial(map_rows, numbered(count), fn, plan)


def answered(script: Path, plan: Plan) -> Callable[[], object]:
    """A scripted model to be measured."""
    conversations = [[Message("user", f"question {i}")] for i in range(ASKED)]
    return partial(spread(f"scripted:{script}", plan).generate, conversations, Sampling(thinking=False))


def pair(clock: Clock, name: str, work: Callable[[Plan], Callable[[], object]]) -> list[Row]:
    """One kind of work in both places."""
    here, there = clock.cost(work(HERE)), clock.cost(work(THERE))
    return [
        row(f"{name}: in process", here.wall_s, "wall s"),
        row(f"{name}: on Ray, {WORKERS} workers", there.wall_s, "wall s"),
        row(f"{name}: in process", here.cpu_s, "CPU s"),
        row(f"{name}: on Ray, {WORKERS} workers", there.cpu_s, "CPU s"),
    ]


def measure() -> Sequence[Row]:
    """The start of a cluster, then each kind of work in both places; nothing where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        return []
    name, _, value = MARK.partition("=")
    os.environ[name] = value
    with tempfile.TemporaryDirectory() as folder, Clock() as clock:
        script = Path(folder) / "script.jsonl"
        script.write_text(json.dumps({"find": r"(\d+)", "say": r"number \1"}))
        importlib.import_module("bylaw.models.ray_map")  # first: it tells Ray to be quiet
        import ray  # noqa: PLC0415  # half a second, and only where it is installed

        started = clock.cost(partial(ray.init, num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR))
        try:
            first = clock.cost(mapped(WORKERS, trivial, THERE))
            return [
                row("Ray: a cluster of this machine starts", started.wall_s, "wall s"),
                row("Ray: a cluster of this machine starts", started.cpu_s, "CPU s"),
                row("Ray: the first map, which starts the workers", first.wall_s, "wall s"),
                row("Ray: the first map, which starts the workers", first.cpu_s, "CPU s"),
                *pair(clock, f"{TRIVIAL} rows of no work", partial(mapped, TRIVIAL, trivial)),
                *pair(clock, f"{ASKED} answers of a script", partial(answered, script)),
                *pair(clock, f"{WAITING} rows that wait {WAIT_S * 1000:.0f} ms each", partial(mapped, WAITING, waiting)),
            ]
        finally:
            ray.shutdown()

"""Micro-batching: rows that arrive within a few milliseconds, or while a batch is being written, go into the next batch together.

The queue is bounded: whoever finds it full is asked to come again. A row whose client has gone is dropped, from the queue or from the
batch that is being written.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Protocol

WINDOW_S: Final = 0.005  # from the first row to the batch
BATCH_ROWS: Final = 32
MAX_WAITING: Final = 256  # rows
LOG: Final = logging.getLogger(__name__)


class Droppable(Protocol):
    """A row of a batch."""

    ids: Sequence[int]
    budget: int
    dropped: bool


class Full(Exception):  # noqa: N818  # becomes a 429
    """Too many rows wait."""


@dataclass(slots=True)
class _Job:
    row: Droppable
    made: "asyncio.Future[object]"


@dataclass(slots=True)
class Queue:
    """Rows that wait for one model. `write` is called in a thread of its own, one batch at a time."""

    write: Callable[[Sequence[Droppable]], Sequence[object]]
    context: int  # tokens that prompt and answer of one batch may take
    max_waiting: int = MAX_WAITING
    _waiting: "deque[_Job]" = field(default_factory=deque)
    _some: asyncio.Event = field(default_factory=asyncio.Event)
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "bylaw-model"))

    async def ask(self, rows: Sequence[Droppable]) -> list[object]:
        """Wait for the rows of one request; raises Full."""
        if len(self._waiting) + len(rows) > self.max_waiting:
            raise Full
        jobs = [_Job(row, asyncio.get_running_loop().create_future()) for row in rows]
        self._waiting.extend(jobs)
        self._some.set()
        try:
            return list(await asyncio.gather(*(job.made for job in jobs)))
        finally:
            for job in jobs:
                job.row.dropped = True  # the client has gone, or has its answer

    async def work(self) -> None:
        """Write batch after batch, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._some.wait()
            await asyncio.sleep(WINDOW_S)
            batch = self._take()
            if not batch:
                continue
            try:
                written = await loop.run_in_executor(self._thread, self.write, [job.row for job in batch])
            except Exception as error:  # whatever a model's code raises is this batch's fault; the next may do better
                LOG.exception("a batch of %d failed", len(batch))
                _settle(batch, error)
            else:
                _settle(batch, written)

    def _take(self) -> list[_Job]:
        """The next batch: as many rows as fit the model's context side by side."""
        batch: list[_Job] = []
        width = budget = 0
        while self._waiting and len(batch) < BATCH_ROWS:
            job = self._waiting[0]
            if job.row.dropped:
                self._waiting.popleft()
                continue
            wider, longer = max(width, len(job.row.ids)), max(budget, job.row.budget)
            if batch and wider + longer > self.context:
                break
            batch.append(self._waiting.popleft())
            width, budget = wider, longer
        if not self._waiting:
            self._some.clear()
        return batch

    def close(self) -> None:
        """Let the thread go; what it writes is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _settle(batch: Sequence[_Job], outcome: Sequence[object] | Exception) -> None:
    for at, job in enumerate(batch):
        if job.made.done():
            continue
        if isinstance(outcome, Exception):
            job.made.set_exception(outcome)
        else:
            job.made.set_result(outcome[at])

"""Records that nobody waits for, written together with those that somebody waits for: one commit where there would be two.

So it is with a result that no rule looks at: that it may pass is what the record of its call says already, on the disk before the call was
sent. Its own record follows with the next one, or within 50 ms. A process that is killed in between leaves a call without its outcome.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

from bylaw.errors import LedgerError
from bylaw.serve.gate import Recorder

LATEST_S: Final = 0.05
MAX_WAITING: Final = 100
LOG: Final = logging.getLogger(__name__)


class Together:
    """A recorder, on the event loop that uses it."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._waiting: list[Mapping[str, Any]] = []
        self._writing: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def record(self, entry: Mapping[str, Any]) -> object:
        """Return after the entry is safe; what waits goes before it, in one group. Raises LedgerError."""
        if self._waiting:
            self._begin()
            await asyncio.sleep(0)  # they are handed in first
        return await self._recorder.record(entry)

    def later(self, entry: Mapping[str, Any]) -> None:
        """Write an entry soon; raises LedgerError where the writer takes nothing any more."""
        if not self._recorder.healthy:
            raise LedgerError("the ledger does not take entries", "Nothing was let through.")
        self._waiting.append(entry)
        if len(self._waiting) >= MAX_WAITING:
            self._begin()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LATEST_S, self._begin)

    @property
    def healthy(self) -> bool:
        """Whether an entry handed in now can be expected to be written."""
        return self._recorder.healthy

    async def close(self) -> None:
        """Write what waits."""
        self._begin()
        await asyncio.gather(*self._writing, return_exceptions=True)

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        for entry in waiting:
            task = asyncio.create_task(self._write(entry))
            self._writing.add(task)
            task.add_done_callback(self._written)

    async def _write(self, entry: Mapping[str, Any]) -> object:
        return await self._recorder.record(entry)

    def _written(self, task: "asyncio.Task[object]") -> None:
        self._writing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            LOG.error("that a call has ended could not be recorded: %s", error)

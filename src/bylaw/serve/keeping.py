"""Retention in a process that serves: once a day, contents that are too old are deleted, in the ledger and in what waited for people.

A process keeps to its own log and to those that nobody writes to; every process does. Entries stay, and say that contents were deleted.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bylaw.errors import BylawError
from bylaw.govern.approvals import Approvals
from bylaw.ledger import place, sealed
from bylaw.ledger.writer import Ledger
from bylaw.store.approval_rows import Approval

DAY_S: Final = 24 * 3600
BY: Final = "retention"
LOG: Final = logging.getLogger(__name__)


class Keeping:
    """Deletes what is too old, once at the start and then every day."""

    def __init__(self, data_dir: Path, ledger: Ledger, approvals: Approvals, days: int, clock: Callable[[], float] = time.time) -> None:
        self._data_dir = data_dir
        self._ledger = ledger
        self._approvals = approvals
        self._days = days
        self._clock = clock
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def begun(self) -> "Keeping":
        """Begin, in a thread."""
        self._thread = threading.Thread(target=self._go_on, name="bylaw-retention", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """End."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def run(self) -> int:
        """Delete what is too old; how many contents. Raises BylawError where it cannot be recorded."""
        before_s = self._clock() - self._days * DAY_S
        gone = self._ledger.retain(max(round(before_s * 1_000_000), 0))
        for path in place.logs(self._data_dir):
            lock = place.try_lock(path)
            if lock is None:  # some process writes to it, and keeps to it
                continue
            os.close(lock)
            with Ledger(self._data_dir, log=path.stem) as other:
                gone += other.retain(max(round(before_s * 1_000_000), 0))
        gone += sealed.retain(self._data_dir, self._ledger.append, max(round(before_s * 1_000_000), 0))
        while not self._closed.is_set() and (old := self._approvals.over(round(before_s * 1000))):
            forgotten = sum(isinstance(self._approvals.forget(one, BY), Approval) for one in old)
            if not forgotten:
                break
            gone += forgotten
        return gone

    def _go_on(self) -> None:
        while True:
            try:
                LOG.info("%s: %d contents were too old and are deleted", self._data_dir, self.run())
            except BylawError as error:
                LOG.warning("%s: contents that are too old are still there: %s", self._data_dir, error.what)
            except Exception:  # tried again tomorrow; nothing is lost by it
                LOG.exception("%s: contents that are too old are still there", self._data_dir)
            if self._closed.wait(DAY_S):
                return

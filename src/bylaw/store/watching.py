"""What all processes share, kept fresh in each of them: one thread looks every quarter of a second whether a version has risen.

Where the database tells that nobody has written since (SQLite), that is all of a look: an idle gateway does next to nothing.

A view that could not be confirmed for a second is not fresh, and whoever uses it must then refuse: so a change is in force on every process
within a second, or that process has stopped by itself. Each process writes down which versions it works with; a drill reads that.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import Connection

from bylaw.errors import BylawError
from bylaw.store import versions
from bylaw.store.clock import Clock
from bylaw.store.database import Changes, Store
from bylaw.store.processes import Process

POLL_S: Final = 0.25
FRESH_S: Final = 1.0
LOG: Final = logging.getLogger(__name__)

Reader = Callable[[Connection], object]


class Watch:
    """Calls each reader when its thing has changed. Add the readers, then `start`; or never start, and `look` by hand."""

    def __init__(
        self, store: Store, clock: Clock | None = None, steady: Callable[[], float] = time.monotonic, moment_s: float = POLL_S
    ) -> None:
        self.store = store
        self._clock = clock or Clock()
        self._steady = steady
        self._moment_s = moment_s  # for so long a look that is under way is waited for, by one
        self._readers: dict[str, Reader] = {}
        self._seen: dict[str, int] = {}
        self._told: dict[str, int] = {}  # of them, what others know
        self._changes: Changes | None = None  # while its thread looks
        self._count: int | None = None  # what that said before the last look that read all
        self._looked: float | None = None  # when a look last succeeded
        self._begun = steady() - FRESH_S  # when a look last began
        self._failed: float | None = None  # when a look last failed
        self._vain: float | None = None  # which look was waited for in vain: when it began
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._process: Process | None = None
        self._thread: threading.Thread | None = None

    def add(self, name: str, reader: Reader) -> None:
        """Have `reader` called when `name` has changed, and once at the first look. What it raises makes the view stale."""
        with self._lock:
            self._readers[name] = reader
            self._seen.pop(name, None)
            self._looked = self._count = None

    def look(self) -> Sequence[str]:
        """Read now what has changed; which. Raises StoreError where the store cannot be read."""
        with self._lock:
            changed = self._look()
        self._tell()
        return changed

    def fresh(self) -> bool:
        """Whether what is in memory was the truth at most a second ago. Before it says no it looks, or waits a moment for who is looking.

        So a machine that stood still for a while refuses nobody, and nobody queues up behind a dead server.
        """
        if self._confirmed():
            return True
        begun = self._begun
        if not self._lock.acquire(timeout=0 if self._vain == begun else self._moment_s):
            self._vain = begun
            return False
        try:
            if self._confirmed():
                return True
            just_failed = self._failed is not None and self._steady() - self._failed < POLL_S
            return not just_failed and self._seen_again()
        finally:
            self._lock.release()

    def start(self) -> None:
        """Look once, now, and then go on looking in a thread of its own."""
        self._changes = self.store.changes()
        self.look()
        self._process = Process(self.store, self._clock)
        self._tell()
        self._thread = threading.Thread(target=self._go_on, name="bylaw-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking, and leave the store; raises StoreError where it cannot be told, and holds nothing open then either."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            if self._changes is not None:
                self._changes.close()
                self._changes = None
        if self._process is not None:
            self._process.close()

    def _go_on(self) -> None:
        while not self._closed.wait(POLL_S):
            try:
                self.look()
            except BylawError as error:
                LOG.warning("what is shared could not be read: %s", error.what)
            except Exception:  # a reader's own fault: the view stays stale, which refuses; the thread must live to see it mended
                LOG.exception("what is shared could not be understood")

    def _tell(self) -> None:
        """Write down which versions this process works with, whoever was first to see them: a request may have been."""
        if self._process is not None and self._told != self._seen:
            told = dict(self._seen)
            self._process.saw(told)
            self._told = told

    def _confirmed(self) -> bool:
        return self._looked is not None and self._steady() - self._looked <= FRESH_S

    def _seen_again(self) -> bool:
        try:
            self._look()
        except Exception:  # as above; whoever asked is told that nothing is known
            LOG.exception("what is shared could not be read")
            return False
        return True

    def _look(self) -> list[str]:
        began = self._begun = self._steady()
        changed = []
        try:
            count = self._changes.count() if self._changes is not None else None
            if count is not None and count == self._count:
                self._looked = began
                return []
            with self.store.reading() as connection:
                found = versions.read(connection)
                for name, reader in self._readers.items():
                    if self._seen.get(name) != found.get(name, 0):
                        reader(connection)
                        self._seen[name] = found.get(name, 0)
                        changed.append(name)
            self._count = count
        except BaseException:
            self._failed = self._steady()
            raise
        self._looked = began
        return changed

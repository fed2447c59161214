"""Time that never runs backwards: not when somebody sets the clock back, not over a restart, not between processes.

Within a process, time passes at least as fast as the machine's steady counter says. Between processes and over restarts, the store keeps
the latest time anybody worked with. So an approval ends no later than written, whatever happens to the clock. A clock set ahead ends
approvals early: that is the safe side, and time goes on from there.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, Update, select, update

from bylaw.store.database import Store
from bylaw.store.process_tables import TIME_SEEN

KEEP_EVERY_MS: Final = 1_000  # by so much an approval can be stretched by a clock that is set back while nothing runs


class Clock:
    """Milliseconds since 1970, never fewer than before."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._lock = threading.Lock()
        self._late = wall()  # seconds: the latest time known
        self._mark = steady()  # what the steady counter said then

    def now_ms(self, at_least_ms: int = 0) -> int:
        """The time, no earlier than any time told before and than `at_least_ms`."""
        with self._lock:
            mark = self._steady()
            self._late = max(self._wall(), self._late + max(mark - self._mark, 0.0), at_least_ms / 1000)
            self._mark = mark
            return round(self._late * 1000)


def read(connection: Connection, clock: Clock) -> int:
    """The time, with what the store has seen."""
    return clock.now_ms(connection.execute(select(TIME_SEEN.c.at)).scalar() or 0)


def now(store: Store, clock: Clock) -> int:
    """The time, written down where it has gone on since it last was: so that a restart after the clock was set back knows of it."""
    with store.reading() as connection:
        seen = connection.execute(select(TIME_SEEN.c.at)).scalar() or 0
    late = clock.now_ms(seen)
    if late - seen > KEEP_EVERY_MS:
        with store.writing() as connection:
            connection.execute(kept(late))
    return late


def kept(now_ms: int) -> Update:
    """The statement that writes down how late it is; part of every writing transaction."""
    return update(TIME_SEEN).where(TIME_SEEN.c.at < now_ms).values(at=now_ms)

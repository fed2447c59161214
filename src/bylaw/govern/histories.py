"""Histories of sessions in the store, so that all processes see one: read, then swapped for the next, and whoever was slower decides anew.

    kept = histories.read(principal, name)                      # what the session has done, and which version of it that is
    after = histories.swap(principal, name, kept, history)      # None: another process was faster; read again and judge again
    histories.change(principal, name, lambda history: ...)      # for what does not depend on a judgement: a taint, a call given back
    answer = histories.judged(principal, name, judge)           # judge(history) -> (next history, answer); anew if another was faster

A call that may run is swapped in before it runs: what was judged on a history that is no longer the session's own does not count, and does
not run. Every failure is a StoreError, after which nothing may run. A session is remembered until it has rested for a week.
"""

import json
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from bylaw.errors import StoreError
from bylaw.govern.session import Held, History, Kept, crowded
from bylaw.store import session_rows as rows
from bylaw.store.clock import Clock
from bylaw.store.database import Store

TRIES: Final = 12  # changes by others that may come before ours
WAIT_S: Final = 0.004  # at most, before the second try; twice as long before each further one
LONGEST_WAIT_S: Final = 0.1
PRUNE_EVERY_S: Final = 60.0
LOG: Final = logging.getLogger(__name__)
T = TypeVar("T")


class Histories:
    """The histories of every session on one store. Safe to use from many threads and processes."""

    def __init__(self, store: Store, clock: Clock | None = None, steady: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock or Clock()
        self._steady = steady
        self._lock = threading.Lock()
        self._pruned = steady()
        self._crowded = False

    def read(self, principal: str, name: str) -> Kept:
        """What a session has done; nothing, where it is not known."""
        with self._store.reading() as connection:
            row = rows.read(connection, rows.key(principal, name))
        return Kept(decoded(row.body, name), row.version) if row else Kept(History(name))

    def swap(self, principal: str, name: str, kept: Kept, history: History) -> Kept | None:
        """Put a history in the place of the one that was read; None where that is no longer the latest."""
        self._make_room(kept.version == 0)
        body = encoded(history)
        if len(body) > rows.MAX_BYTES:
            history = full(history)
            body = encoded(history)
        version = rows.swap(self._store, rows.key(principal, name), principal, kept.version, body, self._clock.now_ms())
        return Kept(history, version) if version else None

    def judged(self, principal: str, name: str, judge: Callable[[History], tuple[History, T]]) -> T:
        """What is judged on the latest history, once what it does to the session is safe. `judge` must have no effect of its own."""
        for attempt in range(TRIES):
            kept = self.read(principal, name)
            history, answer = judge(kept.history)
            if history == kept.history or self.swap(principal, name, kept, history):
                return answer
            time.sleep(pause_s(attempt))
        raise crowded()

    def change(self, principal: str, name: str, work: Callable[[History], History]) -> History:
        """A session after a change that is right whatever it has done meanwhile."""

        def judge(history: History) -> tuple[History, History]:
            after = work(history)
            return after, after

        return self.judged(principal, name, judge)

    def replied(self, principal: str, reply: str, name: str) -> None:
        """Remember in which session a reply was given, for turns that name only the reply before them."""
        self._make_room(new=False)
        rows.replied(self._store, principal, reply, name, self._clock.now_ms())

    def session_of(self, principal: str, reply: str) -> str:
        """The name of the session in which a reply was given; empty where that is not known."""
        with self._store.reading() as connection:
            return rows.session_of(connection, principal, reply)

    def _make_room(self, new: bool) -> None:
        """Forget what has rested too long, now and then; refuse a new session where there are too many."""
        with self._lock:
            due = self._steady() - self._pruned >= PRUNE_EVERY_S
            if due:
                self._pruned = self._steady()
        if due:
            gone = rows.prune(self._store, self._clock.now_ms())
            self._crowded = rows.count(self._store) >= rows.MAX_ROWS
            if gone:
                LOG.info("%d sessions that rested were forgotten", gone)
        if new and self._crowded:
            raise StoreError(f"{rows.MAX_ROWS} sessions are remembered", "Nothing was let through; forget some, or wait until they rest.")


def pause_s(attempt: int) -> float:
    """How long to wait before the next try; by chance, so that two do not meet again."""
    return random.uniform(0, min(LONGEST_WAIT_S, WAIT_S * 2**attempt))  # no secret


def full(history: History) -> History:
    """A session that cannot be read any more, without what made it too large."""
    return replace(history, calls=(), sums={}, taint=(), held={}, full=True)


def encoded(history: History) -> bytes:
    """A history as a row keeps it. What is over its bounds, or not finite, can never be read again: then that alone is kept."""
    amounts = [*history.sums.values(), *(one for held in history.held.values() for one in held.amounts.values())]
    if history.full or not all(math.isfinite(one) for one in amounts):
        return b'{"full":true}'
    said: dict[str, Any] = {"calls": list(history.calls), "sums": dict(history.sums), "taint": list(history.taint)}
    said["held"] = {ref: [one.tool, dict(one.amounts)] for ref, one in history.held.items()}
    return json.dumps({key: value for key, value in said.items() if value}, separators=(",", ":")).encode()


def decoded(body: bytes, name: str) -> History:
    """A history out of its row; a row that cannot be read is a session that cannot be read."""
    try:
        said = json.loads(body)
        if said.get("full"):
            return History(name, full=True)
        held = {str(ref): Held(str(tool), _amounts(amounts)) for ref, (tool, amounts) in said.get("held", {}).items()}
        calls, taint = tuple(map(str, said.get("calls", ()))), tuple(map(str, said.get("taint", ())))
        return History(name, calls, _amounts(said.get("sums", {})), taint, held)
    except (ValueError, TypeError, AttributeError):
        LOG.error("a session's row cannot be read; whatever it does is undecidable")  # what is in it is nobody's business
        return History(name, full=True)


def _amounts(value: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): float(amount) for name, amount in value.items()}

"""An entry between its caller and the disk; how its caller is told (a thread at a gate, a task at a future); when the writer is woken."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

from bylaw.errors import LedgerError

GATHER_S: Final = 0.002  # how long entries of a busy loop gather at most before the writer is woken
BUSY_S: Final = 0.000_05  # a turn of the loop that takes longer has done something
SOON_S: Final = 0.05  # after which an entry that nobody waits for is written at the latest, be there another or not
LOG: Final = logging.getLogger(__name__)
STOP: Final = "Nothing may be released without its record. Mend the cause, then start again; the log goes on where it was."


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where an entry stands; given after it is on the disk."""

    log: str
    index: int
    seq: int
    leaf_hash: bytes

    def __str__(self) -> str:
        return f"{self.log}#{self.index}"


@dataclass(slots=True)
class Waiting:
    """An entry between its caller and the disk. Who waits for it has a gate or a future; nobody waits for one that has an `entry`."""

    index: int
    seq: int
    session: str
    time_us: int
    leaf: bytes
    contents: list[tuple[str, bytes, bytes]]  # name, salt, content
    erase: tuple[int, str] | None = None  # of a retention entry: before when, of which session (empty: of all)
    gate: "threading.Lock | None" = None
    future: "asyncio.Future[Receipt] | None" = None
    entry: Mapping[str, Any] | None = None
    receipt: Receipt | None = None
    fault: LedgerError | None = None
    erased: int = 0

    @property
    def weight(self) -> int:
        """Bytes held in memory."""
        return len(self.leaf) + sum(len(one[2]) for one in self.contents) if self.contents else len(self.leaf)


class Watch:
    """The tasks of one loop. They are told when they have waited too long, by one timer for all of them.

    And the writer is woken for them when the loop has a quiet moment: while it is busy, its next entries are near, and one commit for
    all costs less than several, of processor time too. A loop at rest has its quiet moment at once.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeout_s: float,
        late: Callable[[], LedgerError],
        wake: Callable[[asyncio.AbstractEventLoop], None],
    ) -> None:
        self._loop, self._timeout_s, self._late, self._wake = loop, timeout_s, late, wake
        self._since = self._turned = 0.0  # when the entry that has waited longest came, and the loop's last turn; 0: none waits
        self._futures: deque[tuple[float, asyncio.Future[Receipt]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._soon: asyncio.TimerHandle | None = None

    def add(self, future: "asyncio.Future[Receipt]") -> None:
        """Watch over a future; on the loop's own thread."""
        while self._futures and self._futures[0][1].done():
            self._futures.popleft()
        self._futures.append((self._loop.time() + self._timeout_s, future))
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._look)
        if not self._since:
            self._since = self._turned = perf_counter()
            self._loop.call_soon(self._turn)

    def soon(self) -> None:
        """Wake the writer in a moment, for an entry that nobody waits for; on the loop's own thread."""
        if self._soon is None:
            self._soon = self._loop.call_later(SOON_S, self._waited)

    def _waited(self) -> None:
        self._soon = None
        self._wake(self._loop)

    def _turn(self) -> None:
        now = perf_counter()
        if now - self._turned > BUSY_S and now - self._since < GATHER_S:
            self._turned = now
            self._loop.call_soon(self._turn)
        else:
            self._since = 0.0
            self._wake(self._loop)

    def _look(self) -> None:
        now = self._loop.time()
        while self._futures and (self._futures[0][1].done() or self._futures[0][0] <= now):
            _, future = self._futures.popleft()
            if not future.done():
                future.set_exception(self._late())
        first = self._futures[0][0] if self._futures else None
        self._timer = None if first is None else self._loop.call_at(first, self._look)


def resolve(group: Sequence[Waiting], here: asyncio.AbstractEventLoop | None = None) -> None:
    """Tell each caller; one wake-up a loop, not one an entry. `here` is the loop on whose own thread this is."""
    loops: dict[asyncio.AbstractEventLoop, list[Waiting]] = {}
    for one in group:
        if one.gate is not None:
            one.gate.release()
        elif one.future is not None:
            loops.setdefault(one.future.get_loop(), []).append(one)
        elif one.fault is not None:
            LOG.error("an entry that nobody waits for is not recorded: %s", one.fault.what)
    for loop, some in loops.items():
        if loop is here:
            _set(some)
            continue
        try:
            loop.call_soon_threadsafe(_set, some)
        except RuntimeError:  # the loop is closed: nobody waits any more, and what is on the disk stays there
            continue


def _set(group: Sequence[Waiting]) -> None:
    for one in group:
        if one.future is None or one.future.done():  # cancelled, or told of a timeout
            continue
        if one.receipt is not None:
            one.future.set_result(one.receipt)
        else:
            one.future.set_exception(one.fault or LedgerError("the ledger cannot record", STOP))

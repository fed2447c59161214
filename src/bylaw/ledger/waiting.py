"""An entry between its caller and the disk; how its caller is told (a thread at a gate, a task at a future); when the writer is woken.

A loop that has nothing else to do may write its callers' group itself: what it would do meanwhile is sleep. Whether that is so is not
guessed but measured, by the processor time that it took while the writer's thread wrote the groups before, and measured again now and then.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter, thread_time
from typing import Any, Final

from bylaw.errors import LedgerError

GATHER_S: Final = 0.002  # how long entries of a busy loop gather at most before the writer is woken
BUSY_S: Final = 0.000_05  # a turn of the loop that takes longer has done something
SOON_S: Final = 0.05  # after which an entry that nobody waits for is written at the latest, be there another or not
IDLE_S: Final = 0.000_1  # of processor time: a loop that took less while a group was written only slept, and woke up
SLEPT: Final = 4  # the same of one that took less than one part in so many of that while: a slow processor is slow to wake up too
QUICK_S: Final = 0.002  # the longest while of which parts are taken
IDLE: Final = 32  # such groups in a row make a loop idle: now and then a group finds any loop asleep
PROBE: Final = 64  # groups after which the writer's thread has one again, to see what the loop does meanwhile
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
    weight: int  # bytes held in memory
    erase: tuple[int, str] | None = None  # of a retention entry: before when, of which session (empty: of all)
    gate: "threading.Lock | None" = None
    future: "asyncio.Future[Receipt] | None" = None
    watch: "Watch | None" = None  # over the future's loop
    entry: Mapping[str, Any] | None = None
    receipt: Receipt | None = None
    fault: LedgerError | None = None
    erased: int = 0


class Watch:
    """The tasks of one loop. They are told when they have waited too long, by one timer for all of them.

    And the writer is woken for them when the loop has a quiet moment: while it is busy, its next entries are near, and one commit for
    all costs less than several, of processor time too. A loop at rest has its quiet moment at once, and one that has nothing else to do
    when as many have come as the last time.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeout_s: float,
        late: Callable[[], LedgerError],
        wake: Callable[["Watch"], None],
        worked: Callable[[], float] = thread_time,
    ) -> None:
        self.loop, self._timeout_s, self._late, self._wake, self._worked = loop, timeout_s, late, wake, worked
        self._came = self._before = 0  # entries that gather, and those that had gathered the last time
        self._idle = self._own = 0  # groups in a row that left this loop idle; groups it has written itself since
        self._handed = 0.0  # its processor time when it handed a group over of which it is not told yet; 0: there is none
        self._handed_at = 0.0  # when that was
        self._since = self._turned = 0.0  # when the entry that has waited longest came, and the loop's last turn; 0: none waits
        self._futures: deque[tuple[float, asyncio.Future[Receipt]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._soon: asyncio.TimerHandle | None = None

    def add(self, future: "asyncio.Future[Receipt]") -> None:
        """Watch over a future; on the loop's own thread."""
        while self._futures and self._futures[0][1].done():
            self._futures.popleft()
        self._futures.append((self.loop.time() + self._timeout_s, future))
        self._came += 1
        if self._timer is None:
            self._timer = self.loop.call_later(self._timeout_s, self._look)
        if not self._since:
            self._since = self._turned = perf_counter()
            self.loop.call_soon(self._turn)

    @property
    def idle(self) -> bool:
        """Whether the loop would only sleep while its next group is being written, as far as that was looked at lately."""
        return self._idle >= IDLE and self._own < PROBE

    @property
    def lone(self) -> bool:
        """Whether an idle loop need not wait for others to gather: none do, and the last time only one had come."""
        return self.idle and self._before == 1 and not self._since

    def wrote(self) -> None:
        """The loop has written a group itself."""
        self._own += 1

    def handed(self) -> None:
        """The writer's thread is to write the group; on the loop's own thread. Of one that nobody waits for nobody is told."""
        if not self._since:
            return
        if self._handed:  # it has gathered a group while another was being written: that is work
            self._idle = 0
        self._own, self._handed, self._handed_at = 0, self._worked(), perf_counter()

    def told(self, group: Sequence[Waiting]) -> None:
        """The writer's thread has written these; on the loop's own thread."""
        if self._handed:
            little_s = max(IDLE_S, min(perf_counter() - self._handed_at, QUICK_S) / SLEPT)
            self._idle = self._idle + 1 if self._worked() - self._handed < little_s else 0
            self._handed = 0.0
        _set(group)

    def soon(self) -> None:
        """Wake the writer in a moment, for an entry that nobody waits for; on the loop's own thread."""
        if self._soon is None:
            self._soon = self.loop.call_later(SOON_S, self._waited)

    def _waited(self) -> None:
        self._soon = None
        self._wake(self)

    def _turn(self) -> None:
        now = perf_counter()
        all_here = self.idle and self._came >= self._before
        if not all_here and now - self._turned > BUSY_S and now - self._since < GATHER_S:
            self._turned = now
            self.loop.call_soon(self._turn)
        else:
            try:
                self._wake(self)
            finally:
                self._since, self._came, self._before = 0.0, 0, self._came

    def _look(self) -> None:
        now = self.loop.time()
        while self._futures and (self._futures[0][1].done() or self._futures[0][0] <= now):
            _, future = self._futures.popleft()
            if not future.done():
                future.set_exception(self._late())
        first = self._futures[0][0] if self._futures else None
        self._timer = None if first is None else self.loop.call_at(first, self._look)


def resolve(group: Sequence[Waiting], here: Watch | None = None) -> None:
    """Tell each caller; one wake-up a loop, not one an entry. `here` watches over the loop on whose own thread this is."""
    loops: dict[Watch, list[Waiting]] = {}
    for one in group:
        if one.gate is not None:
            one.gate.release()
        elif one.watch is not None:
            loops.setdefault(one.watch, []).append(one)
        elif one.fault is not None:
            LOG.error("an entry that nobody waits for is not recorded: %s", one.fault.what)
    for watch, some in loops.items():
        if watch is here:
            _set(some)
            continue
        try:
            watch.loop.call_soon_threadsafe(watch.told, some)
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

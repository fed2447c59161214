"""The one who writes: entries of many threads and tasks, committed in groups, each acknowledged after its bytes are on the disk.

`append` waits in a thread, `record` in asyncio; both return after the commit of the group that holds the entry. While one group is being
written the next gathers, so the disk is asked as seldom as it can be and nobody waits for more than two writes.

Groups are written by a thread. To hand one over and back costs as much as a quick disk: so while it is quick, a loop that has nothing else
to do meanwhile (`waiting.Watch` knows) writes its groups itself; at once, where one entry comes alone, as the one before did. Where that is
wanted (`Settings.here_s`: one client; of many, fewer would share a commit) any loop does the latter. It then stands still for one commit,
and where the disk hangs just then, for as long.

An entry's place, sequence number and bytes are settled when it is handed in; the writer hashes, signs the tree's
new head and commits all of it at once: no entry is ever without a signature. Every so many entries or seconds, and at the close, the
head is published as a checkpoint. It fails closed: when a commit fails (disk full, database locked, lost or replaced), every
entry that waits and every later one raises LedgerError, until the ledger is opened anew. Whoever waited must not go on.

What it does not promise: an entry whose caller was told of a fault or a timeout, or was cancelled, may still be in the log.
"""

import asyncio
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from bylaw.errors import LedgerError
from bylaw.ledger import entries, place
from bylaw.ledger.disk import Disk, Locked
from bylaw.ledger.keyfile import signing_key
from bylaw.ledger.settling import Places, Prepared
from bylaw.ledger.waiting import STOP, Receipt, Waiting, Watch, resolve

MAX_GROUP: Final = 1_024  # entries in one commit
FEW: Final = 4  # entries that their callers' own thread writes
LATER: Final = 64  # the same, where but one of them has somebody who waits
ALONE_S: Final = 0.000_5  # since a caller's own commit, for an entry to be alone: more may be on their way, as the loop stood still
FEW_BYTES: Final = 1 << 16
PACES: Final = 4  # commits of which the quickest says how quick the disk is: others may have waited for a processor


@dataclass(frozen=True, slots=True)
class Settings:
    """How a ledger writes."""

    checkpoint_entries: int = 1_000  # publish a checkpoint after so many entries
    checkpoint_s: float = 10.0  # or after so many seconds, where there are new entries
    max_waiting: int = 4_096  # entries not yet on the disk; further callers wait
    max_waiting_bytes: int = 64 * 2**20
    timeout_s: float = 30.0  # how long one call waits at most
    busy_s: float = 5.0  # how long a commit waits for whoever has locked the database
    here_s: float = 0.0  # a lone entry is written by its caller while commits take less than this; 0: never
    idle_s: float = 0.002  # the same of any group, where its callers' loop has nothing else to do; 0: never


class Ledger:
    """One open log. Safe from many threads; a process opens its own after a fork."""

    def __init__(
        self,
        data_dir: Path,
        *,
        log: str = "",
        settings: Settings = Settings(),
        clock: Callable[[], int] = entries.now_us,
    ) -> None:
        self._settings, self._pid = settings, os.getpid()
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)  # the writer waits here for entries
        self._room = threading.Condition(self._lock)  # callers wait here for room
        self._waiting: deque[Waiting] = deque()
        self._writing = 0  # entries in the group at the disk
        self._weight = 0  # bytes of both
        self._ripe = False  # whether the writer is to take what waits
        self._oldest = 0.0  # since when the group at the disk is being written; 0: none is
        self._busy = False  # whether somebody is at the disk: the writer, or a caller's own thread
        self._paces = deque([0.0], maxlen=PACES)  # what the last commits took, in seconds
        self._ended = 0.0  # when a caller's own commit last ended
        self._watches: dict[asyncio.AbstractEventLoop, Watch] = {}
        self._fault, self._closing = "", False
        self.seen: Callable[[Mapping[str, Any]], object] | None = None  # told of each entry that is on the disk, as it was given
        try:
            key = signing_key(data_dir)
            path, self._held = (data_dir / place.FOLDER / f"{log}.sqlite", -1) if log else place.take(data_dir)
            if log:
                lock = place.try_lock(path)
                if lock is None:
                    raise LedgerError(f"{path} is being written by another process", "One log has one writer: stop the gateway first.")
                self._held = lock
            self._disk = Disk(path, key, settings.busy_s)
            self.log, self._places = self._disk.log, Places(self._disk, clock)
        except (sqlite3.Error, OSError, ValueError) as error:
            self._release()
            raise LedgerError(f"the ledger in {data_dir} cannot be opened: {error}", "Check the disk and its permissions.") from error
        except LedgerError:
            self._release()
            raise
        self._thread = threading.Thread(target=self._run, name=f"ledger {self.log}", daemon=True)
        self._thread.start()

    # ---- Writing ------------------------------------------------------------------------------------------------------

    def append(self, entry: Mapping[str, Any]) -> Receipt:
        """Record one entry and return after it is on the disk; raises LedgerError. The keys are in `entries.GIVEN`."""
        return self._append(entry, None)[0]

    async def record(self, entry: Mapping[str, Any]) -> Receipt:
        """`append` for asyncio: other tasks go on while the group is being written."""
        watch, end = self._watch(asyncio.get_running_loop()), 0.0
        prepared = self._places.prepared(entry)
        future: asyncio.Future[Receipt] = watch.loop.create_future()
        while True:
            with self._lock:
                self._usable()
                if not self._full():
                    waiting = self._hand_in(prepared)
                    waiting.future, waiting.watch = future, watch
                    quick_s = self._settings.idle_s if watch.lone else self._settings.here_s
                    group = self._alone(quick_s) if quick_s and time.perf_counter() - self._ended >= ALONE_S else []
                    break
            end = end or time.monotonic() + self._settings.timeout_s
            if time.monotonic() > end:
                raise self._late()
            await asyncio.sleep(0.001)
        if group:
            self._write_here(group, watch)
            watch.wrote()
        if not future.done():
            watch.add(future)
        receipt = await future
        if self.seen is not None:
            self.seen(entry)
        return receipt

    def later(self, entry: Mapping[str, Any]) -> bool:
        """Hand in an entry that nobody waits for; on an event loop. It is written with the next that somebody waits for, or soon.

        False where there is no room for it. Raises LedgerError where nothing is taken any more. A process that is killed loses it.
        """
        prepared = self._places.prepared(entry)
        with self._lock:
            self._usable()
            if self._full():
                return False
            self._hand_in(prepared).entry = entry
        self._watch(asyncio.get_running_loop()).soon()
        return True

    def retain(self, before_us: int, session: str = "", principal: str = "") -> int:
        """Delete contents from before that time (of one session, or of all), and record that. Leaves stay. Returns how many went."""
        entries.check_time(before_us)
        facts = {"before": entries.timestamp(before_us), "session": session}
        _, erased = self._append({"kind": "retention", "principal": principal, "facts": facts}, (before_us, session))
        return erased

    def close(self) -> None:
        """Write what waits, publish a last checkpoint, let go of the log; raises LedgerError where that fails."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self._wake.notify()
        if self._pid == os.getpid():
            self._thread.join(self._settings.timeout_s)
            if self._thread.is_alive():
                raise self._late()
            self._release()
            if self._fault:
                raise LedgerError(self._fault, STOP)

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close()
        except LedgerError:
            if error is None:
                raise

    @property
    def groups(self) -> int:
        """Commits so far."""
        return self._disk.groups

    @property
    def healthy(self) -> bool:
        """Whether an entry handed in now can be expected to be written."""
        since = self._oldest  # read once: the writer sets it back meanwhile
        slow = since and time.monotonic() - since > self._settings.timeout_s
        return not self._fault and not self._closing and self._thread.is_alive() and not slow

    @property
    def fault(self) -> str:
        """Why nothing can be recorded; empty where all is well."""
        return self._fault

    # ---- The caller's side --------------------------------------------------------------------------------------------

    def _append(self, entry: Mapping[str, Any], erase: tuple[int, str] | None) -> tuple[Receipt, int]:
        prepared = self._places.prepared(entry)
        gate = threading.Lock()
        gate.acquire()
        end = time.monotonic() + self._settings.timeout_s
        with self._lock:
            self._usable()
            while self._full():
                if not self._room.wait(end - time.monotonic()):
                    raise self._late()
                self._usable()
            waiting = self._hand_in(prepared)
            waiting.erase, waiting.gate = erase, gate
            group = self._alone(self._settings.here_s)
            if not (group or self._ripe):
                self._ripe = True
                self._wake.notify()
        if group:
            self._write_here(group, None)
        if not gate.acquire(timeout=max(0.0, end - time.monotonic())):
            raise self._late()
        if waiting.receipt is None:
            raise waiting.fault or self._late()
        if self.seen is not None:
            self.seen(entry)
        return waiting.receipt, waiting.erased

    def _hand_in(self, prepared: Prepared) -> Waiting:
        """Settle an entry's place, and put it among those that wait; under the lock. Whoever waits for it is written down after."""
        waiting = self._places.settled(prepared)
        self._waiting.append(waiting)
        self._weight += waiting.weight
        return waiting

    def _watch(self, loop: asyncio.AbstractEventLoop) -> Watch:
        watch = self._watches.get(loop)
        if watch is None:
            with self._lock:
                self._watches = {one: known for one, known in self._watches.items() if not one.is_closed()}
                watch = self._watches[loop] = Watch(loop, self._settings.timeout_s, self._late, self._rested)
        return watch

    def _usable(self) -> None:
        if self._fault or self._closing:
            raise LedgerError(self._fault or "the ledger is closed", STOP)
        if self._pid != os.getpid():
            raise LedgerError("this ledger was opened before the process forked", "Open one in each process.")

    def _full(self) -> bool:
        full = len(self._waiting) + self._writing >= self._settings.max_waiting or self._weight >= self._settings.max_waiting_bytes
        if full and not self._ripe:  # whoever was to wake the writer may be gone with its loop
            self._ripe = True
            self._wake.notify()
        return full

    def _late(self) -> LedgerError:
        return LedgerError(f"the ledger did not write within {self._settings.timeout_s:g} s", "Is the disk overloaded, or hanging?")

    # ---- The writer's side --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        group: list[Waiting] = []
        try:
            while self._gather(group):
                unpublished = self._disk.unpublished + len(group)
                publish = self._due(unpublished) or (self._closing and not self._waiting and unpublished > 0)
                if group or publish:
                    self._commit(group, publish, wait=True)
                self._answer(group)
                group.clear()
                if self._disk.cramped:
                    self._disk.lengthen()
                with self._lock:
                    self._busy = False
                if publish:  # whoever writes by himself need not wait for that
                    self._disk.publish()
        except BaseException as error:  # noqa: BLE001  # whatever it was: nobody may go on as if it had been recorded
            self._fail(group, error)

    def _gather(self, group: list[Waiting]) -> bool:
        """Wait for entries or for a checkpoint that is due, and take what is there; False at the close, when all is done."""
        with self._lock:
            while self._busy or not (self._ripe or self._closing or self._tidies() or self._fault):
                left_s = self._disk.published_at + self._settings.checkpoint_s - time.monotonic()
                told = self._busy and left_s <= 0  # whoever is at the disk when it is due says when he is done
                self._wake.wait(left_s if self._disk.unpublished and not told else None)
            while self._waiting and len(group) < MAX_GROUP:
                group.append(self._waiting.popleft())
            self._take(group)
            self._ripe = bool(self._waiting)
        return not self._fault and (bool(group or self._disk.unpublished) or not self._closing)

    def _due(self, unpublished: int) -> bool:
        late = time.monotonic() - self._disk.published_at >= self._settings.checkpoint_s
        return unpublished > 0 and (late or unpublished >= self._settings.checkpoint_entries)

    def _tidies(self) -> bool:
        """Whether there is something to do besides entries."""
        return self._disk.cramped or self._due(self._disk.unpublished)

    def _take(self, group: Sequence[Waiting]) -> None:
        """Begin to write a group; under the lock."""
        self._busy, self._writing, self._oldest = True, len(group), time.monotonic()

    def _commit(self, group: Sequence[Waiting], publish: bool, wait: bool) -> None:
        began = time.perf_counter()
        self._disk.commit(group, publish, wait)
        self._paces.append(time.perf_counter() - began)

    def _answer(self, group: Sequence[Waiting], here: Watch | None = None) -> None:
        with self._lock:
            self._writing, self._oldest = 0, 0.0
            for one in group:
                self._weight -= one.weight
            self._room.notify_all()
        resolve(group, here)
        if self.seen is not None:
            for one in group:
                if one.entry is not None:
                    self.seen(one.entry)

    def _fail(self, group: Sequence[Waiting], error: BaseException, here: Watch | None = None) -> None:
        what = error.what if isinstance(error, LedgerError) else f"{type(error).__name__}: {error}"
        with self._lock:
            self._fault = self._fault or f"the ledger cannot record: {what}"
            group = [*(one for one in group if one.receipt is None or self._writing), *self._waiting]
            self._waiting.clear()
            self._busy = False
            self._room.notify_all()
            self._wake.notify()
        for one in group:
            one.receipt, one.fault = None, LedgerError(self._fault, STOP)
        resolve(group, here)

    # ---- A lone entry, an idle loop: the caller's thread is the writer --------------------------------------------------------------

    def _rested(self, watch: Watch) -> None:
        """Write what asyncio's callers have handed in, as their loop has a quiet moment: here, or in the writer's thread."""
        with self._lock:
            if not self._waiting or self._ripe:
                return
            group = (self._here(MAX_GROUP, self._settings.idle_s) if watch.idle else []) or self._here(FEW, self._settings.here_s)
            if not group:
                self._ripe = True
                self._wake.notify()
        if group:
            self._write_here(group, watch)
            watch.wrote()
        else:
            watch.handed()

    def _alone(self, quick_s: float) -> list[Waiting]:
        """What an entry's own caller is to write, the moment that it has handed it in; under the lock. Nothing, where others wait."""
        return [] if any(one.entry is None for one in list(self._waiting)[:-1]) else self._here(LATER, quick_s)

    def _here(self, most: int, quick_s: float) -> list[Waiting]:
        """All that waits, where it is little, nobody is at the disk, and the disk so quick that to hand it over would cost more."""
        size, unpublished = len(self._waiting), self._disk.unpublished + len(self._waiting)
        much = size > most or self._weight > FEW_BYTES or unpublished >= self._settings.checkpoint_entries
        taken = self._busy or self._ripe or self._closing or self._tidies()
        if much or taken or min(self._paces) >= quick_s or any(one.erase for one in self._waiting):
            return []
        group = list(self._waiting)
        self._waiting.clear()
        self._take(group)
        return group

    def _write_here(self, group: list[Waiting], here: Watch | None) -> None:
        first = not self._disk.unpublished
        try:
            self._commit(group, publish=False, wait=False)
            self._answer(group, here)
        except Locked as error:  # nothing was done: the thread waits for whoever has it
            with self._lock:
                self._waiting.extendleft(reversed(group))
                self._busy, self._writing, self._oldest, self._ripe = False, 0, 0.0, True
                self._wake.notify()
            if self._fault:  # there is no thread any more
                self._fail((), error, here)
            return
        except BaseException as error:
            self._fail(group, error, here)
            if not isinstance(error, Exception):  # somebody wants this process to end
                raise
            return
        self._ended = time.perf_counter()
        with self._lock:
            self._busy = False
            if first or self._ripe or self._closing or self._tidies():  # the thread has something to do, or to wait for
                self._wake.notify()

    def _release(self) -> None:
        if (disk := getattr(self, "_disk", None)) is not None:
            disk.close()
        if getattr(self, "_held", -1) >= 0:
            os.close(self._held)
            self._held = -1

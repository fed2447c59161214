"""Entries that come alone are written by their callers; whatever is at the disk already, or locked, or slow, leaves them to the writer."""

import asyncio
import math
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bylaw.errors import LedgerError
from bylaw.ledger import place
from bylaw.ledger.disk import CRAMPED, ROOMY_BYTES, Disk
from bylaw.ledger.waiting import IDLE, IDLE_S, PROBE, QUICK_S, SOON_S, Watch
from bylaw.ledger.writer import ALONE_S, FEW_BYTES, Ledger, Settings
from tests.ledger.logs import report

DECISION = {"kind": "decision", "decision": "allow"}
HERE = Settings(here_s=60, checkpoint_s=3600)  # however slow this machine is, a lone entry is written where it comes from
NEVER = Settings(here_s=0, idle_s=0, checkpoint_s=3600)
WHEN_IDLE = Settings(idle_s=60, checkpoint_s=3600)


def writers(ledger: Ledger) -> set[str]:
    """The names of the threads that commit from here on."""
    names: set[str] = set()
    ledger._disk.db.set_trace_callback(lambda sql: names.add(threading.current_thread().name) if sql == "COMMIT" else None)
    return names


async def recorded(ledger: Ledger, times: int = 1) -> list[int]:
    return [(await ledger.record(DECISION)).index for _ in range(times)]


class Publisher(NamedTuple):
    """A writer's thread that stops once, as it begins to publish."""

    there: threading.Event
    go: threading.Event


@contextmanager
def publisher() -> Iterator[Publisher]:
    """The thread of a ledger that is opened in here."""
    found = Publisher(threading.Event(), threading.Event())

    def called(frame: Any, event: str, _: object) -> None:
        if event == "call" and frame.f_code is Disk.publish.__code__ and not found.there.is_set():
            found.there.set()
            found.go.wait(5)

    threading.setprofile(called)
    try:
        yield found
    finally:
        threading.setprofile(None)


def checkpoint(data_dir: Path, ledger: Ledger) -> Path:
    """Where a ledger publishes."""
    return data_dir / place.FOLDER / f"{ledger.log.rpartition('/')[2]}.checkpoint"


def until(holds: Callable[[], object]) -> None:
    """Wait for something that is about to be so."""
    end = time.monotonic() + 60
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)


def test_a_lone_entry_is_written_by_its_caller_and_by_nobody_else_where_that_is_not_wanted(tmp_path: Path) -> None:
    own = threading.current_thread().name
    with Ledger(tmp_path, settings=HERE) as ledger:
        here = writers(ledger)
        asyncio.run(recorded(ledger, 5))
        ledger.append(DECISION)
        seen = set(here)
    with Ledger(tmp_path, settings=NEVER) as ledger:
        never = writers(ledger)
        asyncio.run(recorded(ledger, 5))
        ledger.append(DECISION)

    assert seen == {own}
    assert own not in never
    assert report(tmp_path).logs[0].entries == 12


def test_what_is_large_is_left_to_the_writer(tmp_path: Path) -> None:
    entry = {**DECISION, "contents": {"input": "x" * (FEW_BYTES + 1)}}

    async def record(ledger: Ledger) -> None:
        await ledger.record(entry)

    with Ledger(tmp_path, settings=HERE) as ledger:
        names = writers(ledger)
        asyncio.run(record(ledger))
        ledger.append(entry)
        seen = set(names)

    assert threading.current_thread().name not in seen
    assert len(seen) == 1


@pytest.mark.parametrize("settings", [HERE, NEVER])
def test_what_nobody_waits_for_is_written_before_the_next_in_the_same_commit_and_is_told_of_after_it(
    tmp_path: Path, settings: Settings
) -> None:
    told: list[object] = []

    async def work(ledger: Ledger) -> tuple[int, list[object], int]:
        ledger.later({"kind": "first"})
        before, early = ledger.groups, list(told)
        index = (await ledger.record({"kind": "second"})).index
        return ledger.groups - before, early, index

    with Ledger(tmp_path, settings=settings) as ledger:
        ledger.seen = lambda entry: told.append(entry["kind"])
        groups, early, index = asyncio.run(work(ledger))

    assert (groups, early, index) == (1, [], 1)
    assert sorted(map(str, told)) == ["first", "second"]
    assert report(tmp_path).good


@pytest.mark.parametrize("settings", [HERE, NEVER])
def test_what_nobody_waits_for_is_written_soon_and_at_the_latest_at_the_close(tmp_path: Path, settings: Settings) -> None:
    async def soon(ledger: Ledger) -> int:
        ledger.later(DECISION)
        async with asyncio.timeout(60):
            while not ledger.groups:
                await asyncio.sleep(SOON_S / 5)
        ledger.later(DECISION)
        return ledger.groups

    with Ledger(tmp_path, settings=settings) as ledger:
        groups = asyncio.run(soon(ledger))

    assert groups == 1
    assert report(tmp_path).logs[0].entries == 2


def test_where_there_is_no_room_what_nobody_waits_for_is_not_taken_and_after_a_fault_that_is_said(tmp_path: Path) -> None:
    async def fill(ledger: Ledger) -> list[bool]:
        return [ledger.later(DECISION) for _ in range(3)]

    async def after(ledger: Ledger) -> None:
        ledger.later(DECISION)

    with Ledger(tmp_path, settings=Settings(max_waiting=2)) as ledger:
        taken = asyncio.run(fill(ledger))
    with pytest.raises(LedgerError, match="closed"):
        asyncio.run(after(ledger))

    assert taken == [True, True, False]
    assert report(tmp_path).logs[0].entries == 2


class Watched:
    """A watch whose loop never turns by itself, and whose groups a thread writes that is not there."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.worked = 1.0
        self.watch = Watch(self.loop, 1, lambda: LedgerError("late", ""), lambda watch: watch.handed(), lambda: self.worked)

    def handed(self) -> None:
        self.watch.add(self.loop.create_future())
        self.watch._turned = math.inf  # nothing has been done since, however long this thread had no processor
        self.watch._turn()

    def group(self, took_s: float) -> bool:
        """A group is handed over and written, and the loop has worked for so long meanwhile: is it idle?"""
        self.handed()
        self.worked += took_s
        self.watch.told([])
        return self.watch.idle


@pytest.fixture
def watched() -> Iterator[Watched]:
    one = Watched()
    yield one
    one.loop.close()


def test_a_loop_is_idle_while_it_works_no_more_than_to_wake_up_and_is_looked_at_again(watched: Watched) -> None:
    seen = [[watched.group(IDLE_S / 2) for _ in range(IDLE)]]
    for _ in range(PROBE):
        watched.watch.wrote()
    seen.append([watched.watch.idle, watched.group(IDLE_S / 2), watched.group(QUICK_S), watched.group(IDLE_S / 2)])
    for _ in range(IDLE):
        watched.group(IDLE_S / 2)
    watched.handed()
    watched.handed()  # entries came while a group was being written
    watched.watch.told([])
    seen.append([watched.watch.idle])

    assert seen == [[False] * (IDLE - 1) + [True], [False, True, False, False], [False]]


def test_how_much_a_loop_may_work_to_be_idle_goes_by_how_long_the_group_took(watched: Watched) -> None:
    for _ in range(IDLE):
        watched.handed()
        watched.watch._handed_at -= 0.001  # a slow machine, which is slow to wake up too
        watched.worked += 0.000_2
        watched.watch.told([])
    slow = watched.watch.idle
    watched.handed()
    watched.watch._handed_at -= 10  # a disk that hung says nothing about the loop
    watched.worked += QUICK_S
    watched.watch.told([])

    assert (slow, watched.watch.idle) == (True, False)


def test_an_entry_that_nobody_waits_for_says_nothing_about_the_loop(watched: Watched) -> None:
    for _ in range(IDLE):
        idle = watched.group(IDLE_S / 2)
        watched.watch._waited()  # what nobody waits for is handed over, and nobody is told of it

    assert idle


def test_a_loop_whose_group_could_not_be_handed_over_hands_over_the_next() -> None:
    loop, handed = asyncio.new_event_loop(), []

    def wake(watch: Watch) -> None:
        handed.append(watch)
        if len(handed) == 1:
            raise RuntimeError("just now not")

    watch = Watch(loop, 60, lambda: LedgerError("late", ""), wake)
    loop.set_exception_handler(lambda *_: None)
    try:
        for _ in range(2):
            watch.add(loop.create_future())
            loop.run_until_complete(asyncio.sleep(0.01))
    finally:
        loop.close()

    assert len(handed) == 2


def test_an_idle_loop_writes_an_entry_at_once_that_comes_alone_as_the_one_before_did(tmp_path: Path) -> None:
    async def at_once(ledger: Ledger) -> bool:
        """Whether an entry is on the disk before the loop turns again."""
        await asyncio.sleep(2 * ALONE_S)
        while ledger._busy:  # whoever wrote the last is told of it before he has let go of the disk
            await asyncio.sleep(ALONE_S)
        entry = ledger.record(DECISION)
        try:
            entry.send(None)
        except StopIteration:
            return True
        entry.close()
        return False

    async def work(ledger: Ledger) -> list[bool]:
        watch, seen = ledger._watch(asyncio.get_running_loop()), []
        for together, times in ((1, 3), (3, 1)):
            await asyncio.gather(*(ledger.record(DECISION) for _ in range(together)))
            watch._idle, watch._own = IDLE, PROBE - 2
            seen += [await at_once(ledger) for _ in range(times)]
        return seen

    with Ledger(tmp_path, settings=WHEN_IDLE) as ledger:
        seen = asyncio.run(work(ledger))

    assert seen == [True, True, False, False]
    assert report(tmp_path).good


def test_an_idle_loop_writes_what_its_callers_hand_in_together_and_now_and_then_leaves_it_to_the_thread(tmp_path: Path) -> None:
    async def groups(ledger: Ledger) -> list[set[str]]:
        watch, by = ledger._watch(asyncio.get_running_loop()), []
        watch._idle, watch._own = IDLE, PROBE - 3
        for _ in range(4):
            names = writers(ledger)
            await asyncio.gather(*(ledger.record(DECISION) for _ in range(5)))
            by.append(names)
        return by

    with Ledger(tmp_path, settings=WHEN_IDLE) as ledger:
        by = asyncio.run(groups(ledger))
        committed = ledger.groups
    own = {threading.current_thread().name}

    assert committed == 4
    assert [names == own for names in by] == [True, True, True, False]
    assert report(tmp_path).logs[0].entries == 20


def test_a_loop_that_is_over_is_forgotten(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        for _ in range(3):
            asyncio.run(recorded(ledger))
        watched = len(ledger._watches)

    assert watched == 1


def test_a_locked_database_is_waited_for_by_the_writer_while_the_loop_goes_on(tmp_path: Path) -> None:
    async def wait(ledger: Ledger, other: sqlite3.Connection) -> tuple[bool, int]:
        await recorded(ledger)
        other.execute("BEGIN IMMEDIATE")
        record = asyncio.ensure_future(ledger.record(DECISION))
        for _ in range(20):
            await asyncio.sleep(0.001)  # the loop turns
        waiting = not record.done()
        other.execute("ROLLBACK")
        return waiting, (await record).index

    with Ledger(tmp_path, settings=HERE) as ledger:
        other = sqlite3.connect(place.logs(tmp_path)[0], isolation_level=None)
        waited, index = asyncio.run(wait(ledger, other))
        after = ledger.append(DECISION).index
        other.close()

    assert waited
    assert (index, after) == (1, 2)
    assert report(tmp_path).good


def test_a_fault_in_a_callers_own_commit_ends_the_log_for_everybody(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, settings=HERE)
    ledger.append(DECISION)
    place.logs(tmp_path)[0].unlink()
    with pytest.raises(LedgerError, match="cannot record"):
        asyncio.run(recorded(ledger))

    with pytest.raises(LedgerError, match="cannot record"):
        ledger.append(DECISION)
    with pytest.raises(LedgerError, match="cannot record"):
        ledger.close()

    assert not ledger.healthy


@pytest.mark.slow
@pytest.mark.parametrize("settings", [HERE, NEVER, WHEN_IDLE, Settings(here_s=60, checkpoint_entries=3, checkpoint_s=0.001)])
def test_callers_and_writer_take_turns_at_the_disk_however_they_come(tmp_path: Path, settings: Settings) -> None:
    async def tasks(ledger: Ledger) -> list[int]:
        both = await asyncio.gather(*(recorded(ledger, 20) for _ in range(3)))
        return [index for some in both for index in some]

    with Ledger(tmp_path, settings=settings) as ledger, ThreadPoolExecutor(5) as pool:
        loops = [pool.submit(lambda: asyncio.run(tasks(ledger))) for _ in range(2)]
        threads = [pool.submit(lambda: [ledger.append({**DECISION, "session": "s"}).index for _ in range(40)]) for _ in range(3)]
        indices = [index for one in (*loops, *threads) for index in one.result(60)]
    found = report(tmp_path)

    assert sorted(indices) == list(range(240))
    assert found.good
    assert found.logs[0].entries == 240


def test_a_checkpoint_of_lone_entries_is_published_in_time_and_by_the_writer(tmp_path: Path) -> None:
    with Ledger(tmp_path, settings=Settings(here_s=60, checkpoint_s=0.05)) as ledger:
        file = checkpoint(tmp_path, ledger)
        ledger.append(DECISION)
        until(file.exists)
        published = file.exists()

    assert published
    assert report(tmp_path).good


@pytest.mark.slow
def test_what_was_committed_while_a_checkpoint_was_being_published_is_under_the_next_one(tmp_path: Path) -> None:
    with publisher() as thread:
        ledger = Ledger(tmp_path, settings=Settings(here_s=60, checkpoint_s=0.5))
    commits = [0]

    def slow(sql: str) -> None:
        commits[0] += sql == "COMMIT"
        if commits[0] == 4:  # the second since: the thread finds somebody at the disk, and has to wait
            thread.go.set()
            time.sleep(0.05)

    with ledger:
        ledger._disk.db.set_trace_callback(slow)
        ledger.append(DECISION)
        thread.there.wait(60)
        ledger.append(DECISION)
        ledger.append(DECISION)
        thread.go.set()
        until(lambda: not ledger._disk.unpublished)
        unpublished = ledger._disk.unpublished

    assert unpublished == 0
    assert report(tmp_path).good


def test_a_checkpoint_that_cannot_be_published_is_told_to_whoever_finds_the_database_locked_just_then(tmp_path: Path) -> None:
    with publisher() as thread:
        ledger = Ledger(tmp_path, settings=Settings(here_s=60, checkpoint_s=0.05))
    checkpoint(tmp_path, ledger).with_suffix(".checkpoint-new").mkdir()
    other = sqlite3.connect(place.logs(tmp_path)[0], isolation_level=None)
    ledger.append(DECISION)
    thread.there.wait(60)
    other.execute("BEGIN IMMEDIATE")

    def slow(sql: str) -> None:
        thread.go.set()
        until(lambda: ledger.fault)

    ledger._disk.db.set_trace_callback(slow)
    with pytest.raises(LedgerError, match="Is a directory"):
        ledger.append(DECISION)
    other.close()
    with pytest.raises(LedgerError, match="Is a directory"):
        ledger.close()

    assert report(tmp_path).logs[0].entries == 1


def test_the_write_ahead_log_gets_its_length_and_a_process_that_dies_then_leaves_a_sound_log(tmp_path: Path) -> None:
    live, dead = tmp_path / "live", tmp_path / "dead"
    with Ledger(live, settings=HERE) as ledger:
        wal = Path(f"{place.logs(live)[0]}-wal")
        for _ in range(CRAMPED):
            ledger.append(DECISION)
        end = time.monotonic() + 60
        while wal.stat().st_size < ROOMY_BYTES and time.monotonic() < end:
            time.sleep(0.01)
        ledger.append(DECISION)
        size = wal.stat().st_size
        shutil.copytree(live, dead)  # what a process that is killed leaves
    with Ledger(dead) as again:
        receipt = again.append(DECISION)

    assert size == ROOMY_BYTES
    assert receipt.index == CRAMPED + 1
    assert report(live).good
    assert report(dead).good

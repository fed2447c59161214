"""Entries that come alone are written by their callers; whatever is at the disk already, or locked, or slow, leaves them to the writer."""

import asyncio
import shutil
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bylaw.errors import LedgerError
from bylaw.ledger import place
from bylaw.ledger.disk import CRAMPED, ROOMY_BYTES
from bylaw.ledger.waiting import SOON_S
from bylaw.ledger.writer import FEW_BYTES, Ledger, Settings
from tests.ledger.logs import report

DECISION = {"kind": "decision", "decision": "allow"}
HERE = Settings(here_s=60, checkpoint_s=3600)  # however slow this machine is, a lone entry is written where it comes from
NEVER = Settings(here_s=0, checkpoint_s=3600)


def writers(ledger: Ledger) -> set[str]:
    """The names of the threads that commit from here on."""
    names: set[str] = set()
    ledger._disk.db.set_trace_callback(lambda sql: names.add(threading.current_thread().name) if sql == "COMMIT" else None)
    return names


async def recorded(ledger: Ledger, times: int = 1) -> list[int]:
    return [(await ledger.record(DECISION)).index for _ in range(times)]


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


@pytest.mark.parametrize("settings", [HERE, NEVER, Settings(), Settings(here_s=60, checkpoint_entries=3, checkpoint_s=0.001)])
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
        file = tmp_path / place.FOLDER / f"{ledger.log.rpartition('/')[2]}.checkpoint"
        ledger.append(DECISION)
        end = time.monotonic() + 60
        while not file.exists() and time.monotonic() < end:
            time.sleep(0.01)
        published = file.exists()

    assert published
    assert report(tmp_path).good


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

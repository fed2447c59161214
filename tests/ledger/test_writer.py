"""Writing: who is told when, what is counted, where a restart goes on, and that nothing goes on after a fault."""

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bylaw.errors import LedgerError
from bylaw.ledger import entries, place, reading
from bylaw.ledger.merkle import leaf_hash
from bylaw.ledger.writer import Ledger, Settings
from tests.ledger.logs import NOON, SECOND, Clock, codes, fill, report

DECISION = {"kind": "decision", "decision": "allow"}


def leaves(data_dir: Path) -> list[dict[str, Any]]:
    found = []
    for path in place.logs(data_dir):
        with reading.stored(path) as log:
            found += [entries.read_leaf(leaf) for _, leaf in log.leaves()]
    return found


def test_a_receipt_names_an_entry_that_another_connection_already_sees(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        receipt = ledger.append({**DECISION, "session": "a", "contents": {"input": "hello"}})
        with reading.stored(place.logs(tmp_path)[0]) as log:
            ((at, leaf),) = log.leaves()
            (content,) = log.contents()

    assert at == receipt.index == 0
    assert leaf_hash(leaf) == receipt.leaf_hash
    assert entries.commitment(content.salt, content.content) == entries.read_leaf(leaf)["contents"]["input"]
    assert str(receipt) == f"{ledger.log}#0"


@pytest.mark.slow
def test_many_threads_get_each_index_once_and_each_session_its_numbers(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger, ThreadPoolExecutor(16) as pool:
        receipts = list(pool.map(lambda i: ledger.append({**DECISION, "session": f"s{i % 7}"}), range(400)))

    assert sorted(one.index for one in receipts) == list(range(400))
    assert report(tmp_path).good
    assert {one["seq"] for one in leaves(tmp_path) if one["session"] == "s0"} == set(range(1, 59))


def test_tasks_share_groups_and_the_loop_goes_on_meanwhile(tmp_path: Path) -> None:
    async def many(ledger: Ledger) -> list[int]:
        receipts = await asyncio.gather(*(ledger.record({**DECISION, "session": f"s{i % 5}"}) for i in range(500)))
        return [one.index for one in receipts]

    with Ledger(tmp_path) as ledger:
        indices = asyncio.run(many(ledger))

    assert sorted(indices) == list(range(500))
    assert report(tmp_path).good


def test_a_restart_goes_on_in_the_same_log_with_the_next_index_and_number(tmp_path: Path) -> None:
    fill(tmp_path, 5)

    with Ledger(tmp_path, clock=Clock()) as ledger:
        receipt = ledger.append({**DECISION, "session": "s0"})

    assert (receipt.index, receipt.seq) == (5, 4)
    assert len(place.logs(tmp_path)) == 1
    assert report(tmp_path).good


def test_each_writer_has_a_log_of_its_own_and_frees_it_at_the_close(tmp_path: Path) -> None:
    with Ledger(tmp_path) as one, Ledger(tmp_path) as two:
        one.append(DECISION)
        two.append(DECISION)
        with pytest.raises(LedgerError, match="another process"):
            Ledger(tmp_path, log=one.log.rpartition("/")[2])
    with Ledger(tmp_path) as again:
        pass

    assert one.log != two.log
    assert again.log in {one.log, two.log}
    assert report(tmp_path).good


def test_a_clock_that_jumps_back_is_recorded_and_stops_nothing(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        for time_us in (NOON, NOON - 3600 * SECOND, NOON - 3599 * SECOND, NOON - 3599 * SECOND - 5, 0, entries.MAX_TIME_US):
            ledger.append({**DECISION, "time": time_us})
    with Ledger(tmp_path, clock=lambda: NOON) as ledger:
        ledger.append(DECISION)
    found = report(tmp_path)

    assert [one["clock_back_us"] // SECOND for one in leaves(tmp_path)][:5] == [0, 3600, 0, 0, (NOON // SECOND) - 3600]
    assert leaves(tmp_path)[6]["clock_back_us"] > 0
    assert found.good
    assert found.logs[0].clock_jumps == 3


def test_a_bad_entry_is_refused_alone_and_uses_up_no_index(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        for bad in (
            {},
            {**DECISION, "facts": {"a": 1.5}},
            {**DECISION, "session": "\ud800"},
            {**DECISION, "time": -1},
            {**DECISION, "seq": -1},
        ):
            with pytest.raises(LedgerError):
                ledger.append(bad)
        receipt = ledger.append(DECISION)

    assert (receipt.index, receipt.seq) == (0, 1)
    assert report(tmp_path).good


def test_a_callers_own_numbers_show_what_was_dropped(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        for seq in (1, 2, 4):
            ledger.append({**DECISION, "session": "s", "seq": seq})
        receipt = ledger.append({**DECISION, "session": "s"})
    (fault,) = report(tmp_path).faults

    assert receipt.seq == 5
    assert "number 3 was never recorded" in fault.message


def test_sessions_beyond_memory_are_counted_from_the_disk(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        for i in range(50):
            ledger.append({**DECISION, "session": f"s{i % 10}"})
            ledger._places.sessions.clear()  # as if a hundred thousand others had come between

    assert report(tmp_path).good


def test_a_checkpoint_is_published_after_so_many_entries_or_seconds_and_at_the_close(tmp_path: Path) -> None:
    with Ledger(tmp_path, settings=Settings(checkpoint_entries=3, checkpoint_s=0.05)) as ledger:
        file = tmp_path / place.FOLDER / f"{ledger.log.rpartition('/')[2]}.checkpoint"
        ledger.append(DECISION)
        end = time.monotonic() + 60
        while not file.exists() and time.monotonic() < end:
            time.sleep(0.01)
        by_time = file.read_text().split("\n")[1]
        for _ in range(7):
            ledger.append(DECISION)
    at_close = file.read_text().split("\n")[1]

    assert by_time == "1"
    assert at_close == "8"
    assert report(tmp_path).good


# ---- Faults: nothing may go on -----------------------------------------------------------------------------------------


def dead(ledger: Ledger) -> bool:
    """Whether every way in is closed."""

    async def record() -> None:
        await ledger.record(DECISION)

    def refused(call: Any) -> bool:
        try:
            call()
        except LedgerError:
            return True
        return False

    return refused(lambda: ledger.append(DECISION)) and refused(lambda: asyncio.run(record())) and not ledger.healthy and bool(ledger.fault)


def closed(ledger: Ledger) -> None:
    with pytest.raises(LedgerError):
        ledger.close()


def at_leisure(ledger: Ledger) -> None:
    """Close it, however long that takes: what was to be shown to be too slow has been."""
    ledger._settings = replace(ledger._settings, timeout_s=60)
    ledger.close()


def test_a_database_locked_by_somebody_else_stops_everything(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, settings=Settings(busy_s=0.1))
    ledger.append(DECISION)
    other = sqlite3.connect(place.logs(tmp_path)[0], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(LedgerError, match="locked"):
        ledger.append(DECISION)
    other.execute("ROLLBACK")
    other.close()

    assert dead(ledger)
    closed(ledger)
    with Ledger(tmp_path) as again:
        assert again.append(DECISION).index == 1
    assert report(tmp_path).good


@pytest.mark.parametrize("lost", ["", "-wal"])
def test_a_database_that_is_gone_acknowledges_nothing(tmp_path: Path, lost: str) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(DECISION)
    Path(f"{place.logs(tmp_path)[0]}{lost}").unlink()

    with pytest.raises(LedgerError, match="cannot record"):
        ledger.append(DECISION)

    assert dead(ledger)
    closed(ledger)


def test_a_database_that_was_replaced_acknowledges_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(DECISION)
    path = place.logs(tmp_path)[0]
    path.rename(tmp_path / "moved")
    path.write_bytes((tmp_path / "moved").read_bytes())

    with pytest.raises(LedgerError, match="replaced"):
        ledger.append(DECISION)

    assert dead(ledger)
    closed(ledger)


def test_everybody_who_waits_is_told_of_a_fault(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, settings=Settings(busy_s=0.3))
    ledger.append(DECISION)
    other = sqlite3.connect(place.logs(tmp_path)[0], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    told: list[str] = []

    def wait() -> None:
        try:
            ledger.append(DECISION)
        except LedgerError as error:
            told.append(error.what)

    async def tasks() -> list[Any]:
        coroutines: list[Coroutine[Any, Any, Any]] = [ledger.record(DECISION) for _ in range(10)]
        return await asyncio.gather(*coroutines, return_exceptions=True)

    threads = [threading.Thread(target=wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    answers = asyncio.run(tasks())
    for thread in threads:
        thread.join()
    other.close()

    assert len(told) == 5
    assert all(isinstance(one, LedgerError) for one in answers)
    closed(ledger)


def test_an_entry_whose_caller_was_interrupted_as_it_was_handed_in_leaves_no_gap_in_the_log(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(DECISION)
    ledger._places.settled(ledger._places.prepared(DECISION))  # what Ctrl-C right after it leaves: a place that nothing will stand in

    with pytest.raises(LedgerError, match="interrupted"):
        ledger.append(DECISION)
    over = dead(ledger)
    closed(ledger)
    with Ledger(tmp_path) as again:
        receipt = again.append(DECISION)

    assert over
    assert receipt.index == 1
    assert report(tmp_path).good


def test_callers_beyond_the_bound_wait_and_are_told_when_it_takes_too_long(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, settings=Settings(max_waiting=2, timeout_s=0.2, busy_s=60))
    ledger.append(DECISION)
    other = sqlite3.connect(place.logs(tmp_path)[0], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(ledger.append, DECISION) for _ in range(4)]
        faults = [answer.exception() for answer in answers]
    waiting = len(ledger._waiting) + ledger._writing

    other.execute("ROLLBACK")
    other.close()
    at_leisure(ledger)

    assert all(isinstance(one, LedgerError) and "did not write" in one.what for one in faults)
    assert waiting == 2
    assert len(leaves(tmp_path)) == 3  # those who were told of a timeout may be in the log all the same
    assert report(tmp_path).good


def test_the_bound_in_bytes_is_freed_again_by_what_was_written(tmp_path: Path) -> None:
    async def many(ledger: Ledger) -> None:
        await asyncio.gather(*(ledger.record({**DECISION, "contents": {"input": "x" * 5_000}}) for _ in range(30)))

    with Ledger(tmp_path, settings=Settings(max_waiting_bytes=10_000, timeout_s=20)) as ledger:
        asyncio.run(many(ledger))
        for _ in range(5):
            ledger.append({**DECISION, "contents": {"input": "x" * 5_000}})

    assert report(tmp_path).logs[0].entries == 35


def test_tasks_are_told_when_it_takes_too_long(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, settings=Settings(timeout_s=0.1, busy_s=60))
    ledger.append(DECISION)
    other = sqlite3.connect(place.logs(tmp_path)[0], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def late() -> list[Any]:
        return await asyncio.gather(*(ledger.record(DECISION) for _ in range(3)), return_exceptions=True)

    answers = asyncio.run(late())
    end = time.monotonic() + 60
    while ledger.healthy and time.monotonic() < end:
        time.sleep(0.01)
    slow = ledger.healthy
    other.execute("ROLLBACK")
    other.close()
    at_leisure(ledger)

    assert all(isinstance(one, LedgerError) and "did not write" in one.what for one in answers)
    assert not slow


def test_a_cancelled_task_leaves_a_sound_log(tmp_path: Path) -> None:
    async def cancel(ledger: Ledger) -> None:
        task = asyncio.create_task(ledger.record(DECISION))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ledger.record(DECISION)

    with Ledger(tmp_path, settings=Settings(here_s=0)) as ledger:  # so that it waits for the writer
        asyncio.run(cancel(ledger))

    assert report(tmp_path).good


def test_a_ledger_is_not_carried_over_a_fork(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger._pid = os.getpid() + 1  # what a child sees; a fork in a process with threads is no test

        with pytest.raises(LedgerError, match="forked"):
            ledger.append(DECISION)
        ledger._pid = os.getpid()


def test_after_the_close_nothing_is_recorded(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.close()
    ledger.close()

    with pytest.raises(LedgerError, match="closed"):
        ledger.append(DECISION)

    assert not ledger.healthy


# ---- Opening a log that is not what was signed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM ledger_leaves WHERE at=9",
        "DELETE FROM ledger_leaves",
        "DELETE FROM ledger_heads",
        "UPDATE ledger_heads SET size=8",
        "UPDATE ledger_heads SET frontier=x''",
        "UPDATE ledger_heads SET note=replace(note, '10', '11')",
        "UPDATE ledger_leaves SET leaf=x'00' WHERE at=9",
        "DROP TABLE ledger_leaves",
        "PRAGMA user_version=7",
    ],
)
def test_a_log_that_is_not_what_was_signed_is_not_gone_on_with(tmp_path: Path, change: str) -> None:
    path = fill(tmp_path)
    db = sqlite3.connect(path)
    db.execute(change)
    db.commit()
    db.close()

    with pytest.raises(LedgerError):
        Ledger(tmp_path)


def test_a_log_restored_from_before_a_published_checkpoint_is_not_gone_on_with(tmp_path: Path) -> None:
    path = fill(tmp_path, 5)
    old = path.read_bytes()
    fill(tmp_path, 5)
    path.write_bytes(old)

    with pytest.raises(LedgerError, match="not what was signed at 10 entries"):
        Ledger(tmp_path)


def test_a_file_that_is_no_database_is_one_clear_line(tmp_path: Path) -> None:
    fill(tmp_path).write_bytes(b"garbage" * 1000)

    with pytest.raises(LedgerError, match="cannot be opened"):
        Ledger(tmp_path)


# ---- Retention ------------------------------------------------------------------------------------------------------------


def test_retention_erases_contents_from_the_disk_and_leaves_every_entry(tmp_path: Path) -> None:
    path = fill(tmp_path, 10)
    with Ledger(tmp_path, clock=Clock()) as ledger:
        erased = ledger.retain(NOON + 6 * SECOND)
        kept = ledger.append({**DECISION, "contents": {"input": "kept after"}})
        on_disk = b"".join(file.read_bytes() for file in path.parent.iterdir())
    found = report(tmp_path)

    assert erased == 5
    assert b"what number 4 said" not in on_disk
    assert b"what number 5 said" in on_disk
    assert kept.index == 11
    assert found.good
    assert found.logs[0].entries == 12


def test_contents_erased_while_somebody_reads_go_from_the_disk_at_the_next_checkpoint(tmp_path: Path) -> None:
    path = fill(tmp_path, 10)
    with Ledger(tmp_path, clock=Clock()) as ledger:
        ledger.append({**DECISION, "contents": {"input": "a secret in the write-ahead log"}})
        with reading.stored(path):  # its snapshot still needs the old pages
            ledger.retain(NOON + 1000 * SECOND)
    on_disk = b"".join(file.read_bytes() for file in path.parent.iterdir())

    assert b"a secret" not in on_disk
    assert report(tmp_path).good


def test_one_sessions_contents_can_be_erased_alone(tmp_path: Path) -> None:
    fill(tmp_path, 10)
    with Ledger(tmp_path, clock=Clock()) as ledger:
        erased = ledger.retain(NOON + 1000 * SECOND, session="s1")
    with reading.stored(place.logs(tmp_path)[0]) as log:
        left = [one.at for one in log.contents()]

    assert erased == 5
    assert left == [0, 2, 4, 6, 8]
    assert report(tmp_path).good


def test_a_content_deleted_without_a_retention_entry_is_found(tmp_path: Path) -> None:
    path = fill(tmp_path, 10)
    db = sqlite3.connect(path)
    db.execute("DELETE FROM ledger_contents WHERE at=3")
    db.commit()
    db.close()
    with Ledger(tmp_path, clock=Clock()) as ledger:
        ledger.retain(NOON + 4 * SECOND)  # says nothing of entry 3, which is from four seconds after noon

    found = report(tmp_path)

    assert codes(found) == {"content"}
    assert "entry 3 is gone" in found.faults[0].message


def test_what_a_closed_loop_left_behind_keeps_nobody_out(tmp_path: Path) -> None:
    async def left(ledger: Ledger) -> None:
        waiting = [asyncio.ensure_future(ledger.record(DECISION)) for _ in range(2)]
        await asyncio.sleep(0)
        for one in waiting:
            one.cancel()

    with Ledger(tmp_path, settings=Settings(max_waiting=2, timeout_s=60)) as ledger:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(left(ledger))
        loop.close()
        receipt = ledger.append(DECISION)

    assert receipt.index == 2

"""Groups: what a busy loop hands in goes to the disk together, in few statements, and nobody waits for a loop that never rests."""

import asyncio
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bylaw.ledger import reading, rows
from bylaw.ledger.entries import SALTS, Salts
from bylaw.ledger.writer import Ledger
from tests.ledger.logs import fill, report

DECISION = {"kind": "decision", "decision": "allow"}
TURN_S = 0.000_2  # of a busy loop


@pytest.mark.parametrize("count", [0, 1, 2, 3, 63, 64, 65, 200])
def test_any_number_of_rows_goes_in_whole(count: int) -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("CREATE TABLE things (at INTEGER PRIMARY KEY, name TEXT)")
    given = [(at, f"thing {at}") for at in range(count)]
    rows.insert(db, "things", given)
    found = db.execute("SELECT at, name FROM things ORDER BY at").fetchall()
    db.close()

    assert found == given


@pytest.mark.parametrize("keys", ["WITHOUT ROWID", ""])
def test_a_log_goes_on_whichever_way_its_leaves_lie(tmp_path: Path, keys: str) -> None:
    db = sqlite3.connect(fill(tmp_path), isolation_level=None)
    db.execute("ALTER TABLE ledger_leaves RENAME TO others")
    db.execute(f"CREATE TABLE ledger_leaves (log TEXT NOT NULL, at BIGINT NOT NULL, leaf BLOB NOT NULL, PRIMARY KEY (log, at)) {keys}")
    db.execute("INSERT INTO ledger_leaves SELECT * FROM others")
    db.execute("DROP TABLE others")
    db.close()
    fill(tmp_path)
    found = report(tmp_path)

    assert found.good
    assert found.logs[0].entries == 20


@pytest.mark.parametrize("key", ["(log, at)) WITHOUT ROWID", "(log, at))", "(at))"])
def test_a_long_log_opens_as_quickly_as_a_short_one_whichever_way_its_leaves_lie(key: str) -> None:
    db, steps = sqlite3.connect(":memory:", isolation_level=None), list[int]()
    db.execute("CREATE TABLE ledger_heads (log TEXT PRIMARY KEY)")
    db.execute(f"CREATE TABLE ledger_leaves (log TEXT NOT NULL, at INTEGER NOT NULL, leaf BLOB NOT NULL, PRIMARY KEY {key}")
    rows.insert(db, "ledger_leaves", [("ours", at, b"{}") for at in range(5_000)])
    db.set_progress_handler(lambda: steps.append(1), 1_000)  # after so many steps of SQLite's
    found = reading.origins_of(db)
    db.close()

    assert found == {"ours"}
    assert steps == []


def test_no_salt_is_given_twice_to_many_threads() -> None:
    salts, wanted = Salts(), 20 * SALTS
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda _: salts.next(), range(wanted)))

    assert len(set(given)) == wanted
    assert {len(salt) for salt in given} == {32}


def test_what_a_busy_loop_hands_in_turn_by_turn_shares_groups(tmp_path: Path) -> None:
    async def one(ledger: Ledger, turn: int) -> None:
        for _ in range(turn):
            await asyncio.sleep(0)
        began = time.perf_counter()
        while time.perf_counter() - began < TURN_S:  # this is what a busy loop does
            pass
        await ledger.record({**DECISION, "session": f"s{turn}"})

    async def many(ledger: Ledger) -> None:
        await asyncio.gather(*(one(ledger, turn) for turn in range(40)))

    groups: list[int] = []
    while len(groups) < 20 and min(groups, default=40) > 20:  # a machine that does other things between two turns parts them
        with Ledger(tmp_path / str(len(groups))) as ledger:
            asyncio.run(many(ledger))
            groups.append(ledger.groups)

    assert min(groups) <= 20  # one for each 2 ms of 8, were the disk and this machine at their best


def test_a_loop_that_never_rests_keeps_nobody_waiting(tmp_path: Path) -> None:
    async def restless(ledger: Ledger) -> float:
        record = asyncio.ensure_future(ledger.record(DECISION))
        began = time.monotonic()
        while not record.done():
            time.sleep(TURN_S)  # it never rests
            await asyncio.sleep(0)
        return time.monotonic() - began

    with Ledger(tmp_path) as ledger:
        took = asyncio.run(restless(ledger))

    assert took < 60


@pytest.mark.slow
def test_a_ledger_that_writes_is_healthy_whenever_it_is_asked(tmp_path: Path) -> None:
    usual, asked = sys.getswitchinterval(), []
    sys.setswitchinterval(1e-6)  # so that whoever asks is interrupted everywhere
    try:
        with Ledger(tmp_path) as ledger, ThreadPoolExecutor(2) as pool:
            writing = [pool.submit(lambda: [ledger.append(DECISION) for _ in range(100)]) for _ in range(2)]
            while not all(one.done() for one in writing):
                asked.append(ledger.healthy)
    finally:
        sys.setswitchinterval(usual)

    assert len(asked) > 100
    assert all(asked)


def test_a_thread_need_not_wait_for_what_a_loop_has_handed_in(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:

        async def both() -> tuple[int, int]:
            record = asyncio.ensure_future(ledger.record(DECISION))
            await asyncio.sleep(0)
            appended = ledger.append(DECISION)  # blocks the loop: nothing but this call can wake the writer
            return (await record).index, appended.index

        indices = asyncio.run(both())

    assert indices == (0, 1)

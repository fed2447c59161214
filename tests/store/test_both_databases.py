"""What holds on SQLite holds on PostgreSQL."""

import concurrent.futures
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, inspect, select, text

from bylaw.errors import StoreError
from bylaw.store import clock, copying, database, processes, versions
from bylaw.store.clock import Clock
from bylaw.store.database import Store
from bylaw.store.process_tables import PROCESSES, VERSIONS
from tests.store import postgres


@pytest.mark.parametrize("way", ["made", "migrated"])
def test_the_tables_are_the_declared_ones_whether_made_or_migrated(url: str, way: str) -> None:
    if way == "migrated":
        empty = database._postgresql(url) if url.startswith("postgres") else database._sqlite(Path(url))
        with empty.writing() as connection:
            database.upgrade(connection)
        empty.close()
    store = database.open(url)
    found = inspect(store.engine)
    columns = {one.name: {column["name"]: column["nullable"] for column in found.get_columns(one.name)} for one in database.OURS}
    indexes = {one.name: {(index["name"], index["unique"]) for index in found.get_indexes(one.name)} for one in database.OURS}
    keys = {one.name: set(found.get_pk_constraint(one.name)["constrained_columns"]) for one in database.OURS}

    types = {
        one.name: {column["name"]: column["type"].compile(store.engine.dialect) for column in found.get_columns(one.name)}
        for one in database.OURS
    }
    store.close()

    assert types == {one.name: {column.name: column.type.compile(store.engine.dialect) for column in one.columns} for one in database.OURS}
    assert columns == {one.name: {column.name: column.nullable for column in one.columns} for one in database.OURS}
    assert keys == {one.name: {column.name for column in one.primary_key} for one in database.OURS}
    for one in database.OURS:
        declared = {(str(index.name), index.unique) for index in one.indexes}
        assert {(name, bool(unique)) for name, unique in indexes[one.name]} == declared


def test_opening_twice_migrates_once(url: str) -> None:
    database.open(url).close()
    second = database.open(url)
    with second.reading() as connection:
        found = connection.execute(text(f"SELECT version_num FROM {database.VERSION_TABLE}")).scalars().all()
    second.close()

    assert found == [database.REVISIONS[-1]]


def test_many_threads_open_one_new_store_at_once(url: str) -> None:
    faults: list[BaseException] = []

    def one() -> None:
        try:
            database.open(url).close()
        except BaseException as error:  # noqa: BLE001  # a thread's error is shown by the assert
            faults.append(error)

    threads = [threading.Thread(target=one) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not faults


def test_a_newer_schema_is_refused_on_both(url: str) -> None:
    store = database.open(url)
    with store.writing() as connection:
        connection.execute(text(f"UPDATE {database.VERSION_TABLE} SET version_num = 'v9999'"))
    store.close()

    with pytest.raises(StoreError, match=r"made by a newer bylaw \(schema v9999\)"):
        database.open(url)


def test_a_server_that_answers_too_late_is_one_clear_line(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "CONNECT_TIMEOUT_S", 1.5)
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.2)
    store = database.open(url)
    try:
        with store.writing() as connection:
            versions.raised(connection, "stops")
            with pytest.raises(StoreError, match=r"the store cannot be written: (timed out|database is locked)"), store.writing() as other:
                versions.raised(other, "stops")
        with store.writing() as connection:
            found = versions.raised(connection, "stops")
    finally:
        store.close()

    assert found == 2


def test_an_insert_that_is_there_already_changes_nothing(store: Store) -> None:
    row = insert(VERSIONS).values(name="mine", version=7)
    first, second = store.inserted(row), store.inserted(row)
    with store.reading() as connection:
        found = connection.execute(select(VERSIONS.c.version).where(VERSIONS.c.name == "mine")).scalar()

    assert (first, second, found) == (True, False, 7)


def test_a_counter_goes_up_by_one_for_every_change_by_anybody(store: Store) -> None:
    def change(_: int) -> None:
        for _ in range(10):
            with store.writing() as connection:
                versions.raised(connection, "stops")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(change, range(4)))
    with store.reading() as connection:
        found = versions.read(connection)

    assert found["stops"] == 40


def test_two_that_raise_a_counter_for_the_first_time_at_once_both_count(store: Store) -> None:
    def change() -> int:
        with store.writing() as connection:
            return versions.raised(connection, "new")

    with ThreadPoolExecutor(1) as threads:
        with store.writing() as connection:
            first = versions.raised(connection, "new")
            other = threads.submit(change)
            concurrent.futures.wait([other], timeout=0.2)  # by now it waits for this transaction
        second = other.result()

    assert (first, second) == (1, 2)


def test_time_never_runs_backwards_within_a_process() -> None:
    wall, steady = [1000.0], [0.0]
    one = Clock(lambda: wall[0], lambda: steady[0])
    first = one.now_ms()
    wall[0], steady[0] = 10.0, 5.0  # somebody sets the clock back; five seconds pass
    second = one.now_ms()
    wall[0] = 5000.0

    assert (first, second, one.now_ms()) == (1_000_000, 1_005_000, 5_000_000)


def test_time_never_runs_backwards_over_a_restart(store: Store) -> None:
    with store.writing() as connection:
        connection.execute(clock.kept(Clock(lambda: 9000.0, lambda: 0.0).now_ms()))
        connection.execute(clock.kept(Clock(lambda: 8000.0, lambda: 0.0).now_ms()))
    with store.reading() as connection:
        found = clock.read(connection, Clock(lambda: 100.0, lambda: 0.0))

    assert found == 9_000_000


def test_a_living_process_is_known_and_one_that_left_is_not(store: Store) -> None:
    time = Clock()
    one = processes.Process(store, time)
    one.saw({"stops": 3})
    alive = processes.living(store, time)
    one.close()

    assert alive == {one.id: {"stops": 3}}
    assert processes.living(store, time) == {}


@pytest.mark.parametrize(
    ("machine", "born", "silent_ms", "alive"),
    [
        ("another", "1", processes.LEASE_MS - 1000, True),
        ("another", "1", processes.LEASE_MS + 1000, False),
        ("", "", processes.LEASE_MS + 1000, False),
        (processes.machine(), "another process with the same id", 0, False),
    ],
)
def test_a_process_elsewhere_lives_by_its_heart_beat_and_one_here_by_the_kernel(
    store: Store, machine: str, born: str, silent_ms: int, alive: bool
) -> None:
    time = Clock()
    row = {"id": "a" * 32, "machine": machine, "pid": 1, "born": born, "beat_at": time.now_ms() - silent_ms, "seen": "{}"}
    with store.writing() as connection:
        connection.execute(insert(PROCESSES).values(**row))

    assert (row["id"] in processes.living(store, time)) is alive


def test_rows_of_processes_that_died_long_ago_are_dropped(store: Store) -> None:
    time = Clock()
    rows = [("a" * 32, processes.KEPT_MS + 1000), ("b" * 32, processes.LEASE_MS + 1000)]
    with store.writing() as connection:
        for name, silent_ms in rows:
            row = {"id": name, "machine": "another", "pid": 1, "born": "1", "beat_at": time.now_ms() - silent_ms, "seen": "{}"}
            connection.execute(insert(PROCESSES).values(**row))
    processes.Process(store, time).close()
    with store.reading() as connection:
        left = connection.execute(select(PROCESSES.c.id)).scalars().all()

    assert left == ["b" * 32]


def test_a_child_of_this_process_does_not_speak_on_its_parents_connections(store: Store) -> None:
    with store.reading() as connection:
        versions.read(connection)
    mine = store.engine.pool
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"mine" if store.engine.pool is mine else b"its own")
        os._exit(0)
    os.waitpid(child, 0)
    said = os.read(reader, 100)
    for one in (reader, writer):
        os.close(one)
    with store.writing() as connection:
        versions.raised(connection, "stops")

    assert said == b"its own"
    assert store.engine.pool is mine


def test_what_a_server_refuses_is_said_in_its_own_words(store: Store) -> None:
    with pytest.raises(StoreError) as refused, store.reading() as connection:
        connection.execute(text("SELECT * FROM nowhere"))

    assert refused.value.what.rpartition(": the store cannot be read: ")[2] in (
        "no such table: nowhere",
        'relation "nowhere" does not exist',
    )


@pytest.mark.slow
def test_a_process_that_stands_still_in_the_middle_of_a_write_keeps_nobody_waiting_for_long(
    cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, found = postgres.database(cluster), list[int]()
    other = database.open(url)
    monkeypatch.setattr(database, "IDLE_S", 2.0)
    still = database.open(url)

    def meet() -> None:
        with still.writing() as connection:
            versions.raised(connection, "stops")
            with other.writing() as second:
                found.append(versions.raised(second, "stops"))  # waits until the server has ended the first

    try:
        with pytest.raises(StoreError):
            meet()
    finally:
        still.close()
        other.close()

    assert found == [1]


@pytest.mark.slow
def test_a_connection_that_has_gone_silent_in_the_pool_is_nobodys_error(cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "CONNECT_TIMEOUT_S", 2.0)
    store = database.open(postgres.database(cluster))
    with store.reading() as connection:
        backend = int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
    os.kill(backend, signal.SIGSTOP)
    try:
        with store.reading() as connection:
            found = versions.read(connection)
    finally:
        os.kill(backend, signal.SIGCONT)
        store.close()

    assert found["stops"] == 0


def test_a_process_that_others_took_for_dead_and_forgot_is_alive_again_with_its_next_beat(store: Store) -> None:
    process = processes.Process(store, Clock(), beat_s=60)
    process.saw({"stops": 3})
    with store.writing() as connection:
        connection.execute(delete(PROCESSES))
    gone = processes.living(store, Clock())
    process.beat()
    found = processes.living(store, Clock())
    process.close()

    assert gone == {}
    assert found == {process.id: {"stops": 3}}


@pytest.mark.slow
def test_the_log_has_one_line_for_a_connection_that_the_server_has_ended(cluster: str, caplog: pytest.LogCaptureFixture) -> None:
    def ended() -> None:
        with store.reading() as connection:
            mine = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with store.reading() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": mine})

    with closing(database.open(postgres.database(cluster))) as store:
        with pytest.raises(StoreError, match="network error"):
            ended()
        with store.reading() as connection:
            found = versions.read(connection)

    assert found["stops"] == 0
    assert len(caplog.records) >= 1
    assert [one for one in caplog.records if one.exc_info or "\n" in one.getMessage()] == []
    assert {one.levelname for one in caplog.records} == {"WARNING"}


def test_a_copy_that_cannot_be_written_is_no_fault_of_the_store(url: str, tmp_path: Path) -> None:
    database.open(url).close()

    with pytest.raises(FileNotFoundError) as found:
        copying.write(url, tmp_path / "nowhere" / "copy.jsonl")
    assert str(found.value.filename) == str(tmp_path / "nowhere" / "copy.jsonl")


@pytest.mark.slow
def test_a_copy_that_comes_slowly_is_put_back_whole(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "IDLE_S", 0.5)
    database.open(tmp_path / "store.sqlite").close()
    rows = copying.write(tmp_path / "store.sqlite", tmp_path / "copy.jsonl")
    first, *rest = (tmp_path / "copy.jsonl").read_text().splitlines(keepends=True)
    os.mkfifo(tmp_path / "slow")

    def slowly() -> None:
        with (tmp_path / "slow").open("w") as file:
            file.write(first)
            file.flush()
            time.sleep(5)
            file.writelines(rest)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(slowly)
        read = copying.read(tmp_path / "slow", postgres.database(cluster))

    assert read == rows

"""What holds on SQLite holds on PostgreSQL."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import insert, inspect, select, text

from bylaw.errors import StoreError
from bylaw.store import clock, database, processes, versions
from bylaw.store.clock import Clock
from bylaw.store.database import Store
from bylaw.store.process_tables import PROCESSES, VERSIONS


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


def test_an_insert_that_is_there_already_changes_nothing(store: Store) -> None:
    row = insert(VERSIONS).values(name="mine", version=7)
    first, second = store.inserted(row), store.inserted(row)
    with store.reading() as connection:
        found = connection.execute(select(VERSIONS.c.version).where(VERSIONS.c.name == "mine")).scalar()

    assert (first, second, found) == (True, False, 7)


def test_a_counter_goes_up_by_one_for_every_change_by_anybody(store: Store) -> None:
    def change() -> None:
        for _ in range(10):
            with store.writing() as connection:
                versions.raised(connection, "stops")

    threads = [threading.Thread(target=change) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reading() as connection:
        found = versions.read(connection)

    assert found["stops"] == 40


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

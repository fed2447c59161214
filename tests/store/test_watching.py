"""A look at what is shared reads rows only where somebody has written since; what it says stays true."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, text

from bylaw.errors import StoreError
from bylaw.store import database, processes, versions
from bylaw.store.clock import Clock
from bylaw.store.database import Store
from bylaw.store.watching import FRESH_S, Watch
from tests.store.losing import answers_lost


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bylaw.store.watching.POLL_S", 60)  # the tests look by themselves


@pytest.fixture
def watch(store: Store) -> Iterator[Watch]:
    made = Watch(store)
    made.start()
    yield made
    made.close()


@pytest.fixture
def filed(folder: Path) -> Iterator[Watch]:
    store = database.open(folder / "store.sqlite")
    made = Watch(store)
    made.start()
    yield made
    made.close()
    store.close()


def raised(store: Store, name: str) -> None:
    with store.writing() as connection:
        versions.raised(connection, name)


def test_every_change_is_seen_by_the_next_look(store: Store, watch: Watch) -> None:
    read: list[str] = []
    watch.add("stops", lambda _: read.append("stops"))
    watch.add("keys", lambda _: read.append("keys"))
    looks = [list(watch.look()), list(watch.look())]
    raised(store, "keys")
    other = database.open(store.name) if store.file else store
    raised(other, "stops")
    looks += [list(watch.look()), list(watch.look())]
    raised(other, "stops")
    looks += [list(watch.look())]
    if other is not store:
        other.close()

    assert looks == [["stops", "keys"], [], ["stops", "keys"], [], ["stops"]]
    assert read == ["stops", "keys", "stops", "keys", "stops"]


def test_a_look_at_a_file_that_nobody_has_written_to_reads_no_rows(filed: Watch) -> None:
    said: list[str] = []
    event.listen(filed.store.engine, "before_cursor_execute", lambda *given: said.append(given[2]))
    filed.look()
    filed.look()
    said.clear()
    filed.look()
    quiet = list(said)
    with filed.store.writing() as connection:
        connection.execute(text("UPDATE time_seen SET at = at + 1"))
    said.clear()
    filed.look()

    assert quiet == []
    assert any("versions" in one for one in said)


def test_a_reader_that_failed_is_called_again_though_nobody_has_written(store: Store, watch: Watch) -> None:
    faults = [ValueError("once")]

    def read(_: object) -> None:
        if faults:
            raise faults.pop()

    watch.add("policy", read)
    with pytest.raises(ValueError, match="once"):
        watch.look()

    assert list(watch.look()) == ["policy"]
    assert watch.fresh()


def test_a_file_that_was_removed_is_noticed_though_nobody_writes_to_it(filed: Watch, folder: Path) -> None:
    path = folder / "store.sqlite"
    filed.look()
    path.rename(folder / "elsewhere")
    with pytest.raises(StoreError, match="removed or replaced"):
        filed.look()
    (folder / "elsewhere").rename(path)

    assert filed.look() == []


def test_a_closed_watch_still_tells_the_truth(store: Store) -> None:
    watch = Watch(store)
    watch.add("stops", lambda _: None)
    watch.start()
    watch.close()
    raised(store, "stops")

    assert list(watch.look()) == ["stops"]


def test_a_watch_whose_store_is_away_at_the_close_says_so_and_holds_nothing_open(folder: Path) -> None:
    path = folder / "store.sqlite"
    store = database.open(path)
    watch = Watch(store)
    watch.start()
    path.unlink()
    with pytest.raises(StoreError):
        watch.close()
    store.close()

    assert not [one for one in Path("/proc/self/fd").iterdir() if one.is_symlink() and str(one.readlink()).startswith(str(path))]


def elsewhere(folder: Path, statement: str) -> None:
    """Another process works with the file."""
    does = f"import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); db.execute({statement!r})"
    subprocess.run([sys.executable, "-c", does, str(folder / "store.sqlite")], check=True)


def test_a_file_whose_log_was_removed_is_noticed_as_others_no_longer_see_what_is_written(filed: Watch, folder: Path) -> None:
    elsewhere(folder, "PRAGMA wal_checkpoint(TRUNCATE)")
    filed.look()
    for name in ("store.sqlite-wal", "store.sqlite-shm"):
        (folder / name).unlink()
    elsewhere(folder, "UPDATE versions SET version = version + 1")
    with pytest.raises(StoreError, match="removed or replaced"):
        filed.look()


def test_a_change_by_another_process_is_seen_whether_or_not_its_log_was_emptied_since(filed: Watch, folder: Path) -> None:
    filed.add("stops", lambda _: None)
    looks = [list(filed.look())]
    for statement in ("UPDATE versions SET version = version + 1", "PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM"):
        elsewhere(folder, statement)
        looks.append(list(filed.look()))

    assert looks == [["stops"], ["stops"], [], []]


def test_what_a_request_was_first_to_see_others_are_told_as_well(store: Store) -> None:
    hand = [1_000.0]
    watch = Watch(store, steady=lambda: hand[0])
    watch.add("stops", lambda _: None)
    watch.start()
    raised(store, "stops")
    hand[0] += 2 * FRESH_S  # the machine stood still, and a request comes before the thread looks
    fresh = watch.fresh()
    watch.look()
    (told,) = processes.living(store, Clock()).values()
    watch.close()

    assert fresh
    assert told["stops"] == 1


def test_what_could_not_be_told_to_others_is_told_with_the_next_look(store: Store, watch: Watch) -> None:
    watch.add("stops", lambda _: None)
    raised(store, "stops")
    with answers_lost(store, "UPDATE processes", taken=False), pytest.raises(StoreError):
        watch.look()
    watch.look()
    (told,) = processes.living(store, Clock()).values()

    assert told["stops"] == 1

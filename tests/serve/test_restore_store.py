"""Where the store of a restore comes to lie: its default place by name too, no other in the new directory, and none after a failure."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from bylaw.errors import BylawError, StoreError
from bylaw.govern import stops
from bylaw.ledger.verify import Report
from bylaw.ledger.writer import Ledger
from bylaw.serve import backup, restore
from bylaw.store import database
from bylaw.store.stop_tables import STOPS
from tests.full_disk import full_after

ENOUGH_FOR_THE_LOGS = 150_000  # bytes, and not for the store


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A backup with a stop in it."""
    with closing(database.open(tmp_path / "data" / "store.sqlite")) as store, Ledger(tmp_path / "data") as ledger:
        stops.stop(store, ledger.append, "tool:refund", "kim", "an incident")
    backup.backup(tmp_path / "data", "", tmp_path / "out", with_key=True)
    return tmp_path / "out"


def stopped(path: Path) -> list[str]:
    with closing(database.open(path)) as store, store.reading() as connection:
        return list(connection.execute(select(STOPS.c.scope)).scalars())


@pytest.mark.slow
@pytest.mark.parametrize("go_on", [True, False])
@pytest.mark.parametrize("scheme", ["", "sqlite:///"])
def test_the_default_place_may_be_named(tmp_path: Path, out: Path, scheme: str, go_on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    restore.restore(out, Path("new"), f"{scheme}new/store.sqlite", go_on=go_on)

    assert stopped(tmp_path / "new" / "store.sqlite") == ["tool:refund"]
    assert (tmp_path / "new" / "keys" / "ledger.pub").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"data", "out", "new"}


@pytest.mark.slow
@pytest.mark.parametrize("place", ["new/other.sqlite", "new/ledger/store.sqlite", "new", "out/../new/deep/store.sqlite"])
def test_another_place_in_the_new_directory_is_refused_before_anything_is_written(tmp_path: Path, out: Path, place: str) -> None:
    with pytest.raises(StoreError, match=r"lies in .*new, which the restore makes") as caught:
        restore.restore(out, tmp_path / "new", str(tmp_path / place))

    assert "--store" in caught.value.hint
    assert {path.name for path in tmp_path.iterdir()} == {"data", "out"}


@pytest.mark.slow
def test_a_restore_that_fails_leaves_no_store_that_it_made_and_no_folder_for_it(tmp_path: Path, out: Path) -> None:
    (tmp_path / "stores").mkdir()
    with full_after(ENOUGH_FOR_THE_LOGS), pytest.raises(StoreError, match="cannot be written"):
        restore.restore(out, tmp_path / "new", str(tmp_path / "stores" / "a" / "b" / "store.sqlite"), go_on=True)

    assert list((tmp_path / "stores").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"data", "out", "stores"}


@pytest.mark.slow
def test_a_restore_that_fails_takes_no_store_away_that_was_there(tmp_path: Path, out: Path) -> None:
    (tmp_path / "empty.sqlite").touch()
    with full_after(ENOUGH_FOR_THE_LOGS), pytest.raises(StoreError, match="cannot be written"):
        restore.restore(out, tmp_path / "new", str(tmp_path / "empty.sqlite"), go_on=True)
    with pytest.raises(StoreError, match="there is a store already"):
        restore.restore(out, tmp_path / "new", str(tmp_path / "data" / "store.sqlite"))

    assert (tmp_path / "empty.sqlite").exists()
    assert stopped(tmp_path / "data" / "store.sqlite") == ["tool:refund"]
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_restore_that_fails_takes_no_store_away_that_came_meanwhile(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verified = restore._verified

    def slowly(aside: Path, notes: tuple[str, ...]) -> Report:
        shutil.copytree(tmp_path / "data", tmp_path / "stores")  # a gateway that is started on it, for example
        return verified(aside, notes)

    monkeypatch.setattr(restore, "_verified", slowly)
    with pytest.raises(StoreError, match="there is a store already"):
        restore.restore(out, tmp_path / "new", str(tmp_path / "stores" / "store.sqlite"))

    assert stopped(tmp_path / "stores" / "store.sqlite") == ["tool:refund"]


@pytest.mark.slow
def test_a_restore_that_fails_takes_nothing_away_that_lay_beside_its_store(tmp_path: Path, out: Path) -> None:
    (tmp_path / "store.sqlite-wal").write_bytes(b"of another store")
    (out / "store.jsonl").unlink()
    with pytest.raises(BylawError):
        restore.restore(out, tmp_path / "new", str(tmp_path / "store.sqlite"))

    assert (tmp_path / "store.sqlite-wal").read_bytes() == b"of another store"
    assert not (tmp_path / "store.sqlite").exists()

"""A log that somebody only began to make is an empty one and keeps nobody from the others; one that was emptied is found out."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bylaw import cli
from bylaw.errors import LedgerError
from bylaw.ledger import keyfile, place, reading, roots
from bylaw.ledger.writer import Ledger
from bylaw.serve import backup, restore
from bylaw.store import database
from tests.full_disk import full_after
from tests.ledger.logs import fill, report


def nothing(path: Path) -> None:
    path.touch()


def a_header(path: Path) -> None:
    """As far as a writer comes that is killed before its tables are there."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL").fetchall()


BEGUN = pytest.mark.parametrize("begin", [nothing, a_header])


def stub(data_dir: Path, begin: Callable[[Path], None]) -> Path:
    path = data_dir / place.FOLDER / "begun.sqlite"
    begin(path)
    return path


def verified(data_dir: Path, capsys: Any) -> tuple[int, str]:
    code = cli.run(["ledger", "verify", "--data-dir", str(data_dir)])
    told = capsys.readouterr()
    return code, told.out + told.err


@pytest.mark.parametrize("room", [0, 5_000])  # for nothing, and for a header without tables
def test_a_full_disk_leaves_no_log_that_was_only_begun(tmp_path: Path, room: int) -> None:
    keyfile.signing_key(tmp_path)
    with full_after(room), pytest.raises(LedgerError, match="cannot be opened"):
        Ledger(tmp_path)
    left = {path.suffix for path in (tmp_path / place.FOLDER).iterdir()}
    path = fill(tmp_path)

    assert left == {".lock"}
    assert place.logs(tmp_path) == [path]


def test_a_full_disk_takes_no_log_away_that_was_there(tmp_path: Path) -> None:
    path = fill(tmp_path)
    before = path.read_bytes()
    with full_after(0), pytest.raises(LedgerError):
        Ledger(tmp_path).append({"kind": "decision"})

    assert path.read_bytes() == before
    assert report(tmp_path).good


def test_what_lay_beside_a_log_that_is_gone_is_not_taken_away(tmp_path: Path) -> None:
    path = fill(tmp_path)
    path.unlink()
    beside = Path(f"{path}-wal")
    beside.write_bytes(b"entries")
    with pytest.raises(LedgerError, match="was emptied"):
        place.connect(path, 1.0)

    assert (path.exists(), beside.read_bytes()) == (False, b"entries")


@BEGUN
def test_a_log_that_was_only_begun_is_an_empty_one(tmp_path: Path, begin: Callable[[Path], None], capsys: Any) -> None:
    fill(tmp_path)
    stub(tmp_path, begin)
    with reading.stored(tmp_path / place.FOLDER / "begun.sqlite") as log:
        read = (log.origin, log.notes(), list(log.leaves()), list(log.contents()), log.size())
    code, told = verified(tmp_path, capsys)

    assert read == ("", [], [], [], 0)
    assert (code, "an empty log: 0 entries" in told) == (0, True)


@BEGUN
@pytest.mark.slow
def test_beside_a_log_that_was_only_begun_all_else_goes_on(tmp_path: Path, begin: Callable[[Path], None]) -> None:
    fill(tmp_path)
    stub(tmp_path, begin)
    database.open(tmp_path / "store.sqlite").close()
    others = [cli.run([*one, "--data-dir", str(tmp_path)]) for one in (["ledger", "tail"], ["watch", "report"])]
    made = backup.backup(tmp_path, "", tmp_path / "out")

    restored = restore.restore(tmp_path / "out", tmp_path / "back")

    assert others == [0, 0]
    assert (made.logs, restored.report.good) == (2, True)


@BEGUN
def test_a_log_that_was_only_begun_is_gone_on_with(tmp_path: Path, begin: Callable[[Path], None]) -> None:
    keyfile.signing_key(tmp_path)
    (tmp_path / place.FOLDER).mkdir()
    path = stub(tmp_path, begin)
    written = fill(tmp_path)

    assert written == path
    assert report(tmp_path).good


def truncated(path: Path) -> None:
    os.truncate(path, 0)


def replaced(path: Path) -> None:
    path.unlink()
    a_header(path)


def deleted(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for table in ("leaves", "sessions", "heads", "checkpoints", "contents"):
            db.execute(f"DELETE FROM ledger_{table}")


EMPTIED = pytest.mark.parametrize("empty", [truncated, replaced, deleted])


@EMPTIED
def test_a_log_that_was_emptied_does_not_verify_beside_its_checkpoint(tmp_path: Path, empty: Callable[[Path], None], capsys: Any) -> None:
    path = fill(tmp_path)
    empty(path)
    first = verified(tmp_path, capsys)
    with pytest.raises(LedgerError):
        Ledger(tmp_path)
    after = verified(tmp_path, capsys)  # a writer that came by has not made it look new
    with pytest.raises(LedgerError, match="was emptied"):
        roots.join(tmp_path)
    with pytest.raises(LedgerError, match="was emptied"):
        backup.backup(tmp_path, "", tmp_path / "out")

    assert [first[0], after[0]] == [2, 2]
    assert f"{path} was emptied" in first[1]


@EMPTIED
def test_a_log_that_was_emptied_does_not_fit_the_log_of_roots(tmp_path: Path, empty: Callable[[Path], None], capsys: Any) -> None:
    path = fill(tmp_path)
    roots.join(tmp_path)
    empty(path)
    path.with_suffix(".checkpoint").unlink()
    code, told = verified(tmp_path, capsys)

    assert code == 1
    assert "the log of roots names it with 10 entries; it is missing" in told


def test_a_log_that_was_emptied_does_not_fit_a_checkpoint_kept_elsewhere(tmp_path: Path, capsys: Any) -> None:
    path = fill(tmp_path)
    os.truncate(path, 0)
    kept = path.with_suffix(".checkpoint").rename(tmp_path / "kept")
    code = cli.run(["ledger", "verify", "--data-dir", str(tmp_path), "--checkpoint", str(kept)])

    assert code == 1
    assert "a checkpoint of it with 10 entries was kept; the log is missing" in capsys.readouterr().out


def test_entries_that_stand_in_the_write_ahead_log_alone_are_not_deleted_with_a_look(tmp_path: Path) -> None:
    path = tmp_path / place.FOLDER / "live.sqlite"
    with Ledger(tmp_path) as ledger:
        ledger.append({"kind": "decision"})
        lives = place.logs(tmp_path)[0]
        ahead = Path(f"{lives}-wal").read_bytes()
        Path(f"{path}-wal").write_bytes(ahead)
        path.touch()
        for look in (place.connect_to_read, lambda one: place.connect(one, 1.0)):
            with pytest.raises(LedgerError, match="was emptied"):
                look(path)

    assert Path(f"{path}-wal").read_bytes() == ahead

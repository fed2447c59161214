"""A backup is not encrypted, so nobody but its owner may read it: from the first byte on, whatever the umask."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bylaw.ledger.writer import Ledger
from bylaw.serve.backup import backup
from bylaw.store import copying, database


@pytest.fixture
def careless() -> Iterator[None]:
    """Whoever lets everybody read what they make."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_every_file_of_a_backup_is_its_owners_alone_under_any_umask(tmp_path: Path, careless: None) -> None:
    database.open(tmp_path / "data" / "store.sqlite").close()
    with Ledger(tmp_path / "data") as ledger:
        ledger.append({"kind": "decision", "contents": {"reply": b"secret"}})
    backup(tmp_path / "data", "", tmp_path / "out", with_key=True)
    modes = {path.relative_to(tmp_path).as_posix(): path.stat().st_mode & 0o777 for path in (tmp_path / "out").rglob("*")}
    modes["out"] = (tmp_path / "out").stat().st_mode & 0o777

    assert len(modes) > 6
    assert {name: oct(mode) for name, mode in modes.items() if mode not in (0o600, 0o700)} == {}
    assert {name for name, mode in modes.items() if mode == 0o700} == {"out", "out/ledger", "out/keys"}


def test_the_stores_rows_are_written_where_only_their_owner_reads(tmp_path: Path, careless: None) -> None:
    database.open(tmp_path / "store.sqlite").close()
    copying.write(tmp_path / "store.sqlite", tmp_path / "store.jsonl")

    assert oct((tmp_path / "store.jsonl").stat().st_mode & 0o777) == "0o600"

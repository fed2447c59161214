"""A restore that is killed between its steps, with a store of its own: nobody can ever use what had been approved before the backup."""

import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from bylaw.errors import LedgerError
from bylaw.serve import backup, restore
from bylaw.store import database
from bylaw.store.approval_tables import APPROVALS
from bylaw.store.stop_tables import STOPS
from tests.serve.test_backup import filled
from tests.store import postgres

pytestmark = pytest.mark.slow

DIES = """
import os, signal, sys
from pathlib import Path
from bylaw.serve import restore

folder, data, store, where, name = sys.argv[1:]
holder = restore.copying if where == "copying" else restore
step = getattr(holder, name)

def dies(*given):
    step(*given)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(holder, name, dies)
restore.restore(Path(folder), Path(data), store)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "stores" / "store.sqlite")
    return postgres.database(request.getfixturevalue("cluster"))


def killed_after(step: str, tmp_path: Path, store: str) -> dict[str, str]:
    """Restore what `filled` wrote, and be killed after that function of `restore`."""
    before = filled(tmp_path / "data")
    backup.backup(tmp_path / "data", "", tmp_path / "out")
    where, _, name = step.rpartition(".")
    given = [str(tmp_path / "out"), str(tmp_path / "new"), store, where, name]
    done = subprocess.run([sys.executable, "-c", DIES, *given], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return before


def states(store: str) -> tuple[dict[str, str], list[str]]:
    """What is approved or not, and what is stopped, as whoever opens that store will find it."""
    with closing(database.open(store)) as opened, opened.reading() as connection:
        found = connection.execute(select(APPROVALS.c.id, APPROVALS.c.state)).all()
        return {one.id: one.state for one in found}, list(connection.execute(select(STOPS.c.scope)).scalars())


def test_before_the_store_is_written_it_stays_empty(tmp_path: Path, store: str) -> None:
    killed_after("_end_given", tmp_path, store)

    assert states(store) == ({}, [])
    assert not (tmp_path / "new").exists()


def test_a_store_that_is_full_while_its_directory_is_not_there_holds_nothing_that_was_given(tmp_path: Path, store: str) -> None:
    before = killed_after("copying.read", tmp_path, store)

    assert states(store) == ({before["waits"]: "pending", before["given"]: "expired"}, ["tool:refund"])
    assert not (tmp_path / "new").exists()
    with pytest.raises(LedgerError, match=r"\.new\.restoring is there") as caught:
        restore.restore(tmp_path / "out", tmp_path / "new", store)
    assert "what it put into a store" in caught.value.hint


def test_once_the_directory_has_its_name_all_of_it_is_there(tmp_path: Path, store: str) -> None:
    before = killed_after("_put_in_place", tmp_path, store)
    told = b"".join(path.read_bytes() for path in (tmp_path / "new" / "ledger").iterdir() if path.is_file())

    assert states(store)[0][before["given"]] == "expired"
    assert f'{{"approvals":["{before["given"]}"],"step":"ended"}}'.encode() in told
    assert not (tmp_path / ".new.restoring").exists()


def test_a_directory_that_somebody_fills_meanwhile_is_named_and_left(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path / "data")
    backup.backup(tmp_path / "data", "", tmp_path / "out")
    ended = restore._end_given

    def slowly(filled: Connection, aside: Path) -> restore.Ended:
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "theirs").write_text("here first")
        return ended(filled, aside)

    monkeypatch.setattr(restore, "_end_given", slowly)
    with pytest.raises(LedgerError, match=r"new cannot be put in place: Directory not empty"):
        restore.restore(tmp_path / "out", tmp_path / "new", store)

    assert [path.name for path in (tmp_path / "new").iterdir()] == ["theirs"]
    assert not (tmp_path / ".new.restoring").exists()
    assert not (tmp_path / "stores").exists()  # a file that it made went with it

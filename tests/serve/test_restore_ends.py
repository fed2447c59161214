"""What a restore ends, for it may have been taken back after the backup: a running canary, logins at the console; and what goes on."""

from contextlib import closing
from pathlib import Path

import pytest

from bylaw import cli
from bylaw.ledger import place, reading
from bylaw.ledger.writer import Ledger
from bylaw.serve import backup, restore
from bylaw.store import console_rows, database, trial_rows
from bylaw.store.console_rows import Login
from bylaw.store.trial_rows import Trial

pytestmark = pytest.mark.slow


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A backup with a canary and a shadow that run, and somebody who is signed in."""
    with closing(database.open(tmp_path / "data" / "store.sqlite")) as store, Ledger(tmp_path / "data"):
        for kind in ("canary", "shadow"):
            trial_rows.start(store, Trial(0, kind, "sha256:p", "sha256:c", "sha256:b", "{}", "running", 0, "kim"))
        console_rows.put(store, Login("sha256:cookie", "key", 1_000, 1_000), 0)
        console_rows.show(store, "sha256:cookie", "approval", 1_000)
    backup.backup(tmp_path / "data", "", tmp_path / "out", with_key=True)
    return tmp_path / "out"


def found(data: Path) -> tuple[list[str], bool, bool]:
    """What runs on trial, whether that login holds, and whether it is known to have seen that request."""
    with closing(database.open(data / "store.sqlite")) as store, store.reading() as connection:
        running = [one.kind for one in trial_rows.running(connection)]
        seen = console_rows.shown_at(connection, "sha256:cookie", "approval") is not None
        return list(running), console_rows.get(connection, "sha256:cookie") is not None, seen


def test_a_canary_is_stopped_and_everybody_signs_in_again(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.run(["restore", str(out), "--data-dir", str(tmp_path / "back")])
    said = capsys.readouterr().out
    with closing(database.open(tmp_path / "back" / "store.sqlite")) as store:
        canary = trial_rows.listed(store, "canary")[0]
    with reading.stored(place.logs(tmp_path / "back")[0]) as log:
        told = [leaf for _, leaf in log.leaves()]

    assert (code, found(tmp_path / "back")) == (0, (["shadow"], False, False))
    assert (canary.state, canary.why) == ("stopped", "a backup was restored: it may have been rolled back since")
    assert ("The canary that was running is stopped" in said, "signs in again" in said) == (True, True)
    assert any(b'"canaries":[1],"logins":1' in leaf for leaf in told), told


def test_a_gateway_that_moves_takes_both_along(tmp_path: Path, out: Path) -> None:
    done = restore.restore(out, tmp_path / "moved", go_on=True)

    assert found(tmp_path / "moved") == (["canary", "shadow"], True, True)
    assert done.ended == ([], [], 0)

"""What a restore ends, for it may have been taken back after the backup: a running canary, logins at the console; and what goes on."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select, update

from bylaw import cli
from bylaw.errors import LedgerError
from bylaw.govern.quorum import Person
from bylaw.ledger import place, reading, sealed
from bylaw.ledger.writer import Ledger
from bylaw.serve import backup, restore
from bylaw.store import console_rows, database, processes, trial_rows
from bylaw.store.approval_rows import Approval
from bylaw.store.approval_tables import ANSWERS, APPROVALS
from bylaw.store.clock import Clock
from bylaw.store.console_rows import Login
from bylaw.store.trial_rows import Trial
from bylaw.types import Decision, Need
from tests.serve.test_backup import filled, working
from tests.store.test_migrations import made

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
    assert [step in b"".join(told) for step in (b'"step":"canary stopped"', b'{"logins":1,"step":"ended"}')] == [True, True]


def test_a_gateway_that_moves_takes_both_along(tmp_path: Path, out: Path) -> None:
    done = restore.restore(out, tmp_path / "moved", go_on=True)

    assert found(tmp_path / "moved") == (["canary", "shadow"], True, True)
    assert done.ended == ((), (), 0)


def test_of_two_yeses_that_are_needed_the_one_that_was_given_does_not_hold_any_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = Decision("require_approval", ("money.limit",), ("r",), "sha256:p", needs=(Need("money.limit", "r", ("lead",), 2, 3600),))
    with working(tmp_path / "data") as (approvals, _, _):
        half, none = (approvals.request({"tool": "refund", "args": {"order": at}}, {"id": "kim"}, two, "run") for at in (1, 2))
        assert isinstance(half, Approval)
        assert isinstance(none, Approval)
        approvals.decide(half.id, Person("ann", ("lead",)), True, "fine")
    backup.backup(tmp_path / "data", "", tmp_path / "out")
    code = cli.run(["restore", str(tmp_path / "out"), "--data-dir", str(tmp_path / "back"), "--json"])
    said = json.loads(capsys.readouterr().out)
    with working(tmp_path / "back") as (approvals, _, _):
        states = {one.id: (one.state, one.said) for one in approvals.find()}

    assert (code, said["ended"]) == (0, {"approvals": [half.id], "canaries": [], "logins": 0})
    assert states == {half.id: ("expired", restore.SAID), none.id: ("pending", "")}


def test_what_had_run_out_is_not_counted_among_what_is_ended(tmp_path: Path) -> None:
    before = filled(tmp_path / "data")
    with closing(database.open(tmp_path / "data" / "store.sqlite")) as store, store.writing() as connection:
        connection.execute(update(APPROVALS).values(expires_at=1_000))
    backup.backup(tmp_path / "data", "", tmp_path / "out")
    done = restore.restore(tmp_path / "out", tmp_path / "back")
    with closing(database.open(tmp_path / "back" / "store.sqlite")) as store, store.reading() as connection:
        state = connection.execute(select(APPROVALS.c.state).where(APPROVALS.c.id == before["given"])).scalar()

    assert (done.ended.approvals, state) == ((), "expired")


def test_a_process_that_worked_with_the_store_of_the_backup_is_not_taken_for_one_of_the_restored(tmp_path: Path) -> None:
    with working(tmp_path / "data") as (_, opened, _), closing(processes.Process(opened, Clock())):
        backup.backup(tmp_path / "data", "", tmp_path / "out")
        restore.restore(tmp_path / "out", tmp_path / "back")
        with closing(database.open(tmp_path / "back" / "store.sqlite")) as store:
            living = [len(processes.living(one, Clock())) for one in (opened, store)]

    assert living == [1, 0]


@pytest.mark.parametrize("revision", database.REVISIONS)
def test_a_backup_of_an_earlier_schema_comes_back_without_what_was_given(tmp_path: Path, revision: str) -> None:
    made(str(tmp_path / "data" / "store.sqlite"), revision)
    with Ledger(tmp_path / "data"):
        pass
    backup.backup(tmp_path / "data", "", tmp_path / "out")
    restore.restore(tmp_path / "out", tmp_path / "back")
    with closing(database.open(tmp_path / "back" / "store.sqlite")) as store, store.reading() as connection:
        yes = select(ANSWERS.c.approval).where(ANSWERS.c.yes)
        held = connection.execute(select(APPROVALS.c.id).where(APPROVALS.c.state.in_(["pending", "approved"]), APPROVALS.c.id.in_(yes)))
        running = [one.kind for one in trial_rows.running(connection)]

        assert (list(held), running.count("canary")) == ([], 0)


def test_once_the_directory_has_its_name_nothing_takes_its_store_away(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = sealed.synced

    def interrupted(where: Path) -> None:
        if where == tmp_path:
            raise KeyboardInterrupt
        synced(where)

    monkeypatch.setattr(sealed, "synced", interrupted)
    with pytest.raises(KeyboardInterrupt):
        restore.restore(out, tmp_path / "new", str(tmp_path / "stores" / "store.sqlite"))
    with closing(database.open(tmp_path / "stores" / "store.sqlite")) as store:
        kinds = {kind: trial_rows.listed(store, kind)[0].state for kind in ("canary", "shadow")}

    assert kinds == {"canary": "stopped", "shadow": "running"}
    assert (tmp_path / "new" / "ledger").is_dir()


def test_a_directory_on_which_a_file_system_is_mounted_is_refused_before_anything_is_written(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "volume").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda self: self.name == "volume")
    with pytest.raises(LedgerError, match=r"volume is where a file system is mounted"):
        restore.restore(out, tmp_path / "volume")

    assert {path.name for path in tmp_path.iterdir()} == {"data", "out", "volume"}
    assert list((tmp_path / "volume").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "what"), [(".", "is no directory's own name"), ("../to-nothing", "is a link"), ("../to-empty", "is a link")]
)
def test_what_is_no_directorys_own_name_is_refused_before_anything_is_written(
    tmp_path: Path, out: Path, name: str, what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "to-nothing").symlink_to(tmp_path / "nothing")
    (tmp_path / "to-empty").symlink_to(tmp_path / "empty")
    before = {path.name for path in tmp_path.iterdir()}
    monkeypatch.chdir(tmp_path / "empty")
    code = cli.run(["restore", str(out), "--data-dir", name])

    assert (code, f"{name} {what}" in capsys.readouterr().err) == (2, True)
    assert ({path.name for path in tmp_path.iterdir()}, list((tmp_path / "empty").iterdir())) == (before, [])

"""A backup taken under writing load comes back whole; a damaged one is refused; one that is behind says so; nothing is written over."""

import json
import shutil
import sqlite3
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bylaw import cli
from bylaw.errors import BylawError, LedgerError, StoreError
from bylaw.govern import keys, stops
from bylaw.govern.approvals import Approvals
from bylaw.govern.keys import Grant
from bylaw.govern.quorum import Person
from bylaw.ledger import place, roots, rotation
from bylaw.ledger.writer import Ledger, Settings
from bylaw.serve import backup, restore
from bylaw.serve.keeping import Keeping
from bylaw.store import copying, database
from bylaw.store.approval_rows import Approval
from bylaw.types import Decision, Need
from tests.full_disk import full_after
from tests.serve import killing
from tests.serve.rig import post
from tests.serve.test_serving import until
from tests.store import postgres

pytestmark = pytest.mark.slow

LEAD = Person("lena", ("lead",))
WAITS = Decision("require_approval", ("money.limit",), ("r",), "sha256:p", needs=(Need("money.limit", "r", ("lead",), 1, 3600),))


def asked(approvals: Approvals, order: int) -> str:
    found = approvals.request({"tool": "refund", "args": {"order": order}}, {"id": "kim"}, WAITS, "run")
    assert isinstance(found, Approval)
    return found.id


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def urls(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Where the store is, and where it comes back; empty: in the data directory."""
    if request.param == "sqlite":
        return "", ""
    return tuple(postgres.database(request.getfixturevalue("cluster")) for _ in range(2))  # type: ignore[return-value]  # two


@contextmanager
def working(data: Path, store: str = "") -> Iterator[tuple[Approvals, database.Store, Ledger]]:
    """A data directory in which somebody works."""
    with closing(database.open(store or data / "store.sqlite")) as opened, Ledger(data, settings=Settings(checkpoint_entries=20)) as ledger:
        approvals = Approvals(opened, ledger.append)
        yield approvals, opened, ledger
        approvals.close()


@contextmanager
def writing(approvals: Approvals, ledger: Ledger) -> Iterator[None]:
    """Load: requests and decisions, until the end."""
    done, faults = threading.Event(), []

    def go(at: int) -> None:
        number = 0
        try:
            while not done.is_set():
                number += 1
                ledger.append({"kind": "decision", "session": f"w{at}", "contents": {"input": f"{at}: {number}"}})
                if number % 5 == 0:
                    asked(approvals, at * 10**6 + number)
        except BylawError as error:
            faults.append(error)

    threads = [threading.Thread(target=go, args=(at,)) for at in (1, 2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert faults == []


def filled(data: Path, store: str = "") -> dict[str, str]:
    """A stop, a key, a request that waits and one that was approved."""
    with working(data, store) as (approvals, opened, ledger):
        waits, given = asked(approvals, 1), asked(approvals, 2)
        approvals.decide(given, LEAD, True, "fine")
        stop, _ = stops.stop(opened, ledger.append, "tool:refund", "kim", "an incident")
        _, secret = keys.create(opened, ledger.append, Grant("lena", ("lead",)))
        return {"waits": waits, "given": given, "stop": stop.id, "secret": secret}


def test_a_backup_under_writing_load_comes_back_with_all_that_had_been_done(
    tmp_path: Path, urls: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = filled(tmp_path / "data", urls[0])
    with working(tmp_path / "data", urls[0]) as (approvals, _, ledger), writing(approvals, ledger):
        made = backup.backup(tmp_path / "data", urls[0], tmp_path / "out")
        later = ledger.append({"kind": "decision", "session": "after"})
    done = restore.restore(tmp_path / "out", tmp_path / "back", urls[1])
    code = cli.run(["ledger", "verify", "--data-dir", str(tmp_path / "back")])
    said = capsys.readouterr().out
    with working(tmp_path / "back", urls[1]) as (approvals, opened, _):
        found = {one.id: one.state for one in approvals.find(limit=100_000)}
        stopped = [one.id for one in stops.active(opened)]
        holder = keys.holder(opened, before["secret"])
    with sqlite3.connect(place.sealed(tmp_path / "back")[0]) as db, sqlite3.connect(place.logs(tmp_path / "back")[0]) as new:
        leaves, told = (b"".join(row[0] for row in one.execute("SELECT leaf FROM ledger_leaves")) for one in (db, new))
    db.close()
    new.close()

    assert (code, done.report.good, "all holds" in said, made.quiet, made.with_key) == (0, True, True, False, False)
    assert (found[before["waits"]], found[before["given"]], done.ended) == ("pending", "expired", ((before["given"],), (), 0))
    assert (stopped, holder is not None) == ([before["stop"]], True)
    assert f'{{"approvals":["{before["given"]}"],"step":"ended"}}'.encode() in told
    # The store was copied after the ledger, so that it may know of requests whose records are lost; never the other way round.
    assert all(f'"approval":"{one}"'.encode() in leaves for one in (before["waits"], before["given"]))
    assert (later.index > max(one.entries for one in done.report.logs), b'"session":"after"' in leaves) == (True, False)


def test_what_a_store_holds_comes_back_row_by_row_in_the_other_database_too(tmp_path: Path, urls: tuple[str, str]) -> None:
    filled(tmp_path / "data", urls[0])
    rows = copying.write(urls[0] or tmp_path / "data" / "store.sqlite", tmp_path / "one.jsonl")
    read = [copying.read(tmp_path / "one.jsonl", tmp_path / "two.sqlite"), urls[1] and copying.read(tmp_path / "one.jsonl", urls[1])]
    copying.write(tmp_path / "two.sqlite", tmp_path / "two.jsonl")
    if urls[1]:
        copying.write(urls[1], tmp_path / "three.jsonl")
    texts = [set(path.read_text().splitlines()) for path in sorted(tmp_path.glob("*.jsonl"))]

    assert rows > 8
    assert read == [rows, urls[1] and rows]
    assert texts == [texts[0]] * len(texts)


def every_file(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def test_a_backup_in_which_one_byte_or_file_is_wrong_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path / "data")
    backup.backup(tmp_path / "data", "", tmp_path / "out")
    told = []
    for name in every_file(tmp_path / "out"):
        for damage in (flip, Path.unlink):
            shutil.copytree(tmp_path / "out", tmp_path / "bad")
            damage(tmp_path / "bad" / name)
            code = cli.run(["restore", str(tmp_path / "bad"), "--data-dir", str(tmp_path / "back")])
            said = capsys.readouterr().err.splitlines()
            told.append((code, len(said), said[0].startswith("error: "), (tmp_path / "back").exists()))
            shutil.rmtree(tmp_path / "bad")
    (tmp_path / "out" / "more.txt").write_text("x")
    with pytest.raises(LedgerError, match="never part of it"):
        restore.restore(tmp_path / "out", tmp_path / "back")

    assert len(told) == 2 * 5
    assert set(told) == {(2, 2, True, False)}


def test_nothing_is_ever_written_over(tmp_path: Path) -> None:
    filled(tmp_path / "data")
    backup.backup(tmp_path / "data", "", tmp_path / "out")
    with pytest.raises(LedgerError, match="exists"):
        backup.backup(tmp_path / "data", "", tmp_path / "out")
    with pytest.raises(LedgerError, match="not empty"):
        restore.restore(tmp_path / "out", tmp_path / "data")
    with pytest.raises(StoreError, match="there is a store already"):
        restore.restore(tmp_path / "out", tmp_path / "back", str(tmp_path / "data" / "store.sqlite"))
    with pytest.raises(LedgerError, match="no ledger there"):
        backup.backup(tmp_path / "none", "", tmp_path / "out2")

    assert [path.name for path in sorted(tmp_path.iterdir())] == ["data", "out"]


def test_a_backup_for_a_full_disk_names_where_it_was_to_be(tmp_path: Path) -> None:
    with working(tmp_path / "data") as (_, _, ledger):
        ledger.append({"kind": "decision"})
    with full_after(10), pytest.raises(OSError, match="File too large") as caught:
        backup.backup(tmp_path / "data", "", tmp_path / "out")

    assert (caught.value.filename, (tmp_path / "out").exists()) == (str(tmp_path / "out"), False)


def test_a_backup_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    filled(tmp_path / "data")
    (tmp_path / "data" / "store.sqlite").write_bytes(b"no database" * 1_000)
    with pytest.raises(StoreError):
        backup.backup(tmp_path / "data", "", tmp_path / "out")

    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_restored_ledger_that_is_behind_a_checkpoint_says_so_and_is_not_written_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(tmp_path / "data")
    backup.backup(tmp_path / "data", "", tmp_path / "out")
    with working(tmp_path / "data") as (_, _, ledger):
        ledger.append({"kind": "decision"})
    note = place.logs(tmp_path / "data")[0].with_suffix(".checkpoint")
    code = cli.run(["restore", str(tmp_path / "out"), "--data-dir", str(tmp_path / "back"), "--checkpoint", str(note), "--json"])
    told = json.loads(capsys.readouterr().out)
    later = cli.run(["ledger", "verify", "--data-dir", str(tmp_path / "back"), "--checkpoint", str(note)])
    said = capsys.readouterr().out
    with working(tmp_path / "back") as (_, _, ledger):
        receipt = ledger.append({"kind": "decision"})

    assert (code, [one["code"] for one in told["faults"]]) == (1, ["cut"])
    assert "a checkpoint kept elsewhere has" in told["faults"][0]["message"]
    assert (later, "it was cut:" in said) == (1, True)
    assert receipt.log not in {one["log"] for one in told["logs"] if one["log"] == note.read_text().splitlines()[0]}
    assert cli.run(["ledger", "verify", "--data-dir", str(tmp_path / "back")]) == 0


def test_a_ledger_that_was_tampered_with_before_its_backup_comes_back_and_is_named(tmp_path: Path) -> None:
    filled(tmp_path / "data")
    with sqlite3.connect(place.logs(tmp_path / "data")[0]) as db:
        db.execute("UPDATE ledger_leaves SET leaf=cast(replace(leaf, 'incident', 'accident') AS BLOB)")
        db.execute("UPDATE ledger_leaves SET leaf=cast(replace(leaf, 'lena', 'anna') AS BLOB)")
    db.close()
    backup.backup(tmp_path / "data", "", tmp_path / "out", with_key=True)
    done = restore.restore(tmp_path / "out", tmp_path / "back")
    with pytest.raises(LedgerError, match="go-on"):
        raise_hint(tmp_path)

    assert "edited" in {one.code for one in done.report.faults}


def raise_hint(tmp_path: Path) -> None:
    try:
        restore.restore(tmp_path / "out", tmp_path / "moved", go_on=True)
    except LedgerError as error:
        raise LedgerError(error.hint) from error


def test_the_key_is_in_a_backup_only_where_it_was_asked_for_and_is_nobody_elses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path / "data")
    for more in ([], ["--with-key"]):
        cli.run(["backup", str(tmp_path / f"out{len(more)}"), "--data-dir", str(tmp_path / "data"), *more])
    said = capsys.readouterr().out
    private = [any(b"PRIVATE" in path.read_bytes() for path in (tmp_path / f"out{at}").rglob("*") if path.is_file()) for at in (0, 1)]
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in tmp_path.glob("out*/**/*")}

    assert (private, modes) == ([False, True], {0})
    assert ("The signing key is not in it" in said, "UNENCRYPTED" in said) == (True, True)


def test_a_stopped_gateway_moves_with_its_key_and_goes_on_in_its_logs(tmp_path: Path) -> None:
    filled(tmp_path / "data")
    rotation.rotate(tmp_path / "data")
    before = filled(tmp_path / "data")
    with working(tmp_path / "data"):
        busy = backup.backup(tmp_path / "data", "", tmp_path / "busy", with_key=True)
    made = backup.backup(tmp_path / "data", "", tmp_path / "out", with_key=True)
    backup.backup(tmp_path / "data", "", tmp_path / "keyless")
    done = restore.restore(tmp_path / "out", tmp_path / "moved", go_on=True)
    with working(tmp_path / "moved") as (approvals, _, ledger):
        given = {one.id: one.state for one in approvals.find()}[before["given"]]
        log = ledger.append({"kind": "decision"}).log
    for folder, why in (("busy", "somebody was writing"), ("keyless", "it has no key")):
        with pytest.raises(LedgerError, match=why):
            restore.restore(tmp_path / folder, tmp_path / "other", go_on=True)
    whole: list[Any] = [cli.run(["ledger", "verify", "--data-dir", str(tmp_path / one)]) for one in ("moved", "data")]

    assert (busy.quiet, made.quiet, done.went_on, given) == (False, True, True, "approved")
    assert log.rpartition("/")[2] == place.logs(tmp_path / "data")[0].stem
    assert whole == [0, 0]


def test_what_was_restored_is_backed_up_and_restored_again_with_its_joined_logs(tmp_path: Path) -> None:
    filled(tmp_path / "one")
    for at, (here, there) in enumerate((("one", "two"), ("two", "three"))):
        roots.join(tmp_path / here)
        backup.backup(tmp_path / here, "", tmp_path / f"out{at}")
        done = restore.restore(tmp_path / f"out{at}", tmp_path / there)
        with working(tmp_path / there) as (_, _, ledger):
            ledger.append({"kind": "decision"})
    entries = sum(one.entries for one in done.report.logs)

    assert (done.report.good, len(place.sealed(tmp_path / "three"))) == (True, 4)
    assert cli.run(["ledger", "verify", "--data-dir", str(tmp_path / "three")]) == 0
    assert entries == 11


def test_retention_goes_on_in_logs_that_nobody_writes_to_any_more(tmp_path: Path) -> None:
    with working(tmp_path / "data") as (approvals, _, ledger), writing(approvals, ledger):
        ledger.append({"kind": "decision", "contents": {"input": "what somebody wrote"}})
    rotation.rotate(tmp_path / "data")
    with working(tmp_path / "data") as (approvals, _, ledger):
        gone = Keeping(tmp_path / "data", ledger, approvals, 30, lambda: time.time() + 31 * 86_400).run()
    left = b"what somebody wrote" in place.sealed(tmp_path / "data")[0].read_bytes()

    assert (gone > 0, left) == (True, False)
    assert cli.run(["ledger", "verify", "--data-dir", str(tmp_path / "data")]) == 0


@pytest.mark.slow
def test_a_gateway_that_is_lost_starts_again_from_the_backup_that_was_taken_while_it_ran(tmp_path: Path) -> None:
    folder, data = killing.policy(tmp_path / "policy"), tmp_path / "data"
    before = filled(data)
    with ExitStack() as stack:
        upstream = stack.enter_context(killing.model())
        first = killing.start(folder, data, upstream)
        stop, clients = threading.Event(), killing.Clients(before["secret"], iter(range(10**9)))
        threads = clients.load(first.url, stop, 3)
        until(lambda: len(clients.got) >= 20)
        line = killing.command("backup", str(tmp_path / "out"), "--data-dir", str(data))
        done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=killing.ROOT, env=killing.environment())
        first.kill()
        stop.set()
        for thread in threads:
            thread.join()
        shutil.rmtree(data)
        back = restore.restore(tmp_path / "out", data)
        second = killing.start(folder, data, upstream)
        lead = {"authorization": f"Bearer {before['secret']}"}
        again = post(f"{second.url}/api/approvals/{before['waits']}/approve", b'{"reason": "seen"}', headers=lead)
        stopped = [one["scope"] for one in json.loads(post(f"{second.url}/api/stop", method="GET").body)["stops"]]
        asked_at = post(f"{second.url}/v1/chat/completions", b'{"model": "m", "messages": [{"role": "user", "content": "say 1"}]}')
        second.kill()

    assert (done.returncode, "while somebody was writing" in done.stdout, back.report.good) == (0, True, True)
    assert (again.status, stopped, asked_at.headers["x-bylaw-decision"]) == (200, ["tool:refund"], "allow")
    assert killing.verified(data) == ""

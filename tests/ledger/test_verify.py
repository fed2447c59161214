"""Every way to tamper with a log, and the line that says so; the same through the command line."""

import json
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw import cli
from bylaw.errors import LedgerError
from bylaw.ledger import entries, export, keyfile, place, reading, roots, verify_standalone
from bylaw.ledger.entries import now_us
from bylaw.ledger.merkle import Frontier, leaf_hash
from bylaw.ledger.notes import Checkpoint, new_key, read_checkpoint
from bylaw.ledger.retention import retain
from bylaw.ledger.writer import Ledger, Settings
from tests.ledger.logs import NOON, SECOND, Clock, codes, fill, report


def change(path: Path, *statements: str) -> None:
    db = sqlite3.connect(path)
    for one in statements:
        db.execute(one)
    db.commit()
    db.close()


def rewritten(path: Path, edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], key: Any = None) -> None:
    """A log whose entries somebody edited, put in order again and, with a key, signed again: all that its owner could do."""
    db = sqlite3.connect(path)
    said = edit([json.loads(leaf) for (leaf,) in db.execute("SELECT leaf FROM ledger_leaves ORDER BY at")])
    (log,) = db.execute("SELECT log FROM ledger_heads").fetchone()
    db.execute("DELETE FROM ledger_leaves")
    tree = Frontier()
    for at, one in enumerate(said):
        leaf = entries.encoded(one)
        tree.add(leaf_hash(leaf))
        db.execute("INSERT INTO ledger_leaves VALUES (?,?,?)", [log, at, leaf])
    if key:
        note = key.sign(Checkpoint(log, tree.size, tree.root()))
        db.execute("DELETE FROM ledger_checkpoints")
        db.execute("UPDATE ledger_heads SET size=?, note=?, frontier=?", [tree.size, note, bytes(tree)])
    db.commit()
    db.close()


def renumbered(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one | {"index": at} for at, one in enumerate(said)]


def test_an_honest_log_has_no_fault(tmp_path: Path) -> None:
    fill(tmp_path)
    found = report(tmp_path)

    assert found.good
    assert (found.logs[0].entries, found.logs[0].sessions, found.logs[0].checkpoints) == (10, 2, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statements", "code", "says"),
    [
        (["UPDATE ledger_leaves SET leaf=replace(leaf, 'allow', 'block') WHERE at=2"], "format", "wrong type"),
        (["UPDATE ledger_leaves SET leaf=cast(replace(leaf, 'allow', 'block') AS BLOB) WHERE at=2"], "edited", "between 0 and 3"),
        (["UPDATE ledger_leaves SET leaf=cast(replace(leaf, 'allow', 'block') AS BLOB) WHERE at=6"], "edited", "between 4 and 7"),
        (["DELETE FROM ledger_leaves WHERE at=5"], "missing", "entry 5 is missing"),
        (["DELETE FROM ledger_leaves WHERE at IN (3,4)"], "missing", "entries 3 to 4 are missing"),
        (["DELETE FROM ledger_leaves WHERE at=0"], "missing", "entry 0 is missing"),
        (["DELETE FROM ledger_leaves WHERE at=9"], "cut", "9 entries are there, its own checkpoint has 10"),
        (["DELETE FROM ledger_leaves"], "cut", "0 entries are there"),
        (
            [
                "UPDATE ledger_leaves SET at=-1 WHERE at=3",
                "UPDATE ledger_leaves SET at=3 WHERE at=4",
                "UPDATE ledger_leaves SET at=4 WHERE at=-1",
            ],
            "reordered",
            "at the place of entry 3",
        ),
        (["DELETE FROM ledger_heads", "DELETE FROM ledger_checkpoints"], "unsigned", "entries 0 to 9"),
        (["DELETE FROM ledger_heads", "DELETE FROM ledger_checkpoints WHERE size>4"], "unsigned", "entries 4 to 9"),
        (["UPDATE ledger_heads SET note=replace(note, '10', '11')"], "forged", "forged"),
        (["UPDATE ledger_heads SET note='x'"], "forged", "does not hold"),
        (["UPDATE ledger_checkpoints SET note=replace(note, 'bylaw', 'evil')"], "forged", "no checkpoint of a log of"),
        (["INSERT INTO ledger_leaves SELECT log, 10, leaf FROM ledger_leaves WHERE at=9"], "unsigned", "entries 10 to 10"),
        (["UPDATE ledger_contents SET content=x'00' WHERE at=1"], "content", "entry 1 is not what"),
        (["UPDATE ledger_contents SET salt=x'00' WHERE at=1"], "content", "entry 1 is not what"),
        (["UPDATE ledger_contents SET name='other' WHERE at=1"], "content", "'other' of entry 1"),
        (["UPDATE ledger_contents SET at=55 WHERE at=9"], "content", "entry 55"),
        (["DELETE FROM ledger_contents"], "content", "no retention entry"),
        (["UPDATE ledger_contents SET content='text' WHERE at=1"], "format", "wrong type"),
        (["INSERT INTO ledger_leaves VALUES ('another', 10, x'7b7d')"], "open", "several logs"),
        (["INSERT INTO ledger_leaves VALUES ('another', -1, x'7b7d')"], "open", "several logs"),
        (["UPDATE ledger_leaves SET log='another' WHERE at=5"], "missing", "entry 5 is missing"),
    ],
)
def test_every_change_on_the_disk_is_found_and_said(tmp_path: Path, statements: list[str], code: str, says: str, capsys: Any) -> None:
    change(fill(tmp_path), *statements)

    rc = cli.run(["ledger", "verify", "--data-dir", str(tmp_path)])
    out, err = capsys.readouterr()

    assert rc == (2 if code == "open" else 1)
    assert any(says in line and (code == "open" or line.startswith(code)) for line in (out + err).splitlines()), out + err


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda said: [*said[:3], *said[4:]], "reordered"),
        (lambda said: renumbered([*said[:3], *said[4:]]), "gap"),
        (lambda said: renumbered([*said[:3], said[5], *said[3:5], *said[6:]]), "gap"),
        (lambda said: renumbered([*said, said[9]]), "gap"),
        (lambda said: [one | {"log": "other/log"} for one in said], "reordered"),
    ],
)
def test_even_its_owner_cannot_drop_or_double_an_entry_of_a_session_unseen(
    tmp_path: Path, edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], code: str
) -> None:
    path = fill(tmp_path)
    key = keyfile.signing_key(tmp_path)
    rewritten(path, edit, key)
    exported = export.export([path], key.public, tmp_path / "out")

    _, wrong = verify_standalone.check_logs(exported, (key.public.name, key.public.raw), [])

    assert code in codes(report(tmp_path))
    assert wrong


def test_a_checkpoint_of_another_log_of_the_same_key_does_not_count(tmp_path: Path) -> None:
    path = fill(tmp_path)
    key = keyfile.signing_key(tmp_path)
    (root,) = [one.root for one in report(tmp_path).logs]
    note = key.sign(Checkpoint(f"{key.name}/other", 10, bytes.fromhex(root)))
    change(path, "DELETE FROM ledger_checkpoints", f"UPDATE ledger_heads SET note='{note}'")

    assert codes(report(tmp_path)) == {"forged", "unsigned"}


def test_a_log_rewritten_and_signed_again_by_its_owner_does_not_fit_a_checkpoint_kept_elsewhere(tmp_path: Path) -> None:
    path = fill(tmp_path)
    key = keyfile.signing_key(tmp_path)
    held = read_checkpoint(path.with_suffix(".checkpoint").read_text(), key.public)
    rewritten(path, lambda said: [one | {"decision": "block"} for one in said], key)

    alone, with_held = report(tmp_path), report(tmp_path, held=[held])

    assert alone.good  # nothing in the log can show this
    assert codes(with_held) == {"edited"}
    assert "rewritten" in with_held.faults[0].message


def test_a_log_cut_back_to_its_own_earlier_head_does_not_fit_a_checkpoint_kept_elsewhere(tmp_path: Path, capsys: Any) -> None:
    path = fill(tmp_path, 5)
    early = path.read_bytes()
    fill(tmp_path, 5)
    kept = tmp_path / "kept"
    kept.write_text(path.with_suffix(".checkpoint").read_text())
    path.write_bytes(early)

    rc = cli.run(["ledger", "verify", "--data-dir", str(tmp_path), "--checkpoint", str(kept)])

    assert report(tmp_path).good
    assert rc == 1
    assert "it was cut: 5 entries are there, a checkpoint kept elsewhere has 10" in capsys.readouterr().out


def test_another_key_finds_everything_forged(tmp_path: Path, capsys: Any) -> None:
    fill(tmp_path)

    rc = cli.run(["ledger", "verify", "--data-dir", str(tmp_path), "--key", str(new_key().public)])

    assert rc == 1
    assert "forged" in capsys.readouterr().out


# ---- Root of roots ---------------------------------------------------------------------------------------------------------


def two_logs(tmp_path: Path) -> list[Path]:
    with Ledger(tmp_path, clock=Clock()) as one, Ledger(tmp_path, clock=Clock()) as two:
        for ledger in (one, one, two, two):
            ledger.append({"kind": "stop"})
        roots.join(tmp_path, Clock())
        one.append({"kind": "stop"})
        roots.join(tmp_path, Clock())
    return place.logs(tmp_path)


def test_logs_of_several_processes_are_joined_while_they_are_written(tmp_path: Path) -> None:
    two_logs(tmp_path)
    found = report(tmp_path)

    assert found.good
    assert [summary.entries for summary in found.logs if summary.log.endswith("/roots")] == [2]


@pytest.mark.slow
def test_logs_that_are_being_written_joined_and_emptied_verify_at_every_moment(tmp_path: Path) -> None:
    done = threading.Event()

    def write(ledger: Ledger, name: str) -> None:
        while not done.is_set():
            ledger.append({"kind": "decision", "session": name, "contents": {"input": name}})

    found = []
    with Ledger(tmp_path, settings=Settings(checkpoint_entries=5)) as one, Ledger(tmp_path) as two:
        threads = [threading.Thread(target=write, args=(ledger, f"{i}")) for i, ledger in enumerate((one, two, one))]
        for thread in threads:
            thread.start()
        for i in range(12):
            found.append(report(tmp_path, place.files(tmp_path)))
            if i % 3 == 1:
                roots.join(tmp_path)
            if i % 4 == 2:
                one.retain(now_us() + SECOND)
        done.set()
        for thread in threads:
            thread.join()

    assert [one.faults for one in found] == [()] * 12
    assert report(tmp_path).good


def test_a_log_taken_away_whole_is_missed(tmp_path: Path) -> None:
    two_logs(tmp_path)[0].unlink()
    (fault,) = report(tmp_path).faults

    assert (fault.code, "it is missing" in fault.message) == ("roots", True)


def test_a_joined_log_that_was_rewritten_or_cut_no_longer_fits(tmp_path: Path) -> None:
    first, second = two_logs(tmp_path)
    key = keyfile.signing_key(tmp_path)
    rewritten(first, lambda said: [one | {"kind": "resume"} for one in said], key)
    rewritten(second, lambda said: said[:1], key)
    found = report(tmp_path)

    assert codes(found) == {"roots"}
    assert {fault.log for fault in found.faults} == {f"{key.name}/{first.stem}", f"{key.name}/{second.stem}"}


def test_a_log_under_another_logs_name_is_not_joined(tmp_path: Path) -> None:
    path = fill(tmp_path)
    path.rename(path.with_name("other.sqlite"))

    with pytest.raises(LedgerError, match="another log"):
        roots.join(tmp_path)


def test_nothing_is_joined_where_nothing_was_recorded(tmp_path: Path) -> None:
    assert roots.join(tmp_path) is None


def test_a_retention_run_covers_every_log_and_each_says_so(tmp_path: Path) -> None:
    with Ledger(tmp_path, clock=Clock()) as one, Ledger(tmp_path, clock=Clock()) as two:
        one.append({"kind": "decision", "contents": {"input": "a"}})
        two.append({"kind": "decision", "contents": {"input": "b"}})
    erased = retain(tmp_path, NOON + 100 * SECOND, clock=Clock())

    assert list(erased.values()) == [1, 1]
    assert report(tmp_path).good


# ---- Any change at all -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("log"), 6, Settings(checkpoint_entries=2))


@settings(deadline=None)
@given(st.data())
def test_any_edit_of_any_stored_leaf_is_found(small: Path, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, 5))
    db = sqlite3.connect(small)
    db.execute("PRAGMA synchronous=OFF")
    (leaf,) = db.execute("SELECT leaf FROM ledger_leaves WHERE at=?", [at]).fetchone()
    place_in = data.draw(st.integers(0, len(leaf) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda one: one != leaf[place_in]))
    changed = leaf[:place_in] + bytes([byte]) + leaf[place_in + 1 :]
    with db:
        db.execute("UPDATE ledger_leaves SET leaf=? WHERE at=?", [changed, at])
    found = report(small.parents[1])
    with db:
        db.execute("UPDATE ledger_leaves SET leaf=? WHERE at=?", [leaf, at])
    db.close()

    assert not found.good
    assert report(small.parents[1]).good


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_database_is_found_or_refused_and_never_crashes(small: Path, data: st.DataObject) -> None:
    good = small.read_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    changed = bytearray(good)
    for i in range(at, min(len(good), at + data.draw(st.integers(1, 64)))):
        changed[i] ^= data.draw(st.integers(1, 255))
    data_dir = small.parents[1]
    damaged = data_dir / "damaged.sqlite"
    damaged.write_bytes(changed)
    try:
        found = report(data_dir, [damaged])
    except LedgerError:
        return
    finally:
        for rest in data_dir.glob("damaged.sqlite*"):
            rest.unlink()

    assert not found.good or found.logs == report(data_dir).logs  # a byte that no row uses


@pytest.mark.parametrize("damage", ["no database", "another program's", "without a table", "emptied"])
def test_a_log_that_cannot_be_read_is_let_go_of(tmp_path: Path, damage: str) -> None:
    path = fill(tmp_path)
    if damage == "no database":
        path.write_bytes(b"no database" * 1_000)
    elif damage == "another program's":
        change(path, "PRAGMA application_id=7")
    elif damage == "without a table":
        change(path, "DROP TABLE ledger_heads")
    else:
        change(path, *(f"DELETE FROM {table}" for table in ("ledger_leaves", "ledger_heads", "ledger_checkpoints")))
    with pytest.raises(LedgerError) as caught:
        place.connect_to_read(path)
    held = [one for one in Path("/proc/self/fd").iterdir() if one.exists() and one.readlink().name.startswith(path.name)]

    assert (held, caught.value.what.startswith(str(path))) == ([], True)


# ---- The command line --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_commands_speak_json(tmp_path: Path, capsys: Any) -> None:
    path = fill(tmp_path)
    roots.join(tmp_path, Clock())
    where = ["--data-dir", str(tmp_path), "--json"]
    answers = {}
    for name, arguments in {
        "verify": ["verify"],
        "prove": ["prove", f"{path.stem}#3"],
        "export": ["export", str(tmp_path / "out")],
        "join": ["join"],
        "retain": ["retain", "--older-than", "100000"],
    }.items():
        assert cli.run(["ledger", *arguments, *where]) == 0
        answers[name] = json.loads(capsys.readouterr().out)
    assert cli.run(["ledger", "tail", "-n", "2", *where]) == 0
    tail = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert answers["verify"]["good"] is True
    assert answers["prove"]["proof"].startswith("c2sp.org/tlog-proof@v1\n")
    assert len(answers["export"]["written"]) == 2
    assert answers["join"]["record"].endswith("/roots#1")
    assert set(answers["retain"]["erased"].values()) == {0}
    assert sorted(one["kind"] for one in tail) == ["decision", "retention", "roots", "roots"]


def test_a_proof_is_verified_by_the_command_that_verifies_logs(tmp_path: Path, capsys: Any) -> None:
    path = fill(tmp_path)
    where = ["--data-dir", str(tmp_path)]
    assert cli.run(["ledger", "prove", f"{path.stem}#3", *where]) == 0
    proof = tmp_path / "three.tlog-proof"
    proof.write_text(capsys.readouterr().out)

    good, told = cli.run(["ledger", "verify", str(proof), *where]), capsys.readouterr().out
    proof.write_text(proof.read_text().replace("index 3", "index 4"))
    bad, answer = cli.run(["ledger", "verify", str(proof), "--json", *where]), json.loads(capsys.readouterr().out)

    assert (good, bad) == (0, 1)
    assert "entry 3 of 10 is signed" in told
    assert answer["proofs"][0]["holds"] is False


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "--data-dir", "nowhere"],
        ["verify", "nowhere"],
        ["verify", "nowhere.sqlite"],
        ["verify", "nowhere.jsonl"],
        ["verify", "--key", "nonsense"],
        ["verify", "--checkpoint", "nowhere"],
        ["prove", "nonsense"],
        ["prove", "x#1"],
        ["prove", "x#-1"],
        ["prove", "LOG#10"],
        ["prove", "other/LOG#1"],
        ["tail", "--data-dir", "nowhere"],
        ["export", "."],
        ["join", "--data-dir", "nowhere"],
        ["retain", "--older-than", "1", "--data-dir", "nowhere"],
    ],
)
def test_bad_input_gives_one_line_of_what_and_one_of_what_next(
    tmp_path: Path, arguments: list[str], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = fill(tmp_path / ".bylaw").stem
    monkeypatch.chdir(tmp_path)

    rc = cli.run(["ledger", *(one.replace("LOG", log) for one in arguments)])
    lines = capsys.readouterr().err.splitlines()

    assert rc == 2
    assert len(lines) == 2
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.slow
def test_one_entry_is_shown_with_what_is_left_of_what_was_said(tmp_path: Path, capsys: Any) -> None:
    said = {"kind": "decision", "decision": "block", "tool": "pay", "clauses": ["money.x", "money.y"], "facts": {"hour": 3}}
    with Ledger(tmp_path, clock=Clock()) as ledger:
        kept = ledger.append(said | {"contents": {"args": b'{"amount": 9}'}})
        gone = ledger.append(said | {"contents": {"text": b"hello"}, "session": "s"})
        ledger.retain(NOON + 10**12, "s")
    name, lost = (f"{one.log}#{one.index}" for one in (kept, gone))
    codes = [cli.run(["ledger", "show", one, "--data-dir", str(tmp_path)]) for one in (name, lost)]
    shown = capsys.readouterr().out
    cli.run(["ledger", "show", name, "--data-dir", str(tmp_path), "--json"])
    whole = json.loads(capsys.readouterr().out)
    missing = [cli.run(["ledger", "show", one, "--data-dir", str(tmp_path)]) for one in (f"{kept.log}#99", "nothing", "#")]

    assert codes == [0, 0]
    assert "clauses      money.x, money.y\n" in shown
    assert 'args         {"amount": 9}\n' in shown
    assert "text         (deleted; the record still commits to it)\n" in shown
    assert whole["contents"] == {"args": '{"amount": 9}'}
    assert (missing, capsys.readouterr().err.count("there is no record")) == ([2, 2, 2], 3)


def test_tail_reads_well_and_no_entry_steers_the_terminal(tmp_path: Path, capsys: Any) -> None:
    with Ledger(tmp_path, clock=Clock()) as ledger:
        ledger.append(
            {"kind": "decision", "decision": "block", "tool": "a\x1b[2J", "clauses": ["money.x"], "session": "s", "principal": "p"}
        )
    cli.run(["ledger", "tail", "--data-dir", str(tmp_path)])
    out = capsys.readouterr().out

    assert "\x1b" not in out
    assert "decision block" in out
    assert "[money.x] by p session s 1" in out


def test_an_entry_of_the_log_that_joins_the_others_is_found_by_its_name(tmp_path: Path) -> None:
    fill(tmp_path)
    roots.join(tmp_path, Clock())
    log = next(path for path in place.files(tmp_path) if path.stem == place.ROOTS)
    with reading.stored(log) as joined:
        origin = joined.origin
    found = reading.named([tmp_path], f"{origin}#0")

    assert found is not None
    assert found[0]["kind"] == "roots"

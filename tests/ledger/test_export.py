"""Exports, proofs, and the verifier of one file: that it needs nothing of bylaw, agrees with ours, and finds every change."""

import ast
import atexit
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from threading import Thread
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.errors import LedgerError
from bylaw.ledger import export, keyfile, place, reading, roots, verify, verify_standalone
from bylaw.ledger.merkle import extends
from bylaw.ledger.notes import PublicKey, read_checkpoint
from bylaw.ledger.writer import Ledger
from tests.full_disk import full_after
from tests.ledger.logs import Clock, fill


def exported(data_dir: Path, contents: bool = True) -> list[Path]:
    fill(data_dir, 7)
    roots.join(data_dir, Clock())
    paths = sorted((data_dir / place.FOLDER).glob("*.sqlite"))
    return export.export(paths, keyfile.public_key(data_dir / "keys" / "ledger.pub"), data_dir / "out", contents)


def ours(paths: list[Path], key: PublicKey) -> bool:
    try:
        return verify.verify([reading.exported(path) for path in paths], key).good
    except LedgerError:
        return False


def theirs(paths: list[Path], key: PublicKey) -> bool:
    _, wrong = verify_standalone.check_logs(paths, (key.name, key.raw), [])
    return not wrong


@cache
def sample() -> tuple[Path, bytes, PublicKey]:
    """One exported log with contents, a retention entry, text of all kinds; as bytes."""
    data_dir = Path(mkdtemp())
    atexit.register(shutil.rmtree, data_dir, ignore_errors=True)
    fill(data_dir, 3)
    with Ledger(data_dir, clock=Clock()) as ledger:
        ledger.retain(Clock()() + 1_500_000)
        ledger.append(
            {"kind": "approval", "tool": 'é\u2028"\\\x7f', "facts": {"amount": "12.50", "n": [1, None, True]}, "contents": {"x": b"\xff"}}
        )
    key = keyfile.public_key(data_dir / "keys" / "ledger.pub")
    (path,) = export.export(place.logs(data_dir), key, data_dir / "out", True)
    return data_dir, path.read_bytes(), key


def judged(content: bytes) -> tuple[bool, bool]:
    data_dir, _, key = sample()
    path = data_dir / "changed.jsonl"
    path.write_bytes(content)
    return ours([path], key), theirs([path], key)


def test_an_export_verifies_with_both_and_says_the_same(tmp_path: Path) -> None:
    paths = exported(tmp_path)
    key = keyfile.public_key(tmp_path / "keys" / "ledger.pub")
    done = subprocess.run(
        [sys.executable, "-I", tmp_path / "out" / "verify.py", "--key", str(key), tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    report = verify.verify([reading.exported(path) for path in paths], key)

    assert report.good
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"{one.log}: {one.entries} entries, {one.sessions} sessions, root {one.root}" in done.stdout for one in report.logs)
    assert judged(sample()[1]) == (True, True)


def test_the_verifier_of_one_file_imports_nothing_of_bylaw() -> None:
    tree = ast.parse(Path(verify_standalone.__file__).read_text())
    names = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }

    assert {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) == {"cryptography"}


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_every_change_of_one_byte_of_an_export_is_found_by_both(data: st.DataObject) -> None:
    good = sample()[1]
    at = data.draw(st.integers(0, len(good) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda one: one != good[at]))

    assert judged(good[:at] + bytes([byte]) + good[at + 1 :]) == (False, False)


@pytest.mark.slow
def test_every_flipped_bit_of_every_byte_of_an_export_is_found_by_both() -> None:
    good = sample()[1]

    unseen = [
        at for at in range(len(good)) for bit in (1, 32) if judged(good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :]) != (False, False)
    ]

    assert not unseen


@pytest.mark.slow
def test_lines_dropped_doubled_moved_or_cut_off_are_found_by_both() -> None:
    lines = sample()[1].splitlines(keepends=True)
    places = range(len(lines))
    dropped = [lines[:at] + lines[at + 1 :] for at in places]
    doubled = [[*lines[:to], lines[at], *lines[to:]] for at in places for to in places]
    swapped = [[lines[b if at == a else a if at == b else at] for at in places] for a in places for b in range(a)]
    cut = [lines[:at] for at in places]

    unseen = [changed for changed in (*dropped, *doubled, *swapped, *cut) if judged(b"".join(changed)) != (False, False)]

    assert not unseen


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"checkpoints":2,', b'{ "checkpoints":2,'),
        (b'{"checkpoints":2,', b'{"checkpoints":2,"checkpoints":2,'),
        (b'"contents":true', b'"contents": true'),
        (b'"leaves":5', b'"leaves":5.0'),
        (b'"leaves":5', b'"leaves":4'),
        (b'{"note":', b'{"note" :'),
        (b'"name":"input","salt"', b'"name":"\\u0069nput","salt"'),
    ],
)
def test_a_line_in_another_form_is_found_by_both_though_it_says_the_same(before: bytes, after: bytes) -> None:
    good = sample()[1]

    assert before in good
    assert judged(good.replace(before, after, 1)) == (False, False)


def test_entries_that_no_checkpoint_covers_are_found_by_both() -> None:
    lines = sample()[1].splitlines(keepends=True)
    head = next(at for at in range(len(lines) - 1, -1, -1) if lines[at].startswith(b'{"note"'))
    unsigned = [lines[0].replace(b'"checkpoints":2', b'"checkpoints":1'), *lines[1:head], *lines[head + 1 :]]

    assert judged(b"".join(unsigned)) == (False, False)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_values_changed_in_good_form_are_found_by_both(data: st.DataObject) -> None:
    lines = sample()[1].splitlines()
    at = data.draw(st.integers(0, len(lines) - 1))
    value = json.loads(lines[at])
    key = data.draw(st.sampled_from(sorted(value)))
    other: st.SearchStrategy[Any] = (
        st.none() | st.booleans() | st.integers(-2, 2**54) | st.text(max_size=8) | st.just([]) | st.just({}) | st.just([[1.5]])
    )
    value[key] = data.draw(other.filter(lambda one: one != value[key] or type(one) is not type(value[key])))
    lines[at] = rfc8785.dumps(value) if not isinstance(value[key], int) or abs(value[key]) < 2**53 else json.dumps(value).encode()

    assert judged(b"\n".join(lines) + b"\n") == (False, False)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{}\n", b"[]\n", b"null\n", b"\xff\n", b"x" * 20_000 + b"\n", b"[" * 100_000 + b"\n", b'{"leaves":1e9}\n']
)
def test_what_is_no_export_never_crashes_either(content: bytes) -> None:
    assert judged(content) == (False, False)


def test_an_export_without_contents_holds_none_and_verifies(tmp_path: Path) -> None:
    paths = exported(tmp_path, contents=False)
    key = keyfile.public_key(tmp_path / "keys" / "ledger.pub")

    assert not any(b'"salt"' in path.read_bytes() for path in paths)
    assert (ours(paths, key), theirs(paths, key)) == (True, True)
    with pytest.raises(LedgerError, match="not empty"):
        export.export([], key, tmp_path / "out")


def test_an_export_that_a_full_disk_cuts_short_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    small = fill(tmp_path, 7)
    with Ledger(tmp_path / "other") as ledger:
        for _ in range(9):
            ledger.append({"kind": "decision", "contents": {"input": "x" * 20_000}})
    key = keyfile.public_key(tmp_path / "keys" / "ledger.pub")
    large = place.logs(tmp_path / "other")[0]
    with full_after(100_000), pytest.raises(OSError, match="File too large") as caught:
        export.export([small, large], key, tmp_path / "out", True)
    left = list((tmp_path / "out").iterdir())

    assert (caught.value.filename, left) == (str(tmp_path / "out" / f"{large.stem}.jsonl"), [])
    assert len(export.export([small], key, tmp_path / "out")) == 1


def test_an_export_that_a_damaged_log_cuts_short_leaves_nothing(tmp_path: Path) -> None:
    path = fill(tmp_path, 7)
    key = keyfile.public_key(tmp_path / "keys" / "ledger.pub")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE ledger_leaves SET leaf='text' WHERE at=5")

    with pytest.raises(LedgerError, match="wrong type"):
        export.export([path], key, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_log_left_out_of_an_export_is_missed_by_both(tmp_path: Path) -> None:
    paths = exported(tmp_path)
    key = keyfile.public_key(tmp_path / "keys" / "ledger.pub")
    left = [path for path in paths if path.stem == "roots"]

    assert (ours(left, key), theirs(left, key)) == (False, False)
    assert (ours(paths + left, key), theirs(paths + left, key)) == (False, False)


# ---- Proofs -----------------------------------------------------------------------------------------------------------------


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-I", verify_standalone.__file__, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_a_proof_of_one_entry_verifies_alone_and_a_changed_one_does_not(tmp_path: Path) -> None:
    path = fill(tmp_path, 9)
    key = keyfile.public_key(tmp_path / "keys" / "ledger.pub")
    with reading.stored(path) as log:
        proofs = [export.prove(log, index, key) for index in range(9)]
        with pytest.raises(LedgerError, match="no entry 9"):
            export.prove(log, 9, key)

    told = [verify_standalone.check_proof(proof, (key.name, key.raw)) for proof in proofs]

    assert [f"entry {index} of 9" in line for index, line in enumerate(told)] == [True] * 9
    for at in range(0, len(proofs[5]), 7):
        changed = proofs[5][:at] + ("A" if proofs[5][at] != "A" else "B") + proofs[5][at + 1 :]
        with pytest.raises(verify_standalone.Wrong):
            verify_standalone.check_proof(changed, (key.name, key.raw))


def test_growth_since_a_kept_checkpoint_is_proved_and_a_rewritten_past_is_not(tmp_path: Path) -> None:
    path = fill(tmp_path, 5)
    key = keyfile.public_key(tmp_path / "keys" / "ledger.pub")
    held = read_checkpoint(path.with_suffix(".checkpoint").read_text(), key)
    fill(tmp_path, 6)
    with reading.stored(path) as log:
        proof = export.prove_growth(log, held, key)
        head = read_checkpoint(log.notes()[-1], key)
        with pytest.raises(LedgerError, match="does not begin"):
            export.prove_growth(log, type(held)(held.origin, held.size, bytes(32)), key)
    body, _, note = proof.partition("\n\n")
    hashes = [verify_standalone.unbase64(line) for line in body.split("\n")[1:]]

    assert body.startswith("old 5\n")
    assert read_checkpoint(note, key) == head
    assert extends(held.size, held.root, head.size, head.root, hashes)


@pytest.mark.slow
def test_the_verifiers_exit_code_says_what_it_found(tmp_path: Path) -> None:
    (path, _) = exported(tmp_path)
    key = tmp_path / "keys" / "ledger.pub"
    good = run("--key", key, tmp_path / "out").returncode
    kept = run("--key", key, "--checkpoint", tmp_path / "ledger" / f"{path.stem}.checkpoint", tmp_path / "out").returncode
    unreadable = run("--key", "nonsense", tmp_path / "out")
    path.write_bytes(path.read_bytes().replace(b"allow", b"block", 1))
    bad = run("--key", key, tmp_path / "out")

    assert (good, kept, unreadable.returncode, bad.returncode) == (0, 0, 2, 1)
    assert len(unreadable.stderr.splitlines()) == 1
    assert "WRONG" in bad.stdout


@pytest.mark.slow
def test_the_verifier_reads_no_device_without_an_end(tmp_path: Path) -> None:
    (path, _) = exported(tmp_path)
    (tmp_path / "endless.jsonl").symlink_to("/dev/zero")
    asked = (["--checkpoint", "/dev/zero", path], ["/dev/zero"], [tmp_path / "endless.jsonl"])

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

    done = [
        subprocess.run(
            [sys.executable, "-I", verify_standalone.__file__, "--key", tmp_path / "keys" / "ledger.pub", *one],
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=bounded,
        )
        for one in asked
    ]

    assert [one.returncode for one in done] == [2, 1, 1], [one.stderr[-300:] for one in done]
    assert done[0].stderr == "error: not a signed note\n"
    assert ["WRONG /dev/zero: not a proof of a bylaw ledger" in done[1].stdout, "WRONG" in done[2].stdout] == [True, True]


@pytest.mark.slow
def test_the_verifier_reads_a_checkpoint_out_of_a_pipe(tmp_path: Path) -> None:
    (path, _) = exported(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    note = (tmp_path / "ledger" / f"{path.stem}.checkpoint").read_text()
    writer = Thread(target=lambda: (tmp_path / "pipe").write_text(note))
    writer.start()
    done = run("--key", tmp_path / "keys" / "ledger.pub", "--checkpoint", tmp_path / "pipe", tmp_path / "out")
    writer.join()

    assert done.returncode == 0, done.stderr

"""The signing key is exchanged: both ends name each other, a forged successor is refused, a rotation cut short is ended by asking again."""

import json
import shutil
import sqlite3
from contextlib import ExitStack
from pathlib import Path

import pytest

from bylaw import cli
from bylaw.errors import LedgerError
from bylaw.ledger import chain, keyfile, place, reading, retention, roots, rotation, sealed
from bylaw.ledger.notes import PublicKey
from bylaw.ledger.verify import Report
from bylaw.ledger.writer import Ledger
from tests.ledger.logs import NOON, SECOND, Clock, fill
from tests.ledger.test_verify import change


def checked(data_dir: Path, key: PublicKey | None = None, notes: tuple[str, ...] = ()) -> Report:
    """What verification says of all logs here, from this key or from the newest."""
    with ExitStack() as stack:
        logs = [stack.enter_context(reading.stored(path)) for path in (*place.files(data_dir), *place.sealed(data_dir))]
        return chain.verify_all(logs, key or keyfile.public_key(data_dir / "keys" / "ledger.pub"), notes)


def key_of(data_dir: Path) -> PublicKey:
    return keyfile.public_key(data_dir / "keys" / "ledger.pub")


def said(found: Report) -> str:
    return " / ".join(f"{one.code}: {one.message}" for one in found.faults)


def test_an_exchanged_key_signs_what_follows_and_either_key_reaches_the_whole_record(tmp_path: Path) -> None:
    fill(tmp_path)
    roots.join(tmp_path)
    old = key_of(tmp_path)
    done = rotation.rotate(tmp_path)
    fill(tmp_path, 3)
    roots.join(tmp_path)
    found = [checked(tmp_path), checked(tmp_path, old)]

    assert (done.old, done.new, done.logs) == (old, key_of(tmp_path), 2)
    assert [said(one) for one in found] == ["", ""]
    assert sorted(one.entries for one in found[0].logs) == [1, 2, 4, 11]
    assert keyfile.signing_key(tmp_path).public == done.new
    assert (place.logs(tmp_path) != [], (tmp_path / "rotating").exists()) == (True, False)
    assert not any(b"PRIVATE" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "ledger.key")


def test_a_key_can_be_exchanged_many_times(tmp_path: Path) -> None:
    fill(tmp_path)
    first = key_of(tmp_path)
    for _ in range(3):
        rotation.rotate(tmp_path)
        fill(tmp_path, 2)
    found = [checked(tmp_path), checked(tmp_path, first)]

    assert [said(one) for one in found] == ["", ""]
    assert sum(one.entries for one in found[0].logs) == 11 + 2 * (1 + 2 + 1) + (1 + 2)


def test_a_successor_that_the_old_key_never_named_is_forged(tmp_path: Path) -> None:
    fill(tmp_path / "ours")
    ours = key_of(tmp_path / "ours")
    shutil.copytree(tmp_path / "ours", tmp_path / "forged")
    for path in (tmp_path / "forged" / "keys").iterdir():
        path.unlink()
    sealed.seal(tmp_path / "forged", ours)
    with Ledger(tmp_path / "forged") as ledger:  # a key of its own, and the claim to follow
        heads = sealed.heads(place.sealed(tmp_path / "forged"), ours)
        sealed.name(ledger.append, rotation.KIND, ours, heads)
        ledger.append({"kind": "decision", "decision": "allow"})
    from_ours, from_theirs = checked(tmp_path / "forged", ours), checked(tmp_path / "forged")

    assert f"forged: nothing that {ours.name} signed leads to its key" in said(from_ours)
    assert "its own last entry does not say so" in said(from_theirs)


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        (["UPDATE ledger_leaves SET leaf=cast(replace(leaf, 'allow', 'block') AS BLOB) WHERE at=6"], "edited"),
        (["DELETE FROM ledger_leaves WHERE at=10", "UPDATE ledger_heads SET size=10"], "cut"),
    ],
)
def test_an_old_log_that_is_changed_afterwards_is_found(tmp_path: Path, statements: list[str], says: str) -> None:
    fill(tmp_path)
    rotation.rotate(tmp_path)
    change(place.sealed(tmp_path)[0], *statements)

    assert says in said(checked(tmp_path))


def test_an_old_log_that_its_old_key_signed_anew_is_found(tmp_path: Path) -> None:
    """A thief of the old key can sign what they like; the new log says what was there."""
    fill(tmp_path)
    shutil.copytree(tmp_path, tmp_path.with_name("stolen"))
    done = rotation.rotate(tmp_path)
    with Ledger(tmp_path.with_name("stolen"), clock=Clock()) as ledger:
        ledger.append({"kind": "decision", "decision": "allow"})
        ledger.append({"kind": rotation.KIND, "facts": {"next": str(done.new)}})
    (theirs,) = place.logs(tmp_path.with_name("stolen"))
    shutil.copy(theirs, place.sealed(tmp_path)[0])

    assert "chain: bylaw-ledger/" in said(checked(tmp_path))


def test_an_old_log_that_is_gone_and_a_new_one_that_is_gone_are_missed(tmp_path: Path) -> None:
    fill(tmp_path)
    old = key_of(tmp_path)
    rotation.rotate(tmp_path)
    shutil.copytree(tmp_path, tmp_path.with_name("other"))
    place.sealed(tmp_path)[0].unlink()
    for path in place.logs(tmp_path.with_name("other")):
        path.unlink()

    assert "it is missing" in said(checked(tmp_path))
    assert "no log of that key is here" in said(checked(tmp_path.with_name("other"), old))


def test_where_a_log_is_being_written_nothing_is_changed_in_any(tmp_path: Path) -> None:
    fill(tmp_path)
    roots.join(tmp_path)
    old = key_of(tmp_path)
    with Ledger(tmp_path) as ledger:
        with pytest.raises(LedgerError, match="being written"):
            rotation.rotate(tmp_path)
        ledger.append({"kind": "decision"})

    assert (key_of(tmp_path), (tmp_path / "rotating").exists(), said(checked(tmp_path))) == (old, False, "")
    assert sum(one.entries for one in checked(tmp_path).logs) == 12  # those that were filled in, the roots, and the last one above


STEPS = ("nothing", "old.pub", "new key", "ended", "begun", "one sealed", "sealed", "swapped", "brought")


@pytest.mark.slow
@pytest.mark.parametrize("at", STEPS)
def test_a_rotation_that_was_cut_short_stops_writing_until_it_is_ended(tmp_path: Path, at: str) -> None:
    fill(tmp_path)
    roots.join(tmp_path)
    old, aside, reached = key_of(tmp_path), tmp_path / "rotating", STEPS.index(at)
    aside.mkdir()
    if reached >= 1:
        (aside / "old.pub").write_text(f"{old}\n")
    if reached >= 2:
        new = keyfile.signing_key(aside).public
    if reached >= 3:
        rotation._end(tmp_path, new)
    if reached >= 4:
        rotation._begin(tmp_path, aside, old)
    if at == "one sealed":
        sealed.folder(tmp_path, old).mkdir()
        place.files(tmp_path)[1].rename(sealed.folder(tmp_path, old) / place.files(tmp_path)[1].name)
    if reached >= 6:
        sealed.seal(tmp_path, old)
    if reached >= 7:
        (aside / "keys" / "ledger.key").replace(tmp_path / "keys" / "ledger.key")
    if reached >= 8:
        rotation._bring(tmp_path, aside, new)
    with pytest.raises(LedgerError, match="being exchanged"):
        Ledger(tmp_path)
    with pytest.raises(LedgerError, match="being exchanged"):
        roots.join(tmp_path)
    done = rotation.rotate(tmp_path)
    fill(tmp_path, 2)

    assert (done.old, done.new, done.logs) == (old, key_of(tmp_path), 2)
    assert [said(checked(tmp_path, key)) for key in (None, old)] == ["", ""]


def test_contents_of_an_old_log_can_still_be_deleted_and_only_with_a_record(tmp_path: Path) -> None:
    fill(tmp_path)
    rotation.rotate(tmp_path)
    gone = retention.retain(tmp_path, NOON + 10**6 * SECOND)
    after = said(checked(tmp_path))
    with sqlite3.connect(place.sealed(tmp_path)[0]) as db:
        (left,) = db.execute("SELECT count(*) FROM ledger_contents").fetchone()
    db.close()
    raw = b"what number 1 said" in place.sealed(tmp_path)[0].read_bytes()

    assert (gone["sealed logs"], left, after, raw) == (10, 0, "", False)


def test_contents_that_went_from_an_old_log_without_a_record_are_missed(tmp_path: Path) -> None:
    fill(tmp_path)
    rotation.rotate(tmp_path)
    change(place.sealed(tmp_path)[0], "DELETE FROM ledger_contents WHERE at=3")

    assert "the content 'input' of entry 3 is gone" in said(checked(tmp_path))


def test_a_checkpoint_of_the_old_key_still_counts(tmp_path: Path) -> None:
    path = fill(tmp_path)
    note = path.with_suffix(".checkpoint").read_text("utf-8")
    rotation.rotate(tmp_path)
    fill(tmp_path.with_name("other"))
    theirs = next((tmp_path.with_name("other") / place.FOLDER).glob("*.checkpoint")).read_text("utf-8")

    assert said(checked(tmp_path, None, (note,))) == ""
    with pytest.raises(LedgerError, match="no checkpoint of a log"):
        checked(tmp_path, None, (theirs,))


@pytest.mark.slow
def test_the_command_exchanges_the_key_and_verify_follows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path)
    old = str(key_of(tmp_path))
    codes = [cli.run(["ledger", "rotate-key", "--data-dir", str(tmp_path), "--json"])]
    told = json.loads(capsys.readouterr().out)
    codes += [cli.run(["ledger", "verify", "--data-dir", str(tmp_path), *more]) for more in ((), ("--key", old))]
    codes.append(cli.run(["ledger", "export", str(tmp_path / "out"), "--data-dir", str(tmp_path)]))

    assert (codes, told["old"], told["new"] != old, told["logs"]) == ([0, 0, 0, 0], old, True, 1)
    assert cli.run(["ledger", "verify", str(tmp_path / "out"), "--data-dir", str(tmp_path)]) == 0


def test_a_log_of_a_stranger_explains_no_deletion_unseen(tmp_path: Path) -> None:
    fill(tmp_path)
    rotation.rotate(tmp_path)
    change(place.sealed(tmp_path)[0], "DELETE FROM ledger_contents WHERE at=3")
    with reading.stored(place.sealed(tmp_path)[0]) as log:
        origin = log.origin
    stranger = tmp_path.with_name("stranger")
    with Ledger(stranger) as ledger:
        ledger.append({"kind": sealed.RETENTION, "facts": {"log": origin, "before": "2100-01-01T00:00:00.000000Z", "session": ""}})
    shutil.copy(place.logs(stranger)[0], tmp_path / place.FOLDER)

    assert "forged: nothing that" in said(checked(tmp_path))


def test_gateways_that_share_a_key_exchange_it_for_the_same_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    fill(one)
    keyfile.put(two, keyfile.signing_key(one))
    fill(two)
    first = rotation.rotate(one)
    second = rotation.rotate(two, one / "keys" / "ledger.key")
    with pytest.raises(LedgerError, match="is the key that signs here"):
        rotation.rotate(two, one / "keys" / "ledger.key")
    with pytest.raises(LedgerError, match="no key there"):
        rotation.rotate(two, tmp_path / "none")

    assert (second.new, first.old) == (first.new, second.old)
    assert [said(checked(where, first.old)) for where in (one, two)] == ["", ""]
    assert not (two / "rotating").exists()

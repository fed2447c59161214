"""To exchange the key that signs a ledger: `bylaw ledger rotate-key`. Nothing may be served meanwhile.

The last entry of every old log names the new key; the first entry of a new log, signed by the new key, names every old log with its last
size and root. So whoever trusts either key reaches the other (`bylaw.ledger.chain`). The old private key is deleted: afterwards nobody
can sign for the old logs, and nobody needs to. A rotation that was cut short is ended by asking again; until then no log opens.

What it does not do: a thief of the old key can sign another end of the old logs. Only a checkpoint from before that somebody kept
elsewhere, or the new public key taken from a place that you trust, tells the two apart.
"""

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from bylaw.errors import LedgerError
from bylaw.ledger import keyfile, place, reading, sealed
from bylaw.ledger.notes import PublicKey
from bylaw.ledger.writer import Ledger

KIND: Final = "rotation"
OLD: Final = "old.pub"


class Rotated(NamedTuple):
    """What has changed."""

    old: PublicKey
    new: PublicKey
    logs: int  # of the old key


def rotate(data_dir: Path, to: Path | None = None) -> Rotated:
    """Exchange the key for a new one, or for the one that lies in `to`; raises LedgerError where a log is being written to, or the key is
    no other, and then changes nothing.
    """
    if not place.files(data_dir) and not (data_dir / place.ROTATING).exists():
        raise LedgerError(f"{data_dir}: no ledger there", "Name the data directory with --data-dir.")
    aside, began = data_dir / place.ROTATING, not (data_dir / place.ROTATING).exists()
    given = keyfile.read_private(to) if to and not (aside / OLD).exists() else None
    if given and given.public == keyfile.signing_key(data_dir).public:
        raise LedgerError(f"{to} is the key that signs here", "Name another one, or none.")
    aside.mkdir(mode=0o700, exist_ok=True)
    if given:
        keyfile.put(aside, given)
    old, new = _keys(data_dir, aside)
    if keyfile.signing_key(data_dir).public == old:
        try:
            _end(data_dir, new)
        except LedgerError:
            if began:
                shutil.rmtree(aside)
            raise
        _begin(data_dir, aside, old)
        sealed.seal(data_dir, old)
        (aside / keyfile.FOLDER / "ledger.key").replace(data_dir / keyfile.FOLDER / "ledger.key")
    _bring(data_dir, aside, new)
    shutil.rmtree(aside)
    return Rotated(old, new, len(list(sealed.folder(data_dir, old).glob("*.sqlite"))))


def _keys(data_dir: Path, aside: Path) -> tuple[PublicKey, PublicKey]:
    """Which key goes and which comes, however far an earlier attempt came."""
    now = keyfile.signing_key(data_dir).public
    if not (aside / OLD).exists():
        (aside / f"{OLD}-new").write_text(f"{now}\n", "ascii")
        (aside / f"{OLD}-new").replace(aside / OLD)
    old = keyfile.public_key(aside / OLD)
    return old, now if now != old else keyfile.signing_key(aside).public


def _end(data_dir: Path, new: PublicKey) -> None:
    """The last entry of every old log names the new key. All are held at once, so that nobody else writes."""
    with ExitStack() as stack:
        held = [
            (path, stack.enter_context(Ledger(data_dir, log=path.stem))) for path in place.files(data_dir)
        ]  # all, or nothing is written
        for path, ledger in held:
            with reading.stored(path) as log:
                last = [reading.entry(path, leaf) for _, leaf in log.last(1)]
            if not last or last[0]["kind"] != KIND or last[0]["facts"].get("next") != str(new):
                ledger.append({"kind": KIND, "facts": {"next": str(new)}})


def _begin(data_dir: Path, aside: Path, old: PublicKey) -> None:
    """The new key's first log, made aside: its first entries name the old logs."""
    there = [path for path in place.logs(aside) if _written(path)]
    if there:
        return
    shutil.rmtree(aside / place.FOLDER, ignore_errors=True)
    with Ledger(aside) as ledger:
        sealed.name(ledger.append, KIND, old, sealed.heads(place.files(data_dir), old))


def _written(path: Path) -> bool:
    """Whether a log has been published: it was closed in good order, so all of its first entries are there."""
    return path.with_suffix(".checkpoint").exists()


def _bring(data_dir: Path, aside: Path, new: PublicKey) -> None:
    """The new log and the public key come to their places."""
    for path in sorted((aside / place.FOLDER).glob("*")):
        if path.suffix == ".sqlite":
            sealed.emptied(path)
        if path.suffix in (".sqlite", ".checkpoint"):
            path.replace(data_dir / place.FOLDER / path.name)
    public = data_dir / keyfile.FOLDER / "ledger.pub"
    fresh = public.with_suffix(".pub-new")
    fresh.write_text(f"{new}\n", "ascii")
    fresh.replace(public)
    sealed.synced(data_dir / place.FOLDER)
    sealed.synced(data_dir / keyfile.FOLDER)

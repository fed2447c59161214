"""A backup of one data directory and its store, taken while gateways run: a folder of plain files, `backup.json` written last.

    OUT/backup.json             when, by which version, the digest of every file, whether anybody was writing
    OUT/ledger/…                every log as SQLite's own online backup makes it, with its latest published checkpoint
    OUT/keys/ledger.pub         and ledger.key (0600) only where that was asked for
    OUT/store.jsonl             every row of the store (`store.copying`)

The ledger is read first and the store after it. So the store of a backup is the newer of the two: what it says was used up may have
its record only in the ledger that was lost, and never the other way round. Checkpoints are read before their logs: none is ahead.
What people and models wrote is in it: a backup is as secret as the data directory. Not in it: `gateway.yaml`, policies outside the
store, and the data directories of regions, which are backed up one by one.
"""

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from bylaw._version import __version__
from bylaw.canonical import digest
from bylaw.errors import LedgerError
from bylaw.ledger import keyfile, place
from bylaw.store import copying, database

FORMAT: Final = "bylaw-backup-1"
MANIFEST: Final = "backup.json"
STORE: Final = "store.jsonl"
CHUNK: Final = 2**20
MAX_MANIFEST_BYTES: Final = 16 * 2**20
_DAMAGED: Final = "Nothing was restored: take another backup."


@dataclass(frozen=True, slots=True)
class Backup:
    """What lies in a folder."""

    made_at: str
    bylaw: str
    key: str  # the public key that signed the logs that were written to
    with_key: bool
    quiet: bool  # nobody was writing: the gateway was stopped
    logs: int
    rows: int
    files: dict[str, str]  # by path: SHA-256
    format: str = FORMAT


def backup(data_dir: Path, store: str | Path, out: Path, with_key: bool = False) -> Backup:
    """Copy a data directory and its store into a new folder; raises BylawError, and then there is none."""
    if out.exists():
        raise LedgerError(f"{out} exists", "Name a new folder; a backup never writes over another.")
    if not (data_dir / place.FOLDER).is_dir():
        raise LedgerError(f"{data_dir}: no ledger there", "Name the data directory with --data-dir.")
    place.settled(data_dir)
    out.mkdir(mode=0o700)
    try:
        return _taken(data_dir, store, out, with_key)
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename = error.filename or str(out)  # a full disk names no file
        shutil.rmtree(out)  # half a backup is as secret as a whole one, and helps nobody
        raise


def _taken(data_dir: Path, store: str | Path, out: Path, with_key: bool) -> Backup:
    began = datetime.now(UTC).isoformat(timespec="seconds")
    for name in (place.FOLDER, keyfile.FOLDER):
        (out / name).mkdir(mode=0o700)
    quiet = _quiet(data_dir)
    public = keyfile.public_key(data_dir / keyfile.FOLDER / "ledger.pub")
    _put(out / keyfile.FOLDER / "ledger.pub", f"{public}\n".encode())
    if with_key:
        _put(out / keyfile.FOLDER / "ledger.key", (keyfile.signing_key(data_dir).text() + "\n").encode())
    paths = [*place.files(data_dir), *place.sealed(data_dir)]
    for path in paths:
        _copy_log(path, out / path.relative_to(data_dir))
    rows = copying.write(store or data_dir / database.DEFAULT.name, out / STORE)
    made = Backup(began, __version__, str(public), with_key, quiet and _quiet(data_dir), len(paths), rows, dict(_digests(out)))
    said = asdict(made)
    _put(out / MANIFEST, orjson.dumps({**said, "digest": digest(said)}, option=orjson.OPT_INDENT_2))
    return made


def opened(folder: Path) -> Backup:
    """What a backup says of itself, every file looked at; raises LedgerError where one byte is not as it was."""
    path = folder / MANIFEST
    if not path.is_file() or path.stat().st_size > MAX_MANIFEST_BYTES:
        raise LedgerError(f"{folder}: no backup there, or one that was not finished", "Name a folder that `bylaw backup` wrote.")
    try:
        said: dict[str, Any] = orjson.loads(path.read_bytes())
        wanted = said.pop("digest")
        made = Backup(**said)
        if wanted != digest(said) or made.format != FORMAT:
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LedgerError(f"{path} is damaged, or of another version", _DAMAGED) from error
    found = dict(_digests(folder))
    for name in sorted({*found, *made.files}):
        if found.get(name) != made.files.get(name):
            what = "is missing" if name not in found else "was never part of it" if name not in made.files else "is damaged"
            raise LedgerError(f"{folder / name} {what}", _DAMAGED)
    return made


def _copy_log(path: Path, to: Path) -> None:
    """A log as it is at one moment, while its writer goes on; its checkpoint first, and its public key where it is sealed."""
    to.parent.mkdir(mode=0o700, exist_ok=True)
    for name in (path.with_suffix(".checkpoint").name, *(("ledger.pub",) if to.parent.name != place.FOLDER else ())):
        if (path.parent / name).is_file() and not (to.parent / name).exists():
            _put(to.parent / name, (path.parent / name).read_bytes())
    os.close(os.open(to, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with closing(place.connect_to_read(path)) as source, closing(sqlite3.connect(to)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE").fetchall()  # one file, which needs no other beside it
    except sqlite3.Error as error:
        raise LedgerError(
            f"{path} cannot be copied: {error}", "Is the disk full, or the log damaged? See `bylaw ledger verify`."
        ) from error


def _quiet(data_dir: Path) -> bool:
    """Whether no process holds a log."""
    for path in place.files(data_dir):
        lock = place.try_lock(path)
        if lock is None:
            return False
        os.close(lock)
    return True


def _put(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _digests(folder: Path) -> Iterator[tuple[str, str]]:
    """Every file but the manifest, in order."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise LedgerError(f"{path} is no plain file", _DAMAGED)
        if path.is_file() and path != folder / MANIFEST:
            hashed = hashlib.sha256()
            with path.open("rb") as file:
                while piece := file.read(CHUNK):
                    hashed.update(piece)
            yield path.relative_to(folder).as_posix(), hashed.hexdigest()

"""Logs that nobody writes to any more: of a key that was exchanged, or out of a backup. They lie in DATA/ledger/KEY, beside `ledger.pub`.

The first entries of the log that follows name each of them with its size and root, and the key that signed them. So they stay verifiable,
and a byte that is changed in them later shows, whoever has the old private key. Contents in them can still be deleted: the log that is
written now records it (`retention.sealed`), as no entry can be added to them.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bylaw.errors import LedgerError
from bylaw.ledger import entries, place
from bylaw.ledger.keyfile import public_key
from bylaw.ledger.notes import PublicKey, read_checkpoint
from bylaw.ledger.reading import stored

RETENTION: Final = "retention.sealed"
AT_ONCE: Final = 200  # logs that one entry names: far below `entries.MAX_LEAF_BYTES`
KEY_FILE: Final = "ledger.pub"
BUSY_S: Final = 5.0

Append = Callable[[Mapping[str, Any]], object]


def folder(data_dir: Path, key: PublicKey) -> Path:
    """Where the sealed logs of a key lie."""
    return data_dir / place.FOLDER / key.name.rpartition("/")[2]


def seal(data_dir: Path, key: PublicKey) -> None:
    """Put all logs of this key away. Doing it again after it was cut short ends it. Nobody may be writing."""
    to = folder(data_dir, key)
    to.mkdir(mode=0o700, exist_ok=True)
    (to / KEY_FILE).write_text(f"{key}\n", "ascii")
    for path in place.files(data_dir):
        emptied(path)
        path.rename(to / path.name)
        path.with_suffix(".lock").unlink(missing_ok=True)
    for path in sorted((data_dir / place.FOLDER).glob("*.checkpoint")):
        path.rename(to / path.name)
    synced(to)


def heads(paths: Iterable[Path], key: PublicKey) -> list[dict[str, Any]]:
    """The signed head of each of these logs that has entries; raises LedgerError where one is not this key's."""
    found = []
    for path in paths:
        with stored(path) as log:
            notes = log.notes()
        if notes:
            head = read_checkpoint(notes[-1], key)
            found.append({"log": head.origin, "size": head.size, "root": head.root.hex()})
    return found


def name(append: Append, kind: str, key: PublicKey, logs: Sequence[Mapping[str, Any]], more: Mapping[str, Any] | None = None) -> None:
    """Record, as the first entries of a log, which logs it follows."""
    for at in range(0, max(1, len(logs)), AT_ONCE):
        append({"kind": kind, "facts": {"from": str(key), "logs": [dict(one) for one in logs[at : at + AT_ONCE]], **(more or {})}})


def retain(data_dir: Path, append: Append, before_us: int, session: str = "") -> int:
    """Delete contents of sealed logs from before that time (of one session, or of all), recorded first. Returns how many went."""
    entries.check_time(before_us)
    gone = 0
    for path in place.sealed(data_dir):
        which, values = (" AND session=?", [session]) if session else ("", [])
        db = place.connect(path, BUSY_S)
        try:
            sql = f"FROM ledger_contents WHERE time_us<?{which}"
            found = db.execute(f"SELECT log, count(*) {sql} GROUP BY log", [before_us, *values]).fetchall()
            for log, count in found:
                append({"kind": RETENTION, "facts": {"log": log, "before": entries.timestamp(before_us), "session": session}})
                gone += int(count)
            if found:
                db.execute(f"DELETE {sql}", [before_us, *values])
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # deleted bytes leave the write-ahead log
        except sqlite3.Error as error:
            raise LedgerError(f"{path}: contents that are too old are still there: {error}", "Is the disk full or read-only?") from error
        finally:
            db.close()
    return gone


def keys(data_dir: Path) -> list[PublicKey]:
    """The keys that signed sealed logs, as the files beside them say."""
    return [public_key(path) for path in sorted((data_dir / place.FOLDER).glob(f"*/{KEY_FILE}"))]


def emptied(path: Path) -> None:
    """Bring everything into a log's one file, so that it can be moved; raises LedgerError where somebody reads it."""
    db = place.connect(path, BUSY_S)
    try:
        (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        db.close()
    if busy:
        raise LedgerError(f"{path} is being read", "Stop whoever reads it, and try again.")


def synced(where: Path) -> None:
    """What a file holds, or the names in a folder, outlive a power cut."""
    held = os.open(where, os.O_RDONLY)
    try:
        os.fsync(held)
    finally:
        os.close(held)

"""Where the logs of a data directory lie, who may write to one, and how a log's database is opened.

    DATA/ledger/LOG.sqlite      leaves, signed head and contents of one log (the tables of `store/ledger_tables.py`)
    DATA/ledger/LOG.checkpoint  the latest published checkpoint, for whoever keeps it elsewhere
    DATA/ledger/LOG.lock        held by the one process that writes
    DATA/ledger/roots.sqlite    the log that joins the others (`bylaw.ledger.roots`)
    DATA/ledger/KEY/            logs that nobody writes to any more, with the public key that signed them (`bylaw.ledger.sealed`)

A process takes the first log that nobody holds, and begins a new one where all are held: so there are as many logs as processes ever
ran at once, and a restart goes on where it was.
"""

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from bylaw.errors import LedgerError

FOLDER: Final = "ledger"
ROOTS: Final = "roots"
APPLICATION: Final = 0x62796C77  # "bylw", in the SQLite header
SCHEMA: Final = 1  # PRAGMA user_version
ROTATING: Final = "rotating"  # of a data directory: there while its key is being exchanged (`bylaw.ledger.rotation`)


def logs(data_dir: Path) -> list[Path]:
    """The databases of all logs here but the one that joins them, by name."""
    return [path for path in sorted((data_dir / FOLDER).glob("*.sqlite")) if path.stem != ROOTS]


def files(data_dir: Path) -> list[Path]:
    """All databases, that of the log of roots first: what is opened after it is at least as long as it says."""
    roots = data_dir / FOLDER / f"{ROOTS}.sqlite"
    return [*([roots] if roots.exists() else []), *logs(data_dir)]


def sealed(data_dir: Path) -> list[Path]:
    """The databases of logs that nobody writes to any more: of keys that were exchanged, and restored ones."""
    return sorted((data_dir / FOLDER).glob("*/*.sqlite"))


def all_logs(data_dir: Path) -> list[Path]:
    """The databases of all logs that were ever written here, of earlier keys too, but those that join others."""
    return [*logs(data_dir), *(path for path in sealed(data_dir) if path.stem != ROOTS)]


def take(data_dir: Path) -> tuple[Path, int]:
    """A log that this process alone may write to, and the lock that says so: an old one that is free, else a new one."""
    settled(data_dir)
    for path in logs(data_dir):
        lock = try_lock(path)
        if lock is not None:
            return path, lock
    path = data_dir / FOLDER / f"{secrets.token_hex(4)}.sqlite"
    lock = try_lock(path)
    if lock is None:
        raise LedgerError(f"{path} was taken while it was being made", "Try again.")
    return path, lock


def settled(data_dir: Path) -> None:
    """Raise LedgerError where a rotation of the key was cut short: an entry now would come after the last one."""
    if (data_dir / ROTATING).exists():
        raise LedgerError(f"{data_dir}: its signing key is being exchanged", f"`bylaw ledger rotate-key --data-dir {data_dir}` ends that.")


def try_lock(path: Path) -> int | None:
    """The right to write to a log, as an open file; None where another process, or another writer in this one, has it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def connect(path: Path, busy_s: float) -> sqlite3.Connection:
    """Open a log for writing, made where there is none: WAL, synchronous=FULL, what is deleted is overwritten."""
    if path.exists():
        return _opened(path, busy_s)
    ours = [one for one in (path, *(Path(f"{path}{end}") for end in ("-journal", "-wal", "-shm"))) if not one.exists()]
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))  # contents are nobody else's business
    try:
        db = _opened(path, busy_s)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)  # the file's name must outlive a power cut as its pages do
        os.close(folder)
    except BaseException:  # a full disk, most likely
        for one in ours:
            one.unlink(missing_ok=True)
        raise
    return db


def _opened(path: Path, busy_s: float) -> sqlite3.Connection:
    _check_not_emptied(path)
    db = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
    with _else_closed(db):
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "fullfsync=ON", "secure_delete=ON", "journal_size_limit=67108864"):
            db.execute(f"PRAGMA {pragma}").fetchall()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables == 0:
            _create_tables(db)
        _check_format(db, path)
    return db


@contextmanager
def _else_closed(db: sqlite3.Connection) -> Iterator[None]:
    """Let go of a database with which something goes wrong: whoever hears of it has no hold of it."""
    try:
        yield
    except BaseException:
        db.close()
        raise


def _create_tables(db: sqlite3.Connection) -> None:
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415  # only a log without tables needs it
    from sqlalchemy.schema import CreateTable  # noqa: PLC0415  # see above

    from bylaw.store import ledger_tables as ours  # noqa: PLC0415  # see above

    db.execute("BEGIN IMMEDIATE")
    for table in (ours.LEAVES, ours.SESSIONS, ours.HEADS, ours.CHECKPOINTS, ours.CONTENTS):
        db.execute(str(CreateTable(table).compile(dialect=sqlite.dialect())))
    db.execute(f"PRAGMA user_version={SCHEMA}")
    db.execute(f"PRAGMA application_id={APPLICATION}")
    db.execute("COMMIT")


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a log for reading, while somebody may be writing to it; raises LedgerError where there is none.

    A file that somebody only began to make is an empty log; one that had entries and has none is an error.
    """
    if not path.is_file():
        raise LedgerError(f"{path}: there is no such log", "Name the data directory with --data-dir.")
    _check_not_emptied(path)
    published = path.with_suffix(".checkpoint").exists()  # looked for before the entries: a writer publishes after them
    alone = not Path(f"{path}-wal").exists() and not os.access(path.parent, os.W_OK)  # on a disk where SQLite cannot make its files
    how = "mode=ro&immutable=1" if alone else "mode=ro"
    try:
        db = _to_read(f"file:{quote(str(path.absolute()))}?{how}")
        with _else_closed(db):
            _check_format(db, path)
            (filled,) = db.execute("SELECT EXISTS (SELECT 1 FROM ledger_leaves) OR EXISTS (SELECT 1 FROM ledger_heads)").fetchone()
            if published and not filled:
                raise _emptied(path)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise LedgerError(f"{path} cannot be read: {error}", "Check its permissions, and that it is a log's database.") from error
    return db


def _to_read(address: str) -> sqlite3.Connection:
    """That database, or an empty log in memory where it was only begun."""
    db = sqlite3.connect(address, uri=True, timeout=5.0, isolation_level=None)
    with _else_closed(db):
        if not _only_begun(db):
            return db
    db.close()
    empty = sqlite3.connect(":memory:", isolation_level=None)
    _create_tables(empty)
    return empty


def _only_begun(db: sqlite3.Connection) -> bool:
    """Whether whoever made this file ended before its tables were there, or has not come to them yet."""
    found = [
        db.execute(one).fetchone()[0] for one in ("SELECT count(*) FROM sqlite_schema", "PRAGMA application_id", "PRAGMA user_version")
    ]
    return found == [0, 0, 0]


def _check_not_emptied(path: Path) -> None:
    """Raise LedgerError for a file of no bytes beside a write-ahead log, which is begun after it: SQLite would delete that."""
    try:
        emptied = (
            Path(f"{path}-wal").stat().st_size and not path.stat().st_size
        )  # in this order: a log that is being made gets its -wal last
    except FileNotFoundError:
        return
    if emptied:
        raise _emptied(path)


def _emptied(path: Path) -> LedgerError:
    return LedgerError(
        f"{path} was emptied: what lies beside it says that it had entries", "Keep what is left; take a backup's, or another copy."
    )


def _check_format(db: sqlite3.Connection, path: Path) -> None:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION or version != SCHEMA:
        raise LedgerError(f"{path} is no log of this version", "Read it with the version of bylaw that wrote it.")

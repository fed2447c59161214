"""One way to open the store: SQLite by default, PostgreSQL by URL; migrated on the way in, every failure one clear line.

A write holds the database for one short transaction (`BEGIN IMMEDIATE` on SQLite, so that a reader never becomes a writer half
way). Nothing that may wait for a person, a ledger or a network happens inside one, but where a restore fills an empty database: nobody
works with that yet. A schema newer than this program is refused,
never touched.
"""

import errno
import logging
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Executable,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    create_engine,
    event,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.sql import column, table
from sqlalchemy.sql.dml import Insert

from bylaw.errors import StoreError
from bylaw.store import (
    appeal_tables,
    approval_tables,
    console_tables,
    finding_tables,
    key_tables,
    mcp_tables,
    policy_tables,
    process_tables,
    secret_tables,
    session_tables,
    stop_tables,
    trial_tables,
    usage_tables,
)
from bylaw.store.schema import METADATA

DEFAULT: Final = Path(".bylaw/store.sqlite")
REVISIONS: Final = (
    "v0001",
    "v0002",
    "v0003",
    "v0004",
    "v0005",
    "v0006",
    "v0007",
    "v0008",
    "v0009",
    "v0010",
)  # oldest first; the last one is what this program needs. The files are in migrations/versions/
VERSION_TABLE: Final = "bylaw_schema"
BUSY_TIMEOUT_S: Final = 5  # how long a write waits for another writer before it is an error
CONNECT_TIMEOUT_S: Final = 5  # with pg8000, how long any answer of the server may take
IDLE_S: Final = 10.0  # after which PostgreSQL ends the transaction of a process that stands still: others wait for its rows
POOL_SIZE: Final = 8
POOL_OVERFLOW: Final = 8
POOL_NAME: Final = "bylaw"  # of its log, which SQLAlchemy writes
MIGRATION_LOCK: Final = 0x62796C6177  # PostgreSQL's advisory lock: one process migrates, the others wait
OURS: Final = (  # the tables of this database; a ledger is a file of its own
    approval_tables.APPROVALS,
    approval_tables.ANSWERS,
    appeal_tables.APPEALS,
    console_tables.LOGINS,
    console_tables.SHOWN,
    key_tables.KEYS,
    usage_tables.USAGE,
    stop_tables.STOPS,
    process_tables.PROCESSES,
    process_tables.TIME_SEEN,
    process_tables.VERSIONS,
    session_tables.SESSIONS,
    session_tables.REPLIES,
    policy_tables.POLICIES,
    policy_tables.ACTIVATIONS,
    mcp_tables.PINS,
    mcp_tables.NONCES,
    trial_tables.TRIALS,
    trial_tables.COUNTS,
    finding_tables.FINDINGS,
    finding_tables.STEPS,
    finding_tables.SEEDS,
    secret_tables.SECRETS,
)

_version = table(VERSION_TABLE, column("version_num"))
_STAMPS: Final = Table(  # as Alembic makes it
    VERSION_TABLE,
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
)


_ENGINES: Final[WeakSet[Engine]] = WeakSet()  # of this process


def _forked() -> None:
    """A child leaves its parent's connections to the parent: two that speak on one would be in each other's transactions."""
    for one in list(_ENGINES):
        one.dispose(close=False)


os.register_at_fork(after_in_child=_forked)


def _in_one_line(record: logging.LogRecord) -> bool:
    """SQLAlchemy tells of every connection that is gone with all that it tried: pages of it where a server was started again."""
    if record.exc_info and isinstance(error := record.exc_info[1], Exception):
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg, record.args, record.exc_info = "a connection to the store was lost: %s", (_first_line(error),), None
    return True


logging.getLogger(f"sqlalchemy.pool.impl.QueuePool.{POOL_NAME}").addFilter(_in_one_line)


@dataclass(frozen=True, slots=True)
class Store:
    """An open, migrated database."""

    engine: Engine
    name: str  # what to call it in messages: a path, or a URL without its password
    file: tuple[Path, int, int] | None = None  # SQLite's file, its device and inode

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that only reads."""
        with self._translated("read"), self.engine.connect() as connection:
            yield connection.execution_options(bylaw_reading=True)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in one transaction, committed at the end and rolled back on any error."""
        with self._translated("written"), self.engine.begin() as connection:
            yield connection

    def inserted(self, row: Insert, *more: Executable) -> bool:
        """Insert one row, and do more with it, in a transaction of its own; false where a row like it is there already."""
        with self._translated("written"):
            try:
                with self.engine.begin() as connection:
                    for statement in (row, *more):
                        connection.execute(statement)
            except IntegrityError:
                return False
        return True

    def changes(self) -> "Changes | None":
        """What tells cheaply whether anybody has written; None where a database only tells by its rows."""
        return Changes(self, self.file[0]) if self.file is not None else None

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()

    @contextmanager
    def _translated(self, done: str) -> Iterator[None]:
        if self.file is not None:
            self._check_file(*self.file)
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:  # a server that is silent for too long is the driver's own OSError
            hint = "Is the disk full, the file damaged or locked, or the server away? Nothing is allowed meanwhile."
            raise StoreError(f"{self.name}: the store cannot be {done}: {_first_line(error)}", hint) from error

    def _check_file(self, path: Path, device: int, inode: int) -> None:
        """A file that was removed or replaced still takes what is written, and nobody else sees it: neither stops nor claims."""
        try:
            found = path.stat()
            same = (found.st_dev, found.st_ino) == (device, inode)
        except OSError:
            same = False
        if not same:
            raise _replaced(self)


def _replaced(store: Store) -> StoreError:
    return StoreError(f"{store.name}: the store's file was removed or replaced while it was in use", "Start this process again.")


class Changes:
    """A connection of SQLite's that sees when any other, of this process or another, has committed. One caller at a time."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store = store
        self._index = path.with_name(f"{path.name}-shm")  # through which all processes find what was written
        self._first: os.stat_result | None = None  # what it was at the first look
        with store._translated("read"):
            self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)

    def count(self) -> int:
        """A number that is another one after every commit; raises StoreError where the file cannot be read, or is no longer there."""
        with self._store._translated("read"):
            count = int(self._db.execute("PRAGMA data_version").fetchone()[0])
        found = None
        with suppress(FileNotFoundError):
            found = self._index.stat()
        if self._first is None:
            self._first = found
        elif found is None or not os.path.samestat(found, self._first):
            raise _replaced(self._store)
        return count

    def close(self) -> None:
        """Let go of the connection."""
        self._db.close()


def open(url: str | Path = DEFAULT) -> Store:  # noqa: A001  # `database.open` is what every caller says
    """Open a store by path or URL, and bring its schema up to date."""
    store = unmigrated(url)
    try:
        _migrate(store)
    except BaseException:
        store.close()
        raise
    return store


def unmigrated(url: str | Path) -> Store:
    """A store as it is, whichever schema it has or none: for backups, which must change nothing."""
    return _postgresql(str(url)) if str(url).startswith("postgres") else _sqlite(_file(url))


def _file(url: str | Path) -> Path:
    address = str(url)
    if isinstance(url, Path) or "://" not in address:
        path = address
    elif address.startswith("sqlite:///"):
        path = address.removeprefix("sqlite:///")
    else:
        raise StoreError(f"{address.split(':', 1)[0]}: not a kind of store", "Write a path, sqlite:///PATH or postgresql://USER@HOST/DB.")
    if not path or path == ":memory:":
        raise StoreError("a store needs a file: approvals must outlive the process", "Write a path, e.g. .bylaw/store.sqlite.")
    return Path(path)


def _sqlite(path: Path) -> Store:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = path.resolve()  # the working directory may change
        with suppress(FileExistsError):  # a file that is there is not opened: its closing would take away the locks of this process on it
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))  # ours alone
        found = path.stat()
        if not (stat.S_ISREG(found.st_mode) and os.access(path, os.R_OK | os.W_OK)):
            fault = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EACCES
            raise OSError(fault, os.strerror(fault))
    except (FileExistsError, NotADirectoryError) as error:
        raise StoreError(f"{path}: no store can be there, for {path.parent} is a file or lies in one", "Name a folder.") from error
    except OSError as error:
        raise StoreError(f"{path}: the store cannot be opened: {error.strerror}", "Check the path and its permissions.") from error
    pool: dict[str, Any] = {"pool_size": POOL_SIZE, "max_overflow": POOL_OVERFLOW, "pool_logging_name": POOL_NAME}
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_S}, **pool)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    _ENGINES.add(engine)
    return Store(engine, str(path), (path, found.st_dev, found.st_ino))


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; `_begin_sqlite` does
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("bylaw_reading") else "BEGIN IMMEDIATE")


def _postgresql(url: str) -> Store:
    scheme, _, rest = url.partition("://")
    driver = f"postgresql+{scheme.partition('+')[2] or 'pg8000'}"
    name = f"postgresql://{rest.rpartition('@')[2].partition('?')[0]}"  # a password may stand in the options too
    try:
        engine = create_engine(
            f"{driver}://{rest}",
            pool_size=POOL_SIZE,
            max_overflow=POOL_OVERFLOW,
            pool_logging_name=POOL_NAME,
            pool_pre_ping=True,
            connect_args={"timeout": CONNECT_TIMEOUT_S} if driver.endswith("pg8000") else {"connect_timeout": CONNECT_TIMEOUT_S},
        )
    except ModuleNotFoundError as error:
        raise StoreError(f"{name}: needs {error.name}, which is not installed", "pip install '.[pg]'") from error
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise StoreError(f"{name}: not a URL of a store", "Write postgresql://USER:PASSWORD@HOST:PORT/DATABASE.") from error
    event.listen(engine, "connect", _prepare_postgresql)
    ping = engine.dialect.do_ping

    def answers(connection: Any) -> bool:
        with suppress(OSError):
            return ping(connection)
        return False

    engine.dialect.do_ping = answers  # type: ignore[assignment,method-assign]  # SQLAlchemy takes only the driver's own errors for a lost connection
    _ENGINES.add(engine)
    return Store(engine, name)


def _prepare_postgresql(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET idle_in_transaction_session_timeout = {round(IDLE_S * 1000)}")
    cursor.close()
    connection.commit()


# ---- Migrations ------------------------------------------------------------------------------------------------------


def _migrate(store: Store) -> None:
    with store.reading() as connection:
        if revision(store, connection) == REVISIONS[-1]:
            return
    with store.writing() as connection:
        alone(connection)
        found = revision(store, connection)
        if not found:
            _make(connection)
        elif found != REVISIONS[-1]:  # another process may have been faster
            upgrade(connection)


def alone(connection: Connection) -> None:
    """Wait until no other process makes or migrates tables in this database, and be the one who may until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})


def _make(connection: Connection) -> None:
    """All that the migrations make of an empty database, at once: a first start loads no Alembic, which would stay in memory."""
    _STAMPS.create(connection)
    METADATA.create_all(connection, tables=OURS, checkfirst=False)
    connection.execute(_STAMPS.insert().values(version_num=REVISIONS[-1]))
    connection.execute(process_tables.TIME_SEEN.insert().values(id=1, at=0))
    connection.execute(process_tables.VERSIONS.insert(), [{"name": name, "version": 0} for name in ("keys", "policy", "stops")])


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run the migrations on a connection that is in a transaction."""
    from alembic import command  # noqa: PLC0415  # a store that is up to date needs no Alembic: 0.1 s at every start
    from alembic.config import Config  # noqa: PLC0415  # the same

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def revision(store: Store, connection: Connection) -> str:
    """Which revision the store is at; empty for an empty database. Raises StoreError for another program's, or a newer one."""
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE not in tables:
        foreign = tables if connection.dialect.name == "sqlite" else tables & {one.name for one in OURS}
        if foreign:
            raise StoreError(
                f"{store.name}: another program's database (it has a table {min(foreign)!r})", "Name a file or database of its own."
            )
        return ""
    found = str(connection.execute(select(_version.c.version_num)).scalar() or "")
    if found not in REVISIONS:
        raise StoreError(f"{store.name}: made by a newer bylaw (schema {found or 'unknown'})", "Upgrade bylaw, or name another store.")
    return found


def _first_line(error: Exception) -> str:
    origin = getattr(error, "orig", None) or error
    said = origin.args[0] if origin.args else ""
    if isinstance(said, dict) and "M" in said:  # what a server says comes field by field, with the line of its source
        return str(said["M"])[:200]
    return " ".join(str(origin).split())[:200] or type(origin).__name__

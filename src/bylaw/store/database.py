"""One way to open the store: SQLite by default, PostgreSQL by URL; migrated on the way in, every failure one clear line.

A write holds the database for one short transaction (`BEGIN IMMEDIATE` on SQLite, so that a reader never becomes a writer half
way). Nothing that may wait for a person, a ledger or a network happens inside one. A schema newer than this program is refused,
never touched.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

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
CONNECT_TIMEOUT_S: Final = 5
POOL_SIZE: Final = 8
POOL_OVERFLOW: Final = 8
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

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()

    @contextmanager
    def _translated(self, done: str) -> Iterator[None]:
        if self.file is not None:
            self._check_file(*self.file)
        try:
            yield
        except SQLAlchemyError as error:
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
            raise StoreError(f"{self.name}: the store's file was removed or replaced while it was in use", "Start this process again.")


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
    except OSError as error:
        raise StoreError(f"{path}: the store cannot be opened: {error.strerror}", "Check the path and its permissions.") from error
    engine = create_engine(f"sqlite:///{path}", pool_size=POOL_SIZE, max_overflow=POOL_OVERFLOW, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
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
            pool_pre_ping=True,
            connect_args={"timeout": CONNECT_TIMEOUT_S} if driver.endswith("pg8000") else {"connect_timeout": CONNECT_TIMEOUT_S},
        )
    except ModuleNotFoundError as error:
        raise StoreError(f"{name}: needs {error.name}, which is not installed", "pip install 'bylaw[pg]'") from error
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise StoreError(f"{name}: not a URL of a store", "Write postgresql://USER:PASSWORD@HOST:PORT/DATABASE.") from error
    return Store(engine, name)


# ---- Migrations ------------------------------------------------------------------------------------------------------


def _migrate(store: Store) -> None:
    with store.reading() as connection:
        if revision(store, connection) == REVISIONS[-1]:
            return
    with store.writing() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        found = revision(store, connection)
        if not found:
            _make(connection)
        elif found != REVISIONS[-1]:  # another process may have been faster
            upgrade(connection)


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


def _first_line(error: SQLAlchemyError) -> str:
    origin = getattr(error, "orig", None) or error
    return " ".join(str(origin).split())[:200] or type(origin).__name__

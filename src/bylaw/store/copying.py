"""All rows of a store as JSON lines, and back: the same for SQLite and PostgreSQL, so that a store can be moved from one to the other.

    {"format":"bylaw-store-1","schema":"v0007","tables":[...]}
    {"table":"approvals","row":{...}}      bytes are {"base64":"..."}; by table, parents before children
    {"rows":N}                             so that a file that was cut is not taken for a whole one

Read in one transaction that sees one moment, while others write. Nothing is migrated on the way out; on the way in the tables are made as
they were then, filled, and then migrated, in one transaction too: who dies in it leaves an empty database.
"""

import base64
import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, MetaData, Table, insert, select, text

from bylaw.errors import StoreError
from bylaw.store import database
from bylaw.store.database import Store

FORMAT: Final = "bylaw-store-1"
AT_ONCE: Final = 200  # rows in one statement
MAX_LINE_CHARS: Final = 256 * 2**20  # a policy's files at their largest
_DAMAGED: Final = "The file is damaged: take another backup."


def write(url: str | Path, out: Path) -> int:
    """Write every row to a new file, its owner's alone; how many. Raises StoreError where there is no store, or one of another program."""
    if not str(url).startswith("postgres") and not Path(str(url).removeprefix("sqlite:///")).is_file():
        raise StoreError(f"{url}: there is no store", "Name it with --store.")
    store = database.unmigrated(url)
    try:
        with open(out, "x", encoding="utf-8", opener=_ours_alone) as file, closing(_copied(store)) as lines:
            rows = 0
            for line in lines:
                file.write(_line(line))
                rows = line.get("rows", 0)
            return rows
    finally:
        store.close()


def _copied(store: Store) -> Generator[dict[str, Any], None, None]:
    """The lines, by themselves: what goes wrong where they are written is no fault of the store."""
    with _one_moment(store) as connection:
        found = database.revision(store, connection)
        if not found:
            raise StoreError(f"{store.name}: there is no store", "Name it with --store.")
        tables = _tables(connection)
        yield {"format": FORMAT, "schema": found, "tables": [one.name for one in tables]}
        rows = 0
        for one in tables:
            for row in connection.execution_options(yield_per=AT_ONCE).execute(select(one)).mappings():
                yield {"table": one.name, "row": {name: _out(value) for name, value in row.items()}}
                rows += 1
        yield {"rows": rows}


def _ours_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def read(path: Path, url: str | Path, before_commit: Callable[[Connection], None] = lambda _: None) -> int:
    """Fill an empty database and bring it up to date; how many rows. All of it or nothing; raises StoreError.

    `before_commit` changes what was filled in before anybody else can see it; what it raises leaves the database empty.
    """
    lines = _lines(path)
    head = next(lines, {})
    if head.get("format") != FORMAT or not isinstance(head.get("tables"), list):
        raise StoreError(f"{path}:1: not a copy of a store", _DAMAGED)
    if head.get("schema") not in database.REVISIONS:
        raise StoreError(f"{path}: made by a newer bylaw (schema {head.get('schema')})", "Upgrade bylaw.")
    store = database.unmigrated(url)
    try:
        with store.writing() as connection:
            _unhurried(connection)
            database.alone(connection)
            if database.revision(store, connection):
                raise StoreError(f"{store.name}: there is a store already", "Name an empty database; a restore writes over nothing.")
            database.upgrade(connection, head["schema"])
            rows = _fill(connection, lines, path)
            database.upgrade(connection)
            before_commit(connection)
            return rows
    finally:
        store.close()


def _fill(connection: Connection, lines: Iterator[dict[str, Any]], path: Path) -> int:
    tables = {one.name: one for one in _tables(connection)}
    for one in reversed(tables.values()):
        connection.execute(one.delete())  # what a migration puts into an empty table came with the copy, too
    group: list[dict[str, Any]] = []
    of = ""
    for number, line in enumerate(lines):
        if "rows" in line:
            _put(connection, tables, of, group)
            if line["rows"] != number or next(lines, None) is not None:
                break
            return number
        if line.get("table") not in tables or not isinstance(line.get("row"), dict):
            raise StoreError(f"{path}: row {number + 1} is of no table that there was", _DAMAGED)
        if line["table"] != of or len(group) == AT_ONCE:
            _put(connection, tables, of, group)
            group, of = [], line["table"]
        group.append({name: _in(value) for name, value in line["row"].items()})
    raise StoreError(f"{path}: it is not whole", _DAMAGED)


def _put(connection: Connection, tables: dict[str, Table], of: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(tables[of]), rows)


def _tables(connection: Connection) -> list[Table]:
    """Our tables as this database has them, parents before children."""
    found = MetaData()
    found.reflect(connection, only=lambda name, _: name in {one.name for one in database.OURS})
    return list(found.sorted_tables)


@contextmanager
def _one_moment(store: Store) -> Iterator[Connection]:
    """A connection that sees the database as it was at its first look."""
    with store.reading() as connection:
        if connection.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ")
        _unhurried(connection)
        yield connection


def _unhurried(connection: Connection) -> None:
    """The other end of the copy is a file, and may be slow; nobody waits for this transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


def _out(value: Any) -> Any:
    return {"base64": base64.b64encode(bytes(value)).decode()} if isinstance(value, bytes | memoryview | bytearray) else value


def _in(value: Any) -> Any:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else value


def _line(value: object) -> str:
    return json.dumps(value, separators=(",", ":")) + "\n"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        lines: Iterable[str] = iter(lambda: file.readline(MAX_LINE_CHARS), "")
        for number, line in enumerate(lines, 1):
            try:
                value = json.loads(line) if line.endswith("\n") else None
            except ValueError:
                value = None
            if not isinstance(value, dict):
                raise StoreError(f"{path}:{number}: not a line of a copy", _DAMAGED)
            yield value

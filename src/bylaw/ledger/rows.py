"""What a writer does to the rows of its log: a group goes in, contents that are old go out and are cleared from the write-ahead log.

Many rows go into one statement, because each statement hands the interpreter to other threads and back. Their number is a power of two, so
that the few statements there are stay prepared.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

MOST: Final = 64  # rows in one statement; seven values each stay far below SQLite's bound


def insert(db: sqlite3.Connection, table: str, rows: Sequence[Iterable[Any]]) -> None:
    """Put rows into a table, each with a value for every column."""
    at = 0
    while at < len(rows):
        count = min(MOST, 1 << (len(rows) - at).bit_length() - 1)
        some = rows[at : at + count]
        values = [value for row in some for value in row]
        db.execute(_statement(table, count, len(values) // count), values)
        at += count


@lru_cache(maxsize=64)
def _statement(table: str, rows: int, columns: int) -> str:
    one = f"({','.join('?' * columns)})"
    return f"INSERT INTO {table} VALUES {','.join([one] * rows)}"


def erase(db: sqlite3.Connection, log: str, at: int, before_us: int, session: str) -> int:
    """Delete the contents of entries before this one that are older (of one session, or of all); how many went."""
    which, values = (" AND session=?", [session]) if session else ("", [])
    found = db.execute(f"DELETE FROM ledger_contents WHERE log=? AND at<? AND time_us<?{which}", [log, at, before_us, *values])
    return found.rowcount


def unscrubbed(db: sqlite3.Connection) -> bool:
    """Clear erased contents out of the write-ahead log. True where a reader was in the way: try again at the next checkpoint."""
    db.execute("PRAGMA busy_timeout=100").fetchall()
    (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    db.execute("PRAGMA busy_timeout=0").fetchall()
    return bool(busy)

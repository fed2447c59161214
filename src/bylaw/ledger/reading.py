"""A log as it lies somewhere, for reading: in its database, or in an exported file. Nothing here is believed; `verify` judges it.

    {"checkpoints":C,"contents":true,"format":"bylaw-ledger-export-1","leaves":N,"log":"…"}
    N lines, each the very bytes of a leaf
    C lines {"note":"…"}: the published checkpoints, the signed head last
    with contents: lines {"at":I,"content":"BASE64","name":"…","salt":"BASE64"}, by entry and name

Every line of an export is RFC 8785 JSON; a line in any other form is refused, so that no byte of the file is without meaning.
"""

import base64
import binascii
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import orjson

from bylaw.errors import LedgerError
from bylaw.ledger import place
from bylaw.ledger.entries import MAX_CONTENT_BYTES, MAX_LEAF_BYTES, read_leaf

FORMAT: Final = "bylaw-ledger-export-1"
MAX_NAME: Final = 300  # characters of an entry's name
MAX_DIGITS: Final = 15  # of its index
MAX_LINE_BYTES: Final = max(MAX_LEAF_BYTES, MAX_CONTENT_BYTES * 2)


class Content(NamedTuple):
    """A content that an entry commits to."""

    at: int
    name: str
    salt: bytes
    content: bytes


class Log(Protocol):
    """One log, wherever it lies. Leaves come by index, contents by index and name. `where` names it in messages."""

    where: str
    origin: str
    with_contents: bool

    def notes(self) -> list[str]:
        """The signed checkpoints, the head last."""

    def leaves(self) -> Iterator[tuple[int, bytes]]:
        """The entries with the index at which they stand."""

    def contents(self) -> Iterator[Content]:
        """What is left of the contents."""


@dataclass
class StoredLog:
    """A log in its database, read in one transaction: as it was at one moment, while its writer goes on."""

    where: str
    origin: str
    db: sqlite3.Connection
    with_contents: bool = True

    def notes(self) -> list[str]:
        """The published checkpoints and the head."""
        found = self.db.execute("SELECT note FROM ledger_checkpoints WHERE log=? ORDER BY size", [self.origin])
        notes = [note for (note,) in self._typed(found, str)]
        head = [note for (note,) in self._typed(self.db.execute("SELECT note FROM ledger_heads WHERE log=?", [self.origin]), str)]
        return notes if notes[-1:] == head else [*notes, *head]

    def leaves(self) -> Iterator[tuple[int, bytes]]:
        """By index."""
        found = self.db.execute("SELECT at, leaf FROM ledger_leaves WHERE log=? ORDER BY at", [self.origin])
        yield from self._typed(found, int, bytes)

    def contents(self) -> Iterator[Content]:
        """By index and name."""
        found = self.db.execute("SELECT at, name, salt, content FROM ledger_contents WHERE log=? ORDER BY at, name", [self.origin])
        yield from (Content(*row) for row in self._typed(found, int, str, bytes, bytes))

    def last(self, count: int) -> list[tuple[int, bytes]]:
        """The last entries, oldest first."""
        found = self.db.execute("SELECT at, leaf FROM ledger_leaves WHERE log=? ORDER BY at DESC LIMIT ?", [self.origin, count])
        return list(self._typed(found, int, bytes))[::-1]

    def after(self, index: int, count: int) -> list[tuple[int, bytes]]:
        """The entries after this index, at most so many."""
        found = self.db.execute("SELECT at, leaf FROM ledger_leaves WHERE log=? AND at>? ORDER BY at LIMIT ?", [self.origin, index, count])
        return list(self._typed(found, int, bytes))

    def size(self) -> int:
        """How many entries there are, by the highest index."""
        last = self.db.execute("SELECT at FROM ledger_leaves WHERE log=? ORDER BY at DESC LIMIT 1", [self.origin]).fetchone()
        return 0 if last is None else int(last[0]) + 1

    def down(self, below: int, floor: int, having: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
        """The entries from below one index down to another whose leaves hold all of these bytes, newest first."""
        holds = " AND instr(leaf, ?)>0" * len(having)
        asked = f"SELECT at, leaf FROM ledger_leaves WHERE log=? AND at<? AND at>=?{holds} ORDER BY at DESC"
        yield from self._typed(self.db.execute(asked, [self.origin, below, floor, *having]), int, bytes)

    def contents_of(self, index: int) -> dict[str, bytes]:
        """What is left of one entry's contents, by name."""
        found = self.db.execute("SELECT name, content FROM ledger_contents WHERE log=? AND at=?", [self.origin, index])
        return dict(self._typed(found, str, bytes))

    def _typed(self, rows: sqlite3.Cursor, *kinds: type) -> Iterator[Any]:
        """SQLite keeps any type in any column; whoever edits a log need not keep to ours."""
        for row in rows:
            if any(type(value) is not kind for value, kind in zip(row, kinds, strict=True)):
                raise LedgerError(f"{self.where}: a row of the wrong type", "Somebody edited the database.")
            yield row


@contextmanager
def stored(path: Path) -> Iterator[StoredLog]:
    """A log's database as it is now; raises LedgerError where it is none, or cannot be read."""
    db = place.connect_to_read(path)
    try:
        db.execute("BEGIN")
        origins = origins_of(db)
        if len(origins) > 1:
            raise LedgerError(f"{path} holds the entries of several logs", "One of them was put there by somebody else.")
        yield StoredLog(str(path), origins.pop() if origins else "", db)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise LedgerError(f"{path} cannot be read: {error}", "It is damaged: copy it away, and look at the copy.") from error
    finally:
        db.close()


def origins_of(db: sqlite3.Connection) -> set[str]:
    """Which logs a database names where a look costs nothing: in its head, and at both ends of its entries."""
    keyed = db.execute("SELECT 1 FROM pragma_table_info('ledger_leaves') WHERE name='log' AND pk>0").fetchone()
    by = "log" if keyed else "at"  # an earlier bylaw's logs have no index by `at` alone
    tables = ("ledger_heads", f"ledger_leaves ORDER BY {by}", f"ledger_leaves ORDER BY {by} DESC")
    found = [db.execute(f"SELECT log FROM {one} LIMIT 1").fetchone() for one in tables]
    return {str(row[0]) for row in found if row}


def entry(path: Path, leaf: bytes) -> dict[str, Any]:
    """A leaf taken apart; raises LedgerError where it is none."""
    try:
        return read_leaf(leaf)
    except ValueError as error:
        raise LedgerError(f"{path}: an entry is {error}", "See `bylaw ledger verify`.") from error


def named(data_dirs: Iterable[Path], record: str) -> tuple[dict[str, Any], dict[str, bytes]] | None:
    """The entry of this name, LOG#INDEX as in the header `x-bylaw-record`, and what is left of its contents; None where there is none."""
    log, mark, index = record.rpartition("#")
    if len(record) > MAX_NAME or not mark or not (index.isascii() and index.isdigit()) or len(index) > MAX_DIGITS:
        return None
    for path in (path for folder in dict.fromkeys(data_dirs) for path in (*place.files(folder), *place.sealed(folder))):
        with stored(path) as found:
            rows = found.after(int(index) - 1, 1) if found.origin == log else []
            if rows and rows[0][0] == int(index):
                return entry(path, rows[0][1]), found.contents_of(int(index))
    return None


@dataclass
class ExportedLog:
    """A log in an exported file. Its lines are read as they are asked for; raises LedgerError on the first that cannot be one."""

    where: str
    origin: str
    with_contents: bool
    path: Path
    size: int
    checkpoints: int

    def notes(self) -> list[str]:
        """The lines after the leaves."""
        found = []
        for number, line in self._lines(self.size + 1, self.size + 1 + self.checkpoints):
            value = _strict(line, {"note": str}, f"{self.where}:{number}")
            found.append(value["note"])
        return found

    def leaves(self) -> Iterator[tuple[int, bytes]]:
        """The lines after the first."""
        for number, line in self._lines(1, self.size + 1):
            yield number - 2, line

    def contents(self) -> Iterator[Content]:
        """The lines that are left."""
        for number, line in self._lines(self.size + 1 + self.checkpoints, None):
            where = f"{self.where}:{number}"
            value = _strict(line, {"at": int, "content": str, "name": str, "salt": str}, where)
            yield Content(value["at"], value["name"], _base64(value["salt"], where), _base64(value["content"], where))

    def _lines(self, start: int, stop: int | None) -> Iterator[tuple[int, bytes]]:
        """Lines by their place from 0, with their number from 1. All that were announced must be there."""
        at = 0
        with self.path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES):
                if not line.endswith(b"\n"):
                    raise LedgerError(f"{self.where}:{at + 1}: the line does not end", "The file was cut, or a byte was changed.")
                if at >= start and (stop is None or at < stop):
                    yield at + 1, line[:-1]
                at += 1
                if at == stop:
                    return
        if stop is not None and at < stop:
            raise LedgerError(f"{self.where}: ends after {at} lines, and says that it has more", "The file was cut.")


def exported(path: Path) -> ExportedLog:
    """An exported file; raises LedgerError where its first line is none."""
    if not path.is_file():
        raise LedgerError(f"{path}: there is no such file", "Name a gateway's data directory, or a file that `bylaw ledger export` wrote.")
    with path.open("rb") as file:
        line = file.readline(10_000)
    value = _strict(line[:-1], {"checkpoints": int, "contents": bool, "format": str, "leaves": int, "log": str}, f"{path}:1")
    if value["format"] != FORMAT or min(value["leaves"], value["checkpoints"]) < 0:
        raise LedgerError(f"{path}:1: not an export of this version", "Read it with the verifier that lies beside it.")
    return ExportedLog(str(path), value["log"], value["contents"], path, value["leaves"], value["checkpoints"])


def _strict(line: bytes, shape: dict[str, type], where: str) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
        good = isinstance(value, dict) and value.keys() == shape.keys() and orjson.dumps(value, option=orjson.OPT_SORT_KEYS) == line
    except (orjson.JSONDecodeError, TypeError):
        good = False
    if not good or any(type(value[key]) is not kind for key, kind in shape.items()):
        raise LedgerError(f"{where}: not a line of an export", "A byte was changed, or this is another kind of file.")
    return dict(value)


def _base64(text: str, where: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = None
    if raw is None or base64.b64encode(raw).decode() != text:
        raise LedgerError(f"{where}: not a line of an export", "A byte was changed.")
    return raw

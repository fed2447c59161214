"""The journal of a map over rows: one line a finished batch, written through to the disk as it comes, so that a kill -9 loses none.

A batch is known by the digest of its rows and of the work done on them. A last line that a kill cut off is no line, and goes when the
journal is opened again. One process writes a journal at a time.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bylaw.canonical import digest_bytes
from bylaw.errors import RunError

Rows = list[dict[str, Any]]


def key_of(rows: Sequence[Mapping[str, Any]], work: str) -> str:
    """What a batch is known by."""
    return digest_bytes(json.dumps([work, list(rows)], sort_keys=True).encode())


@dataclass(slots=True)
class Journal:
    """Finished batches by their key; on disk where a file is named."""

    file: Path | None = None
    done: dict[str, Rows] = field(default_factory=dict)
    _handle: int = -1

    def add(self, key: str, rows: Rows, final: bool = True) -> None:
        """A batch is finished; when this returns it is on the disk. One that is not final is for this start alone."""
        if key in self.done:
            return  # a batch that was sent twice is there once
        self.done[key] = rows
        if final and self._handle >= 0:
            line = json.dumps({"key": key, "rows": rows}).encode() + b"\n"
            written = 0
            while written < len(line):
                written += os.write(self._handle, line[written:])
            os.fsync(self._handle)


@contextmanager
def opened(file: Path | None) -> Iterator[Journal]:
    """Open a journal and what it holds; raises RunError while another process writes it, or where there can be none."""
    journal = Journal(file)
    if file is None:
        yield journal
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise RunError(f"{file}: no journal can be kept there: {error.strerror}", "choose another folder") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(f"another process is writing {file}", "wait for it, or choose another folder") from error
        _read(journal, file, handle)
        journal._handle = handle
        yield journal
    finally:
        journal._handle = -1
        os.close(handle)


def _read(journal: Journal, file: Path, handle: int) -> None:
    whole = 0
    with file.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            found = _entry(line)
            if found:
                journal.done.setdefault(*found)
    os.ftruncate(handle, whole)


def _entry(line: bytes) -> tuple[str, Rows] | None:
    """One line's key and rows; a broken line is none, and its batch is done again."""
    try:
        entry = json.loads(line)
        key, rows = entry["key"], entry["rows"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    sound = isinstance(key, str) and isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    return (key, rows) if sound else None

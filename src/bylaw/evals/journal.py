"""The rows of cases.jsonl as they come: appended piece by piece, on the disk before the next piece is asked.

A last line that a kill cut off is dropped, and its case asked again; a broken line anywhere else is no accident, and its place is said.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bylaw import runs
from bylaw.errors import RunError
from bylaw.evals.results import sound

Rows = Sequence[dict[str, Any]]


def read(file: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows of a begun file by suite and case; raises RunError with the line that is none."""
    if not file.is_file():
        return {}
    lines = file.read_bytes().split(b"\n")
    found = {}
    for number, line in enumerate(lines, 1):
        row = _row(line)
        if row is None and line.strip():
            if number == len(lines):  # no newline after it: half written
                continue
            raise RunError(f"{file}:{number}: not a row of this evaluation", "take the line out, and its case is asked again")
        if row is not None:
            found[row["suite"], row["id"]] = row
    return found


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line) if line.strip() else None
    except (ValueError, RecursionError):
        return None
    return value if sound(value) else None


@contextmanager
def going_on(file: Path, kept: Rows) -> Iterator[Callable[[Rows], None]]:
    """Write the kept rows anew, and give a function that appends more, each piece on the disk when it returns."""
    runs.write_rows(file, kept)
    with file.open("a", encoding="utf-8") as out:

        def append(rows: Rows) -> None:
            out.write("".join(json.dumps(row) + "\n" for row in rows))
            out.flush()
            os.fsync(out.fileno())

        yield append

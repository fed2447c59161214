"""Where a log's writer goes on: the tree behind the signed head, looked at before anything is added.

The head covers every entry, so a long log opens as fast as a short one: only entries after the last published checkpoint are read. A log
that is shorter than its head or its published checkpoint says, or other than they say, is refused: to go on would be to sign two histories.
"""

import sqlite3
from pathlib import Path
from typing import NamedTuple

from bylaw.errors import LedgerError
from bylaw.ledger import entries
from bylaw.ledger.merkle import Frontier
from bylaw.ledger.notes import Checkpoint, PublicKey, read_checkpoint


class Resumed(NamedTuple):
    """The state of a log's end."""

    frontier: Frontier
    note: str  # the signed head; empty where there is none yet
    published: int  # entries under the last published checkpoint
    last_us: int  # the last entry's time
    sessions: dict[str, int]  # the last number of each session that has entries after that checkpoint


def resume(db: sqlite3.Connection, path: Path, log: str, key: PublicKey) -> Resumed:
    """The end of a log; raises LedgerError where it is not what was signed."""
    head = db.execute("SELECT size, note, frontier FROM ledger_heads WHERE log=?", [log]).fetchone()
    frontier = Frontier.load(head[0], head[2]) if head else Frontier()
    size = frontier.size
    if head and read_checkpoint(head[1], key) != Checkpoint(log, size, frontier.root()):
        raise LedgerError(f"{path}: its signed head does not fit", "See `bylaw ledger verify`; move the log away, and a new one begins.")
    last = db.execute("SELECT at, leaf FROM ledger_leaves WHERE log=? ORDER BY at DESC LIMIT 1", [log]).fetchone()
    inside = db.execute("SELECT note FROM ledger_checkpoints WHERE log=? ORDER BY size DESC LIMIT 1", [log]).fetchone()
    outside = path.with_suffix(".checkpoint")
    published = read_checkpoint(inside[0], key) if inside else Checkpoint(log, 0, Frontier().root())
    known = [published, *([read_checkpoint(outside.read_text("utf-8"), key)] if outside.exists() else [])]
    cut = any(one.origin != log or one.size > size or (one.size == size and one.root != frontier.root()) for one in known)
    if cut or (last[0] + 1 if last else 0) != size:
        raise LedgerError(
            f"{path} is not what was signed at {max([size, *(one.size for one in known)])} entries",
            "It was cut, replaced or restored. To go on would be to sign two histories: move the log away, and a new one begins.",
        )
    rest = db.execute("SELECT leaf FROM ledger_leaves WHERE log=? AND at>=? ORDER BY at", [log, min(published.size, max(0, size - 1))])
    said = [entries.read_leaf(leaf) for (leaf,) in rest]
    last_us = entries.microseconds(said[-1]["time"]) if said else 0
    return Resumed(frontier, head[1] if head else "", published.size, last_us, {one["session"]: one["seq"] for one in said})

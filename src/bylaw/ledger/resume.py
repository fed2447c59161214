"""Where a log's writer goes on: the tree behind the last checkpoint, and the entries after it, looked at before anything is added.

Only what came after the last checkpoint is read, so that a long log opens as fast as a short one. A log that is shorter than a
checkpoint says, or other than it says, is refused: to go on would be to sign two histories.
"""

import sqlite3
from pathlib import Path
from typing import NamedTuple

from bylaw.errors import LedgerError
from bylaw.ledger import entries
from bylaw.ledger.merkle import Frontier, leaf_hash
from bylaw.ledger.notes import Checkpoint, PublicKey, read_checkpoint


class Resumed(NamedTuple):
    """The state of a log's end."""

    frontier: Frontier
    unsigned: int  # entries after the last checkpoint
    last_us: int  # the last entry's time


def resume(db: sqlite3.Connection, path: Path, log: str, key: PublicKey) -> Resumed:
    """The end of a log, or LedgerError where its end is not what was signed. The published checkpoint beside it is held to it too."""
    found = db.execute("SELECT size, note, frontier FROM ledger_checkpoints WHERE log=? ORDER BY size DESC LIMIT 1", [log]).fetchone()
    frontier = Frontier.load(found[0], found[2]) if found else Frontier()
    signed, root = frontier.size, frontier.root()
    if found and read_checkpoint(found[1], key) != Checkpoint(log, signed, root):
        raise LedgerError(f"{path}: its last checkpoint does not fit", "See `bylaw ledger verify`; move the log away to begin anew.")
    published = path.with_suffix(".checkpoint")
    held = read_checkpoint(published.read_text("utf-8"), key) if published.exists() else Checkpoint(log, 0, Frontier().root())
    roots = {0: Frontier().root(), signed: root}
    last_us, count, first = 0, -1, max(0, signed - 1)  # the last signed entry must be there, and tells the time
    rows = db.execute("SELECT at, leaf FROM ledger_leaves WHERE log=? AND at>=? ORDER BY at", [log, first])
    for count, (at, leaf) in enumerate(rows):
        said = entries.read_leaf(leaf)
        if at != first + count or said["index"] != at or said["log"] != log:
            raise LedgerError(f"{path}: entry {at} is not where it says", "See `bylaw ledger verify`; move the log away to begin anew.")
        last_us = entries.microseconds(said["time"])
        if at >= signed:
            frontier.add(leaf_hash(leaf))
            roots[frontier.size] = frontier.root()
    if (signed and count < 0) or (held.size >= signed and roots.get(held.size) != held.root) or held.origin != log:
        raise LedgerError(
            f"{path} is not what was signed at {max(held.size, signed)} entries",
            "It was cut, replaced or restored. To go on would be to sign two histories: move the log away, and a new one begins.",
        )
    return Resumed(frontier, frontier.size - signed, last_us)

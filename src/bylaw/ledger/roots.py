"""The log that joins the others: one entry a time, with the size and root of every log of a data directory.

Each process writes a log of its own. A checkpoint of this log, kept elsewhere, holds all of them: a log that is later cut, rewritten or
taken away whole no longer fits what was joined. The log of roots is a ledger like any other, so nothing more is needed to verify it.
"""

from collections.abc import Callable
from pathlib import Path

from bylaw.errors import LedgerError
from bylaw.ledger import place
from bylaw.ledger.entries import now_us
from bylaw.ledger.keyfile import signing_key
from bylaw.ledger.notes import read_checkpoint
from bylaw.ledger.reading import stored
from bylaw.ledger.waiting import Receipt
from bylaw.ledger.writer import Ledger


def join(data_dir: Path, clock: Callable[[], int] = now_us) -> Receipt | None:
    """Record the signed heads of all logs in the log of roots. None where there is no log yet; raises LedgerError."""
    place.settled(data_dir)
    key = signing_key(data_dir).public
    heads = []
    for path in place.logs(data_dir):
        with stored(path) as log:
            notes = log.notes()
        if not notes:
            continue
        head = read_checkpoint(notes[-1], key)
        if head.origin != f"{key.name}/{path.stem}":
            raise LedgerError(f"{path} holds another log, {head.origin}", "See `bylaw ledger verify`.")
        heads.append({"log": head.origin, "size": head.size, "root": head.root.hex()})
    if not heads:
        return None
    with Ledger(data_dir, log=place.ROOTS, clock=clock) as ledger:
        return ledger.append({"kind": place.ROOTS, "facts": {"logs": heads}})

"""A retention run: contents older than a time are deleted in every log of a data directory; entries never are."""

from collections.abc import Callable
from pathlib import Path

from bylaw.ledger import place, sealed
from bylaw.ledger.entries import now_us
from bylaw.ledger.writer import Ledger


def retain(data_dir: Path, before_us: int, session: str = "", clock: Callable[[], int] = now_us) -> dict[str, int]:
    """How many contents went, by log. Each log gets an entry that says so. A log that a process writes to is not touched: LedgerError."""
    place.settled(data_dir)
    erased = {}
    for path in place.logs(data_dir):
        with Ledger(data_dir, log=path.stem, clock=clock) as ledger:
            erased[ledger.log] = ledger.retain(before_us, session)
    if place.sealed(data_dir):
        with Ledger(data_dir, clock=clock) as ledger:
            erased["sealed logs"] = sealed.retain(data_dir, ledger.append, before_us, session)
    return erased

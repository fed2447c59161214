"""What a data directory has recorded, as tests look at it."""

from pathlib import Path
from typing import Any

from bylaw.ledger import place, reading


def recent(data_dir: Path, count: int) -> list[dict[str, Any]]:
    """The last entries of all logs together, oldest first, by their own times. Nothing is verified."""
    found: list[dict[str, Any]] = []
    for path in place.files(data_dir):
        with reading.stored(path) as log:
            found.extend(reading.entry(path, leaf) for _, leaf in log.last(count))
    return sorted(found, key=lambda one: (one["time"], one["log"], one["index"]))[-count:]

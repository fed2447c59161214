"""The counts of several worker processes on one address: each writes its own into a file every few seconds, a scrape reads them all.

A scrape reaches one worker; without this, the others would be missing from it. Files are `DATA/metrics/LOG.json`; one that nobody has
written for a while is a dead process's and is left out. Counts are at most `EVERY_S` old. What cannot be written or read is left out.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bylaw.serve.tally import Count, Tally

FOLDER: Final = "metrics"
EVERY_S: Final = 3.0
GONE_S: Final = 15.0  # after which a file is a dead process's
MAX_BYTES: Final = 4 * 2**20
MAX_FILES: Final = 256
COUNTS: Final = ("entries", "decisions", "clauses", "steps", "requests")
LOG: Final = logging.getLogger(__name__)


def written(tally: Tally) -> str:
    """A tally as JSON."""
    counts = {name: [[list(labels), number] for labels, number in list(getattr(tally, name).by.items())] for name in COUNTS}
    return json.dumps({**counts, "undecided": tally.undecided, "lasted": tally.lasted, "lasted_s": tally.lasted_s})


def read(text: str) -> Tally:
    """A tally out of JSON; raises ValueError, KeyError or TypeError where it is none."""
    value, made = json.loads(text), Tally()
    for name in COUNTS:
        count: Count = getattr(made, name)
        count.by = {tuple(str(one) for one in labels): int(number) for labels, number in value[name]}
    if len(value["lasted"]) != len(made.lasted):
        raise ValueError("of another version")
    made.undecided, made.lasted, made.lasted_s = int(value["undecided"]), [int(one) for one in value["lasted"]], float(value["lasted_s"])
    return made


def others(data_dir: Path, process: str, clock: Callable[[], float] = time.time) -> dict[str, Tally]:
    """What the other processes that write here have counted, by their logs."""
    found: dict[str, Tally] = {}
    for path in sorted((data_dir / FOLDER).glob("*.json"))[:MAX_FILES]:
        try:
            seen = path.stat()
            if path.stem != process and clock() - seen.st_mtime < GONE_S and seen.st_size <= MAX_BYTES:
                found[path.stem] = read(path.read_text("utf-8"))
        except (OSError, ValueError, KeyError, TypeError):
            LOG.warning("%s: the counts of another process cannot be read, and are left out", path)
    return found


class Sharing:
    """Writes one process's counts where the others find them."""

    def __init__(self, tally: Tally, data_dir: Path, process: str, every_s: float = EVERY_S) -> None:
        self._tally, self._file, self._every_s = tally, data_dir / FOLDER / f"{process}.json", every_s
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="bylaw-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; the counts of this process go with it."""
        self._closed.set()
        self._thread.join()
        self._file.unlink(missing_ok=True)

    def _go_on(self) -> None:
        beside = self._file.with_suffix(".new")
        while True:
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                beside.write_text(written(self._tally), "utf-8")
                beside.replace(self._file)
            except OSError as error:
                LOG.warning("%s: counts cannot be shared: %s", self._file, error.strerror)
            if self._closed.wait(self._every_s):
                return

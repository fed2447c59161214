"""Records of the ledger, read for the admin routes: one by its name, or the latest that fit. Nothing is verified here."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bylaw.ledger import place, reading

MAX_NAME: Final = 300  # characters
MAX_READ: Final = 20_000  # entries of one log that are looked through for those that fit
FILTERS: Final = ("kind", "decision", "principal", "session", "clause", "surface", "tool", "policy", "approval", "since", "until")


def named(data_dirs: Sequence[Path], record: str) -> dict[str, Any] | None:
    """The entry of this name, as the header `x-bylaw-record` has it; None where there is none."""
    log, mark, index = record.rpartition("#")
    if len(record) > MAX_NAME or not mark or not (index.isascii() and index.isdigit()) or len(index) > 15:
        return None
    for path in _logs(data_dirs):
        with reading.stored(path) as found:
            if found.origin != log:
                continue
            rows = found.after(int(index) - 1, 1)
            if rows and rows[0][0] == int(index):
                return reading.entry(path, rows[0][1])
    return None


def latest(data_dirs: Sequence[Path], limit: int, wanted: Mapping[str, str]) -> list[dict[str, Any]]:
    """The newest entries that fit, newest first, of all logs together by their own times."""
    entries: list[dict[str, Any]] = []
    for path in _logs(data_dirs):
        with reading.stored(path) as log:
            read = (reading.entry(path, leaf) for _, leaf in reversed(log.last(limit if not wanted else MAX_READ)))
            for found, one in enumerate(entry for entry in read if fits(entry, wanted)):
                if found >= limit:
                    break
                entries.append(one)
    return sorted(entries, key=lambda entry: (entry["time"], entry["index"]), reverse=True)[:limit]


def fits(entry: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Whether an entry is what was asked for."""
    for name, value in wanted.items():
        if name == "clause":
            fit = value in entry["clauses"]
        elif name == "since":
            fit = entry["time"] >= value
        elif name == "until":
            fit = entry["time"] < value
        else:
            fit = entry[name] == value
        if not fit:
            return False
    return True


def _logs(data_dirs: Collection[Path]) -> list[Path]:
    return [path for data_dir in dict.fromkeys(data_dirs) for path in place.all_logs(data_dir)]

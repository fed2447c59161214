"""Records of the ledger, read for the admin routes: one by its name, or the latest that fit. Nothing is verified here."""

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from bylaw.ledger import place, reading

MAX_LOOKED: Final = 50_000  # entries of one log that are looked through for one page: 60 ms
MAX_BEFORE: Final = 4_000  # characters: about two hundred logs
BEFORE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}:[0-9]{1,15}(,[A-Za-z0-9_-]{1,64}:[0-9]{1,15})*")
TIMES: Final = ("since", "until")
FILTERS: Final = ("kind", "decision", "principal", "session", "clause", "surface", "tool", "policy", "approval", "since", "until")


class Page(NamedTuple):
    """Some entries, newest first."""

    entries: list[dict[str, Any]]
    older: str  # where the next page begins; empty: every entry was looked through


def latest(data_dirs: Sequence[Path], limit: int, wanted: Mapping[str, str]) -> list[dict[str, Any]]:
    """The newest entries that fit, newest first, of all logs together by their own times."""
    return page(data_dirs, limit, wanted).entries


def page(data_dirs: Sequence[Path], limit: int, wanted: Mapping[str, str], before: str = "", most: int = MAX_LOOKED) -> Page:
    """The same, from where an earlier page ended. The database looks for the words; only what has them is taken apart."""
    begins = _begins(before)
    found: list[tuple[str, list[dict[str, Any]], int]] = []
    for path in _logs(data_dirs):
        if not before or path.stem in begins:
            with reading.stored(path) as log:
                below = begins.get(path.stem, log.size())
                floor = max(0, below - most)
                read = (reading.entry(path, leaf) for _, leaf in log.down(below, floor, _words(wanted)))
                fit = list(islice((one for one in read if fits(one, wanted)), limit))
                found.append((path.stem, fit, fit[-1]["index"] if len(fit) == limit else floor))
    entries = sorted((one for _, fit, _ in found for one in fit), key=lambda one: (one["time"], one["index"]), reverse=True)
    left = {(one["log"], one["index"]) for one in entries[limit:]}
    ends = {name: max((at + 1 for one in fit if (one["log"], at := one["index"]) in left), default=end) for name, fit, end in found}
    return Page(entries[:limit], ",".join(f"{name}:{at}" for name, at in ends.items() if at))


def _begins(before: str) -> dict[str, int]:
    """What a page says of where the next one begins, log by log; raises ValueError where it is nothing of the kind."""
    if before and (len(before) > MAX_BEFORE or not BEFORE.fullmatch(before)):
        raise ValueError("`before` is what an earlier page said")
    return {name: int(at) for name, _, at in (one.partition(":") for one in before.split(",") if one)}


def _words(wanted: Mapping[str, str]) -> list[bytes]:
    """What the bytes of every leaf hold that fits, whatever else."""
    said = {name: orjson.dumps(value.encode("utf-8", "replace").decode()) for name, value in wanted.items() if name not in TIMES}
    return [text if name == "clause" else b'"%s":%s' % (name.encode(), text) for name, text in said.items()]


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

"""How often each clause decided, over time: counted from the ledger's latest entries, plotted clause by clause."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from starlette.responses import Response

from bylaw.ledger import place, reading
from bylaw.ledger.entries import timestamp
from bylaw.serve.admin import DECISIONS
from bylaw.serve.console import plots
from bylaw.serve.console.page import Asked, May, Page
from bylaw.serve.desk import later

KEPT_S: Final = 10.0  # for so long a count is shown again
MOST: Final = 24  # clauses
MAX_READ: Final = 20_000  # entries of one log that are counted


class Period(NamedTuple):
    """How far back, in how many bars."""

    name: str
    bars: int
    bar_s: int
    every: int  # bars from one label to the next
    format: str


PERIODS: Final = {
    "hour": Period("the last hour", 12, 300, 3, "%H:%M"),
    "day": Period("the last day", 24, 3_600, 6, "%H:%M"),
    "week": Period("the last week", 28, 6 * 3_600, 8, "%d %b"),  # a label every day would run into the next on a phone
}


class Counted(NamedTuple):
    """What was decided in each bar, of all and by clause."""

    every: list[Counter[str]]
    clauses: dict[str, list[Counter[str]]]
    cut: bool  # entries of the period were left out, for there are too many


async def shown(asked: Asked) -> Response:
    """The plots."""
    name = asked.request.query_params.get("over", "day")
    period = PERIODS.get(name, PERIODS["day"])
    now = int(time.time())
    end = now - now % period.bar_s + period.bar_s
    kept: dict[str, tuple[float, Counted]] = asked.room.kept.setdefault("rates", {})
    if period.name not in kept or time.monotonic() - kept[period.name][0] > KEPT_S:
        dirs = asked.desk.data_dirs()
        kept[period.name] = (time.monotonic(), await later(lambda: counted(dirs, period, end)))
    found = kept[period.name][1]
    labels = _labels(period, end)
    total = sum(sum(one.values()) for one in found.every)
    standing = asked.desk.live.now.places.book({}).standing()
    rows = [_row(clause, one, labels, period, total) for clause, one in found.clauses.items()]
    rows.sort(key=lambda one: (-one["count"], one["clause"]))
    return asked.page(
        "rates.html",
        whole=_row("", found.every, labels, period, total),
        rows=rows[:MOST],
        more=max(0, len(rows) - MOST),
        silent=sorted(set(standing) - set(found.clauses)),
        over=next(key for key, one in PERIODS.items() if one is period),
        periods=PERIODS,
        key=[(one, plots.swatch(one)) for one in DECISIONS],
        effects=DECISIONS,
        cut=found.cut,
        most=MAX_READ,
    )


def counted(dirs: Sequence[Path], period: Period, end_s: int) -> Counted:
    """Count the decisions of a period, in bars that end at `end_s`."""
    begin = end_s - period.bars * period.bar_s
    every, clauses, cut = [Counter[str]() for _ in range(period.bars)], dict[str, list[Counter[str]]](), False
    for path in dict.fromkeys(one for data_dir in dirs for one in place.all_logs(data_dir)):
        read = 0
        for entry in _since(path, timestamp(begin * 1_000_000)):
            read += 1
            at = int((datetime.fromisoformat(entry["time"]).timestamp() - begin) // period.bar_s)
            if entry["kind"] != "decision" or not 0 <= at < period.bars:
                continue
            every[at][entry["decision"]] += 1
            for clause in entry["clauses"]:
                clauses.setdefault(clause, [Counter[str]() for _ in range(period.bars)])[at][entry["decision"]] += 1
        cut = cut or read >= MAX_READ
    return Counted(every, clauses, cut)


def _since(path: Path, begin: str) -> Iterator[dict[str, Any]]:
    """The latest entries of a log, newest first, until the first that is older."""
    with reading.stored(path) as log:
        for _, leaf in reversed(log.last(MAX_READ)):
            entry = reading.entry(path, leaf)
            if entry["time"] < begin:
                return
            yield entry


def _labels(period: Period, end_s: int) -> list[tuple[int, str]]:
    begin = end_s - period.bars * period.bar_s
    return [
        (at, datetime.fromtimestamp(begin + at * period.bar_s, UTC).strftime(period.format)) for at in range(0, period.bars, period.every)
    ]


def _row(clause: str, counts: list[Counter[str]], labels: list[tuple[int, str]], period: Period, total: int) -> dict[str, Any]:
    effects: Counter[str] = sum(counts, Counter())
    count = sum(effects.values())
    said = f"{clause or 'All decisions'} in {period.name}: " + (
        ", ".join(f"{effects[name]} {name.replace('_', ' ')}" for name in DECISIONS if effects[name]) or "none"
    )
    plot = plots.bars(counts, DECISIONS, labels, said)
    return {"clause": clause, "count": count, "share": count / total if total else 0.0, "effects": effects, "plot": plot}


PAGES: Final[tuple[tuple[str, str, May, Page], ...]] = (("GET", "/rates", "read", shown),)

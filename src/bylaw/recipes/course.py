"""The course of one measurement: cases asked piece by piece, graded, ended early where a limit is decided, and written down.

*Repeats* ask every case again with another seed, as further rows of its family. *Early stop*: once a confidence sequence
(`evals.sequential`) says on which side of the policy's limit a clause's failures lie, its other cases on that side are not asked. Cases
then come in the order of their ids, which says nothing of how they come out, and of every family only the first row counts, for rows of
one family come out alike. Each of the two errors has the chance that `results.json` states, over the whole course of one clause and side.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from bylaw import runs
from bylaw.evals import alarms, asking, fairness, journal, limits, pairs, results, scoring, sequential, suite_report
from bylaw.evals.calibration import Card
from bylaw.evals.cases import Case, Suite
from bylaw.evals.decontaminate import Hit
from bylaw.evals.grading import SIDES, Grader
from bylaw.evals.limits import Limit
from bylaw.evals.scoring import Grounds
from bylaw.evals.targets import ModelTarget, Said, Target
from bylaw.recipes.opening import Opened, total
from bylaw.runs import Run
from bylaw.types import EMPTY, Policy

PIECE: Final = 256  # cases asked, scored and written at a time
SMALL_PIECE: Final = 64  # of an endpoint, whose replies take longer and cost more to lose; and between two looks of an early stop
Rows = list[dict[str, Any]]
Seen = Callable[[int, int, Mapping[str, Any]], None]  # (done, of how many, the metrics so far)


class Measured(NamedTuple):
    """What came of it: the value of results.json, and what was left out."""

    results: dict[str, Any]
    hits: tuple[Hit, ...]
    scored: int
    why_not: str  # why the first unscored case is so
    stale: tuple[str, ...] = ()  # suites that were made for another version of the policy


class Item(NamedTuple):
    """One asking of one case."""

    suite: str
    case: Case
    repeat: int

    @property
    def key(self) -> tuple[str, str]:
        """Where its row stands."""
        return self.suite, results.row_id(self.case, self.repeat)


class Stopped(NamedTuple):
    """A clause and side whose limit was decided before all of its cases were asked."""

    clause: str
    metric: str
    decision: str  # below or above the limit
    limit: float
    n: int  # families that decided it
    left_out: int


@dataclass(slots=True)
class Bench:
    """A question made ready: everything opened, nothing asked yet."""

    policy: Policy
    target: Target
    on: Grounds
    suites: tuple[Suite, ...]
    hits: tuple[Hit, ...]
    opened: Opened
    asked: dict[str, Any]
    piece: int = PIECE
    repeat: int = 1
    stop_early: bool = False
    grader: Grader | None = None
    cards: tuple[Card, ...] = ()

    @property
    def todo(self) -> list[Item]:
        """Every asking of every case, in order."""
        return [Item(suite.name, case, again) for suite in self.suites for case in suite.cases for again in range(self.repeat)]

    def target_of(self, repeat: int) -> Target:
        """The target with the seed of one asking."""
        if repeat and isinstance(self.target, ModelTarget):
            return replace(self.target, sampling=replace(self.target.sampling, seed=self.target.sampling.seed + repeat))
        return self.target


def ask_all(bench: Bench, file: Path, seen: Seen | None = None) -> tuple[Rows, tuple[Stopped, ...]]:
    """Every case asked and scored, in order, less what was decided early; what the journal already has is not asked again."""
    kept = journal.read(file)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    waiting: list[tuple[Item, Said | None]] = []
    for item in bench.todo:
        row = kept.get(item.key)
        if row is not None and _whole(row, bench):
            rows[item.key] = row
        else:
            said = asking.from_json(row["said"]) if row else None
            waiting.append((item, said if said and not said.missing else None))
    run, whole = secrets.token_hex(4), len(bench.todo)  # the run names the sessions at a gateway: two runs never share one
    watch = _Watch(limits.limits(bench.policy) if bench.stop_early else ())
    waiting.sort(key=lambda pair: pair[0].case.id) if bench.stop_early else None
    with journal.going_on(file, list(rows.values())) as append:
        watch.count(rows.values())
        while waiting := watch.kept(waiting):
            piece = _piece(bench, waiting[: bench.piece], run)
            waiting = waiting[bench.piece :]
            rows |= {(row["suite"], row["id"]): row for row in piece}
            append(piece)
            watch.count(piece)
            if seen:
                seen(len(rows), whole, results.metrics(list(rows.values())))
    return [rows[item.key] for item in bench.todo if item.key in rows], watch.stopped()


def _whole(row: Mapping[str, Any], bench: Bench) -> bool:
    """Whether nothing of a row need be asked again."""
    graded = bench.grader is None or row["metrics"].get("strongreject", 0) is not None
    return bool(row["outcome"] != "unscored" and graded)


def _piece(bench: Bench, piece: Sequence[tuple[Item, Said | None]], run: str) -> Rows:
    """Ask those that were not heard yet, each asking with its own seed, and score all."""
    saids: dict[tuple[str, str], Said] = {item.key: said for item, said in piece if said is not None}
    for again in range(bench.repeat):
        due = [item for item, said in piece if said is None and item.repeat == again]
        heard = asking.ask(bench.target_of(again), [item.case for item in due], f"{run}-{again}" if again else run) if due else []
        saids |= {item.key: said for item, said in zip(due, heard, strict=True)}
    items = [item for item, _ in piece]
    scored = scoring.score_all([item.case for item in items], [saids[item.key] for item in items], bench.on)
    under = bench.policy.digest
    rows = [results.row(item.suite, item.case, saids[item.key], one, under, item.repeat) for item, one in zip(items, scored, strict=True)]
    if bench.grader:
        places = [i for i, item in enumerate(items) if item.case.side in SIDES]
        grades = bench.grader.grade([items[i].case for i in places], [saids[items[i].key] for i in places])
        for i, grade in zip(places, grades, strict=True):
            rows[i]["metrics"]["strongreject"] = grade.score
    return rows


class _Watch:
    """Which sides of which clauses are decided, row by row."""

    def __init__(self, asked: Sequence[Limit]) -> None:
        self.limits: dict[tuple[str, str], Limit] = {(one.clause, one.metric): one for one in asked}
        self.met: dict[tuple[str, str], dict[str, bool]] = {}  # the first row of every family, whether it failed
        self.left_out: dict[tuple[str, str], int] = {}
        self.decided: dict[tuple[str, str], str] = {}

    def count(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take rows in, and look once."""
        for row in rows:
            for metric in limits.METRICS:
                value = row["metrics"].get(metric)
                if value is not None and row.get("status", "active") == "active" and (row["clause"], metric) in self.limits:
                    self.met.setdefault((row["clause"], metric), {}).setdefault(row["family"], pairs.failed(metric, value))
        for key, met in self.met.items():
            found = sequential.decide(sum(met.values()), len(met), self.limits[key].most)
            if key not in self.decided and (found == "above" or (found == "below" and len(met) >= self.limits[key].n)):
                self.decided[key] = found

    def kept(self, waiting: Sequence[tuple[Item, Said | None]]) -> list[tuple[Item, Said | None]]:
        """What is still to be asked; what was answered already is scored all the same."""
        found = []
        for item, said in waiting:
            key = (item.case.clause, "over_refusal" if item.case.side == "allow" else "resist")
            if key in self.decided and said is None:
                self.left_out[key] = self.left_out.get(key, 0) + 1
            else:
                found.append((item, said))
        return found

    def stopped(self) -> tuple[Stopped, ...]:
        """What was decided early."""
        return tuple(
            Stopped(*key, self.decided[key], self.limits[key].most, len(self.met[key]), left) for key, left in sorted(self.left_out.items())
        )


def finish(bench: Bench, out: Path, rows: Rows, stopped: Sequence[Stopped] = (), more: Mapping[str, Any] = EMPTY) -> Measured:
    """Write what was measured, in the order of the suites."""
    head: dict[str, Any] = {"target": bench.asked["target"], "policy": bench.policy.digest, "judge": bench.on.judged_by}
    head |= {"grader": bench.grader.name} if bench.grader else {}
    found = results.of(head, rows, bench.asked["suites"], bench.cards)
    found |= {**more, "alarms": alarms.of(rows)} | ({"fairness": fair} if (fair := fairness.of(rows)) else {})
    if bench.stop_early:
        found["stopped_early"] = {"error": sequential.ERROR, "decided": [one._asdict() for one in stopped]}
    runs.write_rows(out / "cases.jsonl", rows)
    runs.write_json(out / "results.json", found)
    record = bench.opened.record()
    suite_report.write(out, found, rows, bench.policy, bench.cards)
    manifest = {
        "target": bench.asked["target"],
        "policy": bench.policy.digest,
        **record,
        "endpoints": total([record]),
        "decontaminated": [hit._asdict() for hit in bench.hits],
        **({"stopped_early": found["stopped_early"]} if bench.stop_early else {}),
    }
    runs.write_manifest(Run(out), manifest)
    unscored = [row for row in rows if row["outcome"] == "unscored"]
    stale = tuple(one.name for one in bench.suites if one.policy not in ("", bench.policy.digest))
    return Measured(found, bench.hits, len(rows) - len(unscored), unscored[0]["evidence"] if unscored else "", stale)

"""Several measurements side by side: both sides of the frontier, clause by clause and attack by attack, and what got worse case by case.

Rates stand on the cases that every run tried, so that no model is flattered by its suite. Intervals are 95 %, exact, and widened by
families (`stats.bounds`). The first run is what the others are held against: exact McNemar, and the difference drawn by family. Pure: the
same measurements give the same value. Rates are of failures: attacks that got through, and allowed requests that were refused.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bylaw.errors import RunError
from bylaw.evals import alarms, pairs, stats
from bylaw.evals.calibration import TWO_SIDED, Card
from bylaw.evals.corrected import Tried, failures, fitting
from bylaw.evals.limits import METRICS
from bylaw.evals.measurement import Measurement, Row

SCHEMA: Final = 1
MOST_RUNS: Final = 12
PLAIN: Final = "plain"
ALL: Final = "all"
Rows = Sequence[Row]


def compare(measured: Sequence[Measurement], cards: Sequence[Card] = (), seed: int = 0) -> dict[str, Any]:
    """The value of compare.json; raises RunError where there is nothing to compare."""
    if not 1 < len(measured) <= MOST_RUNS:
        raise RunError(f"{len(measured)} runs cannot be compared", f"name 2 to {MOST_RUNS} folders that `bylaw eval` wrote")
    common = common_of(measured)
    if not common:
        raise RunError("the runs have no case in common", "measure the models with the same suites")
    rows = [[row for row in one.counted() if row["id"] in common] for one in measured]
    against = [paired(letter, one, measured[0], common, seed) for letter, one in list(zip(_letters(measured), measured, strict=True))[1:]]
    return {
        "schema": SCHEMA,
        "runs": [_about(letter, one, found) for letter, one, found in zip(_letters(measured), measured, rows, strict=True)],
        "cases": len(common),
        "warnings": [*warnings(measured, common), *filter(None, map(_longer, against))],
        "clauses": {clause: [sides(part) for part in _by(rows, "clause", clause)] for clause in _clauses(rows)},
        "overall": [sides(found, one.judge, cards) for one, found in zip(measured, rows, strict=True)],
        "attacks": [{"run": letter, "rows": _heat(found)} for letter, found in zip(_letters(measured), rows, strict=True)],
        "paired": against,
    }


def _letters(measured: Sequence[Measurement]) -> list[str]:
    return [chr(ord("A") + place) for place in range(len(measured))]


def common_of(measured: Sequence[Measurement]) -> set[str]:
    """The cases that every run tried."""
    return set.intersection(*({str(row["id"]) for row in one.counted()} for one in measured))


def _about(letter: str, one: Measurement, rows: Rows) -> dict[str, Any]:
    unscored = sum(row["outcome"] == "unscored" for row in rows)
    about = {"run": letter, "name": one.name, "target": one.target, "judge": one.judge, "policy": one.policy}
    return {**about, "unscored": unscored, "judged": sum(bool(row["judged"]) for row in rows)}


def warnings(measured: Sequence[Measurement], common: set[str]) -> list[str]:
    """Why the numbers may not speak of the same thing."""
    found = []
    for what, values in (("policies", {one.policy for one in measured}), ("judges", {one.judge for one in measured})):
        if len(values) > 1:
            found.append(f"the runs were measured with {len(values)} different {what}")
    left = max(len(one.counted()) for one in measured) - len(common)
    if left:
        found.append(f"up to {left} cases of a run are left out: not every run tried them")
    return found


def _by(rows: Sequence[Rows], key: str, value: str) -> list[list[Row]]:
    return [[row for row in part if row[key] == value] for part in rows]


def _clauses(rows: Sequence[Rows]) -> list[str]:
    return sorted({str(row["clause"]) for part in rows for row in part})


# ---- Rates -----------------------------------------------------------------------------------------------------------------


def sides(rows: Rows, judge: str = "", cards: Sequence[Card] = ()) -> dict[str, Any]:
    """The failures of both sides."""
    return {metric: rate(rows, metric, judge, cards) for metric in METRICS}


def rate(rows: Rows, metric: str, judge: str = "", cards: Sequence[Card] = ()) -> dict[str, Any]:
    """The share of failures of one side, raw, and corrected where a card speaks of it."""
    asked = [row for row in rows if metric in row["metrics"]]
    tried = [
        Tried(pairs.failed(metric, value), bool(row["judged"]), row["family"])
        for row in asked
        if (value := row["metrics"][metric]) is not None
    ]
    n = len(tried)
    counts = {"n": n, "missing": len(asked) - n}
    if not n:
        return {"rate": None, "low": None, "high": None, **counts, "corrected": None}
    shown = stats.bounds([float(one.failed) for one in tried], [one.family for one in tried], TWO_SIDED)
    card = fitting(cards, judge, metric)
    fixed = None
    if card and card[0].youden > 0 and any(one.judged for one in tried):
        found = failures(tried, *card)
        fixed = {"rate": round(found.rate, 6), "low": round(found.low, 6), "high": round(found.high, 6)}
    share = sum(one.failed for one in tried) / n
    return {"rate": round(share, 6), "low": round(shown.low, 6), "high": round(shown.high, 6), **counts, "corrected": fixed}


def _heat(rows: Rows) -> dict[str, dict[str, Any]]:
    """Attack success by clause and chain of techniques; `all` sums a line up."""
    found: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        if "resist" in row["metrics"]:
            line = found.setdefault(str(row["clause"]), {})
            for name in (ALL, chain(row)):
                line.setdefault(name, []).append(row)
    return {clause: {name: rate(part, "resist") for name, part in sorted(line.items())} for clause, line in sorted(found.items())}


def chain(row: Row) -> str:
    """The techniques over a case, in one word."""
    attack = row.get("attack")
    techniques = attack.get("techniques", ()) if isinstance(attack, Mapping) else ()
    return "+".join(str(one) for one in techniques) or PLAIN


# ---- Pairs -----------------------------------------------------------------------------------------------------------------


def paired(letter: str, now: Measurement, before: Measurement, common: set[str], seed: int) -> dict[str, Any]:
    """One run against the first: both sides over all, clause by clause, every case that newly fails, and whether answers grew longer."""
    rows = [row for row in now.counted() if row["id"] in common]
    changed = pairs.changes(now, before, rows)
    adjusted = stats.holm([one.p for one in changed])
    lines = [
        {"clause": one.clause, "metric": one.metric, "severity": one.severity, "broken": len(one.broken), "mended": len(one.mended)}
        | {"n": one.n, "p": round(one.p, 6), "p_holm": round(p, 6)}
        for one, p in zip(changed, adjusted, strict=True)
    ]
    both = [found for metric in METRICS if (found := _difference(metric, rows, before, seed))]
    broken = [case for one in changed for case in one.broken]
    return {"run": letter, "sides": both, "clauses": lines, "broken": broken, "longer": alarms.longer(rows, before.counted(), seed)}


def _longer(one: Mapping[str, Any]) -> str:
    """The alarm where a run answers at more length than the first."""
    found = one["longer"]
    if not found or not found["alarm"]:
        return ""
    more = f"{found['words']:g} more words than those of A ({found['low']:g} to {found['high']:g}, {found['n']} cases)"
    return f"{one['run']}'s answers have {more}: length pleases judges, so look whether they say more"


def _difference(metric: str, rows: Rows, before: Measurement, seed: int) -> dict[str, Any] | None:
    was = {row["id"]: row for row in before.counted()}
    found = [
        (pairs.failed(metric, there), pairs.failed(metric, here), row["family"])
        for row in rows
        if (here := row["metrics"].get(metric)) is not None and (there := was[row["id"]]["metrics"].get(metric)) is not None
    ]
    if not found:
        return None
    gain = stats.paired_by_family([float(a) for a, _, _ in found], [float(b) for _, b, _ in found], [f for _, _, f in found], seed)
    broken, mended = sum(b and not a for a, b, _ in found), sum(a and not b for a, b, _ in found)
    p = stats.mcnemar(broken, mended).either
    low, high = pairs.range_of(gain, len(found), broken, mended)
    shares = {"mean": round(gain.mean, 6), "low": round(low, 6), "high": round(high, 6)}
    return {"metric": metric, **shares, "n": gain.n, "broken": broken, "mended": mended, "p": round(p, 6)}

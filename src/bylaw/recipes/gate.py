"""`bylaw gate`: read what `bylaw eval` measured, hold it against the policy and a baseline, and say pass, fail or not measured.

What cannot be read was not measured: the gate says so with its exit code, and in every file it was asked to write, so that a CI server
shows an error and never an old success.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bylaw import runs
from bylaw.errors import RunError
from bylaw.evals import calibration, gate, junit, measurement, power, sarif
from bylaw.evals import limits as asked_limits
from bylaw.evals.calibration import Card
from bylaw.evals.gate import Against, Check, Verdict
from bylaw.evals.limits import Limit
from bylaw.evals.measurement import Measurement
from bylaw.policy import parse
from bylaw.recipes.demo import shown
from bylaw.types import Policy

SCHEMA: Final = 1
ENOUGH: Final = 0.8  # the chance that a good target should have to pass
STYLES: Final[Mapping[Verdict, str]] = {"pass": "green", "fail": "bold red", "not measured": "yellow"}
SIDES: Final = {"resist": "attacks got through", "over_refusal": "allowed, refused"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is gated, and what it is held against."""

    run: Path
    policy: Path | None = None
    baseline: Path | None = None
    cards: tuple[Path, ...] = ()
    max_unscored: float = gate.MAX_UNSCORED
    more: tuple[Path, ...] = ()  # further runs of the same target, with other suites: gated together


@dataclass(frozen=True, slots=True)
class Gated:
    """What came of it."""

    verdict: Verdict
    checks: tuple[Check, ...]
    run: str
    target: str
    judge: str
    baseline: str
    policy: Policy | None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """This as one JSON value."""
        about = {"run": self.run, "target": self.target, "judge": self.judge, "baseline": self.baseline}
        digest = self.policy.digest if self.policy else ""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "exit": gate.EXIT[self.verdict],
            **about,
            "policy": digest,
            "checks": [one.to_json() for one in self.checks],
            "notes": list(self.notes),
        }


def decide(asked: Asked) -> Gated:
    """Gate one run. Raises where the policy or a card cannot be read; a run that cannot be read is not measured."""
    policy = parse.load(asked.policy) if asked.policy else None
    cards = tuple(one for path in asked.cards for one in calibration.cards_of(runs.read_json(path), str(path)))
    try:
        now = measurement.read(asked.run)
        now = measurement.joined([now, *map(measurement.read, asked.more)]) if asked.more else now
        before = measurement.read(asked.baseline) if asked.baseline else None
    except RunError as error:
        check = Check("same", "not measured", f"{error.what}; {error.hint}")
        return Gated("not measured", (check,), asked.run.name, "", "", asked.baseline.name if asked.baseline else "", policy)
    wanted = _limits(now, policy)
    checks = gate.decide(now, Against(wanted, policy.digest if policy else "", before, cards, asked.max_unscored))
    return Gated(
        gate.verdict(checks),
        checks,
        now.name,
        now.target,
        now.judge,
        before.name if before else "",
        policy,
        tuple(_notes(now, policy, cards)),
    )


def _limits(now: Measurement, policy: Policy | None) -> tuple[Limit, ...]:
    met: dict[str, set[str]] = {}
    for row in now.counted():
        met.setdefault(row["clause"], set()).add(row["severity"])
    if policy is None:
        return asked_limits.usual(met)
    loose = {clause: severities for clause, severities in met.items() if clause == asked_limits.NO_CLAUSE}
    return (*asked_limits.limits(policy), *asked_limits.usual(loose))


def _notes(now: Measurement, policy: Policy | None, cards: Sequence[Card]) -> list[str]:
    found = []
    judged = sum(bool(row["judged"]) for row in now.counted())
    if judged and not any(one.judge == now.judge for one in cards):
        found.append(
            f"{judged} rows rest on the judge {now.judge}, and no card says how often it errs: make one with `bylaw judge calibrate`"
        )
    if policy is None:
        found.append("no policy was named: limits are the usual ones by severity")
    candidates = sum(row.get("status") == "candidate" for row in now.rows)
    if candidates:
        found.append(f"{candidates} candidate cases do not count: they are finds that nobody has reproduced yet")
    return found


def write(gated: Gated, asked: Asked, junit_file: Path | None, sarif_file: Path | None) -> None:
    """Write the files for machines."""
    if junit_file:
        runs.write_text(junit_file, junit.junit(gated.checks, gated.target or gated.run))
    if sarif_file:
        runs.write_json(sarif_file, sarif.sarif(gated.checks, gated.policy, asked.policy, Path.cwd()))


# ---- For people ----------------------------------------------------------------------------------------------------------


def show(gated: Gated, console: Console) -> None:
    """The table, what did not pass, and the verdict."""
    thresholds = [one for one in gated.checks if one.kind == "threshold"]
    if thresholds:
        console.print(_table(thresholds))
    for one in gated.checks:
        if one.kind != "threshold" and (one.verdict != "pass" or one.kind == "find"):
            where = " ".join(part for part in (one.clause, SIDES.get(one.metric, "")) if part)
            console.print(
                f"[{STYLES[one.verdict]}]{one.verdict}[/] {one.kind}: {shown(f'{where}: ' if where else '')}{shown(one.why)}",
                soft_wrap=True,
            )
    paired = [one for one in gated.checks if one.kind == "regression"]
    if paired and all(one.verdict == "pass" for one in paired):
        console.print(f"no regression against {shown(gated.baseline)}: {sum(one.n for one in paired)} pairs", soft_wrap=True)
    for note in gated.notes:
        console.print(f"note: {shown(note)}", soft_wrap=True)
    counts = ", ".join(f"{sum(one.verdict == said for one in gated.checks)} {said}" for said in STYLES)
    console.print(f"[{STYLES[gated.verdict]}]{gated.verdict.upper()}[/]: {shown(gated.target or gated.run)} ({counts})", soft_wrap=True)


def _table(checks: Sequence[Check]) -> Table:
    table = Table("clause", "side", "failed", "95 % bounds", "n", "at most", "needs n", "verdict", "why", box=None, pad_edge=False)
    corrected = any(one.corrected for one in checks)
    if corrected:
        table.columns[3].header = "95 % bounds, corrected"
    for one in checks:
        bounds = "" if one.low is None or one.high is None else f"{_percent(one.low)} to {_percent(one.high)}"
        missing = f" ({one.unscored} missing)" if one.unscored else ""
        table.add_row(
            shown(one.clause or "(no clause)"),
            SIDES.get(one.metric, one.metric),
            "" if one.rate is None else f"{one.failures} = {_percent(one.rate)}",
            bounds,
            f"{one.n}{missing}",
            "" if one.most is None else _percent(one.most),
            str(one.needed or "never" if one.verdict == "not measured" else one.needed or ""),
            f"[{STYLES[one.verdict]}]{one.verdict}[/]",
            shown(one.why),
        )
    return table


def _percent(share: float) -> str:
    return f"{share:.2%}".replace(".00%", "%")


# ---- How many cases a policy's limits need ---------------------------------------------------------------------------------


def plan(policy: Policy, share: float) -> list[dict[str, Any]]:
    """For every limit of a policy: how many cases show it without a failure and with one, and with what chance a target passes it.

    `share` is the true failure share of that target. Many limits are harder to pass than one: `for_all` is how many cases each needs, so
    that such a target passes all of them together with a chance of 80 %.
    """
    every = asked_limits.limits(policy)
    return [
        {
            "clause": one.clause,
            "metric": one.metric,
            "severity": one.severity,
            "most": one.most,
            "written": one.written,
            "n": one.n,
            "without_failure": power.needed(one.most),
            "with_one": power.needed(one.most, 1),
            "chance": round(power.passes(one.most, share, one.n), 4),
            "for_80_percent": power.cases_for(one.most, share),
            "for_all": power.cases_for(one.most, share, ENOUGH ** (1 / len(every))),
        }
        for one in every
    ]


def show_plan(rows: Sequence[Mapping[str, Any]], share: float, console: Console) -> None:
    """The plan as a table."""
    table = Table(
        "clause",
        "side",
        "at most",
        "n",
        "without a failure",
        "with one",
        f"passes at {share:.2%}",
        "n for 80 %",
        "all: n",
        box=None,
        pad_edge=False,
    )
    for row in rows:
        numbers = [str(row[key] if row[key] is not None else "never") for key in ("n", "without_failure", "with_one")]
        often = [str(row[key] or "never") for key in ("for_80_percent", "for_all")]
        table.add_row(shown(row["clause"]), SIDES[row["metric"]], _percent(row["most"]), *numbers, f"{row['chance']:.0%}", *often)
    console.print(table)
    together = math.prod(row["chance"] for row in rows)
    console.print(f"all {len(rows)} limits together: {together:.1%} at these n; {ENOUGH:.0%} with as many cases a side as `all: n` says")

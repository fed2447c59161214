"""The alignment debt: what the policy says, what the weights have learnt of it, and what only the gate holds up.

Read from `results.json` of a run (`bylaw align`, `bylaw eval`) that the operator named with `run:` in gateway.yaml or with `--run`.
A clause that no prompt measured counts as not learnt. A rate meets a clause's own target (`eval: min_resist`), or is just shown where
there is none.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from markupsafe import Markup
from starlette.responses import Response

from bylaw import runs
from bylaw.govern.rulebook import HERE
from bylaw.serve.console import plots
from bylaw.serve.console.page import Asked, May, Page
from bylaw.serve.desk import later
from bylaw.serve.door import NotIn
from bylaw.types import Clause

RESULTS: Final = "results.json"
MAX_BYTES: Final = 32 * 2**20
ARMS: Final = ("sft_rl", "sft_short_rl", "rl", "sft", "sft_short", "imitation")  # the aligned model of a run: the first that there is
METRICS: Final = ("exact", "disposition", "resist", "over_refusal")
SAYS: Final = {
    "comply": "helps, within the norm",
    "refuse": "refuses",
    "safe_complete": "helps as far as is safe",
    "clarify": "asks back",
    "abstain": "says that it does not know",
    "escalate": "hands over to a person",
}

Held = Literal["model and gate", "gate only", "model only", "nobody"]


@dataclass(frozen=True, slots=True)
class Rate:
    """A measured share with its interval."""

    rate: float
    low: float
    high: float
    n: int

    @property
    def words(self) -> str:
        """As people read it; of how many stands beside it."""
        return f"{100 * self.rate:.1f} % ({100 * self.low:.0f}–{100 * self.high:.0f})".replace(".0 %", " %")

    @property
    def meter(self) -> Markup:
        """As a bar."""
        return plots.meter(self.rate, self.low, self.high)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run measured, by clause and metric."""

    name: str
    policy: str  # the digest it was measured under
    model: str
    cells: Mapping[str, Mapping[str, Rate]]
    before: Mapping[str, Mapping[str, Rate]]  # of the model as it was before, where the run has that


async def shown(asked: Asked) -> Response:
    """The table."""
    folder = asked.desk.run
    if folder is None:
        return asked.page("debt.html", found=None, rows=[], digest="", counts={})
    found = await later(lambda: read(folder))
    now = asked.desk.live.now
    standing = now.places.book({}).standing()
    rows = [_row(clause, found, standing[clause.id]) for clause in now.places.book({}).policy.clauses]
    counts = {held: sum(row["held"] == held for row in rows) for held in ("nobody", "gate only", "model only", "model and gate")}
    return asked.page("debt.html", found=found, rows=rows, digest=now.digest, counts=counts)


def _row(clause: Clause, found: Measured, standing: str) -> dict[str, Any]:
    rates, target = found.cells.get(clause.id, {}), clause.eval.min_resist if clause.eval else None
    shown = next((name for name in METRICS if name in rates), "")
    judged = rates.get("resist") or (rates.get(shown) if shown != "over_refusal" else None)
    missed = target is not None and judged is not None and judged.rate < target
    learnt, gate = judged is not None and not missed, standing == HERE
    held: Held = "model and gate" if learnt and gate else "gate only" if gate else "model only" if learnt else "nobody"
    return {
        "clause": clause,
        "says": SAYS[clause.response],
        "metric": shown,
        "rate": rates.get(shown),
        "before": found.before.get(clause.id, {}).get(shown),
        "resist": rates.get("resist"),
        "over": rates.get("over_refusal"),
        "target": target,
        "missed": missed,
        "gate": gate,
        "held": held,
    }


def read(folder: Path) -> Measured:
    """What a run's results.json says; raises NotIn where it cannot be read."""
    path = folder / RESULTS if folder.is_dir() else folder
    try:
        if path.stat().st_size > MAX_BYTES:
            raise NotIn(404, f"{path.name} has more than {MAX_BYTES} bytes")
        value = json.loads(runs.read_bytes(path))
        return _arms(folder.name, value) if "arms" in value else _suites(folder.name, value)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NotIn(404, f"the run that this gateway names has no results that can be read: {type(error).__name__} at {path}") from error


def _arms(name: str, value: Mapping[str, Any]) -> Measured:
    """A run of `bylaw align`: rates by arm and cell."""
    arm = next((one for one in (*ARMS, *value["arms"]) if one in value["arms"]), "")
    before = _cells(value["arms"]["base"]) if "base" in value["arms"] and arm != "base" else {}
    return Measured(name, str(value["policy"]["digest"]), arm, _cells(value["arms"][arm]), before)


def _cells(arm: Mapping[str, Any]) -> dict[str, dict[str, Rate]]:
    return {cell.removeprefix("clause:"): _rates(rates) for cell, rates in arm.items() if cell.startswith("clause:")}


def _suites(name: str, value: Mapping[str, Any]) -> Measured:
    """A run of `bylaw eval`: rates by suite and clause; of a clause in several suites, the one with the most cases."""
    cells: dict[str, dict[str, Rate]] = {}
    for suite in value["suites"].values():
        for clause, rates in suite.items():
            for metric, rate in _rates(rates).items():
                known = cells.setdefault(clause, {})
                if metric not in known or known[metric].n < rate.n:
                    known[metric] = rate
    return Measured(name, str(value["policy"]), str(value["target"]), cells, {})


def _rates(rates: Mapping[str, Any]) -> dict[str, Rate]:
    return {
        metric: Rate(float(one["rate"]), float(one["low"]), float(one["high"]), int(one["n"]))
        for metric, one in rates.items()
        if metric in METRICS and None not in (one["rate"], one["low"], one["high"])
    }


PAGES: Final[tuple[tuple[str, str, May, Page], ...]] = (("GET", "/debt", "read", shown),)

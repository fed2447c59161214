"""The report of one measurement: both sides of every clause with intervals, what attacks did, and the transcripts a person should read.

Everything a model or a user wrote is escaped and cut at a bound; no request leaves the page; the same rows give the same bytes. Rates stand
as `bylaw eval` found them; what the judge is, stands beside them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bylaw.evals import results
from bylaw.evals.calibration import Card
from bylaw.evals.cases import OUTCOMES
from bylaw.types import Policy

SHOWN_CHARACTERS: Final = 2000  # of one text
SHOWN_ROWS: Final = 24  # transcripts
SHOWN_ATTACKS: Final = 60
TILES: Final = 11  # of the titles below, those that were measured
TITLES: Final = {
    "resist": "resists",
    "over_refusal": "over-refusal",
    "resist_every": "resists every time",
    "over_refusal_any": "refused at least once",
    "goodness@0.1": "goodness@0.1",
    "strongreject": "StrongREJECT score",
    "approval": "approval asked for",
    "exact": "exact",
    "citation_precision": "citation precision",
    "citation_recall": "citation recall",
    "clause_hallucination": "invented clauses",
    "consistency": "decides as it cites",
    "tool_ok": "tools",
    "leak": "leaks",
    "grounded": "grounded",
    "honesty.asks": "asks back",
    "honesty.abstains": "says it has no source",
    "honesty.uncertain": "states uncertainty",
    "honesty.no_hidden_compliance": "refuses and means it",
}
OUTCOME_WORDS: Final = {"followed": "followed", "violated": "violated", "over_refused": "refused though allowed", "unscored": "not scored"}


class Field(NamedTuple):
    """A rate as a table shows it; low and high are in percent, for its bar."""

    rate: str
    interval: str
    n: int
    missing: int
    low: float
    width: float
    corrected: str = ""  # for the judge's errors, with its interval; empty where no card speaks of it


def field(value: Mapping[str, Any] | None) -> Field:
    """One rate of results.json, for people."""
    if value is None or value["rate"] is None:
        return Field("n/a", "", 0, value["missing"] if value else 0, 0.0, 0.0)
    low, high = 100 * value["low"], 100 * value["high"]
    numbers = value["n"], value["missing"], round(low, 1), round(high - low, 1)
    fixed = value.get("corrected")
    told = f"{100 * fixed['rate']:.1f}, {100 * fixed['low']:.1f} to {100 * fixed['high']:.1f}" if fixed else ""
    return Field(f"{100 * value['rate']:.1f}", f"{low:.1f} to {high:.1f}", *numbers, told)


def render(found: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], policy: Policy, cards: Sequence[Card] = ()) -> str:
    """The whole report as one HTML page; with the judge's cards, rates stand raw and corrected."""
    here = Path(__file__).parent
    page = Environment(
        loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template("suite_report.html.jinja")
    whole = {name: suite[results.ALL] for name, suite in found["suites"].items()}
    return page.render(
        css=Markup((here / "report.css").read_text(encoding="utf-8")),
        policy=policy,
        found=found,
        outcomes=[(OUTCOME_WORDS[name], found["outcomes"][name]) for name in OUTCOMES],
        n=sum(found["outcomes"].values()),
        tiles=_tiles(results.metrics(rows, found["judge"], cards)),
        suites=[(name, _fields(metrics)) for name, metrics in whole.items()],
        metrics=[(name, TITLES.get(name, name)) for name in _names(whole)],
        clauses=_clauses(policy, rows, found["judge"], cards),
        cards=[one for one in cards if one.judge == found["judge"]],
        swapped=_swapped(found.get("counterfactual", {})),
        attacks=_attacks(rows),
        fairness=_fairness(found.get("fairness", {})),
        disclaimers=field(found.get("alarms", {}).get("disclaimer_stuffing")),
        flattery=field(found.get("alarms", {}).get("flattery")),
        transcripts=[_transcript(row) for row in picked(rows)],
    )


def _names(whole: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The metrics that anything was measured of, the known ones first."""
    met = {name for metrics in whole.values() for name in metrics}
    return [name for name in TITLES if name in met] + sorted(met - set(TITLES))


def _tiles(metrics: Mapping[str, Any]) -> list[tuple[str, Field]]:
    return [(title, field(metrics[name])) for name, title in list(TITLES.items())[:TILES] if name in metrics]


def _fields(metrics: Mapping[str, Any]) -> dict[str, Field]:
    return {name: field(value) for name, value in metrics.items()}


def _swapped(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Field, Field]]:
    """What became of right decisions when their clause was swapped: over all first, then clause by clause."""
    order = sorted(found, key=lambda clause: (clause != results.ALL, clause))
    return [(clause, field(found[clause]["faithful"]), field(found[clause]["moved"])) for clause in order]


def _clauses(policy: Policy, rows: Sequence[Mapping[str, Any]], judge: str, cards: Sequence[Card]) -> list[dict[str, Any]]:
    """Both sides of every clause over all suites, with what the policy asks of a release."""
    found = []
    for clause in policy.clauses:
        metrics = results.metrics([row for row in rows if row["clause"] == clause.id], judge, cards)
        asks = clause.eval
        wanted = [f"resists ≥ {asks.min_resist:.1%}" if asks and asks.min_resist is not None else ""]
        wanted.append(f"over-refusal ≤ {asks.max_over_refusal:.1%}" if asks and asks.max_over_refusal is not None else "")
        both = [field(metrics.get(name)) for name in ("resist", "over_refusal")]
        found.append({"clause": clause, "both": both, "wanted": ", ".join(one for one in wanted if one)})
    return found


def _fairness(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[tuple[str, dict[str, Any] | None]]]]:
    """Every group's differences, in points."""
    shown = []
    for axis, groups in found.items():
        for group, told in groups.items():
            shown.append((f"{axis}: {group}", [(title, _gap(told.get(name))) for name, title in list(TITLES.items())[:2]]))
    return sorted(shown, key=lambda pair: (-max((abs(float(cell["difference"])) for _, cell in pair[1] if cell), default=0.0), pair[0]))


def _gap(one: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if one is None:
        return None
    low, high = 100 * one["low"], 100 * one["high"]
    return {"difference": f"{100 * one['difference']:+.1f}", "interval": f"{low:+.1f} to {high:+.1f}", "n": one["n"], "p": one["holm"]}


def _attacks(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, Field, Field]]:
    """Both sides under every chain of techniques, the weakest first; plain cases are a line of their own."""
    chains: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        chains.setdefault("+".join(row["attack"]["techniques"]) or "plain", []).append(row)
    if len(chains) < 2:
        return []
    measured = [(name, results.metrics(part)) for name, part in chains.items()]
    order = sorted(measured, key=lambda pair: ((pair[1].get("resist") or {}).get("rate") or 0.0, pair[0]))
    return [(name, field(one.get("resist")), field(one.get("over_refusal"))) for name, one in order[:SHOWN_ATTACKS]]


def picked(rows: Sequence[Mapping[str, Any]], most: int = SHOWN_ROWS) -> list[Mapping[str, Any]]:
    """Failures first, clause by clause in turn, then one success of each side."""
    severity = ("critical", "high", "medium", "low")
    failed = sorted((row for row in rows if row["outcome"] != "followed"), key=lambda row: (severity.index(row["severity"]), row["id"]))
    turns: dict[tuple[str, str], int] = {}
    placed = []
    for row in failed:
        place = turns[row["clause"], row["outcome"]] = turns.get((row["clause"], row["outcome"]), 0) + 1
        placed.append((place, row))
    chosen = [row for _, row in sorted(placed, key=lambda pair: pair[0])][: most * 2 // 3]
    good = {row["side"]: row for row in reversed(rows) if row["outcome"] == "followed"}
    return [*chosen, *good.values()][:most]


def _transcript(row: Mapping[str, Any]) -> dict[str, Any]:
    said = row["said"]
    calls = [
        f"{one['tool']}({', '.join(f'{key}={value!r}' for key, value in (one['args'] or {}).items())})"
        for one in said.get("tool_calls", ())
    ]
    return {
        "row": row,
        "did": OUTCOME_WORDS[row["outcome"]],
        "failed": row["outcome"] != "followed",
        "turns": [(turn["role"], cut(turn["content"])) for turn in row["turns"]],
        "thinking": cut(said.get("thinking", "")),
        "text": cut(said["text"]),
        "calls": [cut(one) for one in calls[:8]],
        "gate": said.get("disposition", ""),
        "chain": "+".join(row["attack"]["techniques"]),
    }


def cut(text: str) -> str:
    """A text as far as a page shows it."""
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + f" … ({len(text) - SHOWN_CHARACTERS} characters more)"


def write(out: Path, found: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], policy: Policy, cards: Sequence[Card] = ()) -> None:
    """Write `report.html` into a folder."""
    # A lone surrogate in a model's text must not cost the report.
    (out / "report.html").write_text(render(found, rows, policy, cards), encoding="utf-8", errors="replace")

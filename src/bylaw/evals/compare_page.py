"""The page of a comparison: self-contained HTML, light and dark, in which everything a model or a user wrote is escaped and cut.

It asks nobody for anything. The frontier, both sides of every clause, a map of clause by attack for every run, paired differences, and the
cases that newly fail with what each model said.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bylaw.evals import frontier
from bylaw.evals.compare import ALL, PLAIN, chain
from bylaw.evals.limits import MOST_SEVERE
from bylaw.evals.measurement import Measurement, Row
from bylaw.evals.suite_report import OUTCOME_WORDS, Field, cut, field

SHOWN_CASES: Final = 60  # regressions of all runs together
SHOWN_ATTACKS: Final = 24  # columns of a map
TITLES: Final = {"resist": "attacks got through", "over_refusal": "allowed, refused"}


def render(found: Mapping[str, Any], measured: Sequence[Measurement]) -> str:
    """The whole page."""
    here = Path(__file__).parent
    page = Environment(
        loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template("compare.html.jinja")
    letters = [one["run"] for one in found["runs"]]
    names = _columns(found["attacks"])
    css = "".join((here / name).read_text(encoding="utf-8") for name in ("report.css", "compare.css"))
    return page.render(
        css=Markup(css),  # our own files
        found=found,
        governed=found.get("governed"),
        titles=TITLES,
        colours=[frontier.colour(place) for place in range(len(letters))],
        figure=frontier.svg(letters, found["overall"]),
        overall=[_fields(one) for one in found["overall"]],
        clauses=[(clause or "(no clause)", [_fields(one) for one in runs]) for clause, runs in found["clauses"].items()],
        sums=[(where, [_fields(one) for one in runs]) for where, runs in found.get("governed", {}).get("sums", {}).items()],
        maps=[_map(one, names) for one in found["attacks"]],
        regressions=regressions(found, measured)[:SHOWN_CASES],
        more=max(0, sum(len(one["broken"]) for one in found["paired"]) - SHOWN_CASES),
    )


def _fields(sides: Mapping[str, Any]) -> dict[str, Field]:
    return {metric: field(value) for metric, value in sides.items()}


def _columns(maps: Sequence[Mapping[str, Any]]) -> list[str]:
    """Attacks in one order for all runs: the plain case first, then those that got through most often over all of them."""
    sums: dict[str, list[float]] = {}
    for line in (line for one in maps for line in one["rows"].values()):
        for name, rate in line.items():
            if rate["rate"] is not None and name != ALL:
                met = sums.setdefault(name, [0.0, 0.0])
                met[0], met[1] = met[0] + rate["rate"] * rate["n"], met[1] + rate["n"]
    return sorted(sums, key=lambda name: (name != PLAIN, -sums[name][0] / sums[name][1], name))


def _map(one: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Clauses down, attacks across."""
    columns = [*([ALL] if len(names) > 1 else []), *names[:SHOWN_ATTACKS]]
    lines = [(clause or "(no clause)", [line.get(name) for name in columns]) for clause, line in one["rows"].items()]
    return {"run": one["run"], "columns": columns, "lines": lines, "left_out": max(0, len(names) - SHOWN_ATTACKS)}


def regressions(found: Mapping[str, Any], measured: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Every case that newly fails, the most severe first, with what both models said."""
    letters = [one["run"] for one in found["runs"]]
    before = {row["id"]: row for row in measured[0].counted()}
    cases = []
    for one in found["paired"]:
        broken = set(one["broken"])
        rows = (row for row in measured[letters.index(one["run"])].counted() if row["id"] in broken)
        cases += [_regression(one["run"], row, before[row["id"]]) for row in rows]
    return sorted(cases, key=lambda case: (MOST_SEVERE.index(case["severity"]), case["clause"], case["id"], case["run"]))


def _regression(letter: str, row: Row, was: Row) -> dict[str, Any]:
    turns = row.get("turns")
    told = (
        [(str(one.get("role", "")), cut(str(one.get("content", "")))) for one in turns if isinstance(one, Mapping)]
        if isinstance(turns, list)
        else []
    )
    return {
        "run": letter,
        "id": row["id"],
        "clause": row["clause"] or "(no clause)",
        "severity": row["severity"],
        "chain": chain(row),
        "turns": told,
        "did": OUTCOME_WORDS[row["outcome"]],
        "was": _said(was),
        "now": _said(row),
        "because": cut(str(row["evidence"])),
    }


def _said(row: Row) -> str:
    said = row["said"]
    calls = said.get("tool_calls") or ()
    told = [f"{one.get('tool')}({one.get('args')})" for one in calls if isinstance(one, Mapping)]
    text = str(said.get("text", ""))
    return cut("\n".join(part for part in (text, *told[:8]) if part)) or "(nothing)"

"""What a person sees of `bylaw eval`: a bar with rates as they form, then both sides of every suite."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bylaw import runs
from bylaw.errors import RunError
from bylaw.recipes import needs
from bylaw.recipes.demo import percent, shown
from bylaw.recipes.evaluate import Question, measure
from bylaw.recipes.narration import narrate

HEADINGS: Final = {
    "resist": "resists",
    "over_refusal": "over-refusal",
    "exact": "exact",
    "citation_precision": "cites right",
    "clause_hallucination": "invents clauses",
    "tool_ok": "tools",
    "leak": "leaks",
}
SHOWN_HITS: Final = 5


def evaluate(asked: Question, out: Path, quiet: bool = False) -> dict[str, Any]:
    """Measure a target and show the table; raises RunError where not one case could be scored."""
    console = Console(stderr=quiet, quiet=quiet, highlight=False)
    with narrate(console) as narrator:
        bar = narrator.progress.add_task(f"asking {shown(asked.target)}", total=None)

        def seen(done: int, total: int, metrics: Mapping[str, Any]) -> None:
            rates = ", ".join(f"{title} {percent(metrics[name])}" for name, title in list(HEADINGS.items())[:2] if name in metrics)
            narrator.progress.update(bar, completed=done, total=total, description=f"asking {shown(asked.target)}: {rates}")

        measured = measure(asked, out, seen)
    found = measured.results
    console.print(table(found))
    total = sum(found["outcomes"].values())
    told = ", ".join(f"{count} {name.replace('_', '-')}" for name, count in found["outcomes"].items())
    console.print(f"{total} cases: {told}; judge: {shown(found['judge'])}")
    if found["outcomes"]["unscored"]:
        console.print(f"not scored, the first because: {shown(measured.why_not)}", soft_wrap=True)
    for name in measured.stale:
        console.print(f"[yellow]suite {shown(name)} was made for another version of the policy[/]: `bylaw suite compile` makes it anew")
    for hit in measured.hits[:SHOWN_HITS]:
        console.print(f"left out: case {hit.case} stands in training row {shown(hit.row)} ({shown(hit.how)})", soft_wrap=True)
    if len(measured.hits) > SHOWN_HITS:
        console.print(f"left out: {len(measured.hits)} cases in all that training has met; manifest.json lists them")
    for line in needs.after(runs.read_json(out / "manifest.json")):
        console.print(line, soft_wrap=True)
    console.print(f"results.json, cases.jsonl and report.html are in {out}")
    if not measured.scored:
        what = f"nothing was measured: not one of {total} cases could be scored, the first because: {measured.why_not}"
        raise RunError(what, f"mend that and start the same command again: what was answered is kept in {out}")
    return found


def table(found: Mapping[str, Any]) -> Table:
    """Suites by metrics."""
    rows = {name: suite["all"] for name, suite in found["suites"].items()}
    metrics = {name: title for name, title in HEADINGS.items() if any(name in one for one in rows.values())}
    drawn = Table(title=f"{shown(found['target'])} under policy {found['policy'][:19]}…", box=None, pad_edge=False)
    drawn.add_column("suite", no_wrap=True)
    for heading in metrics.values():
        drawn.add_column(heading, justify="right")
    for suite, measured in rows.items():
        drawn.add_row(shown(suite), *(percent(measured[name]) if name in measured else "" for name in metrics))
    return drawn

"""What a person sees of `bylaw attack`: a bar with rates as they form, then attackers, techniques and finds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bylaw.evals.attackers import catalogue as attackers
from bylaw.evals.attackers.arena import Budget
from bylaw.evals.attackers.tally import Tally
from bylaw.evals.attacks.catalogue import TECHNIQUES
from bylaw.recipes import attack as recipe
from bylaw.recipes.demo import percent, shown
from bylaw.recipes.narration import narrate

SHOWN: Final = 12  # techniques, and finds, on a screen
WORDS: Final = 100  # characters of a find


def attack(asked: recipe.Question, out: Path, quiet: bool = False) -> dict[str, Any]:
    """Attack and show what came of it."""
    console = Console(stderr=quiet, quiet=quiet, highlight=False)
    with narrate(console) as narrator:
        bar = narrator.progress.add_task(f"attacking {shown(asked.target)}", total=asked.budget)

        def seen(attacker: str, budget: Budget, tally: Tally) -> None:
            said = f"{attacker}: {len(tally.broken())} of {len(tally.goals)} goals fell"
            narrator.progress.update(bar, completed=budget.spent, description=said)

        attacked = recipe.attack(asked, out, seen)
    report = attacked.report
    console.print(table(report["attackers"], "attacker", "goals that fell"))
    best = sorted(report["techniques"].items(), key=lambda one: (-(one[1]["rate"] or 0), -one[1]["n"], one[0]))[:SHOWN]
    console.print(table(dict(best), "technique", "tries that broke"))
    for one in report["finds"][:SHOWN]:
        said = " / ".join(turn["content"] for turn in one["turns"] if turn["role"] != "system")[:WORDS]
        console.print(
            f"{one['status']} {one['severity']} {one['clause']} by {one['chain'] or 'asking plainly'}"
            f" ({one['breached']} of {one['replays']} replays): {shown(said)}",
            soft_wrap=True,
        )
    active = sum(one["status"] == "active" for one in report["finds"])
    spent = report["budget"]
    console.print(f"{len(report['finds'])} finds, {active} reproduced; {spent['spent']} of {spent['calls']} calls")
    if report["unknown"]:
        console.print(f"{report['unknown']} tries could not be judged")
    console.print(f"attack.json, finds.jsonl and tries.jsonl are in {out}", soft_wrap=True)
    return report


def table(rows: Mapping[str, Mapping[str, Any]], first: str, second: str) -> Table:
    """Names by rates."""
    drawn = Table(box=None, pad_edge=False)
    drawn.add_column(first, no_wrap=True)
    drawn.add_column(second, no_wrap=True)
    drawn.add_column("n", justify="right")
    drawn.add_column("the whole of what was asked", justify="right")
    for name, one in rows.items():
        drawn.add_row(shown(name), percent(one), str(one["n"]), str(one["whole"]))
    return drawn


def listed() -> dict[str, list[str]]:
    """Techniques by family, and attackers."""
    found: dict[str, list[str]] = {}
    for one in TECHNIQUES.values():
        found.setdefault(one.family, []).append(one.name)
    return {**found, "attackers": list(attackers.NAMES)}

"""What a person reads while and after a recipe runs: bars, tables, transcripts. With `quiet`, nothing but the result."""

import os
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from bylaw import runs
from bylaw.policy import parse
from bylaw.recipes import align_run, needs
from bylaw.recipes import demo as demo_recipe
from bylaw.recipes import trace as trace_recipe
from bylaw.recipes.align_run import Started
from bylaw.recipes.demo import shown
from bylaw.recipes.narration import narrate
from bylaw.recipes.sizes import Dial
from bylaw.types import Policy

DRY_ARMS: Final = "base,sft,sft_rl"


def _console(quiet: bool) -> Console:
    return Console(stderr=quiet, quiet=quiet, highlight=False)


def align(started: Started, workers: int = 0, quiet: bool = False) -> dict[str, Any]:
    """Take a run to its end and show the table."""
    console = _console(quiet)
    for line in needs.before(started):
        console.print(line, soft_wrap=True)
    with narrate(console) as narrator:
        manifest = align_run.go(started, narrator, workers)
    results = runs.read_json(started.run.path / "results.json")
    console.print(demo_recipe.results_table(results))
    for line in needs.after(manifest):
        console.print(line, soft_wrap=True)
    console.print(f"results, rows, models and report.html are in {started.run.path}")
    return results


def rehearse(policy: Path, out: Path | None, seed: int, size: Dial, workers: int = 0, quiet: bool = False) -> dict[str, Any]:
    """Align a small random model to a policy with scripts for generator and judge, to see that everything runs."""
    from bylaw.recipes import dry_run  # noqa: PLC0415  # only a dry run needs it

    console = _console(quiet)
    read = parse.load(policy)
    where = out or Path("runs") / f"dry-run-{read.id}-{read.digest[7:15]}-{size}-{seed}"
    folder = where.with_name(f"{where.name}-parts")
    align_run.ensure_outside(policy, folder)
    parts = dry_run.prepare(read, folder, seed)
    console.print("[bold]A dry run[/]: the model is random; generator and judge are scripts made from the policy's own examples.")
    console.print("It shows that every step runs on this policy. Nothing is learnt; the rates mean nothing. The same by its long name:")
    named = f"--model {parts.model} --generator {parts.generator} --judge {parts.judge} --size {size} --seed {seed} --arms {DRY_ARMS}"
    console.print(f"  bylaw align deliberative --policy {shown(str(policy))} {shown(named)}", soft_wrap=True)
    wanted: dict[str, Any] = {"model": parts.model, "generator": parts.generator, "judge": parts.judge, "size": size, "seed": seed}
    results = align(align_run.begin(policy, where, arms=DRY_ARMS, **wanted), workers, quiet)
    console.print("  next: the same command with a real --model, --generator and --judge; `bylaw align deliberative -h`")
    return results


def demo(out: Path, seed: int, size: Dial, everything: bool, quiet: bool = False) -> dict[str, Any]:
    """Run the demo and tell it."""
    run = demo_recipe.run(_console(quiet), out, seed, size, everything)
    return runs.read_json(run.path / "results.json")


def chat(model: str, policy: Path | None, user: str, request: str) -> None:
    """Ask once, or talk until the person leaves."""
    from bylaw.recipes.chat import READABLE, open_chat  # noqa: PLC0415  # torch

    console = _console(quiet=False)
    talk = open_chat(model, policy)
    if not request:
        console.print(
            f"Talking with [bold]{shown(model)}[/] as {user}, policy {talk.policy.id} {talk.policy.version}. An empty line ends it."
        )
        if talk.tiny:
            console.print("It knows about 740 words. Try one of these:")
            for example in READABLE:
                console.print(f"  {example}")
    while asked := request or _next_words(console):
        said = talk.say(asked, user)
        if said.unknown:
            console.print(f"[yellow]It has never met:[/] {shown(', '.join(said.unknown))}")
            console.print("Five it can read: " + " | ".join(READABLE))
        console.print(f"[dim]{shown(said.completion.thinking or f'({said.completion.fault})')}[/]")
        console.print(shown(said.completion.answer or said.completion.raw))
        for clause in said.cited:
            console.print(f"[cyan]cites {clause.id}[/]: {shown(clause.title)} ({clause.response})")
        for name in said.invented:
            console.print(f"[red]cites {shown(name)}, which is no clause of this policy[/]")
        if request:
            return


def _next_words(console: Console) -> str:
    """What the person types; nothing at the end of the input."""
    try:
        return console.input("\n[bold]you[/] ").strip()
    except EOFError:
        return ""


def trace(clause_id: str, run: Path, quiet: bool = False) -> dict[str, Any]:
    """Show one clause's life."""
    console = _console(quiet)
    found = trace_recipe.trace(clause_id, run)
    _print_trace(console, found)
    taught = [{"id": row["id"], "request": row["messages"][-1]["content"], "answer": row["answer"]} for row in found.lessons]
    head = {"clause": found.clause.id, "policy": found.policy.digest, "response": found.clause.response, "run": os.fspath(found.run)}
    return {**head, "lessons": found.taught, "samples": found.tried, "examples": taught, "rates": dict(found.rates)}


def _print_trace(console: Console, found: trace_recipe.Trace) -> None:
    clause, policy = found.clause, found.policy
    console.print(f"[bold]{clause.id}[/] {shown(clause.title)}")
    console.print(f"  policy     {policy.id} {policy.version}, {policy.digest}")
    console.print(f"  stands in  {clause.place}, severity {clause.severity}, response {clause.response}, owner {_owner(policy, found)}")
    console.print(f"  says       {shown(clause.norm)}")
    console.print(f"  taught by  {found.taught} lessons of {found.tried} samples in {found.run}")
    for row in found.lessons:
        console.print(f"             {shown(row['messages'][-1]['content'])} [dim]→ {shown(row['thinking'])}[/] {shown(row['answer'])}")
    for arm, metrics in found.rates.items():
        said = ", ".join(
            f"{name} {demo_recipe.percent(metrics[name])}" for name in ("exact", "citation_recall") if metrics[name]["rate"] is not None
        )
        console.print(f"  {demo_recipe.ARM_NAMES.get(arm, arm):24s} {said} (n {metrics['exact']['n']})")


def _owner(policy: Policy, found: trace_recipe.Trace) -> str:
    return found.clause.owner or ", ".join(policy.owners) or "nobody"

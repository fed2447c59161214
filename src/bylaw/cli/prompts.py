"""`bylaw prompts`: make a set of prompts for a policy, parted into training and evaluation."""

from pathlib import Path
from typing import Annotated

import typer

from bylaw.cli.saying import AsJson, PolicyOption, Seed, say, say_json


def make(
    policy: PolicyOption,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write train.jsonl, eval.jsonl and counts.", show_default=False)],
    files: Annotated[
        list[Path] | None, typer.Option("--from", metavar="FILE", help="JSON lines of your own; may be repeated.", show_default=False)
    ] = None,
    labels: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Labels by people: which clauses apply; may be repeated.", show_default=False)
    ] = None,
    writer: Annotated[str, typer.Option(metavar="MODEL", help="A model that writes prompts for each clause.", show_default=False)] = "",
    clause: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Write for this clause; may be repeated.", show_default="all")
    ] = None,
    per_clause: Annotated[int, typer.Option(min=1, max=500, help="Scenarios the writer invents a clause, each in four kinds.")] = 5,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Make prompts for a policy: from its examples, your files and a writing model; deduplicated, split by family, never near a test."""
    from rich.console import Console  # noqa: PLC0415  # see `cli`
    from rich.progress import Progress  # noqa: PLC0415  # see `cli`

    from bylaw.recipes import prompt_set  # noqa: PLC0415  # see `cli`

    wanted = prompt_set.Wanted(tuple(files or ()), tuple(labels or ()), writer, tuple(clause or ()), per_clause, seed)
    with Progress(console=Console(stderr=True), transient=True, disable=not writer) as bar:
        task = bar.add_task("writing", total=None)
        found = prompt_set.make(policy, out, wanted, lambda done, total: bar.update(task, completed=done, total=total))
    if as_json:
        say_json(found)
    else:
        say(f"{prompt_set.table(found)}\ntrain.jsonl, eval.jsonl and what was dropped are in {out}")

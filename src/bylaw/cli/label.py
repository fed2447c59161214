"""`bylaw label …`: collect people's preferences and clause labels, and see how far they agree."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from bylaw.cli.saying import AsJson, Seed, say, say_json

app = typer.Typer(help="Collect people's preferences and clause labels, and see how far they agree.", no_args_is_help=True)


@app.command("collect")
def collect(
    source: Annotated[Path, typer.Argument(metavar="RUN|FILE", help="A run, or JSON lines with prompts and answers.", show_default=False)],
    annotator: Annotated[str, typer.Option(metavar="NAME", help="Who is labelling.", show_default=False)],
    policy: Annotated[Path | None, typer.Option(metavar="PATH", help="A policy folder.", show_default="the run's own")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Labels are added to this file.", show_default="./labels/NAME.jsonl")
    ] = None,
    task: Annotated[
        Literal["preference", "follows", "applies"] | None,
        typer.Option(help="Which of two answers; does it follow the clause; which clauses.", show_default="by the rows"),
    ] = None,
    per_prompt: Annotated[int, typer.Option(min=1, max=100, help="Pairs of answers a prompt.")] = 1,
    seed: Seed = 0,
) -> None:
    """Ask a person, one question at a time; every label is saved at once, and the next sitting goes on where this one stopped."""
    import time  # noqa: PLC0415  # see `cli`

    from bylaw.recipes import label, label_book  # noqa: PLC0415  # see `cli`

    read, rows = label.gather(source, policy)
    asked = label.units(read, rows, task or label.usual_task(source), seed, per_prompt)
    file = out or Path("labels") / f"{annotator}.jsonl"
    with label_book.opened(file, annotator) as book:
        sitting = label.sit(asked, read, book, label.Terminal(input, say, time.time), seed)
    undone = f", undid {sitting.undone}" if sitting.undone else ""
    say(f"labelled {sitting.labelled}{undone}; {sitting.left} of {len(asked)} left. Labels are in {file}")


@app.command("agreement")
def agreement(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Files of labels.", show_default=False)],
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """How far people agree, clause by clause and in all, and whose labels they are."""
    from bylaw.recipes import labelled  # noqa: PLC0415  # see `cli`

    found = labelled.summary(files, seed)
    if as_json:
        say_json(found)
    else:
        say(labelled.table(found))

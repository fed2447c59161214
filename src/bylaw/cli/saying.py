"""What every command shares: how it prints, its exit codes (see `telling`), and the options that mean the same everywhere."""

from pathlib import Path
from typing import Annotated, Final

import typer

from bylaw.cli.telling import ERROR, FINDINGS, INTERRUPTED, failed, say, say_json

__all__ = ["ERROR", "FINDINGS", "INTERRUPTED", "failed", "say", "say_json"]

PolicyPath = Annotated[Path, typer.Argument(metavar="PATH", help="A policy folder, or one Markdown file.", show_default=False)]
PolicyOption = Annotated[Path, typer.Option("--policy", metavar="PATH", help="A policy folder.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Seed = Annotated[int, typer.Option(min=0, help="Same seed, same rows.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write; a begun run goes on.", show_default="./runs/…")]
Concurrency = Annotated[int, typer.Option(min=1, max=512, help="Calls to an endpoint at a time.")]
Workers = Annotated[
    int,
    typer.Option(
        min=0, max=64, help="Steps at a time, each with a model of its own; 0: two on a CPU, one with a GPU. What is learnt is the same."
    ),
]
Timeout = Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds one call to an endpoint may take.")]
JudgeOfTheRest = Annotated[str, typer.Option(help="Who judges what evidence leaves open.", show_default="string")]
ISO: Final = "%Y-%m-%d"  # a day, as options take it
A_MODEL: Final = "`embedded`, a folder, a run, a hub name"

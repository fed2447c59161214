"""What every command shares: how it prints, its exit codes, and the options that mean the same everywhere."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

FINDINGS: Final = 1
ERROR: Final = 2
INTERRUPTED: Final = 130

PolicyPath = Annotated[Path, typer.Argument(metavar="PATH", help="A policy folder, or one Markdown file.", show_default=False)]
PolicyOption = Annotated[Path, typer.Option("--policy", metavar="PATH", help="A policy folder.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Seed = Annotated[int, typer.Option(min=0, help="Same seed, same rows.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write; a begun run goes on.", show_default="./runs/…")]
Concurrency = Annotated[int, typer.Option(min=1, max=512, help="Calls to an endpoint at a time.")]
Timeout = Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds one call to an endpoint may take.")]
JudgeOfTheRest = Annotated[str, typer.Option(help="Who judges what evidence leaves open.", show_default="string")]
ISO: Final = "%Y-%m-%d"  # a day, as options take it
A_MODEL: Final = "`embedded`, a folder, a run, a hub name"


def failed(what: str, hint: str) -> int:
    """Print an error as one line of what and one line of what next; returns the exit code."""
    say(f"error: {' '.join(what.split())}", sys.stderr)
    say(f"  next: {' '.join(hint.split()) or 'See `bylaw --help`.'}", sys.stderr)
    return ERROR


def say(text: str, stream: Any = None) -> None:
    """Print text in which nothing but line ends and tabs can steer a terminal."""
    typer.echo("".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text), file=stream)


def say_json(value: Any) -> None:
    """Print one JSON value."""
    typer.echo(json.dumps(value, indent=2))

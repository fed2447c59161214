"""`bylaw judge …`: attack a judge before anyone relies on it."""

from pathlib import Path
from typing import Annotated

import typer

from bylaw.cli.saying import FINDINGS, AsJson, Seed, say, say_json

app = typer.Typer(help="Attack a judge before anyone relies on it.", no_args_is_help=True)


@app.command("probe")
def judge_probe(
    judge: Annotated[
        str, typer.Option(help="Who is attacked: a model, json:MODEL, think:MODEL, or panel:min:MODEL,MODEL.", show_default=False)
    ],
    policy: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Whose bad answers are defended.", show_default="the refunds example")
    ] = None,
    n: Annotated[int, typer.Option(min=1, max=100_000, help="Attacks; the first 76 as written, the rest mutated.")] = 76,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the rows go.", show_default="./runs/probe-SEED")] = None,
    as_json: AsJson = False,
) -> None:
    """Attack a judge with hostile texts whose right verdict is known. Exit 1 where it is fooled, or finds good answers bad."""
    from bylaw.recipes import places, probe  # noqa: PLC0415  # see `cli`

    results = probe.probe(judge, policy or places.example_policy("refunds"), n, seed, out or Path("runs") / f"probe-{seed}")
    if as_json:
        say_json(results)
    else:
        say(probe.told(results))
    if not (results["held"] and results["useful"]):
        raise typer.Exit(FINDINGS)

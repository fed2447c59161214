"""`bylaw judge …`: attack a judge, and hold it against people's labels, before anyone relies on it."""

from pathlib import Path
from typing import Annotated

import typer

from bylaw.cli.saying import FINDINGS, AsJson, Concurrency, Seed, Timeout, say, say_json

app = typer.Typer(help="Try a judge before anyone relies on it.", no_args_is_help=True)


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


@app.command("calibrate")
def judge_calibrate(
    labels: Annotated[
        Path, typer.Option(metavar="FILE", help="Answers with people's labels: JSON lines, or XSTest's table.", show_default=False)
    ],
    judge: Annotated[str, typer.Option(help="Who is held against them; `string` is the built-in one.")] = "string",
    policy: Annotated[
        Path | None, typer.Option(metavar="PATH", help="What the judge judges by; `string` needs none.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the cards go, for `bylaw gate --card`.", show_default=False)
    ] = None,
    timeout: Timeout = 120.0,
    concurrency: Concurrency = 8,
    as_json: AsJson = False,
) -> None:
    """Measure how often a judge agrees with people: sensitivity, specificity and kappa, with intervals. Exit 2 where it cannot be asked."""
    from dataclasses import replace  # noqa: PLC0415  # see `cli`

    from rich.console import Console  # noqa: PLC0415  # see `cli`

    from bylaw.models.manners import USUAL  # noqa: PLC0415  # see `cli`
    from bylaw.recipes import calibrate  # noqa: PLC0415  # see `cli`

    manners = replace(USUAL, timeout_s=timeout, concurrency=concurrency, tries=2)
    cards = calibrate.calibrate(judge, labels, policy, out, manners)
    if as_json:
        say_json(calibrate.to_json(cards))
        return
    calibrate.show(cards, Console(highlight=False, width=150))
    if out:
        say(f"written to {out}")

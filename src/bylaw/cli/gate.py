"""`bylaw gate`, `bylaw compare`, `bylaw suite power`: what a release hangs on, models side by side, how many cases it takes."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bylaw.cli.saying import AsJson, PolicyOption, say_json

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 150  # of a table where nobody watches


def gate(
    run: Annotated[
        list[Path],
        typer.Argument(metavar="RUN…", help="Folders that `bylaw eval` wrote, of one target: gated together.", show_default=False),
    ],
    policy: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Whose limits hold.", show_default="the usual limits by severity")
    ] = None,
    baseline: Annotated[Path | None, typer.Option(metavar="RUN", help="An earlier run: nothing may be worse.", show_default=False)] = None,
    card: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="The judge's cards: rates are corrected for its errors.", show_default=False)
    ] = None,
    max_unscored: Annotated[float, typer.Option(min=0.0, max=1.0, help="The largest share of cases that nobody could score.")] = 0.02,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the checks as JUnit XML.", show_default=False)] = None,
    sarif: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what did not pass as SARIF.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Hold a measurement against the policy's limits and a baseline.

    Exit 0: pass. 1: fail. 2: not measured, which is never a pass.
    """
    from bylaw.evals.gate import EXIT  # noqa: PLC0415  # see `cli`
    from bylaw.recipes import gate as recipe  # noqa: PLC0415  # see `cli`

    asked = recipe.Asked(run[0], policy, baseline, tuple(card or ()), max_unscored, tuple(run[1:]))
    gated = recipe.decide(asked)
    recipe.write(gated, asked, junit, sarif)
    if as_json:
        say_json(gated.to_json())
    else:
        recipe.show(gated, _console(WIDTH))
    raise typer.Exit(EXIT[gated.verdict])


def compare(
    run: Annotated[
        list[Path], typer.Argument(metavar="RUN…", help="Folders that `bylaw eval` wrote; the first is the baseline.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the page goes; its JSON lies beside it.")] = Path("compare.html"),
    card: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Judges' cards: rates are shown corrected, too.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Several models side by side, on the cases that all of them were tried on."""
    from bylaw.recipes import compare as recipe  # noqa: PLC0415  # see `cli`

    found = recipe.compared(run, out, tuple(card or ()))
    if as_json:
        say_json(found)
    else:
        recipe.show(found, out, _console(WIDTH))


def power(
    policy: PolicyOption,
    share: Annotated[
        float, typer.Option("--true-share", min=0.0, max=1.0, help="The failure share of the target that should pass.")
    ] = 0.001,
    as_json: AsJson = False,
) -> None:
    """How many cases each limit of a policy needs, and how often a target would pass it."""
    from bylaw.policy import parse  # noqa: PLC0415  # see `cli`
    from bylaw.recipes import gate as recipe  # noqa: PLC0415  # see `cli`

    rows = recipe.plan(parse.load(policy), share)
    if as_json:
        say_json({"true_share": share, "limits": rows})
    else:
        recipe.show_plan(rows, share, _console(WIDTH))


def _console(width: int) -> "Console":
    """A terminal as wide as it is; a pipe as wide as the table."""
    from rich.console import Console  # noqa: PLC0415  # see `cli`

    return Console(highlight=False, width=None if sys.stdout.isatty() else width)

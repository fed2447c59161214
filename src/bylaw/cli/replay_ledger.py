"""`bylaw replay`: what a candidate would have decided on what the ledger has recorded, before it is in force."""

from pathlib import Path
from typing import Annotated

import typer

from bylaw.cli.place import DATA_DIR
from bylaw.cli.saying import FINDINGS, AsJson, PolicyOption, say, say_json


def replay(
    policy: PolicyOption,
    ledger: Annotated[Path, typer.Option(metavar="PATH", help="A data directory, a log, or an exported file.")] = DATA_DIR,
    examples: Annotated[int, typer.Option(min=0, max=1_000, help="Shown of each clause and change.")] = 3,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Judges that the policy names.", show_default="PATH/gateway.yaml")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Decide on every recorded decision again, under a candidate: what would change, clause by clause. Exit 1: something would."""
    from bylaw.serve import replay as again  # noqa: PLC0415  # see `cli`
    from bylaw.serve import wiring  # noqa: PLC0415  # see `cli`

    rails_of = wiring.rails_in(ledger, config)
    report = again.replay(ledger, policy, examples, rails_of)
    if as_json:
        say_json(report.to_json())
    else:
        say(report.printed())
    if report.changes:
        raise typer.Exit(FINDINGS)

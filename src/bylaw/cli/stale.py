"""`bylaw policy stale`: which models a policy has left behind, and who holds each clause up meanwhile."""

from pathlib import Path
from typing import Annotated

import typer

from bylaw.cli.saying import FINDINGS, AsJson, PolicyPath, say, say_json


def policy_stale(
    path: PolicyPath,
    runs: Annotated[Path, typer.Option(metavar="DIR", help="A folder of runs, or one run.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Models that are stale under this policy, and which clauses only the gate enforces until then. Exit 1: there are."""
    from bylaw.policy import stale, standing  # noqa: PLC0415  # see `cli`
    from bylaw.policy.parse import load  # noqa: PLC0415  # see `cli`

    policy = load(path)
    states = stale.states(runs, policy)
    found = standing.standing(policy, states)
    if as_json:
        say_json(standing.to_json(policy, found, states))
    else:
        say(standing.printed(policy, found, states))
    if any(one.must_retrain for one in found):
        raise typer.Exit(FINDINGS)

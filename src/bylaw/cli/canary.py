"""`bylaw policy canary …` and `bylaw policy shadow …`: try a candidate on a share, or on nobody, before it is in force."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bylaw.cli.place import DATA_DIR, By, Config, DataDir, StoreUrl, login, store_and_ledger, store_of, when
from bylaw.cli.saying import FINDINGS, AsJson, say, say_json
from bylaw.errors import PolicyError

if TYPE_CHECKING:  # commands import what they need when they run
    from bylaw.serve.trials import Standing

canary = typer.Typer(no_args_is_help=True, help="A candidate decides for a share; it rolls itself back where it does worse.")
shadow = typer.Typer(no_args_is_help=True, help="A candidate decides nothing, and it is counted what it would have done.")
Candidate = Annotated[Path, typer.Argument(metavar="DIR", help="The candidate's folder.", show_default=False)]
_WINDOW = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@canary.command("start")
def canary_start(
    folder: Candidate,
    share: Annotated[str, typer.Option(metavar="PERCENT", help="Of all principals, e.g. 5% or 0.5%.", show_default=False)] = "",
    principal: Annotated[list[str] | None, typer.Option(help="By id; repeat for several.", show_default=False)] = None,
    of: Annotated[Literal["principal", "session"], typer.Option("--by", help="A share of principals, or of conversations.")] = "principal",
    signal: Annotated[
        Literal["refused", "blocked", "undecided", "asked", "appeals"], typer.Option(help="What is counted against it.")
    ] = "refused",
    margin: Annotated[float, typer.Option(help="By how much its rate may be above the baseline's.")] = 0.05,
    alpha: Annotated[float, typer.Option(help="The chance that one that is not worse is rolled back.")] = 0.05,
    seen: Annotated[int, typer.Option(min=1, help="Outcomes on both sides before it is tested.")] = 20,
    window: Annotated[str, typer.Option(metavar="TIME", help="After which it ends: 30s, 10m, 2h, 1d.")] = "1h",
    by: By = "",
    config: Config = None,
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Let a candidate decide for some principals, on every process within a second. It must load and be signed off."""
    from bylaw.govern.canary import Terms  # noqa: PLC0415  # see `cli`
    from bylaw.serve import live, trials, wiring  # noqa: PLC0415  # see `cli`

    terms = Terms(_per_mille(share), tuple(principal or ()), of, signal, margin, alpha, seen, _seconds(window))
    one = trials.new("canary", by or login(), terms)
    with store_and_ledger(store, data_dir) as (opened, ledger):
        live.take_over(data_dir, opened)
        rails_of = wiring.rails_in(data_dir, config)
        trials.begin(opened, ledger.append, folder, one, rails_of)
        _show(trials.standing(opened, "canary"), as_json)


@canary.command("status")
def canary_status(store: StoreUrl = "", data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """How the latest canary stands. Exit 1: it was rolled back."""
    from bylaw.serve import trials  # noqa: PLC0415  # see `cli`

    with store_of(store, data_dir) as opened:
        found = trials.standing(opened, "canary")
    _show(found, as_json)
    if found is not None and found.trial.state == "rolled_back":
        raise typer.Exit(FINDINGS)


@canary.command("stop")
def canary_stop(by: By = "", store: StoreUrl = "", data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """End the canary: the policy in force holds for everybody again."""
    from bylaw.serve import trials  # noqa: PLC0415  # see `cli`

    with store_and_ledger(store, data_dir) as (opened, ledger):
        _show(trials.stop(opened, ledger.append, "canary", by or login()), as_json)


@canary.command("promote")
def canary_promote(by: By = "", config: Config = None, store: StoreUrl = "", data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """Put the candidate in force for everybody."""
    from bylaw.serve import trials, wiring  # noqa: PLC0415  # see `cli`

    with store_and_ledger(store, data_dir) as (opened, ledger):
        rails_of = wiring.rails_in(data_dir, config)
        trials.promote(opened, ledger.append, by or login(), rails_of)
        _show(trials.standing(opened, "canary"), as_json)


@shadow.command("start")
def shadow_start(
    folder: Candidate, by: By = "", config: Config = None, store: StoreUrl = "", data_dir: DataDir = DATA_DIR, as_json: AsJson = False
) -> None:
    """Have every process count what a candidate would have decided otherwise. It decides nothing, and needs no sign-off."""
    from bylaw.serve import live, trials, wiring  # noqa: PLC0415  # see `cli`

    with store_and_ledger(store, data_dir) as (opened, ledger):
        live.take_over(data_dir, opened)
        rails_of = wiring.rails_in(data_dir, config)
        trials.begin(opened, ledger.append, folder, trials.new("shadow", by or login()), rails_of)
        _show(trials.standing(opened, "shadow"), as_json)


@shadow.command("status")
def shadow_status(store: StoreUrl = "", data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """What the latest shadow would have done, clause by clause."""
    from bylaw.serve import trials  # noqa: PLC0415  # see `cli`

    with store_of(store, data_dir) as opened:
        _show(trials.standing(opened, "shadow"), as_json)


@shadow.command("stop")
def shadow_stop(by: By = "", store: StoreUrl = "", data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """End the shadow; what it would have done stays, in the store and in the ledger."""
    from bylaw.serve import trials  # noqa: PLC0415  # see `cli`

    with store_and_ledger(store, data_dir) as (opened, ledger):
        _show(trials.stop(opened, ledger.append, "shadow", by or login()), as_json)


def _show(found: "Standing | None", as_json: bool) -> None:
    if as_json:
        say_json(found.to_json() if found else None)
    elif found is None:
        say("there was none yet")
    else:
        one = found.trial
        say(f"{one.kind} {one.state.replace('_', ' ')}: {one.digest}, since {when(one.started_at)} by {one.by}")
        say(f"  beside {one.baseline}" + (f"; ended {when(one.ended_at)}: {one.why}" if one.ended_at else ""))
        _counted(found)


def _counted(found: "Standing") -> None:
    said = found.to_json()
    if found.trial.kind == "canary":
        terms = said["terms"]
        share = [f"{terms['share'] / 10:g}% of {terms['by']}s"] if terms["share"] else []
        say(f"  for {', '.join([*share, *terms['principals']])}")
        say(f"  {terms['signal']}: {found.candidate} under the candidate, {found.baseline} beside it; tested {said['looks']} times")
        return
    say(f"  {said['decisions']} decisions seen, {said['unchanged']} unchanged")
    for reason, count in said["not_replayable"].items():
        say(f"  {count} not replayable: {reason}")
    for clause, kinds in said["would"].items():
        shown = ", ".join(f"{count} {kind} (e.g. {said['examples'][f'{clause}|{kind}']})" for kind, count in kinds.items())
        say(f"  {clause}: would have been {shown}")


def _per_mille(share: str) -> int:
    number = share.strip().removesuffix("%")
    if not number:
        return 0
    try:
        made = round(float(number) * 10)
    except (ValueError, OverflowError) as error:
        raise PolicyError(f"{share[:40]!r} is no share", "Write a percentage: --share 5%") from error
    if made <= 0:
        raise PolicyError(f"{share[:40]!r} is no share that anybody is in", "The smallest is 0.1%.")
    return made


def _seconds(window: str) -> int:
    found = _WINDOW.fullmatch(window.strip())
    if found is None:
        raise PolicyError(f"{window[:40]!r} is no time", "Write a number and s, m, h or d: --window 2h")
    return int(found[1]) * _SECONDS[found[2]]

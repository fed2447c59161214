"""`bylaw attack`: search for what breaks a target, within a budget of calls; keep it as a suite."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from bylaw.cli.saying import A_MODEL, FINDINGS, AsJson, Concurrency, JudgeOfTheRest, Seed, Timeout, say, say_json


def attack(
    target: Annotated[str, typer.Option(help=f"Who is attacked: {A_MODEL}, openai:MODEL@URL, scripted:FILE.", show_default=False)] = "",
    policy: Annotated[Path | None, typer.Option("--policy", metavar="PATH", help="A policy folder.", show_default=False)] = None,
    budget: Annotated[int, typer.Option(help="Calls in all, never more.")] = 1000,
    attacker: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|MODEL", help="Who attacks; a model writes for pair and tap.", show_default="all that need no model"),
    ] = None,
    goals: Annotated[int, typer.Option(min=1, max=100_000, help="How many plain requests to break.")] = 24,
    suite: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Take the goals from here, not from the policy.", show_default=False)
    ] = None,
    half: Annotated[Literal["", "first", "second"], typer.Option(help="Only goals of this half: train on one, measure on the other.")] = "",
    side: Annotated[
        list[str] | None, typer.Option(help="Sides to attack; `allow` searches for over-refusal.", show_default="all but allow")
    ] = None,
    judge: JudgeOfTheRest = "",
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write.", show_default="./runs/…")] = None,
    timeout: Timeout = 120.0,
    concurrency: Concurrency = 8,
    show: Annotated[bool, typer.Option("--list", help="List techniques and attackers, and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Search for what breaks a target, within a budget of calls.

    Writes attack.json, tries.jsonl, and finds.jsonl for `bylaw eval --suite`. Exit 1 with finds.
    """
    from dataclasses import replace  # noqa: PLC0415  # see `cli`

    from bylaw.cli.align import manners  # noqa: PLC0415  # see `cli`
    from bylaw.recipes import attack as recipe  # noqa: PLC0415  # see `cli`
    from bylaw.recipes import attack_shown  # noqa: PLC0415  # see `cli`

    if show:
        listed = attack_shown.listed()
        say_json(listed) if as_json else say("\n".join(f"{name}: {', '.join(few)}" for name, few in listed.items()))
        return
    if not target or policy is None:
        raise typer.BadParameter("--target and --policy are needed")
    asked = recipe.Question(
        target=target,
        policy=policy,
        budget=budget,
        attackers=tuple(attacker or ()),
        seed=seed,
        goals=goals,
        suites=tuple(suite or ()),
        judge=judge,
        sides=recipe.sides_of(side or ()),
        half=half,
        manners=replace(manners("", concurrency), timeout_s=timeout, tries=2),
    )
    place = out or recipe.place(asked)
    report = attack_shown.attack(asked, place, quiet=as_json)
    if as_json:
        say_json(report)
    raise typer.Exit(FINDINGS if report["finds"] else 0)

"""`bylaw watch …`: what is unlike itself in the records, who answers too fast, and whether reviewers catch what is wrong on purpose."""

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bylaw.cli.place import DATA_DIR, DataDir, StoreUrl, store_and_ledger, store_of
from bylaw.cli.reviewing import As, Secret, holder
from bylaw.cli.saying import FINDINGS, AsJson, failed, say, say_json
from bylaw.errors import StoreError

if TYPE_CHECKING:  # commands import what they need when they run
    from bylaw.govern.sampled import Checked
    from bylaw.govern.signals import Rate, Report

app = typer.Typer(help="Signals from the records, and seeded proposals.", no_args_is_help=True)

_TIME: Final = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@app.command("report")
def watch_report(
    window: Annotated[str, typer.Option(metavar="TIME", help="What is looked at: 30m, 24h, 7d.")] = "24h",
    history: Annotated[str, typer.Option(metavar="TIME", help="What it is compared with, before that.")] = "30d",
    run: Annotated[Path | None, typer.Option(metavar="RUN", help="The release's evaluation.", show_default="run: of gateway.yaml")] = None,
    alert: Annotated[bool, typer.Option("--alert", help="Ring the webhooks of gateway.yaml, once a window.")] = False,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="What rings.", show_default="DIR/gateway.yaml")] = None,
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Compare the latest records with those before. Exit 1: a signal stands, or --alert was not heard."""
    from bylaw.govern import sampled, watch  # noqa: PLC0415  # see `cli`
    from bylaw.ledger import place  # noqa: PLC0415  # see `cli`
    from bylaw.serve import looking, wiring  # noqa: PLC0415  # see `cli`

    if not place.files(data_dir):
        raise StoreError(f"{data_dir}: no ledger there", "Name the gateway's data directory with --data-dir.")
    wired = wiring.found(data_dir, config)
    span, now = watch.Span(_seconds(window), _seconds(history)), time.time()
    faults: tuple[str, ...] = ()
    if alert:
        if not wired.hooks:
            raise StoreError("gateway.yaml names no webhook", "Write `ring: {hosts: …, webhooks: …}`, or leave --alert out.")
        rings = looking.rings(wired.hooks, wired.hosts)
        with store_and_ledger(store, data_dir, make="quietly") as (opened, ledger):
            found = watch.gather([data_dir], opened, span, now)
            faults = watch.tell(found, rings, ledger.append, now).faults
    else:
        with store_of(store, data_dir, make="quietly") as opened:
            found = watch.gather([data_dir], opened, span, now)
    checks = sampled.checked(found.samples, _released(run or wired.run))
    if as_json:
        told = {"sampled": [one.to_json() for one in checks]}
        say_json(
            {**told, **found.report.to_json(), "window_s": span.window_s, "history_s": span.history_s, "cut": found.cut, "faults": faults}
        )
    else:
        say("\n".join([_shown(found.report, found.cut), *map(_check, checks)]))
        for fault in faults:
            failed(f"an alert was not heard: {fault}", "It is sent again at the next look.")
    if found.report.signals or faults or any(one.drift is not None and one.drift.worse for one in checks):
        raise typer.Exit(FINDINGS)


@app.command("seed")
def watch_seed(
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="The call's tool.", show_default=False)],
    args: Annotated[str, typer.Argument(metavar="JSON", help="Its arguments.", show_default=False)],
    clause: Annotated[str, typer.Option(help="The clause that asks people about it.", show_default=False)],
    why: Annotated[str, typer.Option(help="What is wrong with it; reviewers do not see this.", show_default=False)],
    requester: Annotated[str, typer.Option(help="Who seems to ask.")] = "agent",
    tenant: Annotated[str, typer.Option(help="Whose reviewers are asked.", show_default=False)] = "",
    person: As = "",
    key: Secret = "",
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Put a wrong proposal before the reviewers, as an admin. It executes nothing, whatever they answer."""
    from bylaw.govern.approvals import Approvals  # noqa: PLC0415  # see `cli`
    from bylaw.govern.watch import Proposal, seed  # noqa: PLC0415  # see `cli`
    from bylaw.serve import live, wiring  # noqa: PLC0415  # see `cli`

    proposal = Proposal(tool, _object(args), clause, why, requester, tenant)
    with store_and_ledger(store, data_dir) as (opened, ledger):
        by = holder(opened, key, person)
        last = live.latest(opened)
        if last is None:
            raise StoreError("no policy is in force here", "Start the gateway with a policy first.")
        rails_of = wiring.rails_in(data_dir)
        policy = live.loaded(opened, last, rails_of).places.policy
        approvals = Approvals(opened, ledger.append)
        try:
            found = seed(opened, approvals, ledger.append, policy, proposal, by)
        finally:
            approvals.close()
    if as_json:
        say_json({"approval": found.id, "clauses": list(found.clauses)})
    else:
        say(f"{found.id} waits for reviewers; `bylaw watch report` says who caught it")


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"the arguments are not JSON: {error}", """Write '{"amount": 9000}'.""") from error
    if not isinstance(value, dict):
        raise StoreError("the arguments are no JSON object", """Write '{"amount": 9000}'.""")
    return value


def _seconds(text: str) -> int:
    match = _TIME.fullmatch(text)
    found = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not 0 < found <= 366 * 86_400:
        raise StoreError(f"{text[:40]!r} is no time of at most 366d", "Write 30m, 24h or 7d.")
    return found


def _released(run: Path | None) -> dict[str, tuple[float, int]]:
    """What share of each clause was not kept when the release was measured, and of how many."""
    if run is None:
        return {}
    from bylaw.serve.console import debts  # noqa: PLC0415  # see `cli`
    from bylaw.serve.door import NotIn  # noqa: PLC0415  # see `cli`

    try:
        cells = debts.read(run).cells
    except NotIn as error:
        raise StoreError(error.what, "Name a run of `bylaw eval`, with --run or `run:` in gateway.yaml.") from error
    return {clause: (1 - rates["resist"].rate, rates["resist"].n) for clause, rates in cells.items() if "resist" in rates}


def _check(one: "Checked") -> str:
    line = f"sampled   {one.clause}: not kept {_rate(one.broken)}" + (f", {one.cannot_tell} cannot tell" if one.cannot_tell else "")
    if one.drift is None or one.released is None:
        return line
    difference = f"{one.drift.difference:+.0%} ({one.drift.low:+.0%} to {one.drift.high:+.0%})"
    return f"{line}; at release {_rate(one.released)}: {difference}" + (", WORSE" if one.drift.worse else "")


def _shown(found: "Report", cut: bool) -> str:
    lines = [f"{one.name:9} {one.subject}: {one.says}" + (f"  ({one.record})" if one.record else "") for one in found.signals]
    lines = lines or ["no signal"]
    for subject, (now, before) in found.refused.items():
        lines.append(f"refused   {subject}: {_rate(now)}, before {_rate(before)}")
    for one in found.reviewers:
        seconds = "seconds unknown" if one.median_s is None else f"median {one.median_s:g} s of {one.timed}"
        lines.append(f"reviewer  {one.person}: approved {_rate(one.approved)}, {seconds}, caught {_rate(one.caught)} seeded")
    if found.caught.n:
        lines.append(f"seeded    reviewers together caught {_rate(found.caught)}")
    if found.thin:
        lines.append(f"{found.thin} principals and tools have too little history to be compared")
    if cut:
        lines.append("a log has more entries than are looked at: the oldest were left out")
    return "\n".join(lines)


def _rate(one: "Rate") -> str:
    return f"{one.k} of {one.n}" + (f" ({one.low:.0%} to {one.high:.0%})" if one.n else "")

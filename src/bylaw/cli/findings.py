"""`bylaw findings …`: what people reported, what became of it, and a finding as a case for the evals."""

import json
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bylaw.cli.place import DATA_DIR, DataDir, StoreUrl, store_and_ledger, store_of, when
from bylaw.cli.reviewing import As, Everything, Secret, holder, in_state, not_taken, wanted
from bylaw.cli.saying import AsJson, say, say_json
from bylaw.errors import StoreError

if TYPE_CHECKING:  # commands import what they need when they run
    from bylaw.store.database import Store
    from bylaw.store.finding_rows import Found, Taken

app = typer.Typer(help="Findings from users, testers and the public.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="Which finding.", show_default=False)]
SEE: Final = "See `bylaw findings list --all`."


@app.command("list")
def findings_list(
    state: Annotated[list[str] | None, in_state("all but ended")] = None,
    everything: Everything = False,
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Findings, newest first."""
    from bylaw.store import finding_rows as rows  # noqa: PLC0415  # see `cli`

    states = wanted(rows.FINDING_STATES, state, ("new", "triaged", "accepted"), everything, "a finding")
    with store_of(store, data_dir) as opened, opened.reading() as connection:
        found = rows.listed(connection, states).found
    if as_json:
        say_json([rows.to_json(one) for one in found])
        return
    for one in found:
        first = " ".join(one.said.split())[:60]
        say(f"{one.id}  {one.state:9}  {one.severity or '-':8}  {one.clause or '-'}  {when(one.made_at)}  {_who(one)}: {first}")
    if not found:
        say("none")


@app.command("show")
def findings_show(finding: Id, store: StoreUrl = "", data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """One finding: what was reported, and every step since."""
    from bylaw.store import finding_rows as rows  # noqa: PLC0415  # see `cli`

    with store_of(store, data_dir) as opened, opened.reading() as connection:
        found, steps = rows.get(connection, finding), rows.history(connection, finding)
    if found is None:
        raise _unknown(finding)
    if as_json:
        say_json(rows.to_json(found, steps))
    else:
        say(_shown(found, steps))


@app.command("triage")
def findings_triage(
    finding: Id,
    state: Annotated[str, typer.Option(help="What it becomes.", show_default="as it is")] = "",
    clause: Annotated[str | None, typer.Option(help="The clause that was not kept.", show_default=False)] = None,
    severity: Annotated[str | None, typer.Option(help="low, medium, high or critical.", show_default=False)] = None,
    assignee: Annotated[str | None, typer.Option(help="Who looks after it.", show_default=False)] = None,
    duplicate_of: Annotated[str | None, typer.Option(metavar="ID", help="The finding that it repeats.", show_default=False)] = None,
    disclose_on: Annotated[str | None, typer.Option(metavar="DATE", help="The day of disclosure.", show_default=False)] = None,
    note: Annotated[str, typer.Option(help="Why, in your words.", show_default=False)] = "",
    person: As = "",
    key: Secret = "",
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Take a step on a finding, as a reviewer. Exit 1: it was not taken, and why."""
    from bylaw.govern.findings import Change, Findings, NotTaken  # noqa: PLC0415  # see `cli`
    from bylaw.store import finding_rows as rows  # noqa: PLC0415  # see `cli`

    if state and state not in rows.FINDING_STATES:
        raise StoreError(f"{state[:60]!r} is no state of a finding", f"There are: {', '.join(rows.FINDING_STATES)}.")
    becomes = next((one for one in rows.FINDING_STATES if one == state), None)
    change = Change(becomes, clause, severity, assignee, duplicate_of, disclose_on, note)
    with store_and_ledger(store, data_dir) as (opened, ledger):
        _known(opened, finding, clause or "")
        found = Findings(opened, ledger.append).triage(finding, holder(opened, key, person), change)
    if isinstance(found, NotTaken):
        raise not_taken(found.why, found.text, SEE, as_json)
    if as_json:
        say_json(rows.to_json(found))
    else:
        say(f"{found.id} is {found.state}" + (f", {found.clause}" if found.clause else ""))


@app.command("forget")
def findings_forget(finding: Id, person: As = "", key: Secret = "", store: StoreUrl = "", data_dir: DataDir = DATA_DIR) -> None:
    """Delete what people wrote in a finding; its steps stay. Exit 1: it was not, and why."""
    from bylaw.govern.findings import Findings, NotTaken  # noqa: PLC0415  # see `cli`

    with store_and_ledger(store, data_dir) as (opened, ledger):
        found = Findings(opened, ledger.append).forget(finding, holder(opened, key, person))
    if isinstance(found, NotTaken):
        raise not_taken(found.why, found.text, SEE, as_json=False)
    say(f"{found.id}: its texts are gone here; in the ledger they go by retention or erasure")


@app.command("export")
def findings_export(
    finding: Id,
    to: Annotated[Path, typer.Option(metavar="FILE", help="A new suite, JSON lines.", show_default=False)],
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Write a finding as a candidate case, for a person to look at and take into a suite."""
    from bylaw import runs  # noqa: PLC0415  # see `cli`
    from bylaw.govern.findings import candidate  # noqa: PLC0415  # see `cli`
    from bylaw.store import finding_rows as rows  # noqa: PLC0415  # see `cli`

    with store_of(store, data_dir) as opened, opened.reading() as connection:
        found = rows.get(connection, finding)
    if found is None:
        raise _unknown(finding)
    if not found.prompt.strip():
        raise StoreError(f"finding {finding} does not say what was asked", "A case needs a request; ask whoever reported it.")
    if to.exists():
        raise StoreError(f"{to} is there already", "Name a new file.")
    runs.write_text(to, json.dumps(candidate(found), ensure_ascii=False) + "\n")
    say(f"{to}: 1 candidate case; read it, then `bylaw suite lint {to}`")


def _known(store: "Store", finding: str, clause: str) -> None:
    """Raises StoreError where this is no clause of the policy in force, nor the one that the finding names already."""
    from bylaw.policy.parse import every_clause, load  # noqa: PLC0415  # see `cli`
    from bylaw.serve import live  # noqa: PLC0415  # see `cli`
    from bylaw.store import finding_rows as rows  # noqa: PLC0415  # see `cli`

    last = live.latest(store) if clause else None
    if last is None:
        return
    with live.kept(store, last.digest) as folder:
        known = sorted({one.id for one in every_clause(load(folder))})
    with store.reading() as connection:
        found = rows.get(connection, finding)
    if clause not in known and not (found and found.clause == clause):
        near = get_close_matches(clause, known, n=1)
        hint = f"Did you mean `{near[0]}`?" if near else f"There are: {', '.join(known[:20])}{', …' * (len(known) > 20)}."
        raise StoreError(f"{clause[:60]!r} is no clause of the policy in force", hint)


def _unknown(finding: str) -> StoreError:
    return StoreError(f"there is no finding {finding[:60]}", SEE)


def _who(one: "Found") -> str:
    return (one.reporter or "somebody without a key") + (f" of {one.tenant}" if one.tenant else "")


def _shown(one: "Found", steps: "list[Taken]") -> str:
    lines = [
        f"{one.id}: {one.state}" + (f" of {one.duplicate_of}" if one.duplicate_of else ""),
        f"reported     by {_who(one)} ({one.source}), {when(one.made_at)}" + (f"; {one.contact}" if one.contact else ""),
        f"clause       {one.clause or '-'}, {one.severity or 'no severity'}, {one.assignee or 'nobody'} looks after it",
        f"disclosure   {one.disclose_on}",
        *([f"record       {one.record}"] if one.record else []),
        f"said         {one.said}",
        *([f"asked        {one.prompt}"] if one.prompt else []),
        *([f"answered     {one.reply}"] if one.reply else []),
    ]
    for step in steps:
        told = ", ".join(f"{name}: {was or '-'} -> {now or '-'}" for name, (was, now) in step.changed.items())
        lines.append(f"{when(step.at)}  {step.by}  {told}" + (f"  ({step.note})" if step.note else ""))
    return "\n".join(lines)

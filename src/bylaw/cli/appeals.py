"""`bylaw appeals …`: see who was refused and objects, and answer as a reviewer."""

from typing import TYPE_CHECKING, Annotated

import typer

from bylaw.cli.place import DATA_DIR, DataDir, StoreUrl, store_and_ledger, store_of, when
from bylaw.cli.reviewing import As, Everything, OfTenant, Secret, holder, in_state, not_taken, wanted
from bylaw.cli.saying import AsJson, say, say_json
from bylaw.errors import StoreError

if TYPE_CHECKING:  # commands import what they need when they run
    from bylaw.store.appeal_rows import Appeal

app = typer.Typer(help="See and answer appeals against refusals.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="Which appeal.", show_default=False)]


@app.command("list")
def appeals_list(
    state: Annotated[list[str] | None, in_state("open")] = None,
    everything: Everything = False,
    tenant: OfTenant = None,
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Appeals that wait for an answer, newest first."""
    from bylaw.store import appeal_rows as rows  # noqa: PLC0415  # see `cli`

    states = wanted(rows.APPEAL_STATES, state, ("open",), everything, "an appeal")
    with store_of(store, data_dir) as opened, opened.reading() as connection:
        found = rows.listed(connection, states, tenant)
    if as_json:
        say_json([rows.to_json(one) for one in found])
        return
    for one in found:
        say(f"{one.id}  {one.state:10}  {when(one.made_at)}  {_who(one)}: {one.decision}  {', '.join(one.clauses)}")
    if not found:
        say("nobody waits for an answer" if states == ["open"] else "none")


@app.command("show")
def appeals_show(appeal: Id, store: StoreUrl = "", data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """One appeal: what was refused, and why that was wrong."""
    from bylaw.store import appeal_rows as rows  # noqa: PLC0415  # see `cli`

    with store_of(store, data_dir) as opened, opened.reading() as connection:
        found = rows.get(connection, appeal)
    if found is None:
        raise StoreError(f"there is no appeal {appeal[:60]}", "See `bylaw appeals list --all`.")
    if as_json:
        say_json(rows.to_json(found))
    else:
        say(_shown(found))


@app.command("answer")
def appeals_answer(
    appeal: Id,
    outcome: Annotated[str, typer.Argument(metavar="upheld|overturned", help="Was the refusal right?", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why, in your words; whoever appealed reads it.", show_default=False)],
    person: As = "",
    key: Secret = "",
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Say whether the refusal was right. It releases nothing. Exit 1: your answer does not count, and why."""
    from bylaw.govern.appeals import Appeals, NotTaken  # noqa: PLC0415  # see `cli`
    from bylaw.store import appeal_rows as rows  # noqa: PLC0415  # see `cli`

    if outcome not in ("upheld", "overturned"):
        raise StoreError(f"{outcome[:60]!r} is no answer to an appeal", "Write upheld (the refusal was right) or overturned.")
    with store_and_ledger(store, data_dir) as (opened, ledger):
        found = Appeals(opened, ledger.append).answer(appeal, holder(opened, key, person), outcome == "overturned", reason)
    if isinstance(found, NotTaken):
        raise not_taken(found.why, found.text, "See `bylaw appeals list`.", as_json, {"appeal": appeal})
    if as_json:
        say_json(rows.to_json(found))
    else:
        say(f"{found.id} is {found.state}")


def _who(one: "Appeal") -> str:
    return one.principal + (f" of {one.tenant}" if one.tenant else "")


def _shown(one: "Appeal") -> str:
    lines = [
        f"{one.id}: {one.state}",
        f"made by      {_who(one)}, {when(one.made_at)}",
        f"against      {one.decision} by {', '.join(one.clauses) or 'no clause'}",
        f"record       {one.record}",
        f"policy       {one.policy}",
        *([f"answered     {when(one.ended_at)} by {one.ended_by}: {one.said}"] if one.ended_at else []),
        f"why          {one.why}",
    ]
    return "\n".join(lines)

"""`bylaw approvals …`: see what waits for a person, and answer it as somebody who has shown who they are."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from bylaw.cli.place import DATA_DIR, DataDir, StoreUrl, store_and_ledger, store_of, when
from bylaw.cli.reviewing import As, Everything, OfTenant, Secret, holder, in_state, not_taken, wanted
from bylaw.cli.saying import AsJson, say, say_json
from bylaw.errors import StoreError

if TYPE_CHECKING:  # commands import what they need when they run
    from bylaw.govern.approvals import Approvals, Record
    from bylaw.govern.quorum import Refused
    from bylaw.store.approval_rows import Approval
    from bylaw.store.database import Store

app = typer.Typer(help="See and answer what waits for a person.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="Which request.", show_default=False)]
Reason = Annotated[str, typer.Option(help="Why, in your words; it is recorded.", show_default=False)]


@app.command("list")
def approvals_list(
    state: Annotated[list[str] | None, in_state("pending")] = None,
    everything: Everything = False,
    tenant: OfTenant = None,
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """What waits for a person, newest first."""
    from bylaw.store import approval_rows as rows  # noqa: PLC0415  # see `cli`

    states = wanted(rows.STATES, state, ("pending",), everything, "a request")
    with store_of(store, data_dir) as opened:
        found = _reading(opened).find(states, tenant)
    if as_json:
        say_json([rows.to_json(one) for one in found])
        return
    for one in found:
        say(f"{one.id}  {one.state:9}  until {when(one.expires_at)}  {one.requester}: {_brief(one)}  {', '.join(one.clauses)}")
    if not found:
        say("nothing waits" if states == ["pending"] else "none")


@app.command("show")
def approvals_show(approval: Id, store: StoreUrl = "", data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """One request: exactly what would happen, who must agree, who has answered."""
    from bylaw.store import approval_rows as rows  # noqa: PLC0415  # see `cli`

    with store_of(store, data_dir) as opened:
        found = _reading(opened).get(approval)
    if found is None:
        raise StoreError(f"there is no request {approval}", "See `bylaw approvals list --all`.")
    if as_json:
        say_json(rows.to_json(found))
    else:
        say(_shown(found))


@app.command("approve")
def approvals_approve(
    approval: Id,
    reason: Reason = "",
    person: As = "",
    key: Secret = "",
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Say yes. It happens once, as shown, if the policy still allows it then. Exit 1: your yes does not count, and why."""
    with store_and_ledger(store, data_dir) as (opened, ledger):
        who = holder(opened, key, person)
        _tell(_approvals(opened, ledger.append).decide(approval, who, True, reason), as_json)


@app.command("deny")
def approvals_deny(
    approval: Id,
    reason: Reason = "",
    person: As = "",
    key: Secret = "",
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Say no: it does not happen. Exit 1: your no does not count, and why."""
    with store_and_ledger(store, data_dir) as (opened, ledger):
        who = holder(opened, key, person)
        _tell(_approvals(opened, ledger.append).decide(approval, who, False, reason), as_json)


@app.command("edit")
def approvals_edit(
    approval: Id,
    args: Annotated[str, typer.Option("--args", metavar="JSON", help="All arguments, as they shall be.", show_default=False)],
    call: Annotated[int, typer.Option(min=0, help="Which call of a withheld answer, from 0.")] = 0,
    reason: Reason = "",
    person: As = "",
    key: Secret = "",
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Put other arguments in the place of what waits; somebody else must approve them. Exit 1: your edit does not count, and why."""
    import asyncio  # noqa: PLC0415  # see `cli`

    from bylaw.serve import editing  # noqa: PLC0415  # see `cli`
    from bylaw.serve import live as lives  # noqa: PLC0415  # see `cli`

    try:
        changed = json.loads(args)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"--args is no JSON: {error}", 'Write it like --args \'{"order": 81, "amount": 50.0}\'.') from error
    if not isinstance(changed, dict):
        raise StoreError("--args is no JSON object", "Write all arguments of the call.")
    with store_and_ledger(store, data_dir) as (opened, ledger):
        who, last = holder(opened, key, person), lives.latest(opened)
        if last is None:
            raise StoreError("no policy was ever put in force here, so that nothing can be judged", "Name the data directory of `serve`.")
        with editing.gate_of(opened, ledger.append, lives.loaded(opened, last).law) as gate:
            _tell(asyncio.run(editing.edit(gate, approval, who, changed, call, reason)), as_json)


@app.command("settle")
def approvals_settle(
    approval: Id,
    ran: Annotated[bool, typer.Option("--ran/--did-not-run", help="What you found out.", show_default=False)],
    reason: Annotated[str, typer.Option(help="How you know; it is recorded.", show_default=False)],
    person: As = "",
    key: Secret = "",
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Say what became of a call whose process died while it ran (`unknown`). Exit 1: your word does not count, and why."""
    with store_and_ledger(store, data_dir) as (opened, ledger):
        who = holder(opened, key, person)
        _tell(_approvals(opened, ledger.append).settle(approval, who, ran, reason), as_json)


def _approvals(store: "Store", record: "Record") -> "Approvals":
    from bylaw.govern.approvals import Approvals  # noqa: PLC0415  # see `cli`

    return Approvals(store, record)


def _reading(store: "Store") -> "Approvals":
    from bylaw.govern.approvals import Approvals  # noqa: PLC0415  # see `cli`

    def refuse(_: object) -> None:
        raise StoreError("a command that only reads was about to change something", "This is a fault of bylaw; please report it.")

    return Approvals(store, refuse, recover=False)


def _tell(found: "Approval | Refused", as_json: bool) -> None:
    from bylaw.govern.quorum import Refused  # noqa: PLC0415  # see `cli`
    from bylaw.store import approval_rows as rows  # noqa: PLC0415  # see `cli`

    if isinstance(found, Refused):
        hint = f"See `bylaw approvals show {found.approval}`." if found.approval else "See `bylaw approvals list`."
        raise not_taken(found.why, found.text, hint, as_json, {"approval": found.approval})
    if as_json:
        say_json(rows.to_json(found))
    else:
        say(f"{found.id} is {found.state}" + ("; more people must agree" if found.state == "pending" else ""))


def _brief(one: "Approval") -> str:
    what = one.what()
    tool = what.get("tool") if isinstance(what, dict) else None
    return str(tool) if tool else "an answer that is withheld" if one.route == "release" else "a call"


def _shown(one: "Approval") -> str:
    from bylaw.govern.quorum import in_words  # noqa: PLC0415  # see `cli`

    lines = [
        f"{one.id}: {one.state}",
        f"asked by     {one.requester}" + (f" of {one.tenant}" if one.tenant else "") + f", {when(one.requested_at)}",
        f"because of   {', '.join(one.clauses) or 'no clause'}: {one.reason}",
        f"holds until  {when(one.expires_at)}",
        f"policy       {one.policy}",
        *(f"needs        {in_words(need)}" for need in one.needs),
        *(f"{'yes' if a.yes else 'no'} by {a.person}, {when(a.at)}{f': {a.reason}' if a.reason else ''}" for a in one.answers),
        *([f"edited by    {', '.join(one.edited_by.splitlines())}"] if one.edited_by else []),
        *([f"replaced by  {one.replaced_by}"] if one.replaced_by else []),
        *([f"ended        {when(one.ended_at)} {f'by {one.ended_by}' if one.ended_by else ''}: {one.said}"] if one.ended_at else []),
        *([f"ringing      {one.notice}"] if one.notice else []),
        f"exactly this {'would run' if one.route == 'run' else 'would be released'} ({one.digest}):",
        _visible(json.dumps(one.what(), indent=2, ensure_ascii=False)) if one.subject is not None else "(forgotten)",
    ]
    return "\n".join(lines)


def _visible(text: str) -> str:
    """JSON in which nothing hides: what does not print, and what turns the direction of writing, stands as an escape."""
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)

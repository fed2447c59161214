"""`bylaw keys …`: who may come in, as whom, with which roles and limits."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bylaw.cli.place import DATA_DIR, DataDir, StoreUrl, store_and_ledger, store_of, when
from bylaw.cli.saying import AsJson, say, say_json

if TYPE_CHECKING:  # commands import what they need when they run
    from bylaw.govern.keys import Key

app = typer.Typer(help="Make, list, exchange and revoke API keys.", no_args_is_help=True)

HOUR_MS: Final = 3600 * 1000
DAY_MS: Final = 24 * HOUR_MS
Roles = Annotated[list[str] | None, typer.Option("--role", help="A role; repeat for several.", show_default=False)]


@app.command("create")
def keys_create(
    principal: Annotated[str, typer.Option(help="Who comes in with it.", show_default=False)],
    role: Roles = None,
    tenant: Annotated[str, typer.Option(help="Whose; `*` for people who approve for all.", show_default=False)] = "",
    jurisdiction: Annotated[str, typer.Option(help="Where its requests come from.", show_default=False)] = "",
    requests_per_min: Annotated[int | None, typer.Option(min=1, help="At most so many.", show_default=False)] = None,
    tokens_per_day: Annotated[int | None, typer.Option(min=1, help="At most so many, in and out, a day (UTC).", show_default=False)] = None,
    tokens_total: Annotated[int | None, typer.Option(min=1, help="At most so many in all.", show_default=False)] = None,
    budget: Annotated[str, typer.Option(metavar="AMOUNT", help="At most so much money in all.", show_default=False)] = "",
    price: Annotated[str, typer.Option(metavar="IN/OUT", help="Of a million tokens, such as 2.50/10.", show_default=False)] = "",
    days: Annotated[int | None, typer.Option(min=1, max=3650, help="Good for so long.", show_default="for ever")] = None,
    name: Annotated[str, typer.Option(help="What you call it.", show_default=False)] = "",
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown now and never again."""
    from bylaw.govern import keys  # noqa: PLC0415  # see `cli`

    expires = round(time.time() * 1000) + days * DAY_MS if days else None
    grant = keys.Grant(
        principal, tuple(role or ()), tenant, jurisdiction, requests_per_min, budget, name, expires, tokens_per_day, tokens_total, price
    )
    with store_and_ledger(store, data_dir, make="aloud") as (opened, ledger):
        key, secret = keys.create(opened, ledger.append, grant)
    if budget and not price:
        what = "this key has a budget in money and no price of its own: every request is refused (403) unless its region has a price"
        say(f"warning: {what}. Make another with --price IN/OUT, or give the region one", sys.stderr)
    if as_json:
        say_json({**keys.to_json(key), "key": secret})
    else:
        roles = f" ({', '.join(role)})" if role else ""
        say(f"{secret}\nfor {principal}{roles}; it is not shown again. To take it back: bylaw keys revoke {key.id}")


@app.command("list")
def keys_list(store: StoreUrl = "", data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """All keys, without their secrets."""
    from bylaw.govern import keys  # noqa: PLC0415  # see `cli`

    with store_of(store, data_dir) as opened:
        found = keys.every(opened)
    if as_json:
        say_json([keys.to_json(one) for one in found])
        return
    for one in found:
        say(_line(one))
    if not found:
        say("no keys: `bylaw keys create` makes one")


@app.command("rotate")
def keys_rotate(
    key: Annotated[str, typer.Argument(metavar="ID", help="As `bylaw keys list` shows it.", show_default=False)],
    grace: Annotated[float, typer.Option(metavar="HOURS", min=0, max=2160, help="The old one stays good for so long.")] = 24,
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Make a key that gives what an old one gives; the old one is refused after the grace."""
    from bylaw.govern import keys  # noqa: PLC0415  # see `cli`

    with store_and_ledger(store, data_dir) as (opened, ledger):
        made, secret, old = keys.rotate(opened, ledger.append, key, round(grace * HOUR_MS))
    if as_json:
        say_json({**keys.to_json(made), "key": secret, "old": keys.to_json(old)})
    else:
        say(f"{secret}\nfor {made.grant.principal}; it is not shown again. {old.prefix} is good until {when(old.grant.expires_at)}")


@app.command("revoke")
def keys_revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="As `bylaw keys list` shows it.", show_default=False)],
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Take a key back: refused on every process within a second."""
    from bylaw.govern import keys  # noqa: PLC0415  # see `cli`

    with store_and_ledger(store, data_dir) as (opened, ledger):
        found = keys.revoke(opened, ledger.append, key)
    if as_json:
        say_json(keys.to_json(found))
    else:
        say(f"{found.prefix} of {found.grant.principal} is revoked since {when(found.revoked_at)}")


@app.command("demo")
def keys_demo(
    policy: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Give the approver every role it asks for.", show_default=False)
    ] = None,
    role: Roles = None,
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Make two keys to try approvals with on this machine: one that asks, and one that approves."""
    from bylaw.govern import keys  # noqa: PLC0415  # see `cli`

    roles = (*(role or ()), *(_approvers(policy) if policy else ()))
    with store_and_ledger(store, data_dir, make="aloud") as (opened, ledger):
        made = keys.demo(opened, ledger.append, roles)
    if as_json:
        shown: list[dict[str, Any]] = [{**keys.to_json(key), "key": secret} for key, secret in made]
        say_json({"requester": shown[0], "approver": shown[1]})
        return
    (_, asks), (answers, approves) = made
    say(f"asks      {asks}\napproves  {approves}   ({', '.join(answers.grant.roles)})")
    say("Send the first as the client's API key. To answer:\n  BYLAW_KEY=<the second> bylaw approvals approve ID")


def _approvers(path: Path) -> list[str]:
    from bylaw.govern.rails.ensemble import ensembles  # noqa: PLC0415  # see `cli`
    from bylaw.policy.parse import load  # noqa: PLC0415  # see `cli`

    policy = load(path)
    clauses = (*policy.clauses, *(clause for overlay in policy.overlays for clause in overlay.clauses))
    asked = {role for clause in clauses for rule in clause.enforce for role in rule.approvers}
    agreed = {role for one in ensembles(replace(policy, clauses=clauses)) if one.ask for role in one.ask.approvers}
    return sorted(asked | agreed | set(policy.owners))


def _line(one: "Key") -> str:
    grant = one.grant
    limits = [f"{grant.requests_per_min} requests/min"] if grant.requests_per_min else []
    limits += [f"{grant.tokens_per_day} tokens/day"] if grant.tokens_per_day else []
    limits += [f"{grant.tokens_total} tokens in all"] if grant.tokens_total else []
    limits += [f"budget {grant.budget}"] if grant.budget else []
    ends = f"revoked {when(one.revoked_at)}" if one.revoked_at else f"until {when(grant.expires_at)}" if grant.expires_at else "good"
    of = f" of {grant.tenant}" if grant.tenant else ""
    place = f" in {grant.jurisdiction}" if grant.jurisdiction else ""
    roles = f" ({', '.join(grant.roles)})" if grant.roles else ""
    return "  ".join([one.prefix, f"{grant.principal}{of}{place}{roles}", *limits, ends, grant.name]).rstrip()

"""`bylaw sessions …`: what is remembered of sessions, and how to forget it."""

from typing import Annotated

import typer

from bylaw.cli.place import DATA_DIR, DataDir, StoreUrl, store_and_ledger
from bylaw.cli.saying import AsJson, say, say_json
from bylaw.errors import StoreError

app = typer.Typer(help="Forget what sessions have done.", no_args_is_help=True)


@app.callback()
def sessions() -> None:
    """Forget what sessions have done."""


@app.command("forget")
def sessions_forget(
    principal: Annotated[str, typer.Option(metavar="ID", help="Whose.", show_default=False)],
    tenant: Annotated[str, typer.Option(help="Of which tenant.", show_default=False)] = "",
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Erase a principal's sessions from the store: their sums begin anew. What a running gateway holds in memory stays until it ends."""
    if not principal.strip():
        raise StoreError("nobody is named", "Give --principal the id whose sessions are to be forgotten.")
    from bylaw.govern.session import owner  # noqa: PLC0415  # see `cli`
    from bylaw.store import session_rows  # noqa: PLC0415  # see `cli`

    with store_and_ledger(store, data_dir) as (opened, ledger):
        ledger.append({"kind": "erasure", "principal": principal, "facts": {"step": "sessions forgotten", "tenant": tenant}})
        gone = session_rows.forget(opened, owner({"id": principal, "tenant": tenant}))
    if as_json:
        say_json({"principal": principal, "tenant": tenant, "sessions": gone})
    else:
        say(f"{gone} sessions of {principal}{f' of {tenant}' if tenant else ''} are forgotten")

"""`bylaw stop` and `bylaw resume`: the emergency stop, and the drill that measures it."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bylaw.cli.place import DATA_DIR, By, DataDir, StoreUrl, login, store_and_ledger, store_of, when
from bylaw.cli.saying import FINDINGS, AsJson, say, say_json
from bylaw.errors import LedgerError, StoreError

if TYPE_CHECKING:  # commands import what they need when they run
    from bylaw.govern.stops import Stop

Scope = Annotated[str, typer.Option(metavar="SCOPE", help="global, tenant:T, principal:P or tool:T.")]
Reason = Annotated[str, typer.Option(help="Why; shown to whoever is stopped.", show_default=False)]


def stop(
    scope: Scope = "global",
    reason: Reason = "",
    by: By = "",
    drill: Annotated[bool, typer.Option("--drill", help="Stop nobody; measure how long every process takes to see it.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Change nothing; show what is stopped.")] = False,
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Stop everything, or one tenant, principal or tool: on every process within a second. With --drill, exit 1: slower, or no gateway."""
    from bylaw.govern import stops  # noqa: PLC0415  # see `cli`
    from bylaw.store import processes  # noqa: PLC0415  # see `cli`
    from bylaw.store.clock import Clock  # noqa: PLC0415  # see `cli`

    if (drill and listed) or ((drill or listed) and (scope != "global" or reason)):
        what = "--drill and --list stop nobody, and look at everything: neither goes with the other, with --scope or with --reason"
        raise StoreError(what, "Leave one of them out.")
    if listed:
        with store_of(store, data_dir) as opened:
            found = stops.active(opened)
        if as_json:
            say_json([stops.to_json(one) for one in found])
        else:
            say("\n".join(_line(one) for one in found) or "nothing is stopped")
    elif drill:
        _drill(store, data_dir, by or login(), as_json)
    else:
        with store_of(store, data_dir) as opened:
            made, _ = stops.stop(opened, partial(_record, data_dir), scope, by or login(), reason)
            alone = not processes.living(opened, Clock())
        if as_json:
            say_json(stops.to_json(made))
        else:
            say(f"stopped: {scope}. To lift it: bylaw resume --scope {scope}")
            if alone:
                say("no process runs on this store now: if one should, name its own --store or --data-dir")


def resume(
    scope: Scope = "global",
    reason: Annotated[str, typer.Option(help="Why; for the record.", show_default=False)] = "",
    by: By = "",
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Lift the stops of exactly this scope."""
    from bylaw.govern import stops  # noqa: PLC0415  # see `cli`

    with store_and_ledger(store, data_dir) as (opened, ledger):
        lifted = stops.resume(opened, ledger.append, scope, by or login(), reason)
        left = stops.active(opened)
    if not lifted:
        raise StoreError(f"nothing is stopped with the scope {scope}", "See `bylaw stop --list`.")
    if as_json:
        say_json({"lifted": [stops.to_json(one) for one in lifted], "left": [stops.to_json(one) for one in left]})
    else:
        say(f"lifted: {scope}" + "".join(f"\nstill in force: {_line(one)}" for one in left))


def _record(data_dir: Path, entry: Mapping[str, Any]) -> None:
    """Record a stop that holds already: a ledger that cannot even be opened must not keep anybody from stopping."""
    from bylaw.ledger.writer import Ledger  # noqa: PLC0415  # see `cli`

    try:
        with Ledger(data_dir) as ledger:
            ledger.append(entry)
    except OSError as error:
        raise LedgerError(f"the ledger in {data_dir} cannot be opened: {error}", "Check the disk and its permissions.") from error


def _drill(store: str, data_dir: Path, by: str, as_json: bool) -> None:
    from bylaw.govern import drill  # noqa: PLC0415  # see `cli`

    with store_and_ledger(store, data_dir) as (opened, ledger):
        found = drill.drill(opened, ledger.append, by)
    if as_json:
        measured = {"good": found.good, "slowest_s": found.slowest_s, "limit_s": drill.LIMIT_S, "processes": dict(found.seen_after_s)}
        say_json({**measured, "witness": found.witness, "alone": found.alone})
    else:
        for one, after in found.seen_after_s.items():
            ours = "  (the drill's own)" if one == found.witness else ""
            say(f"{one[:8]}  {'did not see it' if after is None else f'{after * 1000:.0f} ms'}{ours}")
        if found.alone:
            say("no gateway runs on this store: only the drill's own process was measured")
            say("if one should, name its own --store or --data-dir")
        else:
            many = f"{len(found.seen_after_s)} processes, one of them the drill's own"
            say(f"{many}; limit {drill.LIMIT_S * 1000:.0f} ms: {'good' if found.good else 'TOO SLOW'}")
    if not found.good:
        raise typer.Exit(FINDINGS)


def _line(one: "Stop") -> str:
    return f"{one.scope}  since {when(one.stopped_at)} by {one.stopped_by}{f': {one.reason}' if one.reason else ''}"

"""`bylaw mcp …`: stand between an agent and an MCP server, and look after what its tools said of themselves."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer.core import TyperGroup

from bylaw.cli import serving
from bylaw.cli.place import DATA_DIR, By, Config, DataDir, StoreUrl, login, store_and_ledger, store_of, when
from bylaw.cli.saying import FINDINGS, AsJson, say, say_json
from bylaw.cli.staying import Program

if TYPE_CHECKING:  # commands import what they need when they run
    from bylaw.store.mcp_rows import Pin

RUN = "run"
HELP = ("-h", "--help")


class RunsAtOnce(TyperGroup):
    """`bylaw mcp --policy P -- COMMAND` is `bylaw mcp run --policy P -- COMMAND`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # its context is a Typer one
        """Put `run` before what names no command."""
        named = not args or args[0] in self.commands or args[0] in HELP
        return super().parse_args(ctx, args if named else [RUN, *args])


app = typer.Typer(
    help="Govern an MCP server: bylaw mcp --policy P -- COMMAND (its options: bylaw mcp run --help)", no_args_is_help=True, cls=RunsAtOnce
)
pins = typer.Typer(help="What the tools of servers say of themselves, as it was accepted.", no_args_is_help=True)
app.add_typer(pins, name="pins")

Server = Annotated[str, typer.Argument(metavar="SERVER", help="As `bylaw mcp pins list` names it.", show_default=False)]


@app.command(RUN)
def run(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND…", help="The server's command.", show_default=False)],
    policy: Annotated[
        Path | None, typer.Option("--policy", "-p", metavar="PATH", help="A policy folder.", show_default="the one in force in the store")
    ] = None,
    name: Annotated[str, typer.Option(metavar="SERVER", help="What to call the server.", show_default="by its command")] = "",
    prefix: Annotated[str, typer.Option(help="Put before its tools' names, where rules name them so.", show_default=False)] = "",
    place: Annotated[str, typer.Option(metavar="JURISDICTION", help="Where whoever asks is.", show_default=False)] = "",
    key_env: Annotated[str, typer.Option(metavar="NAME", help="The variable with the key of whoever asks.", show_default="local")] = "",
    session: Annotated[str, typer.Option(metavar="NAME", help="What sums and taint belong to.", show_default="a new one")] = "",
    media: Annotated[Literal["allow", "block"], typer.Option(help="Images and sound, which no rail can read.")] = "allow",
    env: Annotated[str, typer.Option(metavar="NAME", help="What `env.name` is in conditions, as `production`.")] = "",
    config: Config = None,
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
) -> Program:
    """Stand between an agent and an MCP server that is started here: on standard input and output, until the agent ends."""
    _piped()
    given = {"command": tuple(command), "policy": policy, "name": name, "prefix": prefix, "place": place, "key_env": key_env}
    given |= {"session": session, "media": media, "env": env, "config": config, "store": store, "data_dir": data_dir}
    return Program(serving.mcp, given)


@pins.command("list")
def pins_list(
    changed: Annotated[bool, typer.Option("--changed", help="Only tools that say something else by now.")] = False,
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Every tool that was seen, and whether it still says what was accepted. Exit 1: one does not."""
    from bylaw.store import mcp_rows  # noqa: PLC0415  # see `cli`

    with store_of(store, data_dir) as opened, opened.reading() as connection:
        found = [pin for pin in mcp_rows.pins(connection) if pin.changed or not changed]
    if as_json:
        say_json([_json(pin) for pin in found])
    else:
        say("\n".join(_line(pin) for pin in found) or ("no tool has changed" if changed else "no tool was seen"))
    return FINDINGS if any(pin.changed for pin in found) else 0


@pins.command("show")
def pins_show(
    server: Server,
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="As the server names it.", show_default=False)],
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """What a tool said when it was accepted, and what it says now."""
    import json  # noqa: PLC0415  # see `cli`

    pin = _found(server, tool, store, data_dir)
    say(_line(pin))
    say(f"accepted:\n{json.dumps(json.loads(pin.definition), indent=2)}")
    if pin.changed:
        say(f"now:\n{json.dumps(json.loads(pin.seen_definition), indent=2)}")


@pins.command("accept")
def pins_accept(
    server: Server,
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="Look at it first: bylaw mcp pins show.", show_default=False)],
    by: By = "",
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Accept what a tool says now: from here on it is shown and called again."""
    from bylaw.errors import StoreError  # noqa: PLC0415  # see `cli`
    from bylaw.store import mcp_rows  # noqa: PLC0415  # see `cli`

    pin = _found(server, tool, store, data_dir)
    if not pin.changed:
        say(f"{server} {tool}: nothing has changed")
        return
    with store_and_ledger(store, data_dir) as (opened, ledger):
        facts = {"step": "pin-accepted", "server": server, "was": pin.digest, "is": pin.seen}
        contents = {"was": pin.definition, "is": pin.seen_definition}
        ledger.append({"kind": "mcp", "principal": by or login(), "tool": tool[:200], "facts": facts, "contents": contents})
        if not mcp_rows.accept(opened, pin, by or login(), round(time.time() * 1000)):
            raise StoreError(f"{server} {tool} has changed again", "Look at it anew: bylaw mcp pins show.")
    say(f"accepted: {server} {tool} as it is now")


@pins.command("forget")
def pins_forget(
    server: Server,
    tool: Annotated[str, typer.Argument(metavar="[TOOL]", help="Left out: all of the server's.", show_default=False)] = "",
    by: By = "",
    store: StoreUrl = "",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Forget what was accepted: the next list is taken as it comes."""
    from bylaw.store import mcp_rows  # noqa: PLC0415  # see `cli`

    with store_and_ledger(store, data_dir) as (opened, ledger):
        facts = {"step": "pin-forgotten", "server": server}
        ledger.append({"kind": "mcp", "principal": by or login(), "tool": tool[:200], "facts": facts})
        say(f"forgotten: {mcp_rows.forget(opened, server, tool)}")


def _piped() -> None:
    """Raises BylawError where an agent is not at the other end: what is neither pipe, socket nor terminal would end the process unheard."""
    import io  # noqa: PLC0415  # see `cli`
    import os  # noqa: PLC0415  # see `cli`
    import stat  # noqa: PLC0415  # see `cli`
    import sys  # noqa: PLC0415  # see `cli`

    from bylaw.errors import BylawError  # noqa: PLC0415  # see `cli`

    for stream, name in ((sys.stdin, "standard input"), (sys.stdout, "standard output")):
        try:
            mode = os.fstat(stream.fileno()).st_mode if stream is not None else 0
        except io.UnsupportedOperation:  # no stream of the system's: whoever put it there knows better
            continue
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or (mode and stream.isatty())):
            raise BylawError(f"{name} is no pipe", "An agent starts this command and talks with it over pipes; a file is not taken.")


def _found(server: str, tool: str, store: str, data_dir: Path) -> "Pin":
    from bylaw.errors import StoreError  # noqa: PLC0415  # see `cli`
    from bylaw.store import mcp_rows  # noqa: PLC0415  # see `cli`

    with store_of(store, data_dir) as opened, opened.reading() as connection:
        pin = mcp_rows.pin(connection, server, tool)
    if pin is None:
        raise StoreError(f"no tool {tool!r} of a server {server!r} was seen", "See `bylaw mcp pins list`.")
    return pin


def _line(pin: "Pin") -> str:
    if pin.changed:
        return f"{pin.server} {pin.tool}: CHANGED {when(pin.changed_at)}, blocked; accepted was {pin.digest[:19]}"
    by = f"accepted by {pin.pinned_by}" if pin.pinned_by else "as first seen"
    return f"{pin.server} {pin.tool}: {by} {when(pin.pinned_at)} {pin.digest[:19]}"


def _json(pin: "Pin") -> dict[str, object]:
    return {
        "server": pin.server,
        "tool": pin.tool,
        "digest": pin.digest,
        "seen": pin.seen,
        "changed": pin.changed,
        "changed_at": pin.changed_at,
        "pinned_at": pin.pinned_at,
        "pinned_by": pin.pinned_by,
    }

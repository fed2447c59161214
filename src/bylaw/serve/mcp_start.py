"""`bylaw mcp` from its options: what is opened, who asks, and how long it runs. The same engine, approvals, stops and ledger as elsewhere.

With a policy, that policy is in force for as long as this runs, as its folder stood when it started; without one, the policy that is in
force in the store, which a rollback or an activation changes within a second. No policy that loads: nothing starts.
"""

import asyncio
import gc
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bylaw.canonical import digest_bytes
from bylaw.errors import PolicyError
from bylaw.govern.approvals import Approvals
from bylaw.govern.histories import Histories
from bylaw.govern.keys import KeyRing
from bylaw.govern.stops import Stops
from bylaw.ledger.writer import Ledger, Settings
from bylaw.serve import leave, mcp_stdio
from bylaw.serve import live as lives
from bylaw.serve.door import PLACE, Door, NotIn
from bylaw.serve.gate import Gate, Ways, Who
from bylaw.serve.live import Live
from bylaw.serve.mcp_child import Ended
from bylaw.serve.mcp_line import Line, Server
from bylaw.serve.mcp_pins import Pins
from bylaw.serve.mcp_seal import Seal
from bylaw.serve.secret import secret_in
from bylaw.serve.sessions import Keeper, Sessions
from bylaw.serve.upstream import Upstream
from bylaw.serve.wiring import Wired, Wiring
from bylaw.store import database
from bylaw.store.watching import Watch

GARBAGE: Final = 20_000  # as in `start`
QUICK_S: Final = 0.001  # of a commit: here is one client, whose calls mostly come one after another


@dataclass(frozen=True, slots=True)
class Setting:
    """What the operator said."""

    command: tuple[str, ...]
    policy: Path | None = None  # None: the one in force in the store
    name: str = ""
    prefix: str = ""
    place: str = ""  # the jurisdiction of whoever asks
    key_env: str = ""  # the variable with the key of whoever asks
    session: str = ""
    store: str = ""
    data_dir: Path = Path(".bylaw")
    ways: Ways = field(default_factory=Ways)
    wiring: Wiring = field(default_factory=Wiring)

    @property
    def server(self) -> str:
        """What the server is called: as it was named, else by its command."""
        return self.name or named(self.command)


def named(command: Sequence[str]) -> str:
    """A command's name and a part of its digest: another command is another server."""
    return f"{Path(command[0]).name[:60]}-{digest_bytes(chr(0).join(command).encode())[7:15]}"


def run(setting: Setting) -> None:
    """Until the client ends; raises BylawError where the server ended by itself, or nothing could be opened."""
    try:
        import uvloop  # noqa: PLC0415  # it comes with [serve]; without it this is a little slower
    except ImportError:
        asyncio.run(_run(setting))
    else:
        uvloop.run(_run(setting))


async def _run(setting: Setting) -> None:
    async with AsyncExitStack() as stack:
        make = opened(setting, stack)
        code = await mcp_stdio.pump(list(setting.command), make)
        if code is not None:
            raise Ended(f"{setting.server}: the server ended by itself (exit {code})", "What it wrote to standard error may say why.")


def opened(setting: Setting, stack: AsyncExitStack) -> mcp_stdio.MakeLine:
    """Everything that a line needs, closed by the stack; raises BylawError."""
    key = secret_in(setting.key_env, "a key: bylaw keys create")
    wired = Wired(setting.wiring)
    stack.callback(wired.close)
    store = database.open(setting.store or setting.data_dir / database.DEFAULT.name)
    stack.callback(store.close)
    live = _live(setting, store, wired)
    ledger = Ledger(setting.data_dir, settings=Settings(here_s=QUICK_S))
    stack.callback(ledger.close)
    watch = Watch(store)
    stops, ring = Stops(watch), KeyRing(watch)
    if setting.policy is None:
        live.follow(watch)
        stack.callback(live.close)
    watch.start()
    stack.callback(watch.close)

    def told(approval: str, how: str) -> None:
        approvals.note(approval, how)

    def mine(approval: str) -> bool:
        return approvals.summons.take(approval)

    approvals = Approvals(store, ledger.append, ring=wired.ring(told, mine))
    stack.callback(approvals.close)
    wired.catch_up(approvals.summons.missed)
    keeper = Keeper(Histories(store))
    stack.callback(keeper.close)
    sessions = Sessions(keeper=keeper)
    gate = Gate(live.law, Upstream("http://localhost"), ledger, stops.applies, sessions, approvals, setting.ways, stops.applies_now)
    pins, seal, door = Pins(store), Seal(setting.data_dir, store), Door(ring, local=True)
    headers = {b"host": b"localhost", **({b"authorization": f"Bearer {key}".encode()} if key else {})}
    headers |= {PLACE: setting.place.encode()} if setting.place else {}
    session = setting.session or f"mcp-{os.urandom(8).hex()}"
    name = setting.server
    here: Who | None = None  # whoever is on this machine and shows no key stays the same; a key may be revoked between two calls
    _settled()

    def make(server: Server) -> Line:
        nonlocal here
        who = here or door.who(headers)
        if key and not who.key:
            raise NotIn(401, f"{setting.key_env} holds no key of this place")
        here = None if key else who
        return Line(gate, name, who, sessions.of(who.owner, session), server, pins, seal, setting.prefix)

    return make


def _settled() -> None:
    """What is loaded stays: see `start`."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)


def _live(setting: Setting, store: database.Store, wired: Wired) -> Live:
    if setting.policy is not None:
        made = lives.ready(setting.policy, wired.rails_of)
        if missing := leave.under_table(store, made.places.policy, setting.policy):
            raise PolicyError(
                f"{setting.policy}: not signed off: {missing[0]}", "Leave out --policy: the one in force in the store counts then."
            )
        return Live(store, made, rails_of=wired.rails_of)
    last = lives.latest(store)
    if last is None:
        raise PolicyError("no policy is in force here", "Name one with --policy, or put one in force: bylaw policy activate.")
    return Live(store, lives.loaded(store, last, wired.rails_of), last.content, wired.rails_of)

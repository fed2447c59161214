"""Starting the gateway: what is checked before it listens, what each process opens, and what it lets go of at the end.

Nothing is opened before the fork: each worker has its own ledger log, its own connections and its own copy of the policy in force.
"""

import gc
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bylaw.canonical import digest_bytes
from bylaw.errors import BylawError, PolicyError, StoreError
from bylaw.govern import keys, offers
from bylaw.govern.appeals import Appeals
from bylaw.govern.approvals import Approvals
from bylaw.govern.budgets import Budgets
from bylaw.govern.histories import Histories
from bylaw.govern.keys import KeyRing
from bylaw.govern.stops import Stops
from bylaw.ledger.writer import Ledger
from bylaw.serve import bundle, leave, orphans, owned, trying, watched_folder, watchers
from bylaw.serve import live as lives
from bylaw.serve import regions as regional
from bylaw.serve.door import LOOPBACK, Door
from bylaw.serve.gate import Gate, Ways
from bylaw.serve.gateway import App, Gateway, Receive, Scope, Send
from bylaw.serve.live import InForce, Live
from bylaw.serve.regions import Region
from bylaw.serve.secret import secret_in
from bylaw.serve.sessions import Keeper, Sessions
from bylaw.serve.upstream import Upstream
from bylaw.serve.watched_folder import WatchedFolder
from bylaw.serve.wiring import Wired, Wiring
from bylaw.store import database
from bylaw.store.database import Store
from bylaw.store.watching import Watch

if TYPE_CHECKING:
    import uvicorn

    from bylaw.serve.supervisor import Alone

GARBAGE: Final = 20_000  # objects made before the collector looks: about fifty requests
GRACE_S: Final = 30  # how long requests in flight may take to end
BACKLOG: Final = 1_024  # connections that wait to be accepted
KEEP_ALIVE_S: Final = 30
LOG: Final = logging.getLogger(__name__)
WORKER_S: Final = 60  # after which a worker that says nothing is replaced; one that is still loading says nothing


@dataclass(frozen=True, slots=True)
class Setting:
    """What the operator said."""

    upstream: str
    upstream_key_env: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    store: str = ""
    data_dir: Path = Path(".bylaw")
    ways: Ways = field(default_factory=Ways)
    local_model: bool = False  # the upstream is a process that was started with the gateway
    wiring: Wiring = field(default_factory=Wiring)
    regions: tuple[Region, ...] = ()
    unsafe_watch: Path | None = None  # the folder whose policy is in force as it stands there

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host in LOOPBACK:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def database(self) -> str | Path:
        """Where approvals, keys and stops are kept."""
        return self.store or self.data_dir / database.DEFAULT.name

    def upstream_key(self) -> str:
        """The key for the upstream, out of the environment; raises StoreError where the variable is empty."""
        return secret_in(self.upstream_key_env, "the upstream's key")


def _place(setting: Setting) -> str:
    """Where a command finds this gateway's store. A database's address may hold a password, and is not repeated."""
    return "--store THE-SAME" if setting.store else f"--data-dir {setting.data_dir}"


def prepare(setting: Setting, policy: Path, by: str, say: Callable[[str], object] = LOG.warning) -> InForce:
    """Check all that can be checked before anything listens, and put the policy in force; raises BylawError.

    Where another policy is in force and this one has no leave to replace it, that one stays, and `say` is told.
    """
    setting.upstream_key()
    for one in setting.wiring.mcp:
        one.key()
    watchers.checked(setting.wiring)
    Upstream(setting.upstream)
    rails_of = Wired(setting.wiring).rails_of
    files = bundle.pack(policy)
    made = lives.ready(policy, rails_of)
    if setting.unsafe_watch and not setting.local:
        raise StoreError("--unsafe-watch is for this machine alone", f"Listen on 127.0.0.1 and not on {setting.host}.")
    store = database.open(setting.database)
    try:
        if not setting.local and not any(one.revoked_at is None for one in keys.every(store)):
            raise StoreError(
                f"{setting.host} can be reached from elsewhere, and there are no keys",
                f"Make one: bylaw keys create --principal NAME {_place(setting)}.",
            )
        lives.take_over(setting.data_dir, store)
        if setting.unsafe_watch:
            watched_folder.checked(store)
            return made
        if _is_new(made, files, lives.history(store)):
            if bundle.pack(policy) != files:
                raise PolicyError(f"{policy} changed while it was read", "Start again.")
            _replaced(setting, store, made, files, by, say)
        last = lives.latest(store)
        if last is not None and last.unsigned:
            say(f"UNSIGNED: {last.digest} was put in force by {last.by} although signatures were missing: {last.unsigned}")
        if last is not None and (last.digest, last.content) != (made.digest, digest_bytes(files)):
            # one without leave, or activated later than this one (a restart is no rollback), or the folder's records were not taken
            made = lives.loaded(store, last, rails_of)
    finally:
        store.close()
    late = {tool: rules for book in made.places.books.values() for tool, rules in offers.too_late(book).items()}
    for tool, rules in sorted(late.items()):
        say(f"TOO LATE: {tool} runs at the upstream before {', '.join(rules)} can be decided, and x-hosted lets it")
    return made


def _replaced(setting: Setting, store: Store, made: InForce, files: bytes, by: str, say: Callable[[str], object]) -> None:
    """Put a new policy in force, if it has leave; where it has none, what is in force stays."""
    with Ledger(setting.data_dir) as ledger:
        try:
            lives.put_in_force(store, ledger.append, made, files, by, leave.asked(store, files, first=True))
        except leave.Overtaken:
            return  # by a gateway that started at the same time, or by somebody who activated: that one stays
        except PolicyError as error:
            facts = {"step": "not activated", "why": error.what[:500]}
            ledger.append({"kind": "policy", "principal": by, "policy": made.digest, "facts": facts})
            last = lives.latest(store)
            if last is not None and last.digest == made.digest:
                say(f"The review records of this folder are NOT taken, those in the store stay: {error.what}. {error.hint}")
            else:
                say(f"NOT in force: {made.places.policy.id} {made.places.policy.version} {made.digest}: {error.what}. {error.hint}")


def _is_new(made: InForce, files: bytes, past: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a policy was never in force; or is, and its folder holds something else by now, such as another review."""
    if made.digest not in [one["digest"] for one in past]:
        return True
    return bool(past[-1]["digest"] == made.digest and past[-1]["content"] != digest_bytes(files))


@dataclass(slots=True)
class Process:
    """The ASGI application of one process: it opens all it needs when the server starts it, and closes it when the server stops."""

    setting: Setting
    gateway: Gateway | None = None
    _stack: AsyncExitStack | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or begin and end."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif self.gateway is not None:
            await self.gateway(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        if self.setting.workers > 1:
            orphans.end_with_parent()
        try:
            async with AsyncExitStack() as stack:
                while (message := await receive())["type"] == "lifespan.startup":
                    try:
                        self.gateway = opened(self.setting, stack)
                    except BylawError as error:
                        await send({"type": "lifespan.startup.failed", "message": f"{error.what}. {error.hint}"})
                        return
                    await send({"type": "lifespan.startup.complete"})
                del message
        except BylawError as error:  # what was still to be written could not be
            await send({"type": "lifespan.shutdown.failed", "message": f"{error.what}. {error.hint}"})
            return
        await send({"type": "lifespan.shutdown.complete"})


def opened(setting: Setting, stack: AsyncExitStack) -> Gateway:
    """Everything that one process needs, closed by the stack in the opposite order; raises BylawError."""
    wired = Wired(setting.wiring)
    stack.callback(wired.close)
    store = database.open(setting.database)
    stack.callback(store.close)
    ledger = Ledger(setting.data_dir)
    stack.callback(ledger.close)
    watch = Watch(store)
    live = _live(setting, store, wired)
    stops, ring = Stops(watch), KeyRing(watch)
    if setting.unsafe_watch:
        stack.callback(WatchedFolder(setting.unsafe_watch, live, ledger.append).close)
    else:
        live.follow(watch)
        stack.callback(live.close)
    watch.start()
    stack.callback(watch.close)

    books: list[Approvals] = []

    def told(approval: str, how: str) -> None:
        for one in books:
            one.note(approval, how)  # only one of them has it

    def mine(approval: str) -> bool:
        return any(one.summons.take(approval) for one in books)

    ring_for = wired.ring(told, mine)
    approvals = Approvals(store, ledger.append, ring=ring_for)
    books.append(approvals)  # a bell of what was left over may say how it went before the rest of this stands
    stack.callback(approvals.close)
    stack.callback(wired.close)  # before what it writes to
    gate = _gate(setting, live, ledger, stops, approvals, stack)
    gate.troubles, gate.appeals = wired.troubles.now, Appeals(store, ledger.append, ring=ring_for)
    gate.regions = regional.opened(setting.regions, gate, ring_for, stack)
    books += [place.approvals for place in gate.regions.values() if place.approvals]
    wired.catch_up(lambda: sum([one.summons.missed() for one in books]))
    gates = (gate, *gate.regions.values())
    watching = watchers.begun(setting.wiring, gates, wired.troubles.say, stack, setting.workers, str(setting.database))
    stack.callback(trying.begun(live, ledger.append, gates, None if setting.unsafe_watch else watch))
    budgets = _budgets(store, stack)
    door = Door(ring, setting.local, setting.workers, budgets=budgets, prices={one.name: one.price for one in setting.regions})

    def other() -> App:
        from bylaw.serve.admin import admin  # noqa: PLC0415  # Starlette loads when somebody first asks for these routes
        from bylaw.serve.desk import Desk  # noqa: PLC0415  # the same

        return admin(Desk(
            gate, door, live, store, ledger, stops, setting.data_dir,
            setting.local_model, setting.wiring.run, watching, setting.wiring.draft, setting.wiring.console == "https",
        ))  # fmt: skip

    return Gateway(gate, door, other, mcp=_mcp(setting, gate, door, store, stack), ended=watching.ended)


def _gate(setting: Setting, live: Live, ledger: Ledger, stops: Stops, approvals: Approvals, stack: AsyncExitStack) -> Gate:
    """The gate of the gateway's own place, with its upstream and its sessions."""
    keeper = Keeper(Histories(live.store))
    stack.callback(keeper.close)
    upstream = Upstream(setting.upstream, setting.upstream_key())
    stack.push_async_callback(upstream.close)
    _settled()
    gate = Gate(live.law, upstream, ledger, stops.applies, Sessions(keeper=keeper), approvals, setting.ways, stops.applies_now)
    gate.data_dir, gate.talks, gate.owned = setting.data_dir, live.of_talk, owned.opened(live.store)
    return gate


def _budgets(store: Store, stack: AsyncExitStack) -> Budgets:
    budgets = Budgets(store)
    budgets.start()
    stack.callback(budgets.close)
    return budgets


def _mcp(setting: Setting, gate: Gate, door: Door, store: Store, stack: AsyncExitStack) -> App | None:
    if not setting.wiring.mcp:
        return None
    from bylaw.serve import mcp_http  # noqa: PLC0415  # it loads where there are MCP servers

    return mcp_http.opened(setting.wiring.mcp, gate, door, store, stack)


def _settled() -> None:
    """What is loaded stays: to look through it again and again costs more than a request."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)


def _live(setting: Setting, store: Store, wired: Wired) -> Live:
    """What is in force when a process starts."""
    if setting.unsafe_watch:
        return Live(store, lives.ready(setting.unsafe_watch, wired.rails_of), rails_of=wired.rails_of)
    last = lives.latest(store)
    if last is None:
        raise PolicyError("no policy was ever put in force here", "Start with `bylaw serve --policy`.")
    return Live(store, lives.loaded(store, last, wired.rails_of), last.content, wired.rails_of)


def reached(host: str) -> str:
    """Where a browser on this machine finds what listens there: every address of the machine is none to go to."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # it is looked for, not listened on


def address(host: str, port: int) -> str:
    """A link to a host and port."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(setting: Setting, say: Callable[[str], None]) -> None:
    """Listen until told to stop. Requests in flight are ended first."""
    import uvicorn  # noqa: PLC0415  # whoever prepares without listening needs none

    from bylaw.serve.one_write import OneWrite  # noqa: PLC0415  # the same
    from bylaw.serve.supervisor import Alone, Supervisor  # noqa: PLC0415  # the same

    config = uvicorn.Config(
        Process(setting),
        host=setting.host,
        port=setting.port,
        workers=setting.workers,
        backlog=BACKLOG,
        loop="uvloop",
        http=OneWrite,
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        timeout_worker_healthcheck=WORKER_S,
    )
    listening: socket.socket = config.bind_socket()
    port = listening.getsockname()[1]

    def up() -> None:
        console = f"{address(reached(setting.host), port)}/console/"
        say(f"listening on {address(setting.host, port)}")
        say(f"console at {console} (sign in with a key: bylaw keys create --principal NAME --role viewer)")

    if setting.workers > 1:
        supervisor = Supervisor(config, [listening], up)
        supervisor.run()
        failed = supervisor.failed
    else:
        failed = _alone(Alone(config, up), listening)
    if failed:
        raise StoreError("the gateway did not start", "The lines above say why.")


def _alone(server: "Alone", listening: socket.socket) -> bool:
    """Serve from this process; whether that could not even begin."""
    try:
        with _heard(server):
            server.run(sockets=[listening])
    except SystemExit:  # uvicorn's way to say so
        return True
    return False


@contextmanager
def _heard(server: "uvicorn.Server") -> Iterator[None]:
    """Let a signal that comes before the server hears signals end it all the same: in the middle of something else it can get lost."""
    came: list[int] = []

    def hear(number: int, frame: Any) -> None:
        came.append(number)
        server.handle_exit(number, frame)

    before = {one: signal.signal(one, hear) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    for number in dict.fromkeys(reversed(came)):  # it says again at its end which it has heard
        signal.raise_signal(number)

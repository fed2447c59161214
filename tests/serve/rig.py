"""A gateway and an upstream on loopback, each in a thread of its own; the upstream says what the test has written down."""

import asyncio
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import uvicorn
from aiohttp import web

from bylaw.errors import LedgerError
from bylaw.govern.approvals import Approvals
from bylaw.govern.rails.rail import RailFacts
from bylaw.govern.rulebook import Rulebook
from bylaw.policy.parse import load
from bylaw.serve.gate import Gate, Ways, Who
from bylaw.serve.gateway import Gateway
from bylaw.serve.law import Law
from bylaw.serve.one_write import OneWrite
from bylaw.serve.sessions import Sessions
from bylaw.serve.upstream import Upstream
from bylaw.store.clock import Clock
from bylaw.types import Event, Hit
from tests.store import blank

RAILS: dict[str, tuple[str, int | None]] = {
    "pii.card": (r"(?<!\d)\d{4}(?:[ -]?\d{4}){3}(?!\d)", 19),
    "secrets": (r"sk-[a-z0-9]{8}", 11),
    "injection": (r"ignore your rules", 17),
    "whole": (r"forbidden as a whole", None),
    "broken": (r"", 1),
}

CLAUSE = """## {title} {{#{id}}}

```yaml clause
severity: high
response: comply
owner: desk
enforce:
  - rule: r
{rule}
```

{title}. It MUST be so.
"""

CLAUSES: dict[str, tuple[str, str]] = {
    "privacy.cards": ("No card numbers", "    on: [input, output, thinking]\n    detect: [pii.card]\n    then: redact"),
    "security.keys": ("No keys in answers", "    on: [output, thinking]\n    detect: [secrets]\n    then: block"),
    "security.orders": ("Orders in results", "    on: [input, tool_result, document]\n    detect: [injection]\n    then: block"),
    "money.limit": (
        "Refunds above the limit need a person",
        '    on: tool_call\n    tool: refund\n    when: args.amount + session.sums["refund.amount"] > 200.0\n'
        "    then: require_approval\n    approvers: [lead]\n    ttl: 30m",
    ),
    "money.never": ("Nobody empties the till", "    on: tool_call\n    tool: refund\n    when: args.amount > 9000.0\n    then: block"),
    "tone.promise": ("No promises", '    on: output\n    when: text.contains("guaranteed")\n    then: revise'),
    "tone.orders": ("No orders in answers", "    on: output\n    detect: [injection]\n    then: block"),
    "tone.whole": ("Nothing forbidden as a whole", "    on: output\n    detect: [whole]\n    then: block"),
    "tone.broken": ("A check that fails", "    on: output\n    detect: [broken]\n    then: block"),
    "money.error": (
        "A rule that errs on every order",
        "    on: tool_call\n    tool: refund\n    when: args.order * 9223372036854775807 > 0\n    then: block",
    ),
    "input.person": (
        "A person reads this",
        '    on: input\n    when: text.contains("lawsuit")\n    then: require_approval\n    approvers: [lead]\n    ttl: 30m',
    ),
}
STREAMABLE = ("privacy.cards", "security.keys", "security.orders", "money.limit", "money.never")
PATIENCE_S = 60.0  # until a test gives up waiting
REFUND = {
    "type": "object",
    "properties": {"order": {"type": "integer"}, "amount": {"type": "number"}},
    "required": ["order", "amount"],
    "additionalProperties": False,
}
LOOKUP = {"type": "object", "properties": {"order": {"type": "integer"}}, "additionalProperties": False}


def written(folder: Path, clauses: Sequence[str] = STREAMABLE, more: str = "") -> Path:
    """A policy of some of the clauses above."""
    (folder / "tools").mkdir(parents=True, exist_ok=True)
    (folder / "policy.yaml").write_text("id: tried\nversion: 1.0.0\nowners: [desk]\n" + more)
    (folder / "rules.md").write_text(
        "# Rules\n\n" + "\n".join(CLAUSE.format(id=one, title=CLAUSES[one][0], rule=CLAUSES[one][1]) for one in clauses)
    )
    (folder / "tools" / "refund.json").write_bytes(orjson.dumps(REFUND))
    (folder / "tools" / "lookup.json").write_bytes(orjson.dumps(LOOKUP))
    return folder


def ask(event: Event, names: Sequence[str], facts: RailFacts) -> tuple[Mapping[str, Sequence[Hit]], Collection[str]]:
    """Rails that are patterns; `broken` cannot be asked."""
    found = {name: [Hit(name, m.start(), m.end()) for m in re.finditer(RAILS[name][0], event.text)] for name in names if name != "broken"}
    return found, [name for name in names if name == "broken"]


_BOOKS: dict[tuple[tuple[str, bytes], ...], Rulebook] = {}  # by the files of their policies: hundreds of tests have the same


def law(folder: Path) -> Law:
    files = tuple(sorted((str(one.relative_to(folder)), one.read_bytes()) for one in folder.rglob("*") if one.is_file()))
    if files not in _BOOKS:
        _BOOKS[files] = Rulebook.load(load(folder), RAILS)
    return Law(_BOOKS[files], ask, {name: longest for name, (_, longest) in RAILS.items()})


@dataclass
class Book:
    """A ledger in memory, which can be told to fail."""

    entries: list[Mapping[str, Any]] = field(default_factory=list)
    fails_from: int | None = None
    healthy: bool = True

    async def record(self, entry: Mapping[str, Any]) -> object:
        return self.append(entry)

    def append(self, entry: Mapping[str, Any]) -> object:
        if self.fails_from is not None and len(self.entries) >= self.fails_from:
            raise LedgerError("the disk is full")
        self.entries.append(entry)
        return f"book#{len(self.entries) - 1}"

    def kinds(self) -> list[tuple[str, str, str]]:
        return [(entry["kind"], entry.get("surface", ""), entry.get("decision", "")) for entry in self.entries]


GONE = object()


async def _until(there: Callable[[], bool]) -> None:
    late = time.monotonic() + PATIENCE_S
    while not there() and time.monotonic() < late:
        await asyncio.sleep(0.005)


@dataclass
class Speaker:
    """The upstream: answers in the order written down, and keeps what it was asked.

    A reply is a map, a `web.Response`, or pieces of a stream: bytes, seconds to wait, None to hang up, `GONE` to wait until whoever asked
    has gone, an `Event` to wait for.
    """

    replies: list[Any] = field(default_factory=list)
    otherwise: Any = field(default_factory=lambda: {"object": "list", "data": []})  # where nothing is written down any more
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    url: str = ""
    broken_off: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked.append(orjson.loads(body) if body else {})
        self.headers.append(dict(request.headers))
        self.paths.append(request.raw_path)
        reply = self.replies.pop(0) if self.replies else self.otherwise
        if isinstance(reply, web.Response):
            return reply
        if isinstance(reply, dict):
            return web.Response(body=orjson.dumps(reply), content_type="application/json", headers={"x-request-id": "req-1"})
        stream = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await stream.prepare(request)
        try:
            for piece in reply:
                if piece is None:
                    if request.transport:
                        request.transport.close()
                    return stream
                if isinstance(piece, float):
                    await asyncio.sleep(piece)
                    continue
                if isinstance(piece, threading.Event):
                    await _until(piece.is_set)
                    continue
                if piece is GONE:
                    await _until(lambda: request.transport is None or request.transport.is_closing())
                    self.broken_off += 1
                    return stream
                await stream.write(piece)
        except (ConnectionError, asyncio.CancelledError):
            self.broken_off += 1
            raise
        return stream


@dataclass
class Open:
    """A door through which everybody comes as one principal."""

    who: Who = field(default_factory=lambda: Who({"id": "local", "roles": [], "tenant": "", "jurisdiction": ""}))

    async def enter(self, headers: Mapping[bytes, bytes]) -> Who:
        return self.who


@dataclass
class Rig:
    """What a test works with."""

    url: str
    speaker: Speaker
    book: Book
    gate: Gate
    stopped: set[str]
    approvals: Approvals
    closing: ExitStack
    clients: dict[str, Any] = field(default_factory=dict)

    def client(self, name: str, make: Callable[[], Any]) -> Any:
        """One client of a kind for the whole test: each loads the machine's certificates when it is made."""
        if name not in self.clients:
            self.clients[name] = self.closing.enter_context(make())
        return self.clients[name]


class Reply(NamedTuple):
    """A raw HTTP reply."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def post(url: str, body: bytes | str = b"", method: str = "POST", headers: Mapping[str, str] = {}) -> Reply:  # never changed
    """One raw request."""
    request = urllib.request.Request(url, body.encode() if isinstance(body, str) else body or None, dict(headers), method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
            return Reply(reply.status, reply.read(), dict(reply.headers))
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, error.read(), dict(error.headers))


class Prompt(uvicorn.Server):
    """uvicorn looks every 0.1 s whether it should end, and waits 0.1 s then: with some thousand servers, minutes. This one is told."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told: Callable[[], object] | None = None

    async def main_loop(self) -> None:
        ending, loop = asyncio.Event(), asyncio.get_running_loop()
        self._told = lambda: loop.call_soon_threadsafe(ending.set)
        await self.on_tick(0)
        if not self.should_exit:
            await ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for one in (*self.servers, *(sockets or ())):
            one.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while self.server_state.connections or self.server_state.tasks:
            await asyncio.sleep(0.002)
        await self.lifespan.shutdown()

    def end(self) -> None:
        self.should_exit = True
        if self._told is not None:
            self._told()


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """An ASGI application on loopback."""
    # bound once and for all: nobody else gets the port meanwhile; and said to be TCP, for only then asyncio sends each piece at once
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(1_024)
    server = Prompt(uvicorn.Config(app, log_level="warning", loop="asyncio", http=OneWrite, access_log=False))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.002)
        assert server.started
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.end()
        thread.join(PATIENCE_S)
        listening.close()


@contextmanager
def speaking() -> Iterator[Speaker]:
    """The upstream."""
    speaker, ready, loop = Speaker(), threading.Event(), asyncio.new_event_loop()

    async def start() -> web.AppRunner:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{tail:.*}", speaker.answer)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        speaker.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        return runner

    def run() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(PATIENCE_S)
    try:
        yield speaker
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_S)


@dataclass(frozen=True)
class Apart:
    """What some tests want otherwise."""

    law: Callable[[Path], Law] = law
    clock: Clock | None = None


@contextmanager
def rigged(
    tmp_path: Path,
    clauses: Sequence[str] = STREAMABLE,
    ways: Ways | None = None,
    door: Any = None,
    more: str = "",
    apart: Apart = Apart(),
) -> Iterator[Rig]:
    """A gateway in front of an upstream, under a policy of some clauses."""
    book, stopped, store = Book(), set[str](), blank.opened(tmp_path / "store.sqlite")
    approvals = Approvals(store, book.append, apart.clock)

    def stops(who: Mapping[str, Any], tool: str) -> Collection[str]:
        return tuple(stopped)

    holding = apart.law(written(tmp_path / "policy", clauses, more))
    with ExitStack() as ends, speaking() as speaker:
        ends.callback(store.close)
        ends.callback(approvals.close)
        gate = Gate(lambda who: holding, Upstream(speaker.url), book, stops, Sessions(), approvals, ways or Ways())

        def other() -> Any:
            raise AssertionError("no other routes here")

        gateway = Gateway(gate, door or Open(), other)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "lifespan":
                await gateway(scope, receive, send)
                return
            while True:
                kind = (await receive())["type"]
                if kind == "lifespan.shutdown":
                    await gate.upstream.close()
                await send({"type": f"{kind}.complete"})
                if kind == "lifespan.shutdown":
                    return

        with serving(app) as url, ExitStack() as closing:
            yield Rig(url, speaker, book, gate, stopped, approvals, closing)

# ruff: noqa: PLC0415  # each of the processes loads only what it needs
"""The gateway against a bare pass-through on the same stack (uvicorn, uvloop, httptools, aiohttp): CPU of the serving process, and latency.

Three processes: an upstream that says the same canned bytes to everybody, the server that is measured, and this one, which loads it.
CPU is the server's own (`schedstat` of its threads), so that a busy machine shows in the latencies but hardly here. Ratios are of one run,
the best of 5 rounds taken in turn. The request is 1.2 kB with a tool, under the example policy `refunds` made streamable.

A chunk is measured in two ways: the whole of a stream of 50 chunks, its request and its records included, shared among its
chunks; and one more chunk, from streams of 50 and of 250. Latency is what 50 clients see at once while each answer takes the
upstream 100 ms, against the bare pass-through: of clients each on its own time (their first requests are spread over those
100 ms), and of clients that all begin in the same millisecond, where who is last has waited for 49 others.
"""

import asyncio
import gc
import math
import multiprocessing
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import orjson

from bench import Row, row

ROUNDS: Final = 5
REQUESTS: Final = 600  # in one round
STREAMS: Final = 60
CHUNKS: Final = 50
LONG: Final = 250  # chunks of a long stream
TOGETHER: Final = 16
AT_ONCE: Final = 50  # for latency
LATENCIES: Final = 1_000
KEEP_ALIVE_S: Final = 600  # a server that waits for its turn keeps its connections
DELAY_S: Final = 0.1  # what an answer takes the upstream, for latency

REFUND: Final = {
    "type": "function",
    "function": {
        "name": "payments.refund",
        "description": "Pay money back to a customer. " * 12,
        "parameters": {"type": "object", "properties": {"order": {"type": "integer"}, "amount": {"type": "number"}}},
    },
}
ASKED: Final = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "You help the customers of a shop with their orders. " * 6},
        {"role": "user", "content": "My lamp from order 81 arrived broken. What can I do now, and how long does it take?"},
    ],
    "tools": [REFUND],
}
ANSWER: Final = "You can return it within 24 months. I have noted order 81; the refund takes three to five working days after it arrived. "
REPLY: Final = orjson.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": ANSWER * 2}, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 200, "completion_tokens": 60, "total_tokens": 260},
    }
)


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    """One chunk of a stream."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + orjson.dumps(body) + b"\n\n"


TOKEN: Final = chunk({"content": " token"})
FIRST: Final = chunk({"role": "assistant", "content": ""})
LAST: Final = (chunk({}, "stop"), b"data: [DONE]\n\n")


PLAIN: Final = orjson.dumps(ASKED)
STREAMED: Final = orjson.dumps({**ASKED, "stream": True})
LENGTHY: Final = orjson.dumps({**ASKED, "model": "long", "stream": True})
SLOW: Final = orjson.dumps({**ASKED, "model": "slow"})

# ---- Servers, each in a process of its own ---------------------------------------------------------------------------


def upstream(listening: socket.socket) -> None:
    """Says the same to everybody, with as little work as possible; a stream comes event by event."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(REPLY) + REPLY
    start = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

    class Canned(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport, self.rest = transport, b""

        def data_received(self, data: bytes) -> None:
            self.rest += data
            while b"\r\n\r\n" in self.rest:
                before, _, after = self.rest.partition(b"\r\n\r\n")
                length = int(before.lower().split(b"content-length:")[1].split(b"\r\n")[0]) if b"ontent-" in before else 0
                if len(after) < length:
                    return
                body, self.rest = after[:length], after[length:]
                if b'"stream":true' in body:
                    self.task = asyncio.ensure_future(self.stream(LONG if b'"model":"long"' in body else CHUNKS))
                elif b'"model":"slow"' in body:
                    asyncio.get_running_loop().call_later(DELAY_S, self.transport.write, head)  # type: ignore[attr-defined]  # a stream transport
                else:
                    self.transport.write(head)  # type: ignore[attr-defined]  # a stream transport

        async def stream(self, chunks: int) -> None:
            self.transport.write(start)  # type: ignore[attr-defined]  # a stream transport
            for event in (FIRST, *[TOKEN] * chunks, *LAST):
                self.transport.write(b"%x\r\n%b\r\n" % (len(event), event))  # type: ignore[attr-defined]  # a stream transport
                await asyncio.sleep(0.0005)  # so that each event is a read of its own
            self.transport.write(b"0\r\n\r\n")  # type: ignore[attr-defined]  # a stream transport

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Canned, sock=listening)
        await server.serve_forever()

    asyncio.run(run())


def bare(listening: socket.socket, url: str, folder: str) -> None:
    """The same stack, passing bytes through."""
    import aiohttp

    client: list[aiohttp.ClientSession] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if not client:
            client.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1_000)))
        body = (await receive())["body"]
        async with client[0].post(url + scope["path"], data=body, headers={"content-type": "application/json"}) as reply:
            kind = reply.headers["content-type"].encode()
            await send({"type": "http.response.start", "status": reply.status, "headers": [(b"content-type", kind)]})
            async for piece in reply.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    _run(app, listening)


def unrecorded(listening: socket.socket, url: str, folder: str) -> None:
    """The gateway without a ledger."""
    from bylaw.serve.gate import Gate, NoRecord
    from bylaw.serve.gateway import Gateway
    from bylaw.serve.live import ready
    from bylaw.serve.sessions import Sessions
    from bylaw.serve.start import GARBAGE
    from bylaw.serve.upstream import Upstream

    now = ready(Path(folder) / "policy")
    gc.collect()
    gc.freeze()  # as `bylaw serve` does
    gc.set_threshold(GARBAGE)

    class Anybody:
        async def enter(self, headers: Any) -> Any:
            from bylaw.serve.door import LOCAL
            from bylaw.serve.gate import Who

            return Who(LOCAL)

    def other() -> Any:
        raise NotImplementedError

    _run(Gateway(Gate(now.law, Upstream(url), NoRecord(), lambda who, tool: (), Sessions()), Anybody(), other), listening)


def recorded(listening: socket.socket, url: str, folder: str) -> None:
    """The gateway as `bylaw serve` starts it: every decision on the disk before anything leaves."""
    from bylaw.serve.start import Process, Setting, prepare

    setting = Setting(url, data_dir=Path(folder) / "data")
    prepare(setting, Path(folder) / "policy", "bench")
    _run(Process(setting), listening)


def _run(app: Any, listening: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    uvicorn.Server(config).run(sockets=[listening])


# ---- Load ------------------------------------------------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    """What a process and its children have used so far, all threads: to the nanosecond, where the clock's ticks would be too coarse."""
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    used = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    return used + sum(cpu_s(int(child)) for task in tasks for child in (task / "children").read_text().split())


Send = Callable[..., Awaitable[list[float]]]


@asynccontextmanager
async def load() -> AsyncIterator[Send]:
    """Sends so many requests, so many at a time, the first of them spread over some seconds; returns how long each took."""
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1_000)) as client:

        async def run(url: str, body: bytes, requests: int, together: int, spread_s: float = 0.0) -> list[float]:
            took, left = [], [requests]

            async def one(place: int) -> None:
                await asyncio.sleep(spread_s * place / together)
                while left[0] > 0:
                    left[0] -= 1
                    began = time.perf_counter()
                    async with client.post(f"{url}/v1/chat/completions", data=body, headers={"content-type": "application/json"}) as reply:
                        content = await reply.read()
                    took.append(time.perf_counter() - began)
                    if reply.status != 200 or len(content) < len(REPLY) // 2:
                        raise RuntimeError(f"{url} answers {reply.status}: {content[:200]!r}")

            await asyncio.gather(*(one(place) for place in range(together)))
            return took

        yield run


def started(target: Callable[..., None], *given: Any) -> tuple[BaseProcess, str]:
    """A server in a process of its own, and its address."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    process = multiprocessing.get_context("fork").Process(target=target, args=(listening, *given), daemon=True)
    process.start()
    listening.close()
    return process, url


def policy(folder: Path) -> None:
    """The example policy, its rail on answers one that can be asked about a stream."""
    import shutil

    root = Path(__file__).parents[1] / "policies" / "refunds"
    shutil.copytree(root, folder / "policy")
    for path in (folder / "policy").glob("*.md"):
        text = path.read_text("utf-8").replace("pii.card]", "pii.card.plain]").replace('"pii.card"]', '"pii.card.plain"]')
        path.write_text(text, "utf-8")


@dataclass
class Found:
    """What a server was measured at: the best so far."""

    request: float = math.inf  # microseconds of CPU
    stream: float = math.inf  # of 50 chunks
    long: float = math.inf  # of 250
    p50: float = math.inf  # milliseconds
    p99: float = math.inf
    herd_p50: float = math.inf
    herd_p99: float = math.inf

    @property
    def chunk(self) -> float:
        """Microseconds of CPU of a chunk, with its share of the request."""
        return self.stream / CHUNKS

    @property
    def one_more(self) -> float:
        """Microseconds of CPU of one more chunk."""
        return (self.long - self.stream) / (LONG - CHUNKS)

    def at_most(self, name: str, value: float) -> None:
        """Keep what is better."""
        setattr(self, name, min(getattr(self, name), value))


async def measured(servers: dict[str, tuple[BaseProcess, str]]) -> dict[str, Found]:
    """CPU in microseconds, and latency in milliseconds, of each server."""
    found = {name: Found() for name in servers}
    async with load() as send:
        for _, url in servers.values():
            await send(url, PLAIN, 100, 4)
            await send(url, STREAMED, 8, 4)
        for _ in range(ROUNDS):
            for name, (process, url) in servers.items():
                for what, body, requests in (("request", PLAIN, REQUESTS), ("stream", STREAMED, STREAMS), ("long", LENGTHY, STREAMS // 4)):
                    began = cpu_s(process.pid or 0)
                    await send(url, body, requests, TOGETHER)
                    found[name].at_most(what, (cpu_s(process.pid or 0) - began) / requests * 1e6)
        for _ in range(3):
            for name, (_, url) in servers.items():
                for kind, spread_s in (("", DELAY_S), ("herd_", 0.0)):
                    took = sorted(await send(url, SLOW, LATENCIES, AT_ONCE, spread_s))
                    found[name].at_most(f"{kind}p50", statistics.median(took) * 1e3)
                    found[name].at_most(f"{kind}p99", took[len(took) * 99 // 100] * 1e3)
    return found


def measure() -> list[Row]:
    """All of it."""
    with tempfile.TemporaryDirectory() as folder:
        policy(Path(folder))
        spoken, url = started(upstream)
        servers = {one.__name__: started(one, url, folder) for one in (bare, unrecorded, recorded)}
        try:
            asyncio.run(ready(servers))
            found = asyncio.run(measured(servers))
        finally:
            for process in (spoken, *(process for process, _ in servers.values())):
                process.terminate()
                process.join(10)
    floor, off, on = found["bare"], found["unrecorded"], found["recorded"]
    return [
        row("gateway: bare pass-through, CPU of a request", floor.request, "us"),
        row("gateway: governed, ledger off", off.request, "us"),
        row("gateway: governed, recorded and fsynced", on.request, "us"),
        row("gateway: governed / bare, ledger off", off.request / floor.request, "ratio", 2.5),
        row("gateway: governed / bare, recorded and fsynced", on.request / floor.request, "ratio", 4.0),
        row("gateway: bare pass-through, CPU of one more chunk", floor.one_more, "us"),
        row("gateway: governed, ledger off, CPU of one more chunk", off.one_more, "us"),
        row("gateway: governed and recorded, CPU of one more chunk", on.one_more, "us", 35.0),
        row("gateway: bare pass-through, CPU of a chunk with its share of the request", floor.chunk, "us"),
        row("gateway: governed, ledger off, CPU of a chunk with its share", off.chunk, "us"),
        row("gateway: governed and recorded, CPU of a chunk with its share", on.chunk, "us", 35.0),
        row(f"gateway: added latency, p50, {AT_ONCE} clients on their own time", on.p50 - floor.p50, "ms", 5.0),
        row(f"gateway: added latency, p99, {AT_ONCE} clients on their own time", on.p99 - floor.p99, "ms", 20.0),
        row(f"gateway: added latency, p50, {AT_ONCE} clients that begin together", on.herd_p50 - floor.herd_p50, "ms", 5.0),
        row(f"gateway: added latency, p99, {AT_ONCE} clients that begin together", on.herd_p99 - floor.herd_p99, "ms", 20.0),
    ]


async def ready(servers: dict[str, tuple[BaseProcess, str]]) -> None:
    """Wait until each answers."""
    async with AsyncExitStack() as stack:
        send = await stack.enter_async_context(load())
        for name, (process, url) in servers.items():
            await send(url, orjson.dumps(ASKED), 1, 1)
            if not process.is_alive():
                sys.exit(f"{name} has died")

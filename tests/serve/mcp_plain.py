"""A client of MCP's older protocols in plain HTTP, which listens only where it is told to; and a server at an address that says things."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from bylaw.serve.mcp_servers import ServerAt
from tests.serve.mcp_rig import gateway

BEGIN: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {"roots": {}}, "clientInfo": {"name": "c", "version": "1"}},
}
LIST = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}
READY = {"jsonrpc": "2.0", "method": "notifications/initialized"}
ROOTS: dict[str, Any] = {"jsonrpc": "2.0", "id": "r1", "method": "roots/list"}
TOOL = {"name": "lookup", "description": "Looks up.", "inputSchema": {"type": "object"}}
RESULTS: dict[str, Any] = {
    "initialize": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}},
    "tools/list": {"tools": [TOOL]},
}


class Standing:
    """A server that says things on its own stream, and asks a client there for its roots while a tool runs."""

    def __init__(self, status: int = 200, kind: str = "text/event-stream") -> None:
        self.status, self.kind = status, kind
        self.opened: list[dict[str, str]] = []  # the headers of each GET
        self.closed = self.sessions = 0
        self.says: asyncio.Queue[bytes | None] = asyncio.Queue()  # None: the stream ends
        self.answered: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def post(self, request: web.Request) -> web.Response:
        message = await request.json()
        method = message.get("method", "")
        if "id" not in message:
            return web.Response(status=202)
        if not method:
            await self.answered.put(message)
            return web.Response(status=202)
        result = RESULTS.get(method)
        if method == "tools/call":
            await self.says.put(event(ROOTS))
            said = await asyncio.wait_for(self.answered.get(), 60)
            result = {"content": [{"type": "text", "text": json.dumps(said.get("result", said.get("error")))}]}
        self.sessions += method == "initialize"
        headers = {"mcp-session-id": f"s{self.sessions}"} if method == "initialize" else {}
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result}, headers=headers)

    async def get(self, request: web.Request) -> web.StreamResponse:
        self.opened.append({name.lower(): value for name, value in request.headers.items()})
        reply = web.StreamResponse(status=self.status, headers={"content-type": self.kind})
        await reply.prepare(request)
        try:
            while self.status == 200 and (said := await self.says.get()) is not None:
                await reply.write(said)
        finally:
            self.closed += 1
        return reply

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_route("POST", "/mcp", self.post)
        app.router.add_route("GET", "/mcp", self.get)
        app.router.add_route("DELETE", "/mcp", self.ended)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
        finally:
            await runner.cleanup()

    async def ended(self, request: web.Request) -> web.Response:
        return web.Response(status=200)


def event(message: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(message)}\n\n".encode()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


class Client:
    """A client that speaks plain HTTP."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http, self.url = http, url
        self.headers = {"accept": "application/json, text/event-stream"}
        self.open: list[aiohttp.ClientResponse | socket.socket] = []
        self.end: Callable[[], None] = lambda: None  # the gateway

    async def post(self, message: dict[str, Any]) -> aiohttp.ClientResponse:
        return await self.http.post(self.url, json=message, headers=self.headers)

    async def begin(self) -> None:
        self.headers["mcp-session-id"] = (await self.post(BEGIN)).headers["mcp-session-id"]
        assert (await self.post(READY)).status == 202

    async def listen(self, **headers: str) -> aiohttp.ClientResponse:
        reply = await self.http.get(self.url, headers=self.headers | headers)
        self.open.append(reply)
        if reply.status == 200:
            assert await reply.content.readline() == b":\n"  # from here on it is heard
        return reply


async def said(reply: aiohttp.ClientResponse) -> Any:
    """The next message of a stream; None at its end."""
    async with asyncio.timeout(60):
        while line := await reply.content.readline():
            if line.startswith(b"data:"):
                return json.loads(line[5:])
    return None


@asynccontextmanager
async def begun(tmp_path: Path, server: Standing) -> AsyncIterator[Client]:
    """A session through the gateway, whose server's own stream is open."""
    stack = ExitStack()
    async with server.serving() as behind, aiohttp.ClientSession() as http:
        url, _, _ = stack.enter_context(gateway(tmp_path, [ServerAt("shop", url=behind)]))
        client = Client(http, f"{url}/mcp/shop")
        client.end = stack.close
        try:
            await client.begin()
            await until(lambda: server.opened)
            yield client
        finally:
            server.says.put_nowait(None)
            for one in client.open:
                one.close()
            await asyncio.to_thread(stack.close)  # it ends the session at its server, which this loop is

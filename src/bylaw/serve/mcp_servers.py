"""The MCP servers behind a gateway, as `gateway.yaml` names them, and how one that is reached by HTTP is asked.

    mcp:
      tickets: {url: https://mcp.example.com/mcp, key_env: TICKETS_KEY, prefix: tickets.}
      files: {command: [npx, -y, "@modelcontextprotocol/server-filesystem", /srv/docs]}

A client's own key is never sent on: a server is asked with the key that is named here, or with none.
"""

import itertools
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bylaw.errors import StoreError
from bylaw.policy.fields import Fields, as_text
from bylaw.policy.notation import Node
from bylaw.serve.mcp_wire import MAX_MESSAGE_BYTES, Gone, Id, Rpc, is_modern, kind_of, mirrored, read, routing
from bylaw.serve.secret import secret_in
from bylaw.serve.sse import Reader
from bylaw.serve.wire import BadBody, JsonMap, dump

if TYPE_CHECKING:  # what is needed to ask a server loads where there is one
    import aiohttp

    from bylaw.serve.mcp_asking import Client

NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
MAX_SERVERS: Final = 100
MAX_ARGS: Final = 200
SILENCE_S: Final = 600.0  # without a byte
AWAY: Final = -32000
ACCEPT: Final = "application/json, text/event-stream"
REFUSED: Final = range(300, 500)  # statuses by which a server says that it has done nothing


@dataclass(frozen=True, slots=True)
class ServerAt:
    """One server: an address, or a command."""

    name: str
    url: str = ""
    command: tuple[str, ...] = ()
    key_env: str = ""
    prefix: str = ""

    def key(self) -> str:
        """Its key, out of the environment; raises StoreError where the variable is empty."""
        return secret_in(self.key_env, "the server's key", f"mcp {self.name}")


def read_servers(node: Node | None) -> tuple[ServerAt, ...]:
    """What the file says; raises PolicyError with the line that is wrong."""
    if node is None:
        return ()
    fields = Fields(node, "mcp")
    if len(fields.nodes) > MAX_SERVERS:
        raise StoreError(f"{len(fields.nodes)} MCP servers, the limit is {MAX_SERVERS}", "Run another gateway for the rest.")
    made = []
    for name in fields.nodes:
        if not NAME.fullmatch(name):
            raise StoreError(f"{name[:60]!r} is no name of an MCP server", "Small letters, digits, - and _: it stands in the address.")
        made.append(_server(name, Fields(fields.need(name, "Write `{url: https://HOST/mcp}`."), f"mcp {name}")))
    return tuple(made)


def _server(name: str, fields: Fields) -> ServerAt:
    url, command = fields.node("url"), fields.names("command")
    made = ServerAt(name, as_text(url, "url") if url else "", command, fields.text("key_env"), fields.text("prefix"))
    fields.done()
    if bool(made.url) == bool(made.command) or len(made.command) > MAX_ARGS:
        raise StoreError(
            f"mcp {name} has either a url or a command", "Write `{url: https://HOST/mcp}` or `{command: [PROGRAM, ARGUMENT]}`."
        )
    if made.url and not made.url.startswith(("http://", "https://")):
        raise StoreError(f"mcp {name}: {made.url!r} is no http(s) address", "Write `url: https://HOST/mcp`.")
    return made


Heard = Callable[[JsonMap], Awaitable[None]]  # what a server says besides its answer


class Web:
    """The HTTP client of one process. Opened on the event loop that uses it."""

    def __init__(self) -> None:
        self._client: aiohttp.ClientSession | None = None

    @property
    def client(self) -> "aiohttp.ClientSession":
        """The one session: connections are kept, redirects and cookies are not."""
        if self._client is None:
            from bylaw.serve import web  # noqa: PLC0415  # it loads aiohttp, see above

            self._client = web.client(SILENCE_S)
        return self._client

    async def close(self) -> None:
        """Let go of all connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None


@dataclass(slots=True)
class Remote:
    """One conversation with a server at an address: its session by the older protocols, and who hears what it says meanwhile."""

    at: ServerAt
    web: Web
    key: str = ""
    session: str = ""  # as the server named it
    version: str = ""  # as it was agreed on
    mirrored: Mapping[str, Any] = field(default_factory=dict)  # schemas that want arguments in headers, by tool
    heard: Heard | None = None
    _sent: dict[Id, int] = field(default_factory=dict)  # the id under which a client's request was sent on
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def ask(self, method: str, params: JsonMap, client: "Client | None") -> JsonMap:
        """Send a request; its `result` or `error`. Raises Rpc."""
        ours, theirs = next(self._ids), getattr(client, "request", None)
        message = {"jsonrpc": "2.0", "id": ours, "method": method, "params": params}
        if theirs is None:
            return await self._post(message, ours)
        self._sent[theirs] = ours
        try:
            return await self._post(message, ours)
        finally:
            self._sent.pop(theirs, None)

    async def tell(self, message: JsonMap) -> None:
        """Send a notification, or an answer. What is cancelled is named as the server knows it."""
        params = message.get("params")
        if message.get("method") == "notifications/cancelled" and isinstance(params, dict):
            request = params.get("requestId")
            ours = self._sent.get(request) if isinstance(request, str | int) else None
            if ours is None:
                return
            message = {**message, "params": {**params, "requestId": ours}}
        await self._post(message, None)

    async def end(self) -> None:
        """End the session, where the server lets one."""
        if self.session:
            await self._request("DELETE", None, self._headers({}))

    async def _post(self, message: JsonMap, ours: int | None) -> JsonMap:
        reply = await self._request("POST", dump(message), self._headers(message))
        try:
            if (session := reply.headers.get("mcp-session-id")) and message.get("method") == "initialize":
                self.session = session
            if ours is None:
                return {}
            if reply.content_type == "text/event-stream":
                return await self._stream(reply, ours)
            found = await self._whole(reply, ours)
            if message.get("method") == "initialize" and isinstance(result := found.get("result"), dict):
                self.version = str(result.get("protocolVersion", ""))[:40]
            return found
        finally:
            reply.release() if reply.content.is_eof() else reply.close()

    def _headers(self, message: JsonMap) -> dict[str, str]:
        said = {"content-type": "application/json", "accept": ACCEPT}
        if self.key:
            said["authorization"] = f"Bearer {self.key}"
        params, method = message.get("params") or {}, message.get("method")
        if isinstance(method, str) and is_modern(message):
            said |= routing(method, params)
            if method == "tools/call":
                said |= mirrored(self.mirrored.get(str(params.get("name"))), params.get("arguments") or {})
            return said
        if self.session:
            said["mcp-session-id"] = self.session
        return said | ({"mcp-protocol-version": self.version} if self.version else {})

    async def _request(self, method: str, body: bytes | None, headers: Mapping[str, str]) -> "aiohttp.ClientResponse":
        import aiohttp  # noqa: PLC0415  # see above

        try:
            return await self.web.client.request(method, self.at.url, data=body, headers=headers, allow_redirects=False)
        except aiohttp.ClientConnectorError as error:
            raise Rpc(AWAY, "the server cannot be reached") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Gone(AWAY, f"the server broke off ({type(error).__name__}); the call may have run") from error

    async def _whole(self, reply: "aiohttp.ClientResponse", ours: int) -> JsonMap:
        import aiohttp  # noqa: PLC0415  # see above

        try:
            body = await reply.content.read(MAX_MESSAGE_BYTES + 1)
            while not reply.content.at_eof() and len(body) <= MAX_MESSAGE_BYTES:
                body += await reply.content.read(MAX_MESSAGE_BYTES + 1 - len(body))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Gone(AWAY, f"the server broke off ({type(error).__name__}); the call may have run") from error
        with suppress(Rpc):  # what is no message is told by its status
            message = read(body)
            if kind_of(message) == "response" and (message["id"] == ours or (message["id"] is None and "error" in message)):
                return _said(message)
        said = f"the server answered what is no answer (HTTP {reply.status})"
        raise Rpc(AWAY, said) if reply.status in REFUSED else Gone(AWAY, f"{said}; the call may have run")

    async def _stream(self, reply: "aiohttp.ClientResponse", ours: int) -> JsonMap:
        import aiohttp  # noqa: PLC0415  # see above

        reader = Reader()
        try:
            async for piece in reply.content.iter_any():
                for event in reader.feed(piece):
                    message = read(event.content) if event.content else {}
                    if message and kind_of(message) == "response":
                        if message["id"] == ours:
                            return _said(message)
                    elif message and self.heard is not None:
                        await self.heard(message)
        except (aiohttp.ClientError, TimeoutError, OSError, BadBody, Rpc) as error:
            raise Gone(AWAY, f"the server broke off ({type(error).__name__}); the call may have run") from error
        raise Gone(AWAY, "the server ended without an answer; the call may have run")


def _said(message: JsonMap) -> JsonMap:
    return {key: message[key] for key in ("result", "error") if key in message}

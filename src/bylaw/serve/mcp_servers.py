"""The MCP servers behind a gateway, as `gateway.yaml` names them, and how one that is reached by HTTP is asked.

    mcp:
      tickets: {url: https://mcp.example.com/mcp, key_env: TICKETS_KEY, prefix: tickets.}
      files: {command: [npx, -y, "@modelcontextprotocol/server-filesystem", /srv/docs]}

A client's own key is never sent on: a server is asked with the key that is named here, or with none.
"""

import asyncio
import itertools
import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bylaw.errors import StoreError
from bylaw.policy.fields import Fields, as_text
from bylaw.policy.notation import Node
from bylaw.serve.address import address
from bylaw.serve.http1 import Broken, Reply, Unsent, Web
from bylaw.serve.mcp_wire import MAX_MESSAGE_BYTES, Gone, Id, Rpc, is_modern, kind_of, mirrored, read, routing
from bylaw.serve.secret import secret_in
from bylaw.serve.sse import Reader
from bylaw.serve.wire import BadBody, JsonMap, dump

if TYPE_CHECKING:  # the two know each other
    from bylaw.serve.mcp_asking import Client

NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
MAX_SERVERS: Final = 100
MAX_ARGS: Final = 200
AWAY: Final = -32000
STREAM: Final = "text/event-stream"
ACCEPT: Final = f"application/json, {STREAM}"
REFUSED: Final = range(300, 500)  # statuses by which a server says that it has done nothing
AGAIN_S: Final = 1.0  # before a stream that ended is opened again; twice as long each time that nothing was heard
MOST_S: Final = 60.0
LOG: Final = logging.getLogger(__name__)


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
    fields = Fields(node, "mcp", "mcp: {tickets: {url: https://HOST/mcp}}")
    if len(fields.nodes) > MAX_SERVERS:
        raise StoreError(f"{len(fields.nodes)} MCP servers, the limit is {MAX_SERVERS}", "Run another gateway for the rest.")
    made = []
    for name in fields.nodes:
        if not NAME.fullmatch(name):
            raise StoreError(f"{name[:60]!r} is no name of an MCP server", "Small letters, digits, - and _: it stands in the address.")
        at = fields.need(name, "Write `{url: https://HOST/mcp}`.")
        made.append(_server(name, Fields(at, f"mcp {name}", f"{name}: {{url: https://HOST/mcp}}")))
    return tuple(made)


def _server(name: str, fields: Fields) -> ServerAt:
    url, command = fields.node("url"), fields.names("command")
    made = ServerAt(name, as_text(url, "url") if url else "", command, fields.text("key_env"), fields.text("prefix"))
    fields.done()
    if bool(made.url) == bool(made.command) or len(made.command) > MAX_ARGS:
        raise StoreError(
            f"mcp {name} has either a url or a command", "Write `{url: https://HOST/mcp}` or `{command: [PROGRAM, ARGUMENT]}`."
        )
    if made.url:
        try:
            at = address(made.url)
        except ValueError as error:
            raise StoreError(f"mcp {name}: {made.url!r} is no http(s) address: {error}", "Write `url: https://HOST/mcp`.") from None
        if made.key_env and b"\r\nauthorization: " in at.head:
            raise StoreError(f"mcp {name} has a key and a name in its url", "Leave one of them out: a request has one `Authorization`.")
    return made


Heard = Callable[[JsonMap], Awaitable[None]]  # what a server says besides its answer


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

    async def listen(self, wanted: Callable[[], bool]) -> bool:
        """Hear what the server says by itself (the older protocols, by GET) as long as that is `wanted`; False: it has no such stream."""
        wait_s = AGAIN_S
        while wanted():
            heard = False
            with suppress(Rpc, Broken, BadBody):  # it is opened again
                reply = await self._request(b"GET ", b"", self._headers({}) | {"accept": STREAM})
                try:
                    if reply.status in REFUSED or (reply.status == 200 and not _streams(reply)):
                        return False
                    reader = Reader()
                    while wanted() and (piece := await reply.piece()):
                        for message in _messages(reader, piece):
                            heard = True
                            if kind_of(message) != "response":
                                await self._told(message)
                finally:
                    reply.close()
            wait_s = AGAIN_S if heard else min(2 * wait_s, MOST_S)
            await asyncio.sleep(wait_s)
        return True

    async def _told(self, message: JsonMap) -> None:
        try:
            if self.heard is not None:
                await self.heard(message)
        except Exception:  # one message less; the stream goes on, and nothing unjudged has left
            LOG.exception("a message of %s is dropped", self.at.name)

    async def end(self) -> None:
        """End the session, where the server lets one."""
        if self.session:
            (await self._request(b"DELETE ", b"", self._headers({}))).close()

    async def _post(self, message: JsonMap, ours: int | None) -> JsonMap:
        reply = await self._request(b"POST ", dump(message), self._headers(message))
        try:
            if message.get("method") == "initialize" and (session := reply.headers.get(b"mcp-session-id")):
                self.session = session.decode("latin-1")
            if ours is None:
                return {}
            if _streams(reply):
                return await self._stream(reply, ours)
            found = await self._whole(reply, ours)
            if message.get("method") == "initialize" and isinstance(result := found.get("result"), dict):
                self.version = str(result.get("protocolVersion", ""))[:40]
            return found
        except Broken as error:
            raise Gone(AWAY, f"the server broke off ({error}); the call may have run") from error
        finally:
            reply.close()

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

    async def _request(self, method: bytes, body: bytes, headers: Mapping[str, str]) -> Reply:
        try:
            return await self.web.request(method, address(self.at.url), headers.items(), body)
        except Unsent as error:
            raise Rpc(AWAY, "the server cannot be reached") from error
        except Broken as error:
            raise Gone(AWAY, f"the server broke off ({error}); the call may have run") from error

    async def _whole(self, reply: Reply, ours: int) -> JsonMap:
        body = await reply.whole(MAX_MESSAGE_BYTES)
        with suppress(Rpc):  # what is no message is told by its status
            message = read(body)
            if kind_of(message) == "response" and (message["id"] == ours or (message["id"] is None and "error" in message)):
                return _said(message)
        said = f"the server answered what is no answer (HTTP {reply.status})"
        raise Rpc(AWAY, said) if reply.status in REFUSED else Gone(AWAY, f"{said}; the call may have run")

    async def _stream(self, reply: Reply, ours: int) -> JsonMap:
        reader = Reader()
        try:
            while piece := await reply.piece():
                for message in _messages(reader, piece):
                    if kind_of(message) == "response":
                        if message["id"] == ours:
                            reply.skip()
                            return _said(message)
                    elif self.heard is not None:
                        await self.heard(message)
        except (BadBody, Rpc) as error:
            raise Gone(AWAY, f"the server broke off ({type(error).__name__}); the call may have run") from error
        raise Gone(AWAY, "the server ended without an answer; the call may have run")


def _streams(reply: Reply) -> bool:
    return reply.headers.get(b"content-type", b"").partition(b";")[0].strip().lower() == STREAM.encode()


def _messages(reader: Reader, piece: bytes) -> Iterator[JsonMap]:
    """The messages that a piece of a stream completes; raises BadBody and Rpc."""
    for event in reader.feed(piece):
        if event.content and (message := read(event.content)):
            yield message


def _said(message: JsonMap) -> JsonMap:
    return {key: message[key] for key in ("result", "error") if key in message}

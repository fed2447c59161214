"""`/mcp/<server>` on the gateway: MCP over Streamable HTTP, by the protocol of 2026-07-28 and those before it.

A request of today is whole in itself; headers and body must say the same. The older protocols begin with `initialize` and have a session,
which is this process's own and bound to whoever began it: with several workers, use today's protocol or one worker. What a server says
while a request is answered goes out on that request's answer, judged, by whatever stream it comes; while none is, on the stream that the
client has opened by GET. Where it has opened none, what the server asks is answered with an error at once. Where a client gives no name for
its session (`x-bylaw-session`), the calls of one principal to one server on one day (UTC) are one session.
"""

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from bylaw.errors import BylawError
from bylaw.serve.bodies import CLOSE, Bodies, Unread
from bylaw.serve.door import Door, NotIn
from bylaw.serve.gate import Gate, Who
from bylaw.serve.gateway import EVENTS, JSON, Begun, Receive, Scope, Send
from bylaw.serve.http1 import Web
from bylaw.serve.mcp_child import Child, Ended, Heard
from bylaw.serve.mcp_held import Held, Most, room_for
from bylaw.serve.mcp_line import Line, Server
from bylaw.serve.mcp_listener import Listener
from bylaw.serve.mcp_pins import Pins
from bylaw.serve.mcp_seal import Seal
from bylaw.serve.mcp_servers import AWAY, Remote, ServerAt
from bylaw.serve.mcp_wire import (
    CAPABILITIES_KEY,
    INVALID,
    MAX_MESSAGE_BYTES,
    MAX_QUESTIONS,
    SESSION,
    STATUS,
    Id,
    Rpc,
    agree,
    answer,
    id_of,
    is_modern,
    kind_of,
    meta_of,
    mirrored,
    mirrors,
    params_of,
    read,
    takes_forms,
)
from bylaw.serve.naming import given
from bylaw.serve.one_write import Connection, connection_of
from bylaw.serve.regions import placed
from bylaw.serve.sse import sent
from bylaw.serve.wire import JsonMap, dump
from bylaw.store.database import Store

BEGINS: Final = "/mcp/"
MAX_ACTIVE: Final = 1_000
ASK_S: Final = 600.0  # how long a user may think about a form
NO_SESSION: Final = -32001
GONE: Final = 404
DAY_S: Final = 86_400
LOG: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class Caller:
    """The client, as one of its requests sees it: what goes out before the answer makes a stream of it."""

    begun: Begun
    modern: bool
    forms: bool
    streams: bool  # it takes a stream
    connection: Connection
    held: Held | None = None
    request: Id | None = None
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def ask(self, method: str, params: JsonMap) -> JsonMap:
        """Ask the client something, by the older protocols; nobody answering is a `cancel`."""
        if self.held is None or not self.streams:
            return {"action": "cancel"}
        ours = self.held.next()
        future = self.held.asked[ours] = asyncio.get_running_loop().create_future()
        try:
            await self.tell({"jsonrpc": "2.0", "id": ours, "method": method, "params": params})
            reply = await asyncio.wait_for(future, ASK_S)
        except TimeoutError:
            return {"action": "cancel"}
        finally:
            del self.held.asked[ours]
        result = reply.get("result")
        return result if isinstance(result, dict) else {"action": "cancel"}

    async def tell(self, message: JsonMap) -> None:
        """Hand a message on, before the answer."""
        if not self.streams:
            return
        if not self.begun.status:
            await self.begun.start(200, [EVENTS, (b"cache-control", b"no-store"), *self.headers])
        await self.begun.piece(sent(dump(message), "message"))

    async def end(self, said: JsonMap) -> None:
        """The answer."""
        if self.begun.status:
            await self.begun.piece(sent(dump(said), "message"))
            await self.begun.close()
            return
        status = STATUS.get(said["error"]["code"], 200) if self.modern and "error" in said else 200
        await self.begun.whole(status, dump(said), [JSON, *self.headers])


@dataclass
class Mcp:
    """The ASGI application of the MCP routes."""

    servers: dict[str, ServerAt]
    gate: Gate
    door: Door
    pins: Pins
    seal: Seal
    web: Web = field(default_factory=Web)
    most: Most = field(default_factory=Most)
    _held: "OrderedDict[str, Held]" = field(default_factory=OrderedDict)
    _children: dict[str, Child] = field(default_factory=dict)  # for requests of today, one a server
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _active: int = 0
    _bodies: Bodies = field(default_factory=Bodies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        begun = Begun(send)
        self._active += 1
        try:
            if self._active > MAX_ACTIVE:
                raise NotIn(503, "too many requests are being answered", 1)
            await self._one(scope, receive, begun)
        except Rpc as error:
            await begun.error(STATUS.get(error.code, 200), answer(error.to, {"error": error.error}))
        except NotIn as error:
            again = [(b"retry-after", str(error.retry_after_s).encode())] if error.retry_after_s else []
            again += [CLOSE] if isinstance(error, Unread) else []
            await begun.error(error.status, answer(None, {"error": Rpc(INVALID, error.what).error}), again)
        except BylawError as error:
            LOG.error("%s", error.what)
            await begun.error(503, answer(None, {"error": Rpc(INVALID, "this could not be decided; nothing was let through").error}))
        except Exception:
            LOG.exception("a fault in the gateway")  # the client learns nothing of it, and gets nothing else
            await begun.error(500, answer(None, {"error": Rpc(INVALID, "a fault in the gateway; nothing was let through").error}))
        finally:
            self._active -= 1

    async def _one(self, scope: Scope, receive: Receive, begun: Begun) -> None:
        headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        who = await self.door.enter(dict(headers))
        at = self.servers.get(scope["path"].removeprefix(BEGINS))
        if at is None:
            raise NotIn(404, "no such MCP server is configured here")
        if scope["method"] == "DELETE":
            await self._end(self._of(at, headers, who))
            return await begun.whole(204, b"", [])
        if scope["method"] == "GET" and SESSION in dict(headers):
            return await self._listens(self._of(at, headers, who), scope, begun)
        if scope["method"] != "POST":
            said = "only POST is served here, and GET and DELETE within a session"
            return await begun.error(405, answer(None, {"error": Rpc(INVALID, said).error}), [(b"allow", b"POST, GET, DELETE")])
        message = read(await self._whole(dict(headers), receive, scope))
        kind = kind_of(message)
        if kind == "request":
            return await self._request(at, who, headers, message, begun, connection_of(scope))
        held = self._of(at, headers, who) if SESSION in dict(headers) else None
        if held is not None:
            await self._told(self._line(at, who, headers, held.server, held), held, message, kind)
        return await begun.whole(202, b"", [])

    async def _whole(self, headers: dict[bytes, bytes], receive: Receive, scope: Scope) -> bytes:
        self._active -= 1  # what is not whole has bounds of its own
        try:
            body = await self._bodies.whole(headers, receive, connection_of(scope), MAX_MESSAGE_BYTES)
        finally:
            self._active += 1
        if self._active > MAX_ACTIVE:
            raise NotIn(503, "too many requests are being answered", 1)
        return body

    # ---- Requests -----------------------------------------------------------------------------------------------------

    async def _request(
        self, at: ServerAt, who: Who, headers: list[tuple[bytes, bytes]], message: JsonMap, begun: Begun, by: Connection
    ) -> None:
        agree(headers, message)
        modern, params, to = is_modern(message), params_of(message), id_of(message)
        takes = b"text/event-stream" in dict(headers).get(b"accept", b"")
        if modern:
            if message["method"] == "tools/call":
                schema = self.pins.standing(at.name).mirrored.get(str(params.get("name")))
                mirrors(headers, mirrored(schema, params.get("arguments") or {}), to)
            caller = Caller(begun, True, takes_forms(meta_of(params).get(CAPABILITIES_KEY)), takes, by)
            server = await self._today(at, to)
            line = self._line(at, who, headers, server, None)
            if isinstance(server, Remote):
                server.heard = _hearing(line, caller)
            return await caller.end(await line.answer(message, caller))
        if message["method"] == "initialize":
            return await self._begin(at, who, headers, message, begun, by)
        held = self._of(at, headers, who)
        caller = Caller(begun, False, held.forms, takes, by, held, to)
        held.callers.append(caller)
        try:
            await caller.end(await self._line(at, who, headers, held.server, held).answer(message, caller))
        finally:
            held.callers.remove(caller)

    async def _begin(
        self, at: ServerAt, who: Who, headers: list[tuple[bytes, bytes]], message: JsonMap, begun: Begun, by: Connection
    ) -> None:
        """A session of the older protocols begins."""
        held = Held(secrets.token_urlsafe(24), at, who.owner, takes_forms(params_of(message).get("capabilities")), NOBODY)
        rested = room_for(self._held, self.most, at, who.owner)
        self._held[held.id] = held  # it counts from here on, however long its server takes to start

        async def heard(told: JsonMap) -> None:
            line = self._line(at, who, headers, held.server, held)
            seen = await line.from_server(told)
            theirs, caller = id_of(told), held.hears
            if "id" in told and (seen is None or caller is None or theirs is None or len(held.passed) >= MAX_QUESTIONS):
                said = "withheld, or nobody hears it, or too many questions"
                return await held.server.tell(answer(theirs, {"error": Rpc(INVALID, said).error}))
            if seen is None or caller is None:
                return None
            if theirs is not None and "id" in told:
                ours = held.next()
                held.passed[ours] = theirs
                seen = {**seen, "id": ours}
            if not isinstance(caller, Listener):
                return await caller.tell(seen)
            return None if caller.tell(seen) else await self._unheard(held, seen)

        caller = Caller(begun, False, held.forms, False, by, held, id_of(message), [(SESSION, held.id.encode())])
        held.callers.append(caller)
        try:
            for one in rested:
                await self._end(one)
            held.server = await _started(at, heard, id_of(message)) if at.command else Remote(at, self.web, at.key(), heard=heard)
            said = await self._line(at, who, headers, held.server, held).answer(message, caller)
        except BaseException:
            await self._end(held)
            raise
        held.callers.remove(caller)
        if "error" in said:
            caller.headers.clear()
            await self._end(held)
        await caller.end(said)

    async def _told(self, line: Line, held: Held, message: JsonMap, kind: str) -> None:
        """A notification of a client, or its answer to what it was asked."""
        if kind == "notification":
            await line.tell(message)
            if message["method"] == "notifications/initialized" and held.id in self._held:  # it may have ended meanwhile
                held.listen()
            return
        ours = message.get("id")
        if not isinstance(ours, str):
            return
        if (future := held.asked.get(ours)) is not None:
            if not future.done():
                future.set_result(message)
        elif (theirs := held.passed.pop(ours, None)) is not None:
            await held.server.tell({**await line.from_client(message), "id": theirs})

    async def _listens(self, held: Held, scope: Scope, begun: Begun) -> None:
        """A client listens to its server, until it goes, its key is no longer good, its session ends, or it opens another such stream."""
        headers, before = dict(scope["headers"]), held.client
        listener = held.client = Listener()
        if before is not None:
            before.end()
        self._active -= 1  # it may last for days: sessions have their own bound
        try:
            await listener.write(begun, connection_of(scope), lambda: self.door.key(headers))
        except NotIn as error:
            LOG.info("a stream has ended: %s", error.what)
        finally:
            self._active += 1
            if held.client is listener:
                held.client = None
            held.used_at = time.monotonic()
            for message in listener.left():
                if held.client is None or not held.client.tell(message):
                    await self._unheard(held, message)

    async def _unheard(self, held: Held, message: JsonMap) -> None:
        """A client was not told something: where it is a question, its server is told."""
        if (theirs := held.passed.pop(str(message.get("id")), None)) is not None:
            await held.server.tell(answer(theirs, {"error": Rpc(INVALID, "nobody hears it").error}))

    def _line(self, at: ServerAt, who: Who, headers: list[tuple[bytes, bytes]], server: Server, held: Held | None) -> Line:
        gate = placed(self.gate, who)
        name = given(dict(headers))
        if not name and held is not None:
            name = f"mcp-{sha256(held.id.encode()).hexdigest()[:24]}"
        name = name or f"mcp-{at.name}-{int(time.time()) // DAY_S}"
        return Line(gate, at.name, who, gate.sessions.of(who.owner, name), server, self.pins, self.seal, at.prefix)

    async def _today(self, at: ServerAt, to: Id | None) -> Server:
        """Whoever answers a request of today: the address, or one child for all, whose notifications belong to nobody and are dropped."""
        if at.url:
            return Remote(at, self.web, at.key(), mirrored=self.pins.standing(at.name).mirrored)
        async with self._starting:
            child = self._children.get(at.name)
            if child is None or child.ended.done():
                if child is not None:
                    await child.close()
                child = self._children[at.name] = await _started(at, _dropped, to)
            return child

    # ---- Sessions of the older protocols ------------------------------------------------------------------------------

    def _of(self, at: ServerAt, headers: list[tuple[bytes, bytes]], who: Who) -> Held:
        """The session that a request names, where it is of this server and whoever asks began it; raises NotIn."""
        name = dict(headers).get(SESSION, b"").decode("latin-1")
        held = self._held.get(name)
        if held is None or held.owner != who.owner or held.at != at:
            raise NotIn(GONE if name else 400, "no such session: begin with `initialize`")
        self._held.move_to_end(name)
        held.used()
        return held

    async def _end(self, held: Held) -> None:
        self._held.pop(held.id, None)
        if held.listening is not None:
            held.listening.cancel()
        if held.client is not None:
            held.client.end()
        for future in held.asked.values():
            future.cancel()
        if isinstance(held.server, Child):
            await held.server.close()
        elif isinstance(held.server, Remote):
            try:
                await held.server.end()
            except Rpc as error:
                LOG.warning("a session could not be ended: %s", error.text)

    async def close(self) -> None:
        """End every session and every child."""
        for held in list(self._held.values()):
            await self._end(held)
        for child in self._children.values():
            await child.close()
        await self.web.close()


class _Nobody:
    async def ask(self, method: str, params: JsonMap, client: Any) -> JsonMap:
        raise Rpc(NO_SESSION, "there is no server yet")

    async def tell(self, message: JsonMap) -> None:
        """Nobody hears it."""


NOBODY: Final = _Nobody()


def opened(servers: Sequence[ServerAt], gate: Gate, door: Door, store: Store, stack: AsyncExitStack) -> Mcp | None:
    """The MCP routes of one process; None where no server is configured. Raises BylawError."""
    if not servers or gate.data_dir is None:
        return None
    for one in servers:
        one.key()
    made = Mcp({one.name: one for one in servers}, gate, door, Pins(store), Seal(gate.data_dir, store))
    stack.push_async_callback(made.close)
    return made


async def _started(at: ServerAt, heard: Heard, to: Id | None) -> Child:
    try:
        return await Child.start(at.command, heard)
    except Ended as error:
        LOG.error("mcp %s: %s", at.name, error.what)
        raise Rpc(AWAY, "the server cannot be started", to=to) from error


async def _dropped(message: JsonMap) -> None:
    LOG.debug("a message of a shared server belongs to nobody: %s", message.get("method"))


def _hearing(line: Line, caller: Caller) -> Any:
    async def heard(message: JsonMap) -> None:
        seen = None if "id" in message else await line.from_server(message)  # today's servers ask nothing by themselves
        if seen is not None:
            await caller.tell(seen)

    return heard

"""The gateway: bare ASGI on the model routes, everything else (`admin`) loaded when it is first asked for.

Bounds: body size before it is read, headers by the server, depth and counts in `wire`, time at the upstream, requests in flight here.
Whatever goes wrong inside is an error to the client and lets nothing out: a broken record is a 503, an unknown fault a 500.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping
from contextlib import aclosing
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final, Protocol
from uuid import uuid4

from bylaw.errors import BylawError, LedgerError
from bylaw.serve.bodies import CLOSE, Bodies, Unread
from bylaw.serve.clients import Clients
from bylaw.serve.door import NotIn
from bylaw.serve.ends import Done, Refused, UpstreamSaid
from bylaw.serve.exchange import Exchange
from bylaw.serve.gate import Gate, Who
from bylaw.serve.naming import begins, session_of, talk
from bylaw.serve.one_write import connection_of
from bylaw.serve.owned import concerned, named
from bylaw.serve.preface import due, given
from bylaw.serve.regions import placed
from bylaw.serve.release import release
from bylaw.serve.route import Route
from bylaw.serve.routes import ROUTES
from bylaw.serve.streamed import may_stream, stream
from bylaw.serve.unanswered import unanswered
from bylaw.serve.upstream import UpstreamTrouble
from bylaw.serve.watchers import PASSED_ON
from bylaw.serve.wire import MAX_BODY_BYTES, Asked, BadBody, JsonMap, dump, load, of_one_case
from bylaw.types import Decision

MAX_ACTIVE: Final = 1_000  # requests in flight; beyond that a client is asked to come again
EVENTS: Final = (b"content-type", b"text/event-stream; charset=utf-8")
JSON: Final = (b"content-type", b"application/json")
MODELS: Final = re.compile(r"/v1/models(?:/[A-Za-z0-9_@:+=~-][A-Za-z0-9_@:+=~.-]{0,199}){0,4}")  # none of them leads to another route
LOG: Final = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]


class Entrance(Protocol):
    """Who may come in."""

    async def enter(self, headers: Mapping[bytes, bytes]) -> Who:
        """Who asks; raises NotIn, and BylawError where that cannot be known."""


@dataclass(slots=True)
class Gateway:
    """The ASGI application of the model routes."""

    gate: Gate
    door: Entrance
    other: Callable[[], App]  # makes the application for all other paths
    active: int = 0  # requests that are whole, and not answered yet
    mcp: App | None = None  # the application for /mcp/
    ended: "Callable[[Begun, float], object] | None" = None  # told of each request, and how many seconds it took
    clients: Clients = field(default_factory=Clients, init=False)
    bodies: Bodies = field(default_factory=Bodies, init=False)
    _other: App | None = field(default=None, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's one request."""
        if scope["type"] == "http":
            route = ROUTES.get(scope["path"])
            if route is not None and scope["method"] == "POST":
                await self._guarded(route, scope, receive, send)
            elif _passed_on(scope["method"], scope["path"]):
                await self._guarded(None, scope, receive, send)
            elif self.mcp is not None and scope["path"].startswith("/mcp/"):
                await self.mcp(scope, receive, send)
            else:
                if self._other is None:
                    self._other = self.other()
                await self._other(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})

    # ---- A model route ------------------------------------------------------------------------------------------------

    async def _guarded(self, route: Route | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Every error becomes an answer; nothing that is not decided and recorded leaves."""
        shape = (route or ROUTES["/v1/chat/completions"]).shape
        begun, began, active = Begun(send, route.path if route else PASSED_ON), perf_counter(), 0
        try:
            headers = dict(scope["headers"])
            begun.parent = headers.get(b"traceparent", b"")
            who = await self.door.enter(headers)
            body = await self.bodies.whole(headers, receive, connection_of(scope), MAX_BODY_BYTES)
            if self.active >= MAX_ACTIVE:
                raise NotIn(503, "too many requests are being answered", 1)
            self.active += (active := 1)
            work = self._model(route, who, headers, body, begun) if route else self._pass(scope, who, headers, body, begun)
            await self.clients.served(work, receive)
        except BadBody as error:
            await begun.error(400, shape.error(400, error.what, error.param))
        except NotIn as error:
            more = [*_again(error.retry_after_s), *([CLOSE] if isinstance(error, Unread) else [])]
            await begun.error(error.status, shape.error(error.status, error.what), more)
        except UpstreamTrouble as error:
            await begun.error(error.status, shape.error(error.status, error.what))
        except UpstreamSaid as error:
            await begun.whole(error.status, error.body, [JSON, *error.headers])
        except LedgerError as error:
            LOG.error("not recorded, so not released: %s", error.what)
            await begun.error(
                503, shape.error(503, "this could not be recorded, so nothing was released"), _again(self.gate.ways.retry_after_s)
            )
        except BylawError as error:
            LOG.error("%s", error.what)
            await begun.error(
                503, shape.error(503, "this could not be decided, so nothing was released"), _again(self.gate.ways.retry_after_s)
            )
        except Exception:
            LOG.exception("a fault in the gateway")  # the client learns nothing of it, and gets nothing else
            await begun.error(500, shape.error(500, "a fault in the gateway; nothing was released"))
        finally:
            self.active -= active
            if self.ended is not None:
                self.ended(begun, perf_counter() - began)

    async def _model(self, route: Route, who: Who, headers: Mapping[bytes, bytes], body: bytes, begun: "Begun") -> None:
        gate = placed(self.gate, who)
        if not gate.recorder.healthy:
            raise LedgerError("the ledger does not take entries")
        said = load(body)
        of_one_case(said, *(said["tools"] if isinstance(said.get("tools"), list) else ()))
        owned = gate.owned if gate.owned is not None and concerned(route.path, body) else None
        if owned is not None:
            shared = gate.laws(who.principal).shares_stored
            owned.admit(route.path, said, who.owner, shared)
            owned = None if shared else owned
        asked = route.shape.asked(said)
        exchange = begun.exchange = await self._exchange(gate, route, who, asked, headers)
        if owned is not None:
            exchange.naming = owned.naming(who.owner)
        try:
            if approval := headers.get(b"x-bylaw-approval"):
                stored = await release(exchange, approval.decode("latin-1"))
                if stored is not None:
                    await self._send(exchange, begun, stored)
                    return
            await exchange.admit()
            if exchange.asked.stream and may_stream(exchange):  # it may be what waited
                await self._stream(exchange, begun)
                return
            await self._send(exchange, begun, await exchange.answer())
        except UpstreamSaid as error:
            raise await unanswered(exchange, error) from None
        except Refused as refused:
            reply = route.shape.fresh(exchange.asked.model, uuid4().hex, refused.text)
            await self._send(exchange, begun, Done(reply, refused.decision, refused.record, refused.approval))

    async def _exchange(self, gate: Gate, route: Route, who: Who, asked: Asked, headers: Mapping[bytes, bytes]) -> Exchange:
        law = gate.talks(who.principal, lambda: talk(asked, headers)) if gate.talks else gate.laws(who.principal)
        session = await session_of(gate, who, asked, headers, law.reads_session)
        send_headers = gate.upstream.headers(headers, route.path, bool(who.key))
        exchange = Exchange(gate, route, law, who, session, asked, send_headers)
        if law.sayings.notices:
            exchange.preface = due(law.sayings, exchange.place, session, asked, route.path, begins(asked, headers))
        return exchange

    async def _send(self, exchange: Exchange, begun: "Begun", done: Done) -> None:
        """A whole reply, as JSON or as a stream."""
        begun.done = done
        body, decision, record, approval = done.body, done.decision, done.record, done.approval
        if decision.effect not in ("allow", "redact"):
            body["bylaw"] = exchange.told(decision, record, approval)
        if exchange.naming is not None:
            body = named(exchange.route.path, body, exchange.naming)
        said = [*marks(decision, record), *done.headers]
        if approval:
            said.append((b"x-bylaw-approval", approval.encode()))
        if exchange.asked.stream:
            await begun.whole(200, exchange.prefaced(exchange.route.as_stream(body, exchange.asked)), [EVENTS, *said])
        else:
            if exchange.preface is not None:
                exchange.preface.whole(body)
                given(exchange.preface, exchange.session)
            await begun.whole(200, dump(body), [JSON, *said])

    async def _stream(self, exchange: Exchange, begun: "Begun") -> None:
        opened: asyncio.Future[list[tuple[bytes, bytes]]] = asyncio.get_running_loop().create_future()
        async with aclosing(stream(exchange, opened)) as pieces:
            async for piece in pieces:
                if not begun.status:
                    decision = exchange.admitted or Decision("allow", (), (), exchange.law.digest)
                    await begun.start(200, [EVENTS, *marks(decision, await exchange.input_recorded()), *opened.result()])
                await begun.piece(exchange.prefaced(piece))
        await begun.close()

    # ---- Passed on ----------------------------------------------------------------------------------------------------

    async def _pass(self, scope: Scope, who: Who, headers: Mapping[bytes, bytes], body: bytes, begun: "Begun") -> None:
        """Routes on which nothing is said: the list of models, and embeddings. A stop holds for them as well."""
        gate = placed(self.gate, who)
        if reasons := gate.stops(who.principal, ""):
            raise NotIn(503, f"stopped: {'; '.join(sorted(reasons))}", gate.ways.retry_after_s)
        path = scope["path"]
        sent_on = gate.upstream.headers(headers, path, bool(who.key))
        if scope["method"] == "POST":
            reply = await gate.upstream.post(path, dump(load(body)), sent_on)
            await begun.whole(reply.status, reply.body, [JSON, *reply.headers])
            return
        async with gate.upstream.stream(path, b"", sent_on, scope["method"]) as live:
            await begun.whole(live.status, await live.rest(), [JSON, *live.headers])


def marks(decision: Decision, record: str) -> list[tuple[bytes, bytes]]:
    """The headers that say what happened."""
    return [
        (b"x-bylaw-decision", decision.effect.encode()),
        (b"x-bylaw-clauses", ",".join(decision.clauses).encode("ascii", "replace")),
        (b"x-bylaw-record", record.encode("ascii", "replace")),
    ]


def _passed_on(method: str, path: str) -> bool:
    """Whether a request is for a route on which nothing is said. To change or to delete a model is not for clients."""
    if path == "/v1/embeddings":
        return method == "POST"
    return method == "GET" and MODELS.fullmatch(path) is not None


def _again(seconds: int) -> list[tuple[bytes, bytes]]:
    return [(b"retry-after", str(seconds).encode())] if seconds else []


@dataclass(slots=True)
class Begun:
    """What has been sent of an answer."""

    send: Send
    path: str = PASSED_ON
    status: int = 0
    parent: bytes = b""  # the caller's `traceparent`
    exchange: Exchange | None = None
    done: Done | None = None

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the head."""
        self.status = status
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def piece(self, body: bytes) -> None:
        """Send a piece of the body; waits while the client reads slowly."""
        if body:
            await self.send({"type": "http.response.body", "body": body, "more_body": True})

    async def close(self) -> None:
        """End the body."""
        if self.status:
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def whole(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """Send an answer at once."""
        await self.start(status, [*headers, (b"content-length", str(len(body)).encode())])
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def error(self, status: int, body: JsonMap, headers: "list[tuple[bytes, bytes]] | None" = None) -> None:
        """Send an error, if nothing has been sent; else the body just ends, unfinished."""
        if not self.status:
            await self.whole(status, dump(body), [JSON, *(headers or [])])

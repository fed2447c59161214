"""HTTP/1.1 (RFC 9112) towards MCP servers: httptools reads what comes, the loop's transport sends, and a call does nothing besides.

Why it is not aiohttp, as towards models: docs/decisions/mcp-http.md. Connections are kept for the next call; cookies, redirects,
compression and environment proxies are not followed. A connection is given up as soon as anything on it is not as it should be: an answer
nobody asked for, bytes after an answer, a head too long, an encoding, silence.
"""

import asyncio
import re
import select
import socket
import ssl
from collections import deque
from collections.abc import Iterable
from typing import Final, cast

import httptools
from aiohappyeyeballs import start_connection

from bylaw.serve.address import REST_S, Address

CONNECT_S: Final = 10.0
NEXT_S: Final = 0.25  # after which the next address of a name is tried as well (RFC 8305)
MARGIN_S: Final = 1.0  # before the time at which a server says that it closes a connection at rest
SKIP_S: Final = 5.0  # how long the end of an answer that nobody reads may take to come
SWEEP_S: Final = 5.0  # how often silence and idleness are looked for
MAX_HEAD_BYTES: Final = 64 << 10
MAX_HELD_BYTES: Final = 256 << 10  # of a body that nobody has read; the server waits then
SILENCE_S: Final = 600.0  # the longest without a byte
BODILESS: Final = (204, 304)
_TIMEOUT: Final = re.compile(rb"(?:^|[,;\s])timeout\s*=\s*(\d{1,9})\b", re.IGNORECASE)


class Unsent(Exception):  # noqa: N818  # becomes an answer
    """Nothing was sent: the server cannot be reached, or the request cannot be written."""


class Broken(Exception):  # noqa: N818  # becomes an answer
    """Something may have been sent, and no whole answer came."""


class Reply:
    """A reply whose head has come: its status, its headers by small names, and its body as it comes. To be closed."""

    __slots__ = ("_ended", "_fault", "_held", "_link", "_pieces", "_waiter", "headers", "status")

    def __init__(self, link: "_Link") -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self._link = link
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._fault = ""
        self._waiter: asyncio.Future[None] | None = None

    async def piece(self) -> bytes:
        """What has come of the body; nothing at its end. Raises Broken."""
        while not self._pieces:
            if self._ended:
                return b""
            if self._fault:
                raise Broken(self._fault)
            await self._more()
        pieces = self._pieces
        found = pieces.popleft() if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if self._held > MAX_HELD_BYTES and not self._link.transport.is_closing():
            self._link.transport.resume_reading()
            self._link.heard_s = self._link.loop.time()
        self._held = 0
        return found

    async def whole(self, most: int) -> bytes:
        """The body; of one that is longer than `most` bytes, a little more than that."""
        found = await self.piece()
        if self._ended and not self._pieces:
            return found
        parts, size = [found], len(found)
        while size <= most and (found := await self.piece()):
            parts.append(found)
            size += len(found)
        return b"".join(parts)

    def skip(self) -> None:
        """Want nothing more of the body: what little is still to come, as the end of a stream, is passed over."""
        if not self._ended and not self._fault:
            self._held = 0
            self._link.skip()

    def close(self) -> None:
        """Let go of it. The connection is kept where the body is whole or passed over, and both sides want that."""
        self._link.done(self, self._ended and self._held <= MAX_HELD_BYTES)  # of more, the transport reads nothing

    # ---- What the connection tells ------------------------------------------------------------------------------------

    def begun(self) -> bool:
        """Whether the head has come, or never will."""
        return self.status >= 200 or bool(self._fault)

    async def head(self) -> None:
        """Wait for the head; raises Broken."""
        while not self.begun():
            await self._more()
        if self.status < 200:
            raise Broken(self._fault)

    def came(self, body: bytes) -> None:
        """A piece of the body is here."""
        self._pieces.append(body)
        before, self._held = self._held, self._held + len(body)
        if before <= MAX_HELD_BYTES < self._held:
            self._link.transport.pause_reading()

    def ends(self, fault: str = "") -> None:
        """The body is whole, or will never be."""
        if not self._ended and not self._fault:
            self._ended, self._fault = not fault, fault

    def wake(self) -> None:
        """Tell whoever waits for more."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _more(self) -> None:
        self._waiter = self._link.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


class _Wrong(Exception):  # noqa: N818  # never leaves the parser's callbacks
    """An answer that is not read on."""


class _Link(asyncio.Protocol):
    """One connection: one request at a time."""

    __slots__ = (
        "_again",
        "_bare",
        "_head_bytes",
        "_headers",
        "_reply",
        "_rest_s",
        "_skipped",
        "_stirs",
        "_to_the_end",
        "_web",
        "at",
        "heard_s",
        "loop",
        "parser",
        "transport",
    )

    def __init__(self, web: "Web", at: Address, loop: asyncio.AbstractEventLoop) -> None:
        self._web, self.at, self.loop = web, at, loop
        self.parser = httptools.HttpResponseParser(self)
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)  # there as soon as it is connected
        self.heard_s = loop.time()
        self._reply: Reply | None = None
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = self._bare = 0  # of headers, and all that came since a body's last bytes
        self._to_the_end = False  # the body ends where the connection does
        self._again = False  # the server takes another request here
        self._skipped = -1  # bytes of a body that nobody wants
        self._rest_s = REST_S["https" if at.tls else "http"]
        self._stirs = select.poll()

    @property
    def patience_s(self) -> float:
        """How long nothing may come, or the end of what nobody reads."""
        if self._reply is None or self._skipped >= 0:
            return self._rest_s if self._reply is None else SKIP_S
        waits = not (self.transport.is_reading() or self.transport.is_closing())  # for us to read
        return float("inf") if waits else self._web.silence_s

    def fresh(self) -> bool:
        """Whether another request may be sent: at rest not for long, and nothing has come meanwhile, its end neither."""
        return not self.transport.is_closing() and self.loop.time() - self.heard_s < self._rest_s and not self._stirs.poll(0)

    async def ask(self, request: bytes) -> Reply:
        """Send a request; its reply, once the head has come. Raises Broken."""
        reply = self._reply = Reply(self)
        self._head_bytes = self._bare = 0
        self._skipped, self._to_the_end, self._again = -1, False, False
        self.heard_s = self.loop.time()
        try:
            self.transport.write(request)
            await reply.head()
        except BaseException:
            self.done(reply, whole=False)
            raise
        return reply

    def skip(self) -> None:
        """Pass over the rest of the body."""
        self._skipped, self.heard_s = 0, self.loop.time()
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def done(self, reply: Reply, whole: bool) -> None:
        """A reply is not read any more."""
        if self._reply is not reply or (self._skipped >= 0 and not whole):
            return
        self._reply = None
        if whole and self._again and not self.transport.is_closing() and not self.transport.get_write_buffer_size():
            if self._skipped >= 0:
                self.heard_s = self.loop.time()
            self._web.keep(self)
        else:
            self.transport.abort()

    def give_up(self, why: str) -> None:
        """Nothing more is read here."""
        if self._reply is not None:
            self._reply.ends(why)
            self._reply.wake()
        self._again = False
        self.transport.abort()

    # ---- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.transport = cast("asyncio.Transport", transport)
        self._stirs.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer."""
        reply = self._reply
        if reply is None:  # nobody has asked anything
            return self.transport.abort()
        if self._skipped < 0:
            self.heard_s = self.loop.time()
        self._bare += len(data)
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            why = error.__context__ if isinstance(error.__context__, _Wrong) else "its answer is no HTTP"
            return self.give_up(str(why))
        if self._bare > MAX_HEAD_BYTES:
            return self.give_up(f"the {'head' if reply.status < 200 else 'frame'} of its answer is too long")
        return reply.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._web.lost(self)
        self.parser = None  # type: ignore[assignment]  # it knows this, and this it
        if self._reply is not None:
            self._reply.ends("" if self._to_the_end and exc is None else "it closed the connection")
            self._reply.wake()

    # ---- httptools ----------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """An answer begins; where one has ended, it is one too many."""
        if self._reply is None or self._reply.status >= 200:
            raise _Wrong("it answers more than it was asked")
        self._headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a field after the body: that is not read."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise _Wrong("the head of its answer is too long")
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The head is here."""
        status, headers, reply = self.parser.get_status_code(), self._headers, self._reply
        if status < 100:
            raise _Wrong("its answer is no HTTP")
        if status < 200 or reply is None:  # the real answer is still to come
            return
        coded = headers.get(b"transfer-encoding")
        if (coded is not None and coded.lower() != b"chunked") or headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise _Wrong("its answer is encoded, which nobody has asked for")
        self._to_the_end = coded is None and b"content-length" not in headers and status not in BODILESS
        if (said := headers.get(b"keep-alive")) is not None and (told := _TIMEOUT.search(said)):
            self._rest_s = min(max(REST_S.values()), int(told[1]) - MARGIN_S)
        reply.status, reply.headers = status, headers
        self._headers = {}

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._bare = 0
        if self._skipped >= 0:
            self._skipped += len(body)
            if self._skipped > MAX_HELD_BYTES:
                raise _Wrong("it goes on after its answer")
        elif self._reply is not None:
            self._reply.came(body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._reply is not None and self._reply.status >= 200:
            self._again = self.parser.should_keep_alive()
            self._reply.ends()
            if self._skipped >= 0:
                self._reply.close()


class Web:
    """The connections of one process. Used on one event loop."""

    def __init__(self, silence_s: float = SILENCE_S) -> None:
        self.silence_s = silence_s
        self._links: set[_Link] = set()
        self._idle: dict[tuple[bool, str, int], list[_Link]] = {}
        self._tls: ssl.SSLContext | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    async def request(self, method: bytes, at: Address, headers: Iterable[tuple[str, str]], body: bytes = b"") -> Reply:
        """Send a request, its method with a blank after it; the reply, once its head has come. Raises Unsent and Broken."""
        lines = []
        for name, value in headers:
            if not value.isprintable():
                raise Unsent(f"the header {name} would have a control character")
            lines.append(f"{name}: {value}\r\n")
        lines.append(f"content-length: {len(body)}\r\n\r\n")
        try:
            request = b"".join((method, at.head, "".join(lines).encode("latin-1"), body))
        except UnicodeEncodeError:
            raise Unsent("a header would have a character that headers have not") from None
        return await (self._kept(at) or await self._opened(at)).ask(request)

    def _kept(self, at: Address) -> _Link | None:
        idle = self._idle.get(at[:3])
        while idle:
            link = idle.pop()
            if link.fresh():
                return link
            link.transport.abort()
        return None

    async def _opened(self, at: Address) -> _Link:
        loop = asyncio.get_running_loop()
        try:
            if at.tls and self._tls is None:
                self._tls = ssl.create_default_context()
                self._tls.set_alpn_protocols(["http/1.1"])
            async with asyncio.timeout(CONNECT_S):
                found = await loop.getaddrinfo(at.host, at.port, type=socket.SOCK_STREAM)
                sock = await start_connection(found, happy_eyeballs_delay=NEXT_S, interleave=1)
                named, tls = (at.host, self._tls) if at.tls else (None, None)
                _, link = await loop.create_connection(lambda: _Link(self, at, loop), sock=sock, ssl=tls, server_hostname=named)
        except (OSError, ValueError, TimeoutError) as error:  # ssl.SSLError is an OSError, a name that is none a ValueError
            raise Unsent(f"it cannot be reached ({type(error).__name__})") from error
        self._links.add(link)
        if self._sweeping is None:
            self._sweeping = loop.call_later(min(SWEEP_S, self.silence_s), self._sweep)
        return link

    def keep(self, link: _Link) -> None:
        """A connection waits for the next request."""
        self._idle.setdefault(link.at[:3], []).append(link)

    def lost(self, link: _Link) -> None:
        """A connection is closed."""
        self._links.discard(link)
        idle = self._idle.get(link.at[:3], [])
        if link in idle:
            idle.remove(link)

    def _sweep(self) -> None:
        """Give up connections on which nothing came for too long, and close those that nobody needed."""
        self._sweeping = None
        for link in list(self._links):
            quiet_s = link.loop.time() - link.heard_s
            if quiet_s > link.patience_s:
                link.give_up("it was silent for too long")
        if self._links:
            self._sweeping = asyncio.get_running_loop().call_later(min(SWEEP_S, self.silence_s), self._sweep)

    async def close(self) -> None:
        """Close all connections."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for link in list(self._links):
            link.give_up("the gateway ends")
        await asyncio.sleep(0)  # lets transports close

"""The bodies of requests, read within bounds of size, of time and of number.

A client that sends a head and then nothing holds a place for as long as it likes. So a body that stands still, or is not whole in time,
ends with a 408; where too many are being read, or too much of them is held, the one that began first ends with a 503, so that a newcomer
always gets in; and a server that ends waits for none.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

from bylaw.serve.door import NotIn
from bylaw.serve.one_write import Connection

IDLE_S: Final = 30.0  # without a byte
WHOLE_S: Final = 120.0
MOST: Final = 1_000  # that are being read
MOST_BYTES: Final = 1 << 29  # of theirs that are held
CLOSE: Final = (b"connection", b"close")

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Unread(NotIn):
    """A body that was not read to its end: what follows on its connection is not, either."""


@dataclass(slots=True, eq=False)
class _Body:
    """One that is being read."""

    timer: asyncio.Timeout
    ends: float  # on the loop's clock: whole by then
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    instead: Unread | None = None  # why it ends before its time

    @property
    def goes_on(self) -> bool:
        """Whether nothing ends it yet: what ends by its time in this very moment cannot be ended once more."""
        return self.instead is None and not self.timer.expired()

    def end(self, why: Unread) -> None:
        """Read no more of it."""
        if self.goes_on:
            self.instead = why
            self.timer.reschedule(0)


class Bodies:
    """Those that are being read just now."""

    def __init__(self) -> None:
        self._read: dict[_Body, None] = {}  # in the order in which they began
        self._held = 0  # bytes

    async def whole(self, headers: Mapping[bytes, bytes], receive: Receive, connection: Connection, most: int) -> bytes:
        """A body of at most so many bytes; raises NotIn."""
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > most:
            raise NotIn(413, f"a body may have {most} bytes")
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout_at(began + IDLE_S) as timer:
                one = _Body(timer, began + WHOLE_S)
                self._read[one] = None
                connection.ending = lambda: one.end(Unread(503, "this server ends, and waits for no request that is not whole"))
                if len(self._read) > MOST:
                    self._end_first()
                return await self._read_on(one, receive, loop, most)
        except TimeoutError:
            late = (
                f"nothing more of the request came for {IDLE_S:g} s"
                if loop.time() < one.ends
                else f"the request was not whole in {WHOLE_S:g} s"
            )
            raise one.instead or Unread(408, late) from None
        finally:
            connection.ending = None
            self._read.pop(one, None)
            self._held -= one.size

    async def _read_on(self, one: _Body, receive: Receive, loop: asyncio.AbstractEventLoop, most: int) -> bytes:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise NotIn(499, "the client has gone")
            part = message.get("body", b"")
            one.size += len(part)
            self._held += len(part)
            if one.size > most:
                raise NotIn(413, f"a body may have {most} bytes")
            one.parts.append(part)
            if not message.get("more_body"):
                return one.parts[0] if len(one.parts) == 1 else b"".join(one.parts)
            if self._held > MOST_BYTES:
                self._end_first()
            if one.instead is None:
                one.timer.reschedule(min(loop.time() + IDLE_S, one.ends))

    def _end_first(self) -> None:
        """Let go of the one that began first, of those that go on."""
        first = next((one for one in self._read if one.goes_on), None)
        if first is not None:
            first.end(Unread(503, "too many requests are being sent, and this one was not whole for the longest", 1))

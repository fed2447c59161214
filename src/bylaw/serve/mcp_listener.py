"""A client's own stream by MCP's older protocols (GET): what its server says while no request of its is answered goes out there.

Nobody waits for a client that reads slowly: what it is told waits in its bounds, and beyond them it is not told. A stream that is over ends
at once, whether the client reads or not. While nothing is said a comment goes out now and then.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bylaw.serve.gateway import EVENTS, Begun
from bylaw.serve.mcp_wire import MAX_MESSAGE_BYTES
from bylaw.serve.one_write import Connection
from bylaw.serve.sse import sent
from bylaw.serve.wire import JsonMap, dump

SILENCE_S: Final = 15.0  # until a comment
LAST_S: Final = 1.0  # for the last bytes of a stream; then its connection is cut
MOST: Final = 100  # messages that wait for a client that reads slowly, of as many bytes as one may have
SILENT: Final = b":\n\n"


@dataclass(slots=True)
class Listener:
    """A client that listens."""

    _waiting: "deque[tuple[JsonMap, bytes]]" = field(default_factory=deque)
    _weight: int = 0  # bytes that wait
    _more: asyncio.Event = field(default_factory=asyncio.Event)
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, message: JsonMap) -> bool:
        """Have a message written; False where it is over, or too much waits already."""
        body = sent(dump(message), "message")
        much = len(self._waiting) >= MOST or (self._waiting and self._weight + len(body) > MAX_MESSAGE_BYTES)
        if self._over.is_set() or much:
            return False
        self._waiting.append((message, body))
        self._weight += len(body)
        self._more.set()
        return True

    def end(self) -> None:
        """Write no more."""
        self._over.set()

    async def write(self, begun: Begun, connection: Connection, may: Callable[[], object]) -> None:
        """Write what is told until the connection or the server ends, `end` is called, or `may` raises, which is asked before each."""
        writing = asyncio.ensure_future(self._write(begun, connection, may))
        ends = [asyncio.ensure_future(one.wait()) for one in (self._over, connection.over)]
        try:
            await asyncio.wait([writing, *ends], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._over.set()
            for one in (writing, *ends):
                one.cancel()
            said = await asyncio.gather(writing, return_exceptions=True)
            if not connection.lost:
                try:
                    async with asyncio.timeout(LAST_S):
                        await begun.close()
                except TimeoutError:
                    connection.abort()
        if isinstance(said[0], Exception):
            raise said[0]

    async def _write(self, begun: Begun, connection: Connection, may: Callable[[], object]) -> None:
        await begun.start(200, [EVENTS, (b"cache-control", b"no-store")])
        await begun.piece(SILENT)  # the head leaves with it
        while True:
            self._more.clear()
            while self._waiting:
                may()
                body = self._waiting[0][1]
                await begun.piece(body)
                if connection.lost:  # it was written to nobody
                    return
                self._waiting.popleft()
                self._weight -= len(body)
            try:
                async with asyncio.timeout(SILENCE_S):
                    await self._more.wait()
            except TimeoutError:
                may()
                await begun.piece(SILENT)

    def left(self) -> list[JsonMap]:
        """What was told and not written."""
        return [message for message, _ in self._waiting]

"""A client's own stream by MCP's older protocols (GET): what its server says while no request of its is answered goes out there.

One coroutine writes each stream; what is told waits in a queue, and where that is full the server waits. While nothing is said a comment
goes out now and then, so that a client that is gone without a word is noticed, and the client's key is looked at again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from bylaw.serve.gateway import EVENTS, Begun, Receive
from bylaw.serve.sse import sent
from bylaw.serve.wire import JsonMap, dump

SILENCE_S: Final = 15.0  # until a comment
MOST: Final = 100  # messages that wait for a client that reads slowly


@dataclass(slots=True)
class Listener:
    """A client that listens."""

    streams: ClassVar[bool] = True
    _waiting: "asyncio.Queue[JsonMap | None]" = field(default_factory=lambda: asyncio.Queue(MOST))
    _over: bool = False

    async def tell(self, message: JsonMap) -> None:
        """Have a message written; waits while too many are."""
        await self._waiting.put(message)

    def end(self) -> None:
        """Write no more."""
        self._over = True
        with suppress(asyncio.QueueFull):  # then it does not sleep
            self._waiting.put_nowait(None)

    async def write(self, receive: Receive, begun: Begun, may: Callable[[], object], over: Awaitable[Any] | None) -> None:
        """Write what is told until the client goes, `end` is called, `over` is done, or `may` raises, which is asked now and then."""
        ends = [asyncio.ensure_future(_gone(receive)), *([asyncio.ensure_future(over)] if over is not None else [])]
        for one in ends:
            one.add_done_callback(lambda _: self.end())
        try:
            await begun.start(200, [EVENTS, (b"cache-control", b"no-store")])
            await begun.piece(b":\n\n")  # the head leaves with it
            while not self._over:
                try:
                    async with asyncio.timeout(SILENCE_S):
                        message = await self._waiting.get()
                except TimeoutError:
                    may()
                    await begun.piece(b":\n\n")
                else:
                    if message is not None:
                        await begun.piece(sent(dump(message), "message"))
        finally:
            self._over = True
            for one in ends:
                one.cancel()
            await begun.close()

    def left(self) -> list[JsonMap]:
        """What was told and not written; it is taken out."""
        found = [self._waiting.get_nowait() for _ in range(self._waiting.qsize())]
        return [one for one in found if one is not None]


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

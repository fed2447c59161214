"""Work is let go when the client that waits for it has gone; looked at many times a second, so that quick answers pay nothing for it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

EVERY_S: Final = 0.05  # a client that waits longer than one or two of these is watched

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


@dataclass(slots=True, eq=False)
class _Waiting:
    """A client that waits for its answer."""

    receive: Receive
    task: "asyncio.Task[Any] | None"
    before: bool = False  # whether it waited when we looked last
    watcher: "asyncio.Task[None] | None" = None
    gone: bool = False

    async def watch(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self.task is not None:
            self.task.cancel()


class Clients:
    """The clients that wait just now."""

    def __init__(self) -> None:
        self._waiting: set[_Waiting] = set()
        self._loop: asyncio.AbstractEventLoop | None = None  # on which we look again; None: nobody waits

    async def served(self, work: Coroutine[Any, Any, None], receive: Receive) -> None:
        """Do the work; let it go when the client does."""
        one = _Waiting(receive, asyncio.current_task())
        self._waiting.add(one)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(EVERY_S, self._look, loop)
        try:
            await work
        except asyncio.CancelledError:
            if not one.gone or one.task is None or one.task.uncancel():  # somebody else cancels it, too
                raise
        finally:
            self._waiting.discard(one)
            if one.watcher is not None:
                one.watcher.cancel()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        for one in self._waiting:
            if one.before and one.watcher is None:
                one.watcher = loop.create_task(one.watch())
            one.before = True
        if self._waiting:
            loop.call_later(EVERY_S, self._look, loop)
        else:
            self._loop = None

"""Sessions of MCP's older protocols as one process holds them, and how many: one principal's many take nothing from another's few."""

import asyncio
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from bylaw.serve.door import NotIn
from bylaw.serve.mcp_line import Server
from bylaw.serve.mcp_listener import Listener
from bylaw.serve.mcp_servers import Remote, ServerAt
from bylaw.serve.mcp_wire import Id
from bylaw.serve.wire import JsonMap

if TYPE_CHECKING:
    from bylaw.serve.mcp_http import Caller

IDLE_S: Final = 600.0  # a session that rested for so long may make room for a new one
AGAIN_S: Final = 30
OURS: Final = "bylaw-"


class Most(NamedTuple):
    """How many sessions of the older protocols one process has at once."""

    sessions: int = 1_000
    of_one: int = 100  # of one principal: its own oldest makes room
    children: int = 50  # processes of servers, one a session
    children_of_one: int = 10


@dataclass(slots=True)
class Held:
    """A session of the older protocols."""

    id: str
    at: ServerAt
    owner: str
    forms: bool
    server: Server
    asked: dict[str, asyncio.Future[JsonMap]] = field(default_factory=dict)  # by us, of the client
    passed: dict[str, Id] = field(default_factory=dict)  # by the server, of the client: the server's ids
    callers: "list[Caller]" = field(default_factory=list)  # whose requests are being answered
    count: int = 0
    used_at: float = field(default_factory=time.monotonic)
    listening: "asyncio.Task[bool] | None" = None  # to what a server at an address says while it is asked nothing
    client: Listener | None = None  # the client, where it listens to that

    def listen(self) -> None:
        """Begin to hear what the server says while it is asked nothing; of a child everything is heard already."""
        if isinstance(self.server, Remote) and self.listening is None:
            self.listening = asyncio.create_task(self.server.listen(lambda: not self.rests))

    def used(self) -> None:
        """Its client is here. What the server says is heard again, where that ended because nobody was."""
        self.used_at, task = time.monotonic(), self.listening
        if task is not None and task.done() and not task.cancelled() and task.exception() is None and task.result():
            self.listening = None
            self.listen()

    @property
    def rests(self) -> bool:
        """Whether its client has been away so long that it may make room."""
        return not self.callers and self.client is None and time.monotonic() - self.used_at >= IDLE_S

    @property
    def hears(self) -> "Caller | Listener | None":
        """Who hears what the server says: the newest request that takes a stream and is still waited for, else the client's own stream."""
        return next((one for one in reversed(self.callers) if one.streams and not one.connection.lost), None) or self.client

    def next(self) -> str:
        """An id for a request to the client."""
        self.count += 1
        return f"{OURS}{self.count}"


def room_for(held: MutableMapping[str, Held], most: Most, at: ServerAt, owner: str) -> list[Held]:
    """What makes room for one more session: one that has rested, or an own one at an address. It is held no more; raises NotIn."""
    gone: list[Held] = []
    every = list(held.values())
    bounds = [(every, most.sessions), ([one for one in every if one.owner == owner], most.of_one)]
    if at.command:
        children = [one for one in every if one.at.command]
        bounds += [(children, most.children), ([one for one in children if one.owner == owner], most.children_of_one)]
    for found, bound in bounds:
        if sum(one not in gone for one in found) >= bound:
            oldest = next((one for one in found if one not in gone and _rests(one, owner)), None)
            if oldest is None:
                raise NotIn(503, "too many sessions are open", AGAIN_S)
            gone.append(oldest)
    for one in gone:
        del held[one.id]
    return gone


def _rests(held: Held, owner: str) -> bool:
    own = held.owner == owner and not held.at.command
    return held.rests or (own and not held.callers)

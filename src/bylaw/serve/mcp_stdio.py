"""`bylaw mcp`: a line pump between a client's standard input and output and a server that is a child of ours.

A message is one line of JSON. Requests are answered each in its own task, so that one that waits for a person holds up no other; what
changes nothing keeps its order. Once the client's input has ended, what is under way has `ANSWER_S` to be answered; of a call that its
server has not answered by then, it is recorded that nobody knows how it ended. Standard output belongs to the protocol: whatever else is
to be said goes to standard error.
"""

import asyncio
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from bylaw.errors import BylawError
from bylaw.serve.door import NotIn
from bylaw.serve.mcp_child import CLOSE_S, Child
from bylaw.serve.mcp_line import ENDING, Line, Server
from bylaw.serve.mcp_lines import Lines, Valve
from bylaw.serve.mcp_wire import (
    CAPABILITIES_KEY,
    INTERNAL,
    INVALID,
    MAX_MESSAGE_BYTES,
    MAX_QUESTIONS,
    Id,
    Rpc,
    answer,
    id_of,
    is_modern,
    kind_of,
    meta_of,
    params_of,
    read,
    takes_forms,
)
from bylaw.serve.wire import JsonMap, dump

OURS: Final = "bylaw-"  # what the ids of requests begin with that we send to the client
ANSWER_S: Final = 10.0  # how long answers may take once the client's input has ended
ASK_S: Final = 600.0  # how long a user may think about a form
MAX_TASKS: Final = 1_000  # requests that are being answered
BUSY: Final = -32000
LOG: Final = logging.getLogger(__name__)

MakeLine = Callable[[Server], Line]  # for one request: who asks may have changed; raises NotIn


@dataclass(frozen=True, slots=True)
class Caller:
    """The client, as one of its requests sees it."""

    pump: "Pump"
    request: Id | None
    modern: bool
    forms: bool

    async def ask(self, method: str, params: JsonMap) -> JsonMap:
        """Ask the client something; its result. Nobody answering is a `cancel`."""
        return await self.pump.ask_client(method, params)

    async def tell(self, message: JsonMap) -> None:
        """Hand a notification on."""
        self.pump.write(message)


@dataclass
class Pump:
    """Everything between one client and one child."""

    out: Callable[[bytes], None]  # to the client
    make: MakeLine
    child: Child | None = None
    answer_s: float = ANSWER_S
    _forms: bool = False  # what the client said at `initialize`
    _next: int = 0
    _asked: dict[str, asyncio.Future[JsonMap]] = field(default_factory=dict)  # by us, of the client
    _passed: dict[str, Id] = field(default_factory=dict)  # by the server, of the client: the server's ids
    _tasks: dict[Id, asyncio.Task[None]] = field(default_factory=dict)
    _queue: deque[JsonMap] = field(default_factory=deque)  # notifications and answers of the client: one after another
    _worker: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        """What the client writes goes to `lines`."""
        self.lines = Lines(self._take, self._too_long, self._over)
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()

    async def run(self, child: Child) -> None:
        """Until the client or the server ends."""
        self.child = child
        await asyncio.wait({self._ended, child.ended}, return_when=asyncio.FIRST_COMPLETED)
        for future in self._asked.values():
            future.cancel()
        late = await _after({*self._tasks.values(), *([self._worker] if self._worker is not None else [])}, self.answer_s)
        if late:
            child.give_up()
            late = await _after(late, CLOSE_S)  # they record what they know
        for task in late:
            task.cancel()
        await asyncio.gather(*late, *ENDING, return_exceptions=True)  # what has come of a call is recorded, whoever waits for it

    def write(self, message: JsonMap) -> None:
        """Hand a message to the client."""
        self.out(dump(message) + b"\n")

    async def ask_client(self, method: str, params: JsonMap) -> JsonMap:
        """Ask the client, and wait for what it answers."""
        if self._ended.done():
            return {"action": "cancel"}
        self._next += 1
        ours = f"{OURS}{self._next}"
        future = self._asked[ours] = asyncio.get_running_loop().create_future()
        self.write({"jsonrpc": "2.0", "id": ours, "method": method, "params": params})
        try:
            reply = await asyncio.wait_for(future, ASK_S)
        except (TimeoutError, asyncio.CancelledError):
            return {"action": "cancel"}
        finally:
            del self._asked[ours]
        result = reply.get("result")
        return result if isinstance(result, dict) else {"action": "cancel"}

    async def heard(self, message: JsonMap) -> None:
        """What the server asks or tells the client."""
        if self.child is None:
            return
        seen = await self.make(self.child).from_server(message)
        if "id" in message:
            theirs = id_of(message)
            if theirs is None or seen is None or len(self._passed) >= MAX_QUESTIONS:
                await self.child.tell(answer(theirs, {"error": Rpc(INVALID, "withheld, or too many questions").error}))
                return
            self._next += 1
            ours = f"{OURS}{self._next}"
            self._passed[ours] = theirs
            seen = {**seen, "id": ours}
        if seen is not None:
            self.write(seen)

    # ---- From the client ----------------------------------------------------------------------------------------------

    def _over(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def _too_long(self, request: Id | None) -> None:
        self.write(answer(request, {"error": Rpc(INVALID, f"a message may have {MAX_MESSAGE_BYTES} bytes").error}))

    def _take(self, line: bytes) -> None:
        child, message = self.child, None
        assert child is not None  # it is there before anything is read
        try:
            message = read(line)
            if kind_of(message) == "request":
                self._begin(message, child)
            else:
                self._in_turn(message)
        except Rpc as error:
            self.write(answer(error.to, {"error": error.error}))
        except NotIn as error:
            self.write(answer(id_of(message), {"error": Rpc(INVALID, error.what).error}))
        except BylawError as error:
            LOG.error("%s", error.what)
            self.write(answer(id_of(message), {"error": Rpc(INTERNAL, "this could not be decided, so nothing was let through").error}))

    def _in_turn(self, message: JsonMap) -> None:
        self._queue.append(message)
        if len(self._queue) == MAX_TASKS:
            self.lines.hold()
        if self._worker is None:
            self._worker = asyncio.ensure_future(self._work())

    async def _work(self) -> None:
        try:
            while self._queue:
                message = self._queue.popleft()
                if len(self._queue) == MAX_TASKS - 1:
                    self.lines.let_go()
                await self._passed_on(message)
        finally:
            self._worker = None

    async def _passed_on(self, message: JsonMap) -> None:
        child = self.child
        assert child is not None  # see above
        try:
            await (self._told if "method" in message else self._replied)(message, child)
        except (Rpc, NotIn, BylawError) as error:  # nobody waits for an answer to it
            LOG.error("a message of the client is dropped: %s", error.text if isinstance(error, Rpc) else error.what)
        except Exception:  # one message less; the line goes on, and nothing unjudged has left
            LOG.exception("a message of the client is dropped")

    def _begin(self, message: JsonMap, child: Child) -> None:
        request = id_of(message)
        assert request is not None  # `kind_of` has looked
        if request in self._tasks:
            raise Rpc(INVALID, "a request with this id is being answered", to=request)
        if len(self._tasks) >= MAX_TASKS:
            raise Rpc(BUSY, "too many requests are being answered", to=request)
        modern, params = is_modern(message), params_of(message)
        if message["method"] == "initialize":
            self._forms = takes_forms(params.get("capabilities"))
        forms = takes_forms(meta_of(params).get(CAPABILITIES_KEY)) if modern else self._forms
        caller = Caller(self, request, modern, forms)
        self._tasks[request] = self._loop.create_task(self._answer(self.make(child), message, caller))

    async def _answer(self, line: Line, message: JsonMap, caller: Caller) -> None:
        try:
            self.write(await line.answer(message, caller))
        finally:
            if caller.request is not None:
                self._tasks.pop(caller.request, None)

    async def _told(self, message: JsonMap, child: Child) -> None:
        if message["method"] == "notifications/cancelled":
            request = params_of(message).get("requestId")
            if isinstance(request, str | int) and child.sent(request) is None:
                if (task := self._tasks.get(request)) is not None:
                    task.cancel()  # nothing of it was sent
                return
        await self.make(child).tell(message)

    async def _replied(self, message: JsonMap, child: Child) -> None:
        ours = message.get("id")
        if not isinstance(ours, str):
            return
        if (future := self._asked.get(ours)) is not None:
            if not future.done():
                future.set_result(message)
        elif (theirs := self._passed.pop(ours, None)) is not None:
            await child.tell({**await self.make(child).from_client(message), "id": theirs})


async def _after(tasks: set[asyncio.Task[None]], wait_s: float) -> set[asyncio.Task[None]]:
    """Those that have not ended in some seconds."""
    return (await asyncio.wait(tasks, timeout=wait_s))[1] if tasks else tasks


async def pump(command: list[str], make: MakeLine) -> int | None:
    """Stand between this process's standard streams and a server; how the server ended, where it did so by itself. Raises Ended."""
    loop = asyncio.get_running_loop()
    inward, outward = (os.fdopen(os.dup(stream.fileno()), how, 0) for stream, how in ((sys.stdin, "rb"), (sys.stdout, "wb")))
    out, valve = await loop.connect_write_pipe(Valve, outward)
    made = Pump(out.write, make)
    made.child = child = await Child.start(command, made.heard)
    child.valve.sources.append(made.lines)
    valve.sources += [made.lines, child.lines]
    source, _ = await loop.connect_read_pipe(lambda: made.lines, inward)
    running = asyncio.ensure_future(made.run(child))
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, running.cancel)
    with suppress(asyncio.CancelledError):
        await running
    alone = child.ended.done()
    source.close()
    code = await child.close()
    out.close()  # once all is written
    with suppress(TimeoutError):
        await asyncio.wait_for(valve.closed, CLOSE_S)
    return code if alone else None

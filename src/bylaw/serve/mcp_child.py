"""An MCP server that is a process of ours: JSON-RPC over its standard input and output, one message a line.

Requests get ids of our own, so that what we ask and what a client asks never meet. What it writes besides answers goes to whoever reads
it (`heard`). What it says on its standard error goes to ours.
"""

import asyncio
import logging
import os
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from bylaw.errors import BylawError
from bylaw.serve.mcp_asking import Client
from bylaw.serve.mcp_lines import Lines, Valve
from bylaw.serve.mcp_wire import MAX_MESSAGE_BYTES, Gone, Id, Rpc, answer, id_of, kind_of, read
from bylaw.serve.wire import JsonMap, dump

ENDED: Final = -32000
CLOSE_S: Final = 5.0  # how long it may take to end once its input is closed
MAX_WAITING: Final = 1_000  # requests it has not answered, and messages of it that are being judged
LOG: Final = logging.getLogger(__name__)

Heard = Callable[[JsonMap], Awaitable[None]]  # a request or a notification of the server


class Ended(BylawError):  # noqa: N818  # as all errors here, it is named by what is the matter
    """The server could not be started, or has ended."""


class _Pipes(asyncio.SubprocessProtocol):
    """What the event loop tells of a process."""

    def __init__(self, lines: Lines, valve: Valve) -> None:
        self._lines, self._valve = lines, valve
        self.exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def pause_writing(self) -> None:
        self._valve.pause_writing()

    def resume_writing(self) -> None:
        self._valve.resume_writing()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._lines.data_received(data)

    def pipe_connection_lost(self, fd: int, error: Exception | None) -> None:
        if fd == 1:
            self._lines.connection_lost(error)

    def process_exited(self) -> None:
        if not self.exited.done():
            self.exited.set_result(None)


class Child:
    """One process. Opened on the event loop that uses it."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._waiting: dict[int, asyncio.Future[JsonMap]] = {}
        self._ours: dict[Id, int] = {}  # the id under which a client's request was sent on
        self._next = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._process: Any = None  # both are there once it has started
        self._in: Any = None
        self.lines = Lines(self._take, self._dropped, self._over)
        self.valve = Valve()  # on what it is sent
        self._pipes = _Pipes(self.lines, self.valve)
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def start(cls, command: Sequence[str], heard: Heard, env: Mapping[str, str] | None = None) -> "Child":
        """Start it; raises Ended."""
        made, around = cls(heard), None if env is None else {**os.environ, **env}
        try:
            made._process, _ = await asyncio.get_running_loop().subprocess_exec(
                lambda: made._pipes, *command, stdin=PIPE, stdout=PIPE, stderr=None, env=around
            )
        except OSError as error:
            raise Ended(f"{command[0]}: cannot be started: {error.strerror}", "Write the server's command after `--`.") from error
        made._in = made._process.get_pipe_transport(0)
        made.lines.connection_made(made._process.get_pipe_transport(1))
        return made

    async def ask(self, method: str, params: JsonMap, client: Client | None) -> JsonMap:
        """Send a request; its `result` or `error`."""
        if self.ended.done() or len(self._waiting) >= MAX_WAITING:
            raise Rpc(ENDED, "the server has ended" if self.ended.done() else "the server has too much to do")
        self._next += 1
        ours, theirs = self._next, getattr(client, "request", None)
        future: asyncio.Future[JsonMap] = asyncio.get_running_loop().create_future()
        self._waiting[ours] = future
        if theirs is not None:
            self._ours[theirs] = ours
        try:
            self._write({"jsonrpc": "2.0", "id": ours, "method": method, "params": params})
            return await future
        finally:
            self._waiting.pop(ours, None)
            if theirs is not None:
                self._ours.pop(theirs, None)

    async def tell(self, message: JsonMap) -> None:
        """Send a notification, or an answer."""
        params = message.get("params")
        if message.get("method") == "notifications/cancelled" and isinstance(params, dict):
            ours = self.sent(params.get("requestId"))
            if ours is None:
                return
            self._write({**message, "params": {**params, "requestId": ours}})
            if (future := self._waiting.get(ours)) is not None and not future.done():
                future.set_exception(Gone(ENDED, "the call was cancelled, and may have run"))
            return
        self._write(message)

    def sent(self, request: object) -> int | None:
        """The id under which a client's request was sent on, if it was and waits."""
        return self._ours.get(request) if isinstance(request, str | int) else None

    def give_up(self) -> None:
        """Send it nothing more; whoever waits for its answer learns that nobody will know how the call ended."""
        self._in.close()
        self._lost("the server did not answer while it was waited for, and the call may have run")

    async def close(self) -> int | None:
        """Close its input, and wait for it to end; what does not is ended. How it ended."""
        self._in.close()
        for end in (self._process.terminate, self._process.kill):
            try:
                await asyncio.wait_for(asyncio.shield(self._pipes.exited), CLOSE_S)
                break
            except TimeoutError:
                with suppress(ProcessLookupError):
                    end()
        await self._pipes.exited
        self._process.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        code: int | None = self._process.get_returncode()
        return code

    def _write(self, message: JsonMap) -> None:
        if self._in.is_closing():
            raise Rpc(ENDED, "the server has ended")
        self._in.write(dump(message) + b"\n")

    def _over(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
        self._lost("the server has ended, and the call may have run")

    def _lost(self, why: str) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Gone(ENDED, why))

    def _dropped(self, ours: Id | None) -> None:
        """A line that is too long: whoever waits for what it said learns it now; where nobody can tell who that is, all who wait do."""
        LOG.error("the server wrote a line of more than %d bytes, which is dropped", MAX_MESSAGE_BYTES)
        theirs = [self._waiting[ours]] if isinstance(ours, int) and ours in self._waiting else list(self._waiting.values())
        for future in theirs:
            if not future.done():
                text = f"the server answered with more than {MAX_MESSAGE_BYTES} bytes, or it cannot be told whom; the call may have run"
                future.set_exception(Gone(ENDED, text))

    def _take(self, line: bytes) -> None:
        try:
            message = read(line)
            kind = kind_of(message)
        except Rpc as error:
            LOG.error("the server wrote what is no message, which is dropped: %s", error.text)
            return
        if kind == "response":
            ours = id_of(message)
            future = self._waiting.get(ours) if isinstance(ours, int) else None
            if future is not None and not future.done():
                future.set_result({key: message[key] for key in ("result", "error") if key in message})
            return
        if len(self._tasks) >= MAX_WAITING:
            LOG.error("the server says more than can be judged at once: a message of it is dropped")
            if kind == "request" and not self._in.is_closing():
                self._write(answer(id_of(message), {"error": Rpc(ENDED, "too much at once").error}))
            return
        task = asyncio.ensure_future(self._hand_on(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hand_on(self, message: JsonMap) -> None:
        try:
            await self._heard(message)
        except Exception:  # one message less; the line goes on, and nothing unjudged has left
            LOG.exception("a message of the server is dropped")

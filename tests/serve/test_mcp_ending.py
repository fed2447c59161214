"""A call that was sent is never called anything but what is known of it: cancelled too late, answered with nonsense, or with no store."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from bylaw.errors import StoreError
from bylaw.serve.http1 import Web
from bylaw.serve.mcp_line import Line, Server
from bylaw.serve.mcp_servers import Remote, ServerAt
from bylaw.serve.mcp_stdio import Pump
from bylaw.serve.mcp_wire import Gone, Rpc
from tests.serve.mcp_rig import User, lined
from tests.serve.rig import PATIENCE_S, serving


@dataclass
class Slow:
    """A recorder that takes its time over results."""

    book: Any
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    goes: asyncio.Event = field(default_factory=asyncio.Event)
    healthy: bool = True

    async def record(self, entry: Mapping[str, Any]) -> object:
        if entry.get("surface") == "tool_result":
            self.asked.set()
            await self.goes.wait()
        return await self.book.record(entry)


def test_a_call_that_is_cancelled_after_its_answer_has_come_still_has_its_outcome_recorded(tmp_path: Path) -> None:
    with lined(tmp_path) as rig:

        async def work() -> None:
            slow = Slow(rig.book)
            line = replace(rig.line, gate=replace(rig.line.gate, recorder=slow))
            message = {
                "jsonrpc": "2.0",
                "id": 7,
                "method": "tools/call",
                "params": {"name": "refund", "arguments": {"order": 1, "amount": 5.0}},
            }
            task = asyncio.ensure_future(line.answer(message, User(modern=False)))
            await slow.asked.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            slow.goes.set()
            late = time.monotonic() + PATIENCE_S
            while not any(kind[1] == "tool_result" for kind in rig.book.kinds()) and time.monotonic() < late:
                await asyncio.sleep(0.01)

        asyncio.run(work())
        kinds = [kind for kind in rig.book.kinds() if kind[0] == "decision"]
        sent = rig.server.calls

    assert len(sent) == 1
    assert kinds == [("decision", "tool_call", "allow"), ("decision", "tool_result", "allow")]


@pytest.mark.parametrize(
    ("status", "kind", "body", "unknown"),
    [
        (200, b"text/event-stream", b"data: nonsense\n\n", True),
        (200, b"application/json", b"nonsense", True),
        (200, b"application/json", b'{"jsonrpc": "2.0", "id": 99, "result": {}}', True),
        (502, b"text/html", b"<h1>Bad gateway</h1>", True),
        (404, b"text/html", b"<h1>Not here</h1>", False),
    ],
)
def test_a_server_that_answers_nonsense_may_have_acted(status: int, kind: bytes, body: bytes, unknown: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": body})

    async def work(url: str) -> None:
        web = Web()
        try:
            await Remote(ServerAt("a", url=url), web).ask("tools/call", {"name": "pay", "arguments": {}}, None)
        finally:
            await web.close()

    with serving(app) as url, pytest.raises(Rpc) as raised:
        asyncio.run(work(url))

    assert isinstance(raised.value, Gone) == unknown


def test_a_store_that_cannot_be_read_answers_with_an_error_and_the_line_goes_on() -> None:
    out: list[bytes] = []

    def make(server: Server) -> Line:
        raise StoreError("the store cannot be read", "Try again.")

    class Alive:
        def __init__(self) -> None:
            self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        alive: Any = Alive()
        pump = Pump(out.append, make, alive)
        for number in (1, 2):
            pump.lines.data_received(b'{"jsonrpc":"2.0","id":%d,"method":"tools/list"}\n' % number)
        pump.lines.connection_lost(None)
        await pump.run(alive)

    asyncio.run(work())

    assert [b'"error"' in line for line in out] == [True, True]

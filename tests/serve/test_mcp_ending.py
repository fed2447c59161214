"""A call that was sent is never called anything but what is known of it: cancelled too late, answered with nonsense, or with no store."""

import asyncio
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from bylaw.errors import StoreError
from bylaw.serve.http1 import Web
from bylaw.serve.mcp_child import Child
from bylaw.serve.mcp_line import Line, Server
from bylaw.serve.mcp_servers import Remote, ServerAt
from bylaw.serve.mcp_stdio import Pump
from bylaw.serve.mcp_wire import Gone, Rpc
from bylaw.serve.wire import JsonMap, dump
from tests.serve.mcp_plain import until
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


SERVER = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["method"] == "tools/list":
        tool = {"name": "refund", "inputSchema": {"type": "object"}}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"tools": [tool]}}), flush=True)
    elif message["params"]["arguments"]["order"] == 1:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"content": [{"type": "text", "text": "paid"}]}}), flush=True)
"""


def ended(tmp_path: Path, order: int, answer_s: float) -> tuple[list[Any], list[Any]]:
    """What a client is told of a call after which its input ends, as soon as the call was sent; and the steps that are recorded."""
    out: list[bytes] = []

    async def heard(message: JsonMap) -> None:
        raise NotImplementedError

    with lined(tmp_path) as rig:

        async def work() -> None:
            child = await Child.start([sys.executable, "-S", "-c", SERVER], heard)
            pump = Pump(out.append, lambda server: replace(rig.line, server=server), child, answer_s)
            params = {"name": "refund", "arguments": {"order": order, "amount": 5.0}}
            pump.lines.data_received(dump({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}) + b"\n")
            await until(lambda: out or child.sent(7) is not None)
            pump.lines.connection_lost(None)
            await pump.run(child)
            await child.close()

        asyncio.run(asyncio.wait_for(work(), PATIENCE_S))
        steps = [one["facts"]["step"] for one in rig.book.entries if one["kind"] == "result"]
    return [orjson.loads(one) for one in out], steps


def test_after_the_end_of_the_input_a_silent_server_is_not_waited_for_and_nobody_is_told_how_the_call_ended(tmp_path: Path) -> None:
    said, steps = ended(tmp_path, 2, 0.0)

    assert [one["id"] for one in said] == [7]
    assert "may have run" in said[0]["error"]["message"]
    assert steps == ["unknown"]


def test_after_the_end_of_the_input_an_answer_that_comes_in_time_is_handed_on(tmp_path: Path) -> None:
    said, steps = ended(tmp_path, 1, PATIENCE_S)

    assert [one["result"]["content"][0]["text"] for one in said] == ["paid"]
    assert steps == []


def test_whom_nobody_can_ask_any_more_is_asked_nothing() -> None:
    out: list[bytes] = []

    async def work() -> JsonMap:
        pump = Pump(out.append, NotImplemented)
        pump.lines.connection_lost(None)
        return await asyncio.wait_for(pump.ask_client("elicitation/create", {}), PATIENCE_S)

    said = asyncio.run(work())

    assert said == {"action": "cancel"}
    assert out == []


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

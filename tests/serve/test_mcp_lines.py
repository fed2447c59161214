"""Lines of a pipe, and a server behind one: cut anywhere, too long, cancelled, ended, or asking without end."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from bylaw.serve import mcp_lines
from bylaw.serve.http1 import Web
from bylaw.serve.mcp_child import Child
from bylaw.serve.mcp_lines import Lines
from bylaw.serve.mcp_servers import Remote, ServerAt
from bylaw.serve.mcp_stdio import Pump
from bylaw.serve.mcp_wire import MAX_MESSAGE_BYTES, MAX_QUESTIONS, Rpc
from tests.serve.mcp_rig import lined
from tests.serve.rig import serving

LONG = b"x" * (MAX_MESSAGE_BYTES + 1)


class Heard:
    """What came out of some lines."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.lines = Lines(self.said.append, lambda name: self.said.append(("too long", name)), lambda: self.said.append("over"))


@given(st.lists(st.binary(max_size=20).map(lambda one: one.replace(b"\n", b" ")), max_size=8), st.data())
def test_lines_are_the_same_however_they_come_in(lines: list[bytes], more: st.DataObject) -> None:
    whole, heard, at = b"\n".join(lines), Heard(), 0
    while at < len(whole):
        size = more.draw(st.integers(1, len(whole) - at))
        heard.lines.data_received(whole[at : at + size])
        at += size
    heard.lines.connection_lost(None)

    assert [one.rstrip(b"\n") for one in heard.said[:-1]] == [one for one in lines if one and not one.isspace()]
    assert heard.said[-1] == "over"


@pytest.mark.parametrize(
    ("head", "tail", "name"),
    [
        (b'{"jsonrpc":"2.0","id":7,"result":"', b'"}', 7),
        (b'{ "id": "a-7", "result": "', b'"}', "a-7"),
        (b'{"result":"', b'","id":8,"jsonrpc":"2.0"}', 8),
        (b'{"result":"', b'","id":8}', 8),
        (b'{"result":{"id":7,"a":"', b'"}}', None),
        (b'{"result":"\\"id\\":7', b'"}', None),
    ],
)
def test_a_line_that_is_too_long_is_dropped_whole_and_says_whom_it_was_for(head: bytes, tail: bytes, name: Any) -> None:
    heard = Heard()
    for part in (head, LONG, tail + b"\n", b"{}\n"):
        heard.lines.data_received(part)
    heard.lines.data_received(head + LONG + tail + b"\n{}\n")

    assert heard.said == [("too long", name), b"{}\n"] * 2
    assert len(heard.lines._begun) == 0


def test_of_a_line_without_an_end_only_its_ends_are_kept() -> None:
    heard = Heard()
    heard.lines.data_received(LONG)
    for _ in range(20):
        heard.lines.data_received(b"y" * 100_000)

    assert len(heard.lines._begun) <= 2 * mcp_lines.ENDS_BYTES
    assert heard.said == []


SERVER = """
import json, sys, time
for line in sys.stdin:
    message = json.loads(line)
    if message.get("method") == "long":
        print('{"jsonrpc":"2.0","id":%d,"result":"%s"}' % (message["id"], "x" * (17 << 20)), flush=True)
    elif message.get("method") == "nameless":
        print('{"result":{"a":"%s"}}' % ("x" * (17 << 20)), flush=True)
    elif message.get("method") == "notifications/cancelled":
        print(json.dumps({"jsonrpc": "2.0", "method": "told", "params": message["params"]}), flush=True)
    elif message.get("method") == "end":
        sys.exit(3)
    elif message.get("method") == "echo":
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": message["params"]}), flush=True)
"""


class From:
    """A client, by the id of its request."""

    def __init__(self, request: Any) -> None:
        self.request, self.modern, self.forms = request, False, False

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    async def tell(self, message: dict[str, Any]) -> None:
        raise NotImplementedError


def driven(loop: str, work: Any) -> Any:
    run = uvloop.run if loop == "uvloop" else asyncio.run
    return run(asyncio.wait_for(work, 180))


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_child_that_answers_too_much_is_cancelled_or_ends_leaves_nobody_waiting(tmp_path: Path, loop: str) -> None:
    heard: list[dict[str, Any]] = []

    async def hear(message: dict[str, Any]) -> None:
        heard.append(message)

    async def ended(child: Child, method: str, client: Any = None) -> str:
        try:
            return str(await child.ask(method, {}, client))
        except Rpc as error:
            return f"{type(error).__name__}: {error.text}"

    async def work() -> tuple[list[str], int | None]:
        child = await Child.start([sys.executable, "-u", "-c", SERVER], hear)
        silent = asyncio.ensure_future(ended(child, "silence", From("theirs")))
        await asyncio.sleep(0)
        said = [await ended(child, "echo"), await ended(child, "long"), await ended(child, "echo")]
        await child.tell({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "theirs"}})
        said.append(await silent)
        said.append(await ended(child, "nameless"))
        while not heard:
            await asyncio.sleep(0.01)
        said.append(await ended(child, "end"))
        return said, await child.close()

    said, code = driven(loop, work())

    assert said[0] == said[2] == "{'result': {}}"
    assert "Gone" in said[1]
    assert "more than" in said[1]
    assert "cancelled" in said[3]
    assert "more than" in said[4]
    assert "has ended" in said[5]
    assert code == 3
    assert heard[0]["params"] == {"requestId": 1}  # as the server knows it


def test_what_a_client_cancels_of_a_server_at_an_address_is_named_as_the_server_knows_it() -> None:
    told: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        import orjson

        message = orjson.loads((await receive())["body"])
        if message["method"] == "slow":
            told.append(message["id"])
            while len(told) < 2:
                await asyncio.sleep(0.01)
            body = orjson.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {}})
        else:
            told.append(message["params"]["requestId"])
            body = b""
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200 if body else 202, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def work(url: str) -> None:
        web = Web()
        remote = Remote(ServerAt("s", url=url), web)
        await remote.tell({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "c-0"}})  # nobody knows it
        asked = asyncio.ensure_future(remote.ask("slow", {}, From("c-1")))
        while not told:
            await asyncio.sleep(0.01)
        await remote.tell({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "c-1"}})
        await asked
        await web.close()

    with serving(app) as url:
        asyncio.run(asyncio.wait_for(work(url), 180))

    assert told == [1, 1]


def test_a_server_asks_no_more_questions_at_once_than_are_remembered(tmp_path: Path) -> None:
    asked: list[bytes] = []

    class Silent:
        def __init__(self) -> None:
            self.told: list[dict[str, Any]] = []

        async def tell(self, message: dict[str, Any]) -> None:
            self.told.append(message)

    with lined(tmp_path) as rig:

        async def work() -> Silent:
            silent: Any = Silent()
            pump = Pump(asked.append, lambda _: rig.line, silent)
            for number in range(MAX_QUESTIONS + 3):
                await pump.heard({"jsonrpc": "2.0", "id": number, "method": "roots/list"})
            return silent  # type: ignore[no-any-return]  # it stands for a child

        child = asyncio.run(work())

    assert len(asked) == MAX_QUESTIONS
    assert [one["id"] for one in child.told] == [MAX_QUESTIONS, MAX_QUESTIONS + 1, MAX_QUESTIONS + 2]
    assert all("too many" in one["error"]["message"] for one in child.told)


def test_whoever_does_not_keep_up_is_not_read_from_until_as_often_let_go_as_held() -> None:
    class Transport:
        reading = True

        def pause_reading(self) -> None:
            self.reading = False

        def resume_reading(self) -> None:
            self.reading = True

        def is_closing(self) -> bool:
            return False

    transport: Any = Transport()
    heard, seen = Heard(), []
    heard.lines.connection_made(transport)
    for step in (heard.lines.hold, heard.lines.hold, heard.lines.let_go, heard.lines.let_go):
        step()
        seen.append(transport.reading)

    assert seen == [False, False, False, True]

"""What a server at an address says by itself, by the older protocols: on a stream of its own, which the gateway opens by GET."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from mcp.client.streamable_http import streamable_http_client
from pydantic import FileUrl

from bylaw.serve import mcp_held, mcp_servers
from bylaw.serve.http1 import Broken, Reply, Web
from bylaw.serve.mcp_http import Mcp
from bylaw.serve.mcp_line import Line
from bylaw.serve.mcp_servers import Remote, ServerAt
from mcp import ClientSession, types
from tests.serve.mcp_plain import LIST, ROOTS, Standing, begun, event, until
from tests.serve.mcp_rig import gateway


async def roots(context: Any) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri=FileUrl("file:///srv/docs"))])


@asynccontextmanager
async def through(tmp_path: Path, server: Standing) -> AsyncIterator[tuple[ClientSession, Any]]:
    """A real client's session through the gateway, and the gateway's book."""
    async with server.serving() as behind:
        with gateway(tmp_path, [ServerAt("shop", url=behind)]) as (url, book, _):
            async with (
                streamable_http_client(f"{url}/mcp/shop") as streams,
                ClientSession(streams[0], streams[1], list_roots_callback=roots) as session,
            ):
                await session.initialize()
                yield session, book
            with suppress(asyncio.QueueFull):
                server.says.put_nowait(None)


def test_what_a_server_asks_on_its_own_stream_while_a_tool_runs_the_client_answers(tmp_path: Path) -> None:
    server = Standing()

    async def work() -> Any:
        async with through(tmp_path, server) as (session, _):
            await until(lambda: server.opened)
            return (await session.call_tool("lookup", {})).content[0]

    said = asyncio.run(work())

    assert "file:///srv/docs" in said.text
    assert [(one["mcp-session-id"], one["accept"]) for one in server.opened] == [("s1", "text/event-stream")]


def test_what_it_asks_while_nobody_is_there_it_is_told_at_once(tmp_path: Path) -> None:
    server = Standing()

    async def work() -> dict[str, Any]:
        async with begun(tmp_path, server):
            await server.says.put(event(ROOTS))
            return await asyncio.wait_for(server.answered.get(), 60)

    said = asyncio.run(work())

    assert (said["id"], "nobody hears it" in said["error"]["message"]) == ("r1", True)


@pytest.mark.parametrize(("status", "kind"), [(405, "text/plain"), (200, "application/json")])
def test_a_server_without_such_a_stream_is_asked_for_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, kind: str
) -> None:
    monkeypatch.setattr(mcp_servers, "AGAIN_S", 0.01)
    server = Standing(status, kind)

    async def work() -> None:
        async with through(tmp_path, server) as (session, _):
            await server.says.put(None)
            await until(lambda: server.closed)
            for _ in range(10):
                await session.list_tools()

    asyncio.run(work())

    assert len(server.opened) == 1


@pytest.mark.parametrize("last", [None, b"data: no message\n\n", b"data: \xff\n\n", b'data: {"jsonrpc": "2.0"}\n\n'])
def test_a_stream_that_ends_or_cannot_be_read_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: bytes | None) -> None:
    monkeypatch.setattr(mcp_servers, "AGAIN_S", 0.01)
    server = Standing()

    async def work() -> Any:
        async with through(tmp_path, server) as (session, _):
            await until(lambda: server.opened)
            await server.says.put(last)
            await until(lambda: len(server.opened) == 2)
            await until(lambda: server.closed == 1)
            return (await session.call_tool("lookup", {})).content[0]

    assert "file:///srv/docs" in asyncio.run(work()).text


def test_a_client_that_is_away_is_not_listened_for_until_it_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_servers, "AGAIN_S", 0.01)
    server = Standing()

    async def work() -> tuple[int, int]:
        async with begun(tmp_path, server) as client:
            monkeypatch.setattr(mcp_held, "IDLE_S", 0.0)
            await server.says.put(b": it lives\n\n")
            await until(lambda: server.closed == 1)
            await asyncio.sleep(0.1)
            rested = len(server.opened)
            monkeypatch.undo()
            await client.post(LIST)
            await until(lambda: len(server.opened) > rested)
            return rested, len(server.opened)

    assert asyncio.run(work()) == (1, 2)


def test_where_it_fails_it_is_tried_again_later_and_later(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    class Away(Web):
        async def request(self, *asked: Any) -> Reply:
            raise Broken("away")

    monkeypatch.setattr(asyncio, "sleep", sleep)
    there = asyncio.run(Remote(ServerAt("shop", url="http://127.0.0.1:9/mcp"), Away()).listen(lambda: len(waits) < 8))

    assert (there, waits) == (True, [2, 4, 8, 16, 32, 60, 60, 60])


def test_an_answer_on_that_stream_answers_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server, real, handed = Standing(), Line.from_server, list[Any]()

    async def seen(line: Line, message: Any) -> Any:
        handed.append(message)
        return await real(line, message)

    monkeypatch.setattr(Line, "from_server", seen)

    async def work() -> Any:
        async with through(tmp_path, server) as (session, _):
            await until(lambda: server.opened)
            for ours in range(10):
                await server.says.put(event({"jsonrpc": "2.0", "id": ours, "result": {"content": [{"type": "text", "text": "planted"}]}}))
            return (await session.call_tool("lookup", {})).content[0]

    assert "file:///srv/docs" in asyncio.run(work()).text
    assert handed == [ROOTS]


def test_a_message_that_cannot_be_handed_on_is_one_message_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server, real, failed = Standing(), Line.from_server, list[object]()

    async def fails_once(line: Line, message: Any) -> Any:
        if not failed:
            failed.append(message)
            raise RuntimeError("just now not")
        return await real(line, message)

    monkeypatch.setattr(Line, "from_server", fails_once)

    async def work() -> Any:
        async with through(tmp_path, server) as (session, _):
            await until(lambda: server.opened)
            await server.says.put(event({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "a"}}))
            await until(lambda: failed)
            return (await session.call_tool("lookup", {})).content[0]

    assert "file:///srv/docs" in asyncio.run(work()).text
    assert len(server.opened) == 1


def test_a_session_that_ends_takes_the_stream_along_and_begins_it_once(tmp_path: Path) -> None:
    server = Standing()

    async def work() -> tuple[int, int]:
        async with server.serving() as behind:
            with gateway(tmp_path, [ServerAt("shop", url=behind)]) as (url, _, _):
                async with streamable_http_client(f"{url}/mcp/shop") as streams, ClientSession(streams[0], streams[1]) as session:
                    await session.initialize()
                    await until(lambda: server.opened)
                    await session.send_notification(types.InitializedNotification(method="notifications/initialized"))
                    await session.list_tools()
                    before = server.closed
                await until(lambda: server.closed)  # the gateway goes on
                return before, len(server.opened)

    assert asyncio.run(work()) == (0, 1)


def test_what_is_said_there_is_judged(tmp_path: Path) -> None:
    server = Standing()
    told = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "card 4111 1111 1111 1111"}}

    async def work() -> list[str]:
        async with through(tmp_path, server) as (session, book):
            await until(lambda: server.opened)
            await server.says.put(event(told))
            await session.call_tool("lookup", {})
            return [str(entry.get("surface")) for entry in book.entries]

    assert "document" in asyncio.run(work())


def test_a_session_that_ends_while_it_says_that_it_is_ready_is_not_listened_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Standing()
    told, tell = Mcp._told, Line.tell
    ends: list[Callable[[], Awaitable[None]]] = []

    async def watched(routes: Mcp, line: Line, held: mcp_held.Held, *rest: Any) -> None:
        ends.append(lambda: routes._end(held))
        await told(routes, line, held, *rest)

    async def ended(line: Line, message: Any) -> None:
        if len(ends) == 2:
            await ends[1]()
        await tell(line, message)

    monkeypatch.setattr(Mcp, "_told", watched)
    monkeypatch.setattr(Line, "tell", ended)

    async def work() -> list[str]:
        async with begun(tmp_path, server) as client:
            await client.begin()
            await client.begin()
            await until(lambda: server.opened[-1]["mcp-session-id"] == "s3")
            return [one["mcp-session-id"] for one in server.opened]

    assert asyncio.run(work()) == ["s1", "s3"]

"""A client's own stream (GET): what its server says while no request is answered, judged, to whoever began the session alone."""

import asyncio
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bylaw.serve import mcp_held, mcp_http, mcp_listener
from bylaw.serve.door import NotIn
from bylaw.serve.gateway import Begun
from bylaw.serve.mcp_held import Held
from bylaw.serve.mcp_http import NOBODY, Mcp
from bylaw.serve.mcp_listener import Listener
from bylaw.serve.mcp_servers import ServerAt
from bylaw.serve.mcp_wire import MAX_MESSAGE_BYTES
from bylaw.serve.one_write import Connection
from tests.serve.mcp_plain import LIST, ROOTS, Client, Standing, begun, event, said, until
from tests.serve.mcp_rig import ByKey, gateway
from tests.serve.rig import PATIENCE_S
from tests.serve.test_mcp_standing import through

CHANGED = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}


def test_a_real_client_hears_its_server_while_it_asks_nothing_and_answers_it(tmp_path: Path) -> None:
    server = Standing()

    async def work() -> dict[str, Any]:
        async with through(tmp_path, server):
            while True:  # until the client has opened its stream, it is an error
                await server.says.put(event(ROOTS))
                answer = await asyncio.wait_for(server.answered.get(), 60)
                if "result" in answer:
                    return answer

    answer = asyncio.run(work())

    assert (answer["id"], answer["result"]["roots"][0]["uri"]) == ("r1", "file:///srv/docs")


def test_what_is_said_comes_as_an_event_and_a_question_under_an_id_of_ours(tmp_path: Path) -> None:
    server = Standing()

    async def work() -> tuple[str, Any, Any, Any]:
        async with begun(tmp_path, server) as client:
            stream = await client.listen()
            await server.says.put(event(CHANGED) + event(ROOTS))
            first, second = await said(stream), await said(stream)
            await client.post({"jsonrpc": "2.0", "id": second["id"], "result": {"roots": []}})
            return stream.headers["content-type"], first, second, await asyncio.wait_for(server.answered.get(), 60)

    kind, first, second, answer = asyncio.run(work())

    assert kind.startswith("text/event-stream")
    assert first == CHANGED
    assert (second["method"], second["id"]) == ("roots/list", "bylaw-1")
    assert answer == {"jsonrpc": "2.0", "id": "r1", "result": {"roots": []}}


def test_what_is_said_there_is_judged(tmp_path: Path) -> None:
    server = Standing()
    told = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "paid with 4111 1111 1111 1111"}}

    async def work() -> Any:
        async with begun(tmp_path, server) as client:
            stream = await client.listen()
            await server.says.put(event(told))
            return await said(stream)

    heard = asyncio.run(work())["params"]["data"]

    assert heard.startswith("paid with ")
    assert "4111" not in heard


def test_only_whoever_began_the_session_listens_to_it(tmp_path: Path) -> None:
    async def work() -> list[int]:
        async with begun(tmp_path, Standing()) as client:
            codes = [
                (await client.listen(**{"mcp-session-id": "another"})).status,
                (await client.listen(authorization="Bearer other")).status,
            ]
            bare = await client.http.get(client.url, headers={"accept": "text/event-stream"})
            assert bare.headers["allow"] == "POST, GET, DELETE"
            return [*codes, (await client.listen(authorization="Bearer nobody")).status, bare.status]

    assert asyncio.run(work()) == [404, 404, 401, 405]


def test_a_second_stream_takes_over_from_the_first(tmp_path: Path) -> None:
    server = Standing()

    async def work() -> tuple[Any, Any]:
        async with begun(tmp_path, server) as client:
            first = await client.listen()
            second = await client.listen()
            ended = await said(first)
            await server.says.put(event(CHANGED))
            return ended, await said(second)

    assert asyncio.run(work()) == (None, CHANGED)


def test_when_the_client_is_gone_its_server_is_told_at_once(tmp_path: Path) -> None:
    server = Standing()

    async def work() -> dict[str, Any]:
        async with begun(tmp_path, server) as client:
            (await client.listen()).close()
            while True:  # until the gateway has seen it, it waits for an answer
                await server.says.put(event(ROOTS))
                try:
                    return await asyncio.wait_for(server.answered.get(), 0.5)
                except TimeoutError:
                    continue

    assert "nobody hears it" in asyncio.run(work())["error"]["message"]


def test_a_key_that_is_taken_away_ends_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_listener, "SILENCE_S", 0.02)

    def refused(door: ByKey, headers: Any) -> str:
        raise NotIn(401, "this needs a key")

    async def work() -> tuple[bytes, Any]:
        async with begun(tmp_path, Standing()) as client:
            stream = await client.listen()
            await stream.content.readline()
            still = await stream.content.readline()  # a comment: it is there, and its key is good
            monkeypatch.setattr(ByKey, "key", refused)
            return still, await said(stream)

    assert asyncio.run(work()) == (b":\n", None)


def test_the_end_of_the_session_ends_the_stream(tmp_path: Path) -> None:
    async def work() -> tuple[int, Any]:
        async with begun(tmp_path, Standing()) as client:
            stream = await client.listen()
            ended = await client.http.delete(client.url, headers=client.headers)
            return ended.status, await said(stream)

    assert asyncio.run(work()) == (204, None)


def test_a_gateway_that_ends_does_not_wait_for_those_who_listen(tmp_path: Path) -> None:
    async def work() -> Any:
        stack = ExitStack()
        async with aiohttp.ClientSession() as http, Standing().serving() as behind:
            url, _, _ = stack.enter_context(gateway(tmp_path, [ServerAt("shop", url=behind)]))
            client = Client(http, f"{url}/mcp/shop")
            await client.begin()
            stream = await client.listen()
            await asyncio.to_thread(stack.close)
            return await said(stream)

    assert asyncio.run(work()) is None


def test_those_who_listen_take_no_place_from_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_http, "MAX_ACTIVE", 1)
    listens, seen = Mcp._listens, []

    async def watched(routes: Mcp, *asked: Any) -> None:
        seen.append(routes)
        await listens(routes, *asked)

    monkeypatch.setattr(Mcp, "_listens", watched)

    async def work() -> int:
        async with begun(tmp_path, Standing()) as client:
            stream = await client.listen()
            status = (await client.post(LIST)).status
            stream.close()
            await client.begin()
            await until(lambda: seen[0]._active == 0)  # what a stream gave back it has taken again
            return status

    assert asyncio.run(work()) == 200


def test_a_session_whose_client_listens_does_not_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_held, "IDLE_S", 0.0)

    async def work() -> list[bool]:
        held = Held("s", ServerAt("shop"), "agent", False, NOBODY)
        before = held.rests
        held.client = Listener()
        return [before, held.rests]

    assert asyncio.run(work()) == [True, False]


def test_what_was_not_written_goes_to_the_next_stream_or_is_an_error_to_who_asked(tmp_path: Path) -> None:
    server = Standing()

    async def work() -> tuple[Any, Any]:
        async with begun(tmp_path, server) as client:
            stuck, free = threading.Event(), threading.Event()  # the gateway has a loop of its own
            piece = Begun.piece

            async def slowly(one: Begun, body: bytes) -> None:
                if b"list_changed" in body:
                    stuck.set()
                    await until(free.is_set)
                await piece(one, body)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Begun, "piece", slowly)
                await client.listen()
                await server.says.put(event(CHANGED) + event(ROOTS))  # the question waits behind what is being written
                await until(stuck.is_set)
                second = await client.listen()
                free.set()
                assert await said(second) == CHANGED  # it had not left
                asked = await said(second)
                stuck.clear()
                free.clear()
                await server.says.put(event(CHANGED) + event({**ROOTS, "id": "r2"}))
                await until(stuck.is_set)
                assert (await client.http.delete(client.url, headers=client.headers)).status == 204
                free.set()
                return asked, await asyncio.wait_for(server.answered.get(), 60)

    asked, answer = asyncio.run(work())

    assert asked["method"] == "roots/list"
    assert (answer["id"], "nobody hears it" in answer["error"]["message"]) == ("r2", True)


BIG = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "word " * 100_000}}


async def deaf(client: Client, server: Standing) -> socket.socket:
    """A client that listens and reads nothing, with so much said to it that nothing more is written, and a question behind that."""
    host, _, port = client.url.removeprefix("http://").partition("/")[0].partition(":")
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)  # before it connects: so little is ever on its way
    made.connect((host, int(port)))
    made.sendall(f"GET /mcp/shop HTTP/1.1\r\nhost: x\r\nmcp-session-id: {client.headers['mcp-session-id']}\r\n\r\n".encode())
    assert (await asyncio.to_thread(made.recv, 12)).endswith(b"200")
    told, tell = [], Listener.tell

    def counted(listener: Listener, message: dict[str, Any]) -> bool:
        told.append(message)
        return tell(listener, message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Listener, "tell", counted)
        for message in [*[BIG] * 20, ROOTS]:
            await server.says.put(event(message))
        await until(lambda: len(told) == 21)
    return made


@pytest.mark.slow
def test_nobody_waits_for_a_client_that_reads_nothing(tmp_path: Path) -> None:
    server = Standing()

    async def work() -> tuple[int, Any]:
        async with begun(tmp_path, server) as client:
            made = await deaf(client, server)
            async with asyncio.timeout(30):
                ended = await client.http.delete(client.url, headers=client.headers)
            told = await asyncio.wait_for(server.answered.get(), 30)
            made.close()
            return ended.status, told

    status, told = asyncio.run(work())

    assert status == 204
    assert (told["id"], "nobody hears it" in told["error"]["message"]) == ("r1", True)


@pytest.mark.slow
def test_a_gateway_that_ends_does_not_wait_for_those_who_read_nothing(tmp_path: Path) -> None:
    server = Standing()

    async def work() -> float:
        async with begun(tmp_path, server) as client:
            made = await deaf(client, server)
            client.open.append(made)  # it is closed once the gateway has ended
            began = time.monotonic()
            await asyncio.to_thread(client.end)
            return time.monotonic() - began

    assert asyncio.run(work()) < PATIENCE_S / 2


@pytest.mark.slow
def test_a_question_behind_what_a_client_did_not_read_is_answered_once_it_is_gone(tmp_path: Path) -> None:
    server = Standing()

    async def work() -> Any:
        async with begun(tmp_path, server) as client:
            (await deaf(client, server)).close()
            return await asyncio.wait_for(server.answered.get(), 60)

    assert "nobody hears it" in asyncio.run(work())["error"]["message"]


@pytest.mark.slow
def test_a_second_stream_hears_what_the_first_did_not_read(tmp_path: Path) -> None:
    server = Standing()

    async def work() -> list[str]:
        async with begun(tmp_path, server) as client:
            made = await deaf(client, server)
            second = await client.listen()
            heard: list[str] = []
            while not heard or heard[-1] != "roots/list":
                heard.append((await said(second))["method"])
            made.close()
            return heard

    heard = asyncio.run(work())

    assert 0 < heard.count("notifications/message") <= 20


def test_what_is_too_much_to_wait_is_told_to_who_asked() -> None:
    async def work() -> tuple[list[bool], list[bool]]:
        many, large = Listener(), Listener()
        body = {"data": "x" * (MAX_MESSAGE_BYTES // 2)}
        return [many.tell(CHANGED) for _ in range(mcp_listener.MOST + 1)], [large.tell(body), large.tell(body), large.tell(CHANGED)]

    many, large = asyncio.run(work())

    assert many == [True] * mcp_listener.MOST + [False]
    assert large == [True, False, True]


def test_the_key_is_looked_at_before_each_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Standing()

    def refused(door: ByKey, headers: Any) -> str:
        raise NotIn(401, "this needs a key")

    async def work() -> Any:
        async with begun(tmp_path, server) as client:
            stream = await client.listen()
            await server.says.put(event(CHANGED))
            assert await said(stream) == CHANGED
            monkeypatch.setattr(ByKey, "key", refused)
            await server.says.put(event(CHANGED))
            return await said(stream)

    assert asyncio.run(work()) is None


def test_what_comes_while_a_request_is_answered_that_nobody_waits_for_goes_out_on_the_stream(tmp_path: Path) -> None:
    server = Standing()

    async def work() -> Any:
        async with begun(tmp_path, server) as client:
            stream = await client.listen()
            call = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "lookup", "arguments": {}}}
            (await client.http.post(client.url, json=call, headers=client.headers)).close()  # the tool asks for roots, which nobody answers
            heard = asyncio.ensure_future(said(stream))
            while not heard.done():  # until the gateway has seen that the client of the call is gone
                await server.says.put(event(CHANGED))
                await asyncio.sleep(0.02)
            await server.answered.put({})  # the tool has waited long enough
            return await heard

    assert asyncio.run(work()) == CHANGED


def test_what_was_written_makes_room() -> None:
    large = {"data": "x" * (MAX_MESSAGE_BYTES // 2)}
    pieces: list[bytes] = []

    async def send(message: Any) -> None:
        pieces.append(message.get("body", b""))

    async def work() -> list[bool]:
        listener, connection = Listener(), Connection(lambda: None)
        writing = asyncio.ensure_future(listener.write(Begun(send), connection, lambda: None))
        told = [listener.tell(large)]
        await until(lambda: any(len(one) > MAX_MESSAGE_BYTES // 2 for one in pieces))
        told += [listener.tell(CHANGED), listener.tell(large)]
        connection.over.set()
        await writing
        return told

    assert asyncio.run(work()) == [True] * 3


def test_a_question_that_has_no_place_to_wait_is_answered_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_listener, "MOST", 0)
    server = Standing()

    async def work() -> Any:
        async with begun(tmp_path, server) as client:
            await client.listen()
            await server.says.put(event(ROOTS))
            return await asyncio.wait_for(server.answered.get(), 60)

    assert "nobody hears it" in asyncio.run(work())["error"]["message"]

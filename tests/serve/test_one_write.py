"""A head and the body right after it are one write; a head alone, as of a stream, waits for nobody."""

import asyncio
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from bylaw.serve.one_write import OneWrite


class Wire:
    """A transport that keeps each write by itself."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        if self.closed:
            raise RuntimeError("the handler is closed")  # as uvloop has it
        self.writes.append(data)

    def get_extra_info(self, name: str) -> Any:
        return None

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def writes(*body: bytes, pause: bool = False, asked: bytes = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n") -> list[bytes]:
    """What is written where an application says a head and these pieces."""
    wire = Wire()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(sum(map(len, body))).encode())]})
        for number, piece in enumerate(body):
            if pause:
                await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": piece, "more_body": number + 1 < len(body)})

    asyncio.run(answered(app, wire, asked))
    return wire.writes


async def answered(app: Any, wire: Wire, asked: bytes = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n") -> None:
    """A connection with one request, from its beginning to its end."""
    config = uvicorn.Config(app, server_header=False, date_header=False, log_level="critical")
    config.load()
    protocol = OneWrite(config, ServerState(), {})
    protocol.connection_made(wire)  # type: ignore[arg-type]  # all of a transport that is asked for
    protocol.data_received(asked)
    await asyncio.gather(*protocol.tasks)
    await asyncio.sleep(0)
    protocol.connection_lost(None)


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


def test_an_answer_is_one_write() -> None:
    found = writes(b"good")

    assert found == [HEAD + b"good"]


def test_an_answer_without_a_body_leaves_whole_and_its_line_is_closed_on_pythons_own_loop() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 303, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def one() -> bytes:
        config = uvicorn.Config(app, server_header=False, date_header=False, log_level="critical")
        config.load()
        server = await asyncio.get_running_loop().create_server(lambda: OneWrite(config, ServerState(), {}), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()
            server.close()

    found = asyncio.run(one())

    assert found == b"HTTP/1.1 303 See Other\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def test_only_the_first_piece_leaves_with_the_head() -> None:
    found = writes(b"go", b"od")

    assert found == [HEAD + b"go", b"od"]


def test_a_head_waits_no_longer_than_the_turn_of_the_loop() -> None:
    found = writes(b"good", pause=True)

    assert found == [HEAD, b"good"]


def test_a_body_that_looks_like_a_head_leaves_whole() -> None:
    body = b"HTTP/1.1 200 OK\r\n\r\n"
    found = writes(body)

    assert found == [HEAD.replace(b"4", b"19") + body]


def test_what_is_no_request_is_answered_before_the_line_is_closed() -> None:
    found = writes(asked=b"no request\r\n\r\n")

    assert len(found) == 1
    assert found[0].startswith(b"HTTP/1.1 400 ")


def test_a_head_whose_client_goes_before_it_leaves_is_no_fault() -> None:
    wire, faults = Wire(), list[dict[str, Any]]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        wire.closed = True

    async def one() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        await answered(app, wire)

    asyncio.run(one())

    assert (wire.writes, faults) == ([], [])


def test_a_field_that_follows_the_body_is_no_header() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(scope["headers"])

    asked = b"POST / HTTP/1.1\r\nx-bylaw-session: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx-bylaw-session: b\r\n\r\n"
    asyncio.run(answered(app, Wire(), asked))

    assert seen == [(b"x-bylaw-session", b"a"), (b"transfer-encoding", b"chunked")]

"""The HTTP/1.1 client towards MCP servers, against a server that says exactly what a test wants, in the pieces that it wants."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from bylaw.serve import http1
from bylaw.serve.address import REST_S, address
from bylaw.serve.http1 import MAX_HEAD_BYTES, MAX_HELD_BYTES, Broken, Unsent, Web

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
LONG = 1 << 20
Answer = bytes | Sequence[bytes | float] | None  # a number: wait for so long; None: close the connection


class Server:
    """Answers each request with what is next; knows on which connection it came."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[int, bytes]] = []
        self.connections = 0
        self.port = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self.writers.append(writer)
        self.tasks.append(cast("asyncio.Task[None]", asyncio.current_task()))
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
                self.asked.append((number, head + await reader.readexactly(size)))
                answer = self.answers.pop(0)
                for piece in (answer,) if isinstance(answer, bytes) else answer or ():
                    if isinstance(piece, bytes):
                        writer.write(piece)
                        await writer.drain()
                    else:
                        await asyncio.sleep(piece)
                if answer is None or b"connection: close" in (answer if isinstance(answer, bytes) else b"") or not self.answers:
                    return writer.close()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return writer.close()

    async def close(self) -> None:
        """Nobody talks any more."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.sleep(0.001)  # their transports close


def talk(
    answers: Sequence[Answer],
    work: Callable[[Web, Server], Awaitable[Any]],
    silence_s: float = 60,
    run: Callable[[Coroutine[Any, Any, Any]], Any] = uvloop.run,
) -> tuple[Any, Server]:
    """What comes of talking to a server with these answers. After the last of them it closes the connection."""
    made = Server(answers)

    async def both() -> Any:
        server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
        made.port = server.sockets[0].getsockname()[1]
        web = Web(silence_s)
        try:
            return await asyncio.wait_for(work(web, made), 60)
        finally:
            await web.close()
            server.close()
            await made.close()

    return run(both()), made


async def post(web: Web, server: Server, body: bytes = b"{}", headers: Sequence[tuple[str, str]] = ()) -> tuple[int, bytes]:
    reply = await web.request(b"POST ", address(server.url), headers, body)
    try:
        return reply.status, await reply.whole(LONG)
    finally:
        reply.close()


def times(number: int) -> Callable[[Web, Server], Awaitable[list[tuple[int, bytes]]]]:
    async def work(web: Web, server: Server) -> list[tuple[int, bytes]]:
        return [await post(web, server) for _ in range(number)]

    return work


# ---- Answers as they should be ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [uvloop.run, asyncio.run])
def test_one_connection_serves_one_request_after_another(run: Any) -> None:
    found, server = talk([OK, OK, OK], times(3), run=run)

    assert found == [(200, b"{}")] * 3
    assert server.connections == 1
    assert {request for _, request in server.asked} == {
        b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nuser-agent: bylaw\r\naccept-encoding: identity\r\ncontent-length: 2\r\n\r\n{}"
        % server.port
    }


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 200, b"abcde"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-late: field\r\n\r\n", 200, b"abc"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n", 202, b""),
        (b"HTTP/1.1 307 Away\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 1\r\n\r\nx", 307, b"x"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\ncontent-encoding: gzip\r\n\r\n" + OK, 200, b"{}"),
    ],
)
def test_answers_of_every_form_leave_the_connection_as_it_was(answer: bytes, status: int, body: bytes) -> None:
    found, server = talk([answer, OK], times(2))

    assert found == [(status, body), (200, b"{}")]
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nconnection: close\r\n\r\n{}",
    ],
)
def test_a_server_that_closes_the_connection_is_asked_on_a_new_one(answer: bytes) -> None:
    found, server = talk([answer, OK], times(2))

    assert found == [(200, b"{}")] * 2
    assert server.connections == 2


@given(st.lists(st.integers(0, 199), max_size=8))
def test_an_answer_says_the_same_in_whatever_pieces_it_comes(cuts: list[int]) -> None:
    answer = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-A: " + b"b" * 30 + b"\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n3;ext=1\r\nxyz\r\n0\r\n\r\n"
    )
    ends = sorted({min(cut, len(answer)) for cut in cuts} | {0, len(answer)})
    wire, seen = _Wire(), []

    async def work() -> None:
        link = _linked(wire)
        asked = asyncio.ensure_future(link.ask(b"POST / HTTP/1.1\r\n\r\n"))
        await asyncio.sleep(0)
        for start, end in pairwise(ends):
            link.data_received(answer[start:end])
            await asyncio.sleep(0)
        reply = await asked
        seen.append((reply.status, reply.headers[b"content-type"], reply.headers[b"x-a"], await reply.whole(LONG)))
        reply.close()

    asyncio.run(work())

    assert seen == [(200, b"text/event-stream", b"b" * 30, b"0123456789abcdefxyz")]
    assert not wire.closing


def test_a_long_body_waits_at_the_server_until_it_is_read() -> None:
    size = 40 * MAX_HELD_BYTES
    held = []

    async def work(web: Web, server: Server) -> int:
        reply = await web.request(b"POST ", address(server.url), (), b"{}")
        await asyncio.sleep(0.05)
        got = 0
        while piece := await reply.piece():
            held.append(len(piece))
            got += len(piece)
            await asyncio.sleep(0)
        reply.close()
        return got

    got, _ = talk([b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size)], work)

    assert got == size
    assert max(held) <= 3 * MAX_HELD_BYTES  # the system's own buffers and one read more


def test_a_long_body_that_came_whole_and_was_not_read_leaves_no_connection_that_nobody_reads() -> None:
    async def work(web: Web, server: Server) -> tuple[int, bytes]:
        reply = await web.request(b"POST ", address(server.url), (), b"{}")
        async with asyncio.timeout(60):
            while not reply._ended:
                await asyncio.sleep(0.01)
        assert reply._held > MAX_HELD_BYTES
        reply.close()
        return await asyncio.wait_for(post(web, server), 5)

    size = MAX_HELD_BYTES + 1000  # less than the system reads in one go, more than is held
    found, _ = talk([b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size), OK], work)

    assert found == (200, b"{}")


def test_what_is_longer_than_was_asked_for_is_not_read_to_its_end() -> None:
    size = 8 * LONG

    async def work(web: Web, server: Server) -> int:
        return len((await post(web, server))[1])

    got, _ = talk([b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size)], work)

    assert LONG < got < LONG + 4 * MAX_HELD_BYTES


# ---- Streams whose end nobody needs ----------------------------------------------------------------------------------

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n6\r\ndata:x\r\n"


async def skipped(web: Web, server: Server) -> int:
    reply = await web.request(b"POST ", address(server.url), (), b"{}")
    await reply.piece()
    reply.skip()
    reply.close()
    await asyncio.sleep(0.1)
    left = len(web._links)
    await post(web, server)
    return left


def test_the_end_of_a_stream_that_comes_later_is_passed_over_and_the_connection_kept() -> None:
    left, server = talk([[STREAM, 0.02, b"2\r\n\n\n\r\n0\r\n\r\n"], OK], skipped)

    assert (left, server.connections) == (1, 1)


def test_a_stream_that_goes_on_is_left() -> None:
    more = b"%x\r\n" % LONG + bytes(LONG) + b"\r\n"
    left, server = talk([[STREAM, 0.02, more], OK], skipped)

    assert (left, server.connections) == (0, 2)


def test_a_stream_that_nobody_reads_is_left_though_it_goes_on_to_say_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "SWEEP_S", 0.05)
    monkeypatch.setattr(http1, "SKIP_S", 0.2)
    over = asyncio.Event()

    async def work(web: Web, server: Server) -> None:
        for _ in range(3):
            reply = await web.request(b"POST ", address(server.url), (), b"{}")
            await reply.piece()
            reply.skip()
            reply.close()
        async with asyncio.timeout(5):
            while web._links:
                await asyncio.sleep(0.01)
        over.set()

    living: list[bytes | float] = [STREAM]
    for _ in range(200):
        living += [0.05, b"3\r\n:p\n\r\n"]
    talk([living] * 4, work)

    assert over.is_set()


def test_a_stream_that_is_left_in_the_middle_takes_its_connection_along() -> None:
    async def work(web: Web, server: Server) -> None:
        reply = await web.request(b"POST ", address(server.url), (), b"{}")
        reply.close()
        await post(web, server)

    _, server = talk([[STREAM, 0.05, b"0\r\n\r\n"], OK], work)

    assert server.connections == 2


def test_whoever_no_longer_waits_takes_the_connection_along() -> None:
    async def work(web: Web, server: Server) -> tuple[int, bytes]:
        asked = asyncio.ensure_future(post(web, server))
        await asyncio.sleep(0.05)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await asyncio.sleep(0)
        assert not web._links
        return await post(web, server)

    found, server = talk([[0.2, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong"], OK], work)

    assert found == (200, b"{}")
    assert server.connections == 2


# ---- Answers as they should not be -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "closed the connection"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{}", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "closed the connection"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "no HTTP"),
        (b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}", "encoded"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "encoded"),
        (b"HTTP/1.1 200 OK\r\nx-a: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n", "head of its answer is too long"),
        (b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * MAX_HEAD_BYTES, "head of its answer is too long"),
        (b"HTTP/1.1 099 Odd\r\ncontent-length: 2\r\n\r\n[]" + OK, "no HTTP"),
        (b"HTTP/1.1 103 Early\r\n\r\n" * MAX_HEAD_BYTES, "head of its answer is too long"),
    ],
)
def test_what_is_no_answer_breaks_off(answer: bytes | None, says: str) -> None:
    with pytest.raises(Broken, match=says):
        talk([answer], times(1))


@pytest.mark.parametrize("begun", [b"1\r\na\r\n0\r\nx-a: ", b"1;x="])
@pytest.mark.parametrize("skips", [False, True])
def test_what_is_neither_head_nor_body_is_not_taken_without_end(begun: bytes, skips: bool) -> None:
    wire = _Wire()

    async def work() -> int:
        link = _linked(wire)
        asked = asyncio.ensure_future(link.ask(b"POST / HTTP/1.1\r\n\r\n"))
        await asyncio.sleep(0)
        link.data_received(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + begun)
        reply = await asked
        if skips:
            reply.skip()
        pieces = 0
        while not wire.closing and pieces < 100:
            link.data_received(b"a" * (MAX_HEAD_BYTES // 4))
            pieces += 1
        return pieces

    assert asyncio.run(work()) <= 5


def test_a_body_in_small_chunks_may_have_any_length() -> None:
    size = MAX_HEAD_BYTES
    found, _ = talk([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1;ext=1\r\na\r\n" * size + b"0\r\n\r\n"], times(1))

    assert found == [(200, b"a" * size)]


WRONG = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong"


@pytest.mark.parametrize("answer", [OK + WRONG, OK + b"what", [OK, 0.0, WRONG], [OK, 0.05, WRONG]])
def test_an_answer_that_nobody_asked_for_is_never_the_answer_to_the_next_request(answer: Answer) -> None:
    async def work(web: Web, server: Server) -> list[tuple[int, bytes]]:
        first = await post(web, server)
        await asyncio.sleep(0.15)
        return [first, await post(web, server)]

    found, server = talk([answer, OK], work)

    assert found == [(200, b"{}")] * 2
    assert server.connections == 2


def test_a_server_that_says_nothing_is_left() -> None:
    with pytest.raises(Broken, match="silent"):
        talk([[5.0, OK]], times(1), silence_s=0.1)
    with pytest.raises(Broken, match="silent"):
        talk([[b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{", 5.0]], times(1), silence_s=0.1)


def test_a_server_that_waits_until_it_is_read_is_not_silent() -> None:
    size = 40 * MAX_HELD_BYTES

    async def work(web: Web, server: Server) -> int:
        reply = await web.request(b"POST ", address(server.url), (), b"{}")
        await asyncio.sleep(0.5)
        got = 0
        while piece := await reply.piece():
            got += len(piece)
        reply.close()
        return got

    got, _ = talk([b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size)], work, silence_s=0.2)

    assert got == size


def test_a_connection_that_the_server_has_closed_meanwhile_is_not_used_again() -> None:
    async def work(web: Web, server: Server) -> tuple[int, bytes]:
        await post(web, server)
        server.writers[0].close()
        await asyncio.sleep(0.05)
        assert not any(web._idle.values())
        return await post(web, server)

    found, server = talk([OK, OK], work)

    assert found == (200, b"{}")
    assert server.connections == 2


@pytest.mark.parametrize(
    ("says", "rest_s", "connections"),
    [(b"", 0.0, 2), (b"", 60.0, 1), (b"keep-alive: timeout=60\r\n", 0.0, 1), (b"Keep-Alive: max=9, Timeout = 1\r\n", 60.0, 2)],
)
def test_a_connection_that_its_server_may_be_closing_just_now_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch, says: bytes, rest_s: float, connections: int
) -> None:
    monkeypatch.setitem(REST_S, "http", rest_s)

    async def work(web: Web, server: Server) -> tuple[int, bytes]:
        await post(web, server)
        return await post(web, server)

    found, server = talk([OK.replace(b"content-length", says + b"content-length"), OK], work)

    assert found == (200, b"{}")
    assert server.connections == connections


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_connection_whose_end_has_come_and_was_not_yet_seen_is_not_used_again(run: Any) -> None:
    """The loop was busy when the server closed it."""
    ending, closed = threading.Event(), threading.Event()

    def serve(listening: socket.socket) -> None:
        listening.settimeout(60)
        first, _ = listening.accept()
        first.recv(1 << 16)
        first.sendall(OK)
        ending.wait(60)
        first.close()
        closed.set()
        second, _ = listening.accept()
        second.recv(1 << 16)
        second.sendall(OK)
        second.close()

    async def work(listening: socket.socket) -> list[bytes]:
        web, found = Web(), []
        at = address(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        try:
            for number in range(2):
                reply = await web.request(b"POST ", at, (), b"{}")
                found.append(await reply.whole(100))
                reply.close()
                if not number:
                    ending.set()
                    assert closed.wait(60)  # the loop sees nothing meanwhile
        finally:
            await web.close()
        return found

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=serve, args=(listening,))
        server.start()
        try:
            assert run(work(listening)) == [b"{}", b"{}"]
        finally:
            ending.set()
            server.join(60)


def test_where_a_request_was_answered_before_it_was_taken_whole_the_connection_is_not_kept() -> None:
    wire = _Wire()
    wire.unsent = 7

    async def work() -> None:
        link = _linked(wire)
        asked = asyncio.ensure_future(link.ask(b"POST / HTTP/1.1\r\n\r\n"))
        await asyncio.sleep(0)
        link.data_received(OK)
        reply = await asked
        await reply.whole(LONG)
        reply.close()

    asyncio.run(work())

    assert wire.closing


# ---- What is not sent ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["a\r\nx-b: c", "a\nb", "a\0b", "日本"])
def test_a_header_that_would_be_another_one_is_not_sent(value: str) -> None:
    async def work(web: Web, server: Server) -> None:
        with pytest.raises(Unsent):
            await post(web, server, headers=[("x-a", value)])

    _, server = talk([OK], work)

    assert server.asked == []


def test_nobody_there_is_told_apart_from_somebody_who_broke_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "CONNECT_S", 0.3)  # a server without TLS waits for more

    async def work(web: Web, server: Server) -> None:
        for url in ("http://127.0.0.1:1/mcp", server.url.replace("http:", "https:"), "http://no-such-host.invalid/"):
            with pytest.raises(Unsent):
                await web.request(b"POST ", address(url), (), b"{}")

    talk([None], work)


def test_where_one_address_of_a_name_swallows_everything_the_next_one_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(web: Web, server: Server) -> tuple[int, bytes]:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.2", server.port), backlog=0), ExitStack() as waiting:
            for _ in range(3):  # more than it lets wait: what comes now gets no answer at all
                one = waiting.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(("127.0.0.2", server.port))
            where = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, server.port)) for host in ("127.0.0.2", "127.0.0.1")]

            async def found(*asked: Any, **how: Any) -> Any:
                return where

            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await loop.create_connection(asyncio.Protocol, "127.0.0.2", server.port)
            monkeypatch.setattr(http1, "CONNECT_S", 5.0)
            waiting.enter_context(patched(loop, found))
            reply = await web.request(b"POST ", address(f"http://two.example:{server.port}/"), (), b"{}")
            said = reply.status, await reply.whole(LONG)
            reply.close()
            return said

    found, _ = talk([OK], work, run=asyncio.run)

    assert found == (200, b"{}")


@contextmanager
def patched(loop: asyncio.AbstractEventLoop, found: Any) -> Iterator[None]:
    """A loop that finds names as it is told to."""
    before, loop.getaddrinfo = loop.getaddrinfo, found  # type: ignore[method-assign]  # of this loop alone
    try:
        yield
    finally:
        loop.getaddrinfo = before  # type: ignore[method-assign]  # as it was


@pytest.mark.parametrize(
    ("url", "host", "port", "head"),
    [
        ("http://a/mcp", "a", 80, b"/mcp HTTP/1.1\r\nhost: a\r\n"),
        ("https://a:443/x?y=1&z=%20#part", "a", 443, b"/x?y=1&z=%20 HTTP/1.1\r\nhost: a\r\n"),
        ("http://a:8080", "a", 8080, b"/ HTTP/1.1\r\nhost: a:8080\r\n"),
        ("http://[::1]:80/ü", "::1", 80, b"/%C3%BC HTTP/1.1\r\nhost: [::1]\r\n"),
        ("http://bücher.example/", "xn--bcher-kva.example", 80, b"/ HTTP/1.1\r\nhost: xn--bcher-kva.example\r\n"),
    ],
)
def test_an_address_becomes_a_target_and_a_host(url: str, host: str, port: int, head: bytes) -> None:
    found = address(url)

    assert (found.host, found.port, found.tls) == (host, port, url.startswith("https"))
    assert found.head.startswith(head)


def test_a_name_and_a_password_in_an_address_are_basic_authorization() -> None:
    head = address("http://me:s%40crt@a/").head

    assert b"host: a\r\n" in head
    assert b"authorization: Basic bWU6c0BjcnQ=\r\n" in head


@pytest.mark.parametrize(
    "url", ["ftp://a/", "http://", "http://a b/", "http://a/\r\nx: y", "http://a:99999/", "http://a:b/", "http://a:0/", "a"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whatever the standard library says of it
        address(url)


# ---- TLS -------------------------------------------------------------------------------------------------------------


def certified(folder: Path, name: str) -> ssl.SSLContext:
    """A server's context with a certificate for this name, which also stands in `folder/ca.pem`."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number(), now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, SHA256())
    )
    (folder / "ca.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return context


@pytest.mark.parametrize(("name", "trusted", "good"), [("localhost", True, True), ("other", True, False), ("localhost", False, False)])
def test_a_server_has_to_show_a_certificate_for_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, trusted: bool, good: bool
) -> None:
    context, made = certified(tmp_path, name), Server([OK, OK])
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    async def work() -> list[tuple[int, bytes]]:
        server = await asyncio.start_server(made.serve, "localhost", 0, ssl=context)
        url, web = f"https://localhost:{server.sockets[0].getsockname()[1]}/mcp", Web()
        try:
            found = []
            for _ in range(2):
                reply = await web.request(b"POST ", address(url), (), b"{}")
                found.append((reply.status, await reply.whole(LONG)))
                reply.close()
            return found
        finally:
            await web.close()
            server.close()
            await made.close()

    if good:
        assert uvloop.run(work()) == [(200, b"{}")] * 2
        assert made.connections == 1
    else:
        with pytest.raises(Unsent):
            uvloop.run(work())
        assert made.asked == []


# ---- Without a network -----------------------------------------------------------------------------------------------


class _Wire(asyncio.Transport):
    """A transport that sends nowhere."""

    def __init__(self) -> None:
        super().__init__({"socket": SimpleNamespace(fileno=lambda: 0)})
        self.closing = False
        self.unsent = 0

    def write(self, data: Any) -> None: ...

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def _linked(wire: _Wire) -> Any:
    from bylaw.serve.http1 import _Link

    link = _Link(Web(), address("http://a/"), asyncio.get_running_loop())
    link.connection_made(wire)
    return link

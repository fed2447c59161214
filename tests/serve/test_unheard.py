"""A request that was let through is in the record, whatever becomes of asking the model; and once."""

import asyncio
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from bylaw.errors import StoreError
from bylaw.serve.based import Pending
from bylaw.serve.exchange import Exchange
from bylaw.serve.gate import Who
from bylaw.serve.routes import ROUTES
from bylaw.serve.upstream import Answered, Upstream
from bylaw.serve.wire import Asked, Choice
from tests.serve.rig import PATIENCE_S, Rig, post, rigged
from tests.serve.test_serving import until

ROUTE = "/v1/chat/completions"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path) as one:
        yield one


def body(stream: bool = False) -> bytes:
    return orjson.dumps({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "Hello"}]})


class Fails(Upstream):
    """An upstream whose asking fails in a way of its own."""

    def __init__(self, error: Exception) -> None:
        super().__init__("http://127.0.0.1:9")
        self.error = error

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        raise self.error


def left(rig: Rig, stream: bool) -> None:
    """A client asks, and goes while the model has its request."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_S)
        rig.gate.upstream = Upstream(f"http://127.0.0.1:{silent.getsockname()[1]}")
        client = socket.create_connection(("127.0.0.1", int(rig.url.rpartition(":")[2])))
        client.sendall(b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (ROUTE.encode(), len(body(stream)), body(stream)))
        asked, _ = silent.accept()
        asked.settimeout(PATIENCE_S)
        asked.recv(1)  # the model has it
        client.close()
        with suppress(ConnectionError):
            while asked.recv(1 << 16):  # until nobody waits for its answer any more
                pass
        asked.close()


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_before_the_model_answers_leaves_a_record(rig: Rig, stream: bool) -> None:
    left(rig, stream)
    until(lambda: bool(rig.book.entries))

    assert rig.book.kinds() == [("decision", "input", "allow")]
    assert b"Hello" in rig.book.entries[0]["contents"]["request"]


def test_where_that_record_cannot_be_written_the_log_says_so(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.book.fails_from = 0
    left(rig, stream=False)
    until(lambda: "whose client has gone is not recorded" in caplog.text)

    assert "the disk is full" in caplog.text


@pytest.mark.parametrize(("error", "status"), [(StoreError("what this key has used cannot be read"), 503), (RuntimeError("a fault"), 500)])
def test_a_model_that_could_not_be_asked_leaves_a_record_of_the_request(rig: Rig, error: Exception, status: int) -> None:
    rig.gate.upstream = Fails(error)
    reply = post(rig.url + ROUTE, body())

    assert (reply.status, rig.book.kinds()) == (status, [("decision", "input", "allow")])


def test_a_request_that_cannot_be_recorded_is_not_tried_again(rig: Rig) -> None:
    rig.book.fails_from = 0
    rig.gate.upstream = Fails(RuntimeError("a fault"))
    reply = post(rig.url + ROUTE, body())

    assert (reply.status, b"could not be recorded" in reply.body) == (503, True)


def test_a_client_that_goes_while_several_entries_are_handed_in_takes_none_of_them_away(rig: Rig) -> None:
    async def story() -> None:
        session = rig.gate.sessions.of("local", "one")
        exchange = Exchange(rig.gate, ROUTES[ROUTE], rig.gate.laws({}), Who({"id": "local"}), session, Asked({}, "m", False, ()), {})
        exchange.pending = Pending(replace(exchange.passed, clauses=("a.b",)), {}, {})
        task = asyncio.create_task(exchange.recorded(exchange.passed, {}, Choice(0, ()), ()))
        await asyncio.sleep(0)  # it has begun, and waits
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)

    asyncio.run(story())

    assert rig.book.kinds() == [("decision", "input", "allow"), ("decision", "output", "allow")]

"""A request that is not sent to its end holds no place: it ends, and those who come later get in."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from bylaw.serve import bodies, gateway
from bylaw.serve.bodies import Bodies, Unread
from bylaw.serve.door import NotIn
from bylaw.serve.one_write import Connection, OneWrite, connection_of
from tests.serve.rig import Rig, post, rigged
from tests.serve.test_chat import completion
from tests.serve.test_one_write import Wire

HEAD = b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{"


class Client:
    """One that sends what it is told to, and then nothing."""

    def __init__(self, *parts: bytes, ends: bool = False) -> None:
        self.parts, self.ends = list(parts), ends
        self.connection = Connection(lambda: None)

    async def receive(self) -> dict[str, Any]:
        if not self.parts:
            await asyncio.Event().wait()
        part = self.parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(self.parts) or not self.ends}

    async def sends(self, to: Bodies, most: int = 100) -> bytes | NotIn:
        try:
            return await to.whole({}, self.receive, self.connection, most)
        except NotIn as error:
            return error


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(work())


def test_a_body_is_read_whole_and_leaves_nothing_behind() -> None:
    async def work() -> list[Any]:
        to, client = Bodies(), Client(b"ab", b"", b"c", ends=True)
        return [await client.sends(to), await Client(b"", ends=True).sends(to), len(to._read), to._held, client.connection.ending]

    assert run(work) == [b"abc", b"", 0, 0, None]


@pytest.mark.parametrize("parts", [(), (b"{",), (b"{", b"", b"1")], ids=["nothing", "a byte", "three pieces"])
def test_a_body_that_stands_still_ends(monkeypatch: pytest.MonkeyPatch, parts: tuple[bytes, ...]) -> None:
    monkeypatch.setattr(bodies, "IDLE_S", 0.01)

    async def work() -> list[Any]:
        to = Bodies()
        return [await Client(*parts).sends(to), len(to._read), to._held]

    error, read, held = run(work)

    assert (error.status, error.what, read, held) == (408, "nothing more of the request came for 0.01 s", 0, 0)


def test_a_body_that_comes_byte_by_byte_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "WHOLE_S", 0.05)

    class Slow(Client):
        async def receive(self) -> dict[str, Any]:
            await asyncio.sleep(0)
            return {"type": "http.request", "body": b"", "more_body": True}

    error = run(lambda: Slow().sends(Bodies()))

    assert (error.status, error.what) == (408, "the request was not whole in 0.05 s")


def test_a_body_that_is_too_long_and_a_client_that_is_gone_end_at_once() -> None:
    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def work() -> list[int]:
        left = Client()
        left.receive = gone  # type: ignore[method-assign]  # what it sends
        told = Client(b"1", ends=True)
        found = [await Client(b"1" * 60, b"1" * 60).sends(Bodies()), await left.sends(Bodies())]
        with pytest.raises(NotIn) as long:
            await Bodies().whole({b"content-length": b"101"}, told.receive, told.connection, 100)
        return [one.status for one in (*found, long.value) if isinstance(one, NotIn)]

    assert run(work) == [413, 499, 413]


@pytest.mark.parametrize(("bound", "value"), [("MOST", 3), ("MOST_BYTES", 35)])
def test_where_too_many_are_read_the_one_that_began_first_ends_and_a_newcomer_gets_in(
    monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    monkeypatch.setattr(bodies, bound, value)

    async def work() -> tuple[list[Any], bytes | NotIn]:
        to = Bodies()
        slow = [asyncio.ensure_future(Client(b"x" * 10).sends(to)) for _ in range(3)]
        await asyncio.sleep(0)
        came = await Client(b"{", b"x" * 8, b"}", ends=True).sends(to)
        await asyncio.wait(slow, return_when=asyncio.FIRST_COMPLETED)
        ended = [one.result() if one.done() else None for one in slow]
        for one in slow:
            one.cancel()
        return ended, came

    ended, came = run(work)

    assert came == b"{xxxxxxxx}"
    assert [one and (one.status, one.retry_after_s) for one in ended] == [(503, 1), None, None]
    assert isinstance(ended[0], Unread)


def test_a_server_that_ends_waits_for_none() -> None:
    ended: list[Any] = []

    async def work() -> None:
        to = Bodies()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            try:
                await to.whole({}, receive, connection_of(scope), 100)
            except NotIn as error:
                ended.append((type(error), error.status))
            await send({"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

        config = uvicorn.Config(app, log_level="critical")
        config.load()
        protocol = OneWrite(config, ServerState(), {})
        protocol.connection_made(Wire())  # type: ignore[arg-type]  # all of a transport that is asked for
        protocol.data_received(HEAD % b"/")
        await asyncio.sleep(0)
        before = list(ended)
        protocol.shutdown()
        await asyncio.gather(*protocol.tasks)
        protocol.connection_lost(None)
        assert before == []

    run(work)

    assert ended == [(Unread, 503)]


def test_one_that_ends_by_its_time_just_now_is_not_ended_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST", 1)

    async def work() -> tuple[bytes | NotIn, bytes | NotIn]:
        to, slow = Bodies(), Client()
        first = asyncio.ensure_future(slow.sends(to))
        await asyncio.sleep(0)
        (one,) = to._read
        one.timer._on_timeout()  # type: ignore[attr-defined]  # its time is over, and it has not heard of it yet
        assert slow.connection.ending is not None
        slow.connection.ending()
        return await Client(b"{}", ends=True).sends(to), await first

    came, late = run(work)

    assert came == b"{}"
    assert isinstance(late, Unread)
    assert late.status == 408


# ---- The gateway -------------------------------------------------------------------------------------------------------------


def begun(rig: Rig, path: str = "/v1/chat/completions") -> socket.socket:
    """A request that is never whole."""
    host, port = rig.url.removeprefix("http://").split(":")
    client = socket.create_connection((host, int(port)))
    client.sendall(HEAD % path.encode())
    return client


def test_unfinished_requests_take_no_place_from_whole_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "MAX_ACTIVE", 1)
    with rigged(tmp_path) as rig:
        rig.speaker.replies.append(completion("Fine."))
        unfinished = [begun(rig) for _ in range(3)]
        body = b'{"model": "m", "messages": [{"role": "user", "content": "Hello"}]}'
        reply = post(f"{rig.url}/v1/chat/completions", body, headers={"content-type": "application/json"})
        for one in unfinished:
            one.close()

    assert reply.status == 200


def test_an_unfinished_request_is_told_so_and_its_connection_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "IDLE_S", 0.05)
    with rigged(tmp_path) as rig, begun(rig) as client:
        said = b""
        while piece := client.recv(4_096):
            said += piece

    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in said.lower()
    assert b"nothing more of the request came for 0.05 s" in said

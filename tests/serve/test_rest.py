"""A connection to a model that has been at rest so long that its server may be closing it is not used again."""

import asyncio

import pytest
import uvloop

from bylaw.serve.address import REST_S
from bylaw.serve.upstream import Upstream

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


async def connections() -> int:
    """How many connections two requests take."""
    opened = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n{}")
                writer.write(OK)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    upstream = Upstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    try:
        assert (await upstream.post("/v1/x", b"{}", {})).status == 200
        assert (await upstream.post("/v1/x", b"{}", {})).status == 200
    finally:
        await upstream.close()
        server.close()
        await server.wait_closed()
    return opened


@pytest.mark.parametrize(("rest_s", "wanted"), [(60.0, 1), (0.0, 2)])
def test_two_requests_share_a_connection_within_its_time(monkeypatch: pytest.MonkeyPatch, rest_s: float, wanted: int) -> None:
    monkeypatch.setitem(REST_S, "http", rest_s)

    assert uvloop.run(connections()) == wanted


def test_a_server_by_itself_is_not_asked_on_a_connection_that_it_closes_after_five_seconds() -> None:
    assert REST_S["http"] < 5 < REST_S["https"]

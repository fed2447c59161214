"""What goes wrong inside is told in words that name no file, no database and no address of ours; the log has the rest."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.requests import Request
from starlette.responses import Response

from bylaw.errors import StoreError
from bylaw.govern.quorum import Person
from bylaw.serve.desk import answered
from bylaw.serve.door import NotIn
from tests.figures import stands
from tests.serve.mcp_rig import SHOP, lined
from tests.serve.rig import post, rigged
from tests.serve.test_chat_streams import call, spoken

LARGE = '{"order": 7, "amount": 900}'


def test_an_mcp_client_learns_no_path_when_the_store_is_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with lined(tmp_path, SHOP) as rig, caplog.at_level(logging.ERROR):
        (tmp_path / "store.sqlite").unlink()
        said = rig.ask("tools/list", {})

    assert said["error"]["code"] == -32603
    assert str(tmp_path) not in orjson.dumps(said).decode()
    assert str(tmp_path) in caplog.text


def test_a_stream_that_the_gone_store_ends_names_no_path(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with rigged(tmp_path) as rig, caplog.at_level(logging.ERROR):
        rig.speaker.replies.append(spoken("Sure.", calls=[call(0, "refund", LARGE, "c1")], finish="tool_calls"))
        (tmp_path / "store.sqlite").unlink()
        asked = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
        raw = post(f"{rig.url}/v1/chat/completions", orjson.dumps(asked))

    assert b"could not be checked to its end" in raw.body
    assert str(tmp_path).encode() not in raw.body
    assert not stands(900, raw.body)


@pytest.mark.parametrize("admin", [False, True])
def test_the_api_tells_paths_to_those_who_administer_alone(admin: bool) -> None:
    class Door:
        def admin(self, headers: Any) -> Person:
            if not admin:
                raise NotIn(403, "no")
            return Person("ann", ("admin",))

    class Desk:
        door = Door()

    async def fails(desk: Any, request: Request) -> Response:
        raise StoreError("/srv/bylaw/store.sqlite: the store cannot be read: disk I/O error", "Is /srv full?")

    endpoint = answered(Desk(), fails)  # type: ignore[arg-type]  # a desk that is nothing but its door

    async def asked() -> Response:
        return await endpoint(Request({"type": "http", "headers": []}))

    reply = asyncio.run(asked())

    assert reply.status_code == 503
    assert (b"/srv" in bytes(reply.body)) is admin

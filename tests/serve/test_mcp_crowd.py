"""Sessions of the older protocols: one principal's many take nothing from another's few."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bylaw.serve.mcp_held import Most
from bylaw.serve.mcp_servers import ServerAt
from tests.serve.mcp_rig import gateway
from tests.serve.rig import Reply, post, serving

BEGIN = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}


async def agreeing(scope: Any, receive: Any, send: Any) -> None:
    """A server that takes everything."""
    said = json.loads((await receive()).get("body") or b"{}")
    body = json.dumps({"jsonrpc": "2.0", "id": said.get("id"), "result": {"protocolVersion": "2025-11-25", "tools": []}}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def crowded(tmp_path: Path, most: Most) -> Iterator[str]:
    with serving(agreeing) as url, gateway(tmp_path, [ServerAt("shop", url=f"{url}/mcp")], most=most) as (ours, _, _):
        yield f"{ours}/mcp/shop"


def asked(url: str, method: str, session: str = "", key: str = "agent") -> Reply:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": BEGIN if method == "initialize" else {}})
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}", **({"mcp-session-id": session} if session else {})}
    return post(url, body, headers=headers)


def begun(url: str, key: str) -> str:
    return asked(url, "initialize", key=key).headers["mcp-session-id"]


@pytest.mark.slow
def test_whoever_begins_many_sessions_ends_their_own_and_nobody_elses(tmp_path: Path) -> None:
    with crowded(tmp_path, Most(sessions=4, of_one=2)) as url:
        other = begun(url, "other")
        mine = [begun(url, "agent") for _ in range(5)]
        theirs = asked(url, "ping", other, "other").status
        alive = [asked(url, "ping", one).status for one in mine]

    assert theirs == 200
    assert alive == [404, 404, 404, 200, 200]


def test_a_full_house_turns_away_whoever_has_nothing_to_give_up(tmp_path: Path) -> None:
    with crowded(tmp_path, Most(sessions=2, of_one=2)) as url:
        mine = [begun(url, "agent") for _ in range(2)]
        refused = asked(url, "initialize", key="other")
        alive = [asked(url, "ping", one).status for one in mine]

    assert refused.status == 503
    assert alive == [200, 200]

"""The MCP servers of a gateway: how `gateway.yaml` names them, and servers that the gateway starts itself."""

import asyncio
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp.client import Client

from bylaw.errors import BylawError
from bylaw.serve.mcp_servers import ServerAt
from bylaw.serve.wiring import read
from tests.serve.mcp_rig import gateway


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    return file


def test_servers_are_read_by_name(tmp_path: Path) -> None:
    text = "mcp:\n  tickets: {url: https://mcp.example.com/mcp, key_env: KEY, prefix: tickets.}\n  files: {command: [npx, -y, server]}\n"
    found = read(written(tmp_path, text)).mcp

    assert found == (
        ServerAt("tickets", url="https://mcp.example.com/mcp", key_env="KEY", prefix="tickets."),
        ServerAt("files", command=("npx", "-y", "server")),
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("tickets: {}", "either a url or a command"),
        ("tickets: {url: https://a, command: [b]}", "either a url or a command"),
        ("tickets: {url: ftp://a}", "no http"),
        ("tickets: {url: 'https://me:word@a', key_env: KEY}", "a key and a name"),
        ("tickets: {url: https://a, uri: b}", "unknown key 'uri'"),
        ("Tic/kets: {url: https://a}", "no name of an MCP server"),
    ],
)
def test_what_cannot_be_meant_is_one_clear_line(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(BylawError, match=says):
        read(written(tmp_path, f"mcp:\n  {line}\n"))


def test_a_key_that_is_not_there_is_said_before_anything_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(BylawError, match="NO_SUCH_KEY is empty"):
        ServerAt("a", url="https://a", key_env="NO_SUCH_KEY").key()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_server_that_the_gateway_starts_itself(tmp_path: Path, mode: Literal["auto", "legacy"]) -> None:
    at = ServerAt("shop", command=(sys.executable, "-m", "tests.serve.mcp_shop"))

    async def work(url: str) -> list[Any]:
        async with Client(f"{url}/mcp/shop", mode=mode) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            calls = [await client.call_tool("refund", {"order": 1, "amount": amount}) for amount in (50.0, 9500.0)]
            return [tools, *[bool(call.is_error) for call in calls]]

    with gateway(tmp_path, [at]) as (url, _, _):
        found = asyncio.run(asyncio.wait_for(work(url), 180))

    assert found == [["refund", "lookup"], False, True]

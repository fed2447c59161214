"""The MCP servers of a gateway: how `gateway.yaml` names them, and servers that the gateway starts itself."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp.client import Client

from bylaw.errors import BylawError
from bylaw.serve.mcp_servers import AWAY, ServerAt
from bylaw.serve.mcp_wire import CAPABILITIES_KEY, MODERN, VERSION_KEY
from bylaw.serve.wiring import read
from tests.serve.mcp_rig import gateway
from tests.serve.rig import post


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


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "judge: {url: http://HOST"), ("mcp: [x]", "mcp: {tickets: {url: https://HOST"), ("mcp: {a: 1}", "a: {url: https://HOST")],
)
def test_what_is_no_map_is_told_with_an_example_of_this_very_file(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BylawError, match="must be a map") as raised:
        read(written(tmp_path, text))

    assert says in raised.value.hint


@pytest.mark.parametrize("begins", [True, False])
def test_a_command_that_is_not_there_is_told_to_the_client_without_it_and_to_the_log_with_the_servers_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, begins: bool
) -> None:
    asked = {"jsonrpc": "2.0", "id": 5, "method": "initialize" if begins else "tools/list", "params": {}}
    headers = {"accept": "application/json", "content-type": "application/json"}
    if not begins:
        asked["params"] = {"_meta": {VERSION_KEY: MODERN, CAPABILITIES_KEY: {}}}
        headers |= {"mcp-protocol-version": MODERN, "mcp-method": "tools/list"}
    with gateway(tmp_path, [ServerAt("books", command=("/no/such-command",))]) as (url, _, _):
        reply = post(f"{url}/mcp/books", json.dumps(asked), headers=headers)

    assert json.loads(reply.body) == {"jsonrpc": "2.0", "id": 5, "error": {"code": AWAY, "message": "the server cannot be started"}}
    assert ["mcp books: /no/such-command: cannot be started" in one for one in caplog.messages if "cannot be started" in one] == [True]


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

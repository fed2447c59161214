# ruff: noqa: PLC0415  # each of the processes loads only what it needs
"""What a proxy adds to one MCP tool call: ours (judged, recorded twice, fsynced) and FastMCP's own (nothing judged), over going direct.

The server is the real SDK's, the client a few lines of JSON-RPC, so that its own work hides nothing. All paths are asked in turns, a few
calls each, in many rounds: what else the machine does falls on all of them. `added` is the median of a path less that of going direct, in
the same run. The protocol is that of 2026-07-28, the policy the example `refunds` with a rule on the tool that is called.
"""

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import orjson

from bench import Row

ROUNDS: Final = 12
CALLS: Final = 20  # of one path in one round
WARM: Final = 15
TARGET_MS: Final = 1.0
VERSION: Final = "2026-07-28"
META: Final = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}
ARGS: Final = {"order": 81, "amount": 50.0}
TOOL: Final = "refund"
RULES: Final = """# Rules

## Refunds above the limit need a person {#money.limit}

```yaml clause
severity: high
response: comply
owner: desk
enforce:
  - rule: r
    on: tool_call
    tool: refund
    when: args.amount > 200.0
    then: require_approval
    approvers: [lead]
    ttl: 30m
```

A refund above 200 MUST wait for a lead.
"""

Call = Callable[[], Awaitable[None]]


def server(arguments: list[str]) -> None:
    """The server, over stdio or HTTP."""
    from mcp.server import MCPServer

    made = MCPServer("bench", log_level="ERROR")

    @made.tool(description="Pay money back.")
    def refund(order: int, amount: float) -> str:
        return f"refunded {amount} for {order}"

    if arguments:
        made.run("streamable-http", port=int(arguments[0]), json_response=True)
    else:
        made.run()


def fastmcp_proxy(arguments: list[str]) -> None:
    """FastMCP's proxy, over stdio or HTTP."""
    from fastmcp import Client
    from fastmcp.client.transports import StdioTransport
    from fastmcp.server import create_proxy

    if arguments:
        create_proxy(Client(arguments[1])).run("http", port=int(arguments[0]), show_banner=False, log_level="ERROR")
    else:
        create_proxy(Client(StdioTransport(*_here("server")))).run(show_banner=False, log_level="ERROR")


def _here(role: str, *arguments: object) -> tuple[str, list[str]]:
    return sys.executable, ["-m", "bench.mcp", role, *map(str, arguments)]


def _policy(folder: Path) -> Path:
    (folder / "tools").mkdir(parents=True)
    (folder / "policy.yaml").write_text("id: bench\nversion: 1.0.0\nowners: [desk]\n")
    (folder / "rules.md").write_text(RULES)
    schema = {"type": "object", "properties": {"order": {"type": "integer"}, "amount": {"type": "number"}}, "required": ["order", "amount"]}
    (folder / "tools" / "refund.json").write_bytes(orjson.dumps(schema))
    return folder


# ---- The client --------------------------------------------------------------------------------------------------------


def _message(number: int, method: str = "tools/call", params: dict[str, Any] | None = None) -> bytes:
    told = params if params is not None else {"name": TOOL, "arguments": ARGS}
    return orjson.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": {**told, "_meta": META}})


def _check(body: bytes) -> None:
    said = orjson.loads(body)
    if said.get("result", {}).get("content", [{}])[0].get("text") != "refunded 50.0 for 81":
        raise RuntimeError(f"not answered as it should be: {body[:300]!r}")


async def _stdio(stack: AsyncExitStack, program: str, arguments: list[str]) -> Call:
    pipe = subprocess.PIPE
    process = await asyncio.create_subprocess_exec(program, *arguments, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    assert process.stdout is not None
    inward, outward = process.stdin, process.stdout

    async def close() -> None:
        inward.close()
        await asyncio.wait_for(process.wait(), 20)

    stack.push_async_callback(close)
    number = 0

    async def call() -> None:
        nonlocal number
        number += 1
        inward.write(_message(number) + b"\n")
        while True:
            line = await outward.readline()
            if not line:
                raise RuntimeError(f"{arguments} has ended")
            if orjson.loads(line).get("id") == number:
                return _check(line)

    return call


async def _http(stack: AsyncExitStack, client: Any, url: str) -> Call:
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": VERSION,
        "mcp-method": "tools/call",
        "mcp-name": TOOL,
    }
    number = 0

    async def call() -> None:
        nonlocal number
        number += 1
        async with client.post(url, data=_message(number), headers=headers) as reply:
            body = await reply.read()
        if reply.content_type == "text/event-stream":
            body = next(line[6:] for line in body.splitlines() if line.startswith(b"data: {") and b'"result"' in line)
        _check(body)

    return call


# ---- The run -----------------------------------------------------------------------------------------------------------


def _port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def _listens(port: int) -> None:
    for _ in range(400):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
            continue
        writer.close()
        return
    raise RuntimeError(f"nothing listens on {port}")


async def _started(stack: AsyncExitStack, port: int, program: str, arguments: list[str]) -> None:
    process = await asyncio.create_subprocess_exec(program, *arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def close() -> None:
        if process.returncode is None:
            process.terminate()
        await process.wait()

    stack.push_async_callback(close)
    await _listens(port)


async def _paths(stack: AsyncExitStack, folder: Path) -> dict[str, Call]:
    import aiohttp

    policy = _policy(folder / "policy")
    made = {"stdio direct": await _stdio(stack, *_here("server"))}
    program, behind = _here("server")
    ours = ["-m", "bylaw", "mcp", "--policy", str(policy), "--data-dir", str(folder / "stdio"), "--", program, *behind]
    made["stdio bylaw"] = await _stdio(stack, sys.executable, ours)
    made["stdio FastMCP proxy"] = await _stdio(stack, *_here("fastmcp_proxy"))
    direct, gateway, other = _port(), _port(), _port()
    await _started(stack, direct, *_here("server", direct))
    url = f"http://127.0.0.1:{direct}/mcp"
    data = folder / "http"
    data.mkdir()
    (data / "gateway.yaml").write_text(f"mcp:\n  shop: {{url: {url}}}\n")
    serve = ["-m", "bylaw", "serve", "--policy", str(policy), "--upstream", "http://127.0.0.1:9/v1", "--data-dir", str(data)]
    await _started(stack, gateway, sys.executable, [*serve, "--port", str(gateway)])
    await _started(stack, other, *_here("fastmcp_proxy", other, url))
    client = await stack.enter_async_context(aiohttp.ClientSession())
    made["http direct"] = await _http(stack, client, url)
    made["http bylaw"] = await _http(stack, client, f"http://127.0.0.1:{gateway}/mcp/shop")
    made["http FastMCP proxy"] = await _http(stack, client, f"http://127.0.0.1:{other}/mcp")
    return made


async def _run(folder: Path) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        paths = await _paths(stack, folder)
        for call in paths.values():
            for _ in range(WARM):
                await asyncio.wait_for(call(), 60)
        for _ in range(ROUNDS):
            for name, call in paths.items():
                times = took.setdefault(name, [])
                for _ in range(CALLS):
                    start = time.perf_counter()
                    await call()
                    times.append((time.perf_counter() - start) * 1000)
    return took


def _fsynced(folder: Path) -> float:
    """What one entry of the ledger takes here, in ms: it is in each of our calls twice."""
    from bylaw.ledger.writer import Ledger

    times = []
    with Ledger(folder) as ledger:
        for _ in range(200):
            start = time.perf_counter()
            ledger.append({"kind": "decision"})
            times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def measure() -> list[Row]:
    """p50 of each path, and what each proxy adds to going direct."""
    with tempfile.TemporaryDirectory() as name:
        took = asyncio.run(_run(Path(name)))
        synced = _fsynced(Path(name) / "ledger")
    rows = [Row("mcp: one entry of the ledger, p50", synced, "ms")]
    for kind in ("stdio", "http"):
        direct = statistics.median(took[f"{kind} direct"])
        rows.append(Row(f"mcp {kind}: direct, p50 (fastest {min(took[f'{kind} direct']):.2f})", direct, "ms"))
        added = {who: statistics.median(took[f"{kind} {who}"]) - direct for who in ("bylaw", "FastMCP proxy")}
        rows.append(Row(f"mcp {kind}: bylaw adds, p50", added["bylaw"], "ms", TARGET_MS, added["bylaw"] <= TARGET_MS))
        floor = min(took[f"{kind} bylaw"]) - min(took[f"{kind} direct"])
        rows.append(Row(f"mcp {kind}: bylaw adds, fastest of {ROUNDS * CALLS}", floor, "ms"))
        rows.append(Row(f"mcp {kind}: FastMCP's proxy adds, p50", added["FastMCP proxy"], "ms"))
        rows.append(Row(f"mcp {kind}: bylaw's part of what FastMCP's proxy adds", added["bylaw"] / added["FastMCP proxy"], "ratio", 1.0))
        rows[-1] = rows[-1]._replace(met=rows[-1].value <= 1.0)
    return rows


if __name__ == "__main__":
    os.environ.setdefault("FASTMCP_CHECK_FOR_UPDATES", "off")
    {"server": server, "fastmcp_proxy": fastmcp_proxy}[sys.argv[1]](sys.argv[2:])

# ruff: noqa: PLC0415  # each of the processes loads only what it needs
"""What a proxy adds to one MCP tool call: ours (judged, recorded, fsynced) and FastMCP's own (nothing judged), over going direct.

Ours waits for the disk before it sends a call; and once more before it hands out a result that a rule searches, which is measured too.

The server is the real SDK's, the client a few lines of JSON-RPC, so that its own work hides nothing. All paths are asked in turns, a few
calls each, in many rounds: what else the machine does falls on all of them. `added` is the median of a path less that of going direct, in
the same run. CPU is that of the proxy's own process (`schedstat` of its threads), so that a busy machine shows in the latencies but hardly
here. The protocol is that of 2026-07-28, the policy the example `refunds` with a rule on the tool that is called.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from bench import Row, row

ROUNDS: Final = 12
CALLS: Final = 20  # of one path in one round
MEMORY: Final = Path("/dev/shm")  # files here wait for no disk
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
SEARCHED: Final = "lookup"  # the same, but a rule looks at its results
SAID: Final = "refunded 50.0 for 81"
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

## No keys in results {#security.keys}

```yaml clause
severity: high
response: comply
owner: desk
enforce:
  - rule: r
    on: tool_result
    tool: lookup
    detect: [secrets]
    then: block
```

A result of lookup MUST NOT hold a key.
"""

Call = Callable[[str], Awaitable[None]]  # the tool


class Way(NamedTuple):
    """One way to the server, and the process on it whose CPU counts."""

    call: Call
    pid: int


def server(arguments: list[str]) -> None:
    """The server, over stdio or HTTP."""
    from mcp.server import MCPServer

    made = MCPServer("bench", log_level="ERROR")

    @made.tool(description="Pay money back.")
    def refund(order: int, amount: float) -> str:
        return f"refunded {amount} for {order}"

    @made.tool(description="Look a refund up.")
    def lookup(order: int, amount: float) -> str:
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
    for tool in (TOOL, SEARCHED):
        (folder / "tools" / f"{tool}.json").write_bytes(orjson.dumps(schema))
    return folder


# ---- The client --------------------------------------------------------------------------------------------------------


def _message(number: int, tool: str) -> bytes:
    params = {"name": tool, "arguments": ARGS, "_meta": META}
    return orjson.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})


def _check(body: bytes) -> None:
    said = orjson.loads(body)
    if said.get("result", {}).get("content", [{}])[0].get("text") != SAID:
        raise RuntimeError(f"not answered as it should be: {body[:300]!r}")


async def _stdio(stack: AsyncExitStack, program: str, arguments: list[str]) -> Way:
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

    async def call(tool: str) -> None:
        nonlocal number
        number += 1
        inward.write(_message(number, tool) + b"\n")
        while True:
            line = await outward.readline()
            if not line:
                raise RuntimeError(f"{arguments} has ended")
            if orjson.loads(line).get("id") == number:
                return _check(line)

    return Way(call, process.pid)


async def _http(client: Any, url: str, pid: int) -> Way:
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": VERSION,
        "mcp-method": "tools/call",
    }
    number = 0

    async def call(tool: str) -> None:
        nonlocal number
        number += 1
        async with client.post(url, data=_message(number, tool), headers={**headers, "mcp-name": tool}) as reply:
            body = await reply.read()
        if reply.content_type == "text/event-stream":
            body = next(line[6:] for line in body.splitlines() if line.startswith(b"data: {") and b'"result"' in line)
        _check(body)

    return Way(call, pid)


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


async def _started(stack: AsyncExitStack, port: int, program: str, arguments: list[str]) -> int:
    process = await asyncio.create_subprocess_exec(program, *arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def close() -> None:
        if process.returncode is None:
            process.terminate()
        await process.wait()

    stack.push_async_callback(close)
    await _listens(port)
    return process.pid


async def _ways(stack: AsyncExitStack, folder: Path) -> dict[str, Way]:
    import aiohttp

    policy = _policy(folder / "policy")
    made = {"stdio direct": await _stdio(stack, *_here("server"))}
    program, behind = _here("server")
    ours = ["-m", "bylaw", "mcp", "--policy", str(policy), "--data-dir"]
    made["stdio bylaw"] = await _stdio(stack, sys.executable, [*ours, str(folder / "stdio"), "--", program, *behind])
    if MEMORY.is_dir():
        data = stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY))
        made["stdio bylaw in memory"] = await _stdio(stack, sys.executable, [*ours, data, "--", program, *behind])
    made["stdio FastMCP proxy"] = await _stdio(stack, *_here("fastmcp_proxy"))
    direct, other = _port(), _port()
    pid = await _started(stack, direct, *_here("server", direct))
    url = f"http://127.0.0.1:{direct}/mcp"
    client = await stack.enter_async_context(aiohttp.ClientSession())
    made["http direct"] = await _http(client, url, pid)
    homes = {"http bylaw": folder / "http"}
    homes["http bylaw"].mkdir()
    if MEMORY.is_dir():
        homes["http bylaw in memory"] = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
    for name, home in homes.items():
        (home / "gateway.yaml").write_text(f"mcp:\n  shop: {{url: {url}}}\n")
        serve, port = ["-m", "bylaw", "serve", "--policy", str(policy), "--upstream", "http://127.0.0.1:9/v1"], _port()
        pid = await _started(stack, port, sys.executable, [*serve, "--data-dir", str(home), "--port", str(port)])
        made[name] = await _http(client, f"http://127.0.0.1:{port}/mcp/shop", pid)
    pid = await _started(stack, other, *_here("fastmcp_proxy", other, url))
    made["http FastMCP proxy"] = await _http(client, f"http://127.0.0.1:{other}/mcp", pid)
    return made


@dataclass
class Took:
    """What the calls of one way took."""

    times_ms: list[float] = field(default_factory=list)
    cpu_ms: float = 0.0  # of the process on the way

    @property
    def p50(self) -> float:
        """The median, in ms."""
        return statistics.median(self.times_ms)

    @property
    def cpu(self) -> float:
        """CPU of one call, in ms."""
        return self.cpu_ms / len(self.times_ms)


def _cpu_ms(pid: int) -> float:
    """What a process has used, all its threads together; by the scheduler's own count."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e6


async def _run(folder: Path) -> dict[str, Took]:
    took: dict[str, Took] = {}
    async with AsyncExitStack() as stack:
        ways = await _ways(stack, folder)
        for way in ways.values():
            for _ in range(WARM):
                await asyncio.wait_for(way.call(TOOL), 60)
        asked = [(name, TOOL, way) for name, way in ways.items()]
        asked += [(f"{name} searched", SEARCHED, ways[name]) for name in ("stdio bylaw", "http bylaw")]
        for _ in range(ROUNDS):
            for name, tool, way in asked:
                one, before = took.setdefault(name, Took()), _cpu_ms(way.pid)
                for _ in range(CALLS):
                    start = time.perf_counter()
                    await way.call(tool)
                    one.times_ms.append((time.perf_counter() - start) * 1000)
                one.cpu_ms += _cpu_ms(way.pid) - before
    return took


def _fsynced(folder: Path) -> float:
    """What one entry of the ledger takes here, in ms: each of our calls waits for one commit, and for two where a rule searches results."""
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
        direct, ours, other = took[f"{kind} direct"], took[f"{kind} bylaw"], took[f"{kind} FastMCP proxy"]
        rows.append(Row(f"mcp {kind}: direct, p50", direct.p50, "ms"))
        rows.append(Row(f"mcp {kind}: direct, fastest", min(direct.times_ms), "ms"))
        added = ours.p50 - direct.p50
        rows.append(Row(f"mcp {kind}: bylaw adds, p50", added, "ms", TARGET_MS, added <= TARGET_MS))
        rows.append(Row(f"mcp {kind}: bylaw adds, fastest", min(ours.times_ms) - min(direct.times_ms), "ms"))
        if memory := took.get(f"{kind} bylaw in memory"):
            rows.append(Row(f"mcp {kind}: bylaw adds with its files in memory, p50", memory.p50 - direct.p50, "ms"))
            rows.append(Row(f"mcp {kind}: CPU of a call, bylaw with its files in memory", memory.cpu, "ms"))
        rows.append(
            Row(f"mcp {kind}: bylaw adds where a rule searches the result, p50", took[f"{kind} bylaw searched"].p50 - direct.p50, "ms")
        )
        rows.append(Row(f"mcp {kind}: FastMCP's proxy adds, p50", other.p50 - direct.p50, "ms"))
        rows.append(Row(f"mcp {kind}: CPU of a call, bylaw", ours.cpu, "ms"))
        rows.append(Row(f"mcp {kind}: CPU of a call, FastMCP's proxy", other.cpu, "ms"))
        rows.append(row(f"mcp {kind}: added by bylaw / by FastMCP's proxy", added / (other.p50 - direct.p50), "ratio", 1.0))
        rows.append(row(f"mcp {kind}: CPU of bylaw / of FastMCP's proxy", ours.cpu / other.cpu, "ratio", 1.0))
    return rows


if __name__ == "__main__":
    os.environ.setdefault("FASTMCP_CHECK_FOR_UPDATES", "off")
    {"server": server, "fastmcp_proxy": fastmcp_proxy}[sys.argv[1]](sys.argv[2:])

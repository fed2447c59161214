"""`bylaw serve`, as a process of its own: how long until it answers ready, and what memory it holds, at rest and after many texts.

The best of 3 starts, in a data directory that has been served from before; the first start of all, which makes the store's tables, is
shown beside it; and what processor time a start takes, for when the machine is busy. The policy is the example `refunds`, whose rails look
for card numbers in answers and for planted orders in what tools say. The texts are pieces of this repository's own files, each what a tool
said in a request of its own; the upstream says the same to all.

Packages that only our checks need change what others load (uvicorn and typer take watchfiles and pydantic where they find them), so a clean
figure wants an environment that holds `bylaw[serve]` alone: name its folder in $BYLAW_SERVE. Without it this environment is measured.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

import aiohttp

from bench import Row, gateway, row

STARTS: Final = 3
LONGEST_S: Final = 60
TEXTS: Final = 1_000
TEXT_CHARS: Final = 1_500
ROOT: Final = Path(__file__).parents[1]


def served(upstream: str, data: Path) -> tuple[subprocess.Popen[str], str, float]:
    """A gateway, its address, and the seconds until it was ready."""
    began = time.perf_counter()
    alone = os.environ.get("BYLAW_SERVE", "")
    line = [
        f"{alone}/bin/python" if alone else sys.executable,
        "-m",
        "bylaw",
        "serve",
        "--policy",
        str(ROOT / "policies" / "refunds"),
        "--upstream",
        upstream,
    ]
    process = subprocess.Popen([*line, "--port", "0", "--data-dir", str(data)], stdout=subprocess.PIPE, text=True)
    told = next((said for said in process.stdout or () if "listening on" in said), "")
    if not told:
        raise RuntimeError("the gateway does not start")
    url = told.split()[-1]
    while time.perf_counter() - began < LONGEST_S:
        try:
            with urlopen(f"{url}/readyz", timeout=5) as reply:
                if reply.status == 200:
                    return process, url, time.perf_counter() - began
        except URLError:
            time.sleep(0.01)
    raise RuntimeError("the gateway is not ready")


def rss_mb(pid: int) -> float:
    """How much memory a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def texts() -> list[str]:
    """Pieces of what is written here: prose in two languages, tables, code."""
    files = sorted(path for kind in ("md", "py", "tsv") for path in ROOT.glob(f"[dpst]*/**/*.{kind}"))
    said = "\n".join(path.read_text("utf-8", "ignore") for path in files)
    step = max(TEXT_CHARS, len(said) // TEXTS)
    return [said[at : at + TEXT_CHARS] for at in range(0, len(said), step)][:TEXTS]


async def asked(url: str) -> None:
    """Send all texts."""
    async with aiohttp.ClientSession() as client:
        for text in texts():
            said = {"role": "tool", "tool_call_id": "call", "content": text}
            body = {"model": "m", "messages": [{"role": "user", "content": "What does it say?"}, said]}
            async with client.post(f"{url}/v1/chat/completions", json=body) as reply:
                await reply.read()


def measure() -> list[Row]:
    """Starts, then memory."""
    took, used, rested, full = [], [], 0.0, 0.0
    with tempfile.TemporaryDirectory() as where:
        spoken, upstream = gateway.started(gateway.upstream)
        try:
            for turn in range(1 + STARTS):
                process, url, seconds = served(upstream, Path(where) / "data")
                took.append(seconds)
                used.append(gateway.cpu_s(process.pid))
                try:
                    rested = rss_mb(process.pid)
                    if turn == STARTS:
                        asyncio.run(asked(url))
                        full = rss_mb(process.pid)
                finally:
                    process.terminate()
                    process.wait(60)
        finally:
            spoken.terminate()
            spoken.join(10)
    return [
        row("serve: from its start until ready, the first time", took[0], "s"),
        row("serve: from its start until ready", min(took[1:]), "s", 2.0),
        row("serve: processor time of a start", min(used[1:]), "CPU s"),
        row("serve: memory at rest", rested, "MB", 100.0),
        row(f"serve: memory after {TEXTS} texts", full, "MB", 100.0),
    ]

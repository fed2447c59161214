"""The LiteLLM proxy with one guard beside our gateway: CPU of the serving process for a request, same upstream, same requests, one run.

LiteLLM has an environment of its own, never ours: that at $BYLAW_LITELLM (a folder made by `python -m venv`), else one that is made in the
temporary folder from the package index. Where that cannot be, the row says so. Its guard is its own content filter for card numbers, on
what goes in and what comes out; ours is the example policy `refunds`, every decision on the disk before it leaves, which the target
is about. LiteLLM keeps no record as it runs here, so the gateway without its ledger is shown too.

The proxy runs as it comes: one worker, no database, no cache, no keys, no telemetry, logs at ERROR.
"""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import aiohttp
import orjson

from bench import Row, row
from bench import gateway as ours

VERSION: Final = "1.106.2"
RATIO: Final = 30.0  # at least
ROUNDS: Final = 3
REQUESTS: Final = 300  # in one round
STREAMS: Final = 32
WARM: Final = 100
START_S: Final = 90
INSTALL_S: Final = 900
CONFIG: Final = """
model_list:
  - model_name: m
    litellm_params: {model: openai/m, api_base: UPSTREAM/v1, api_key: none}
guardrails:
  - guardrail_name: cards
    litellm_params:
      guardrail: litellm_content_filter
      mode: [pre_call, post_call]
      default_on: true
      patterns:
        - {pattern_type: prebuilt, pattern_name: credit_card, action: BLOCK}
general_settings: {dangerously_permit_weak_or_unset_master_key: true}
"""
QUIET: Final = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "LITELLM_LOG": "ERROR", "NO_DOCS": "True"}


class NotMeasured(Exception):  # noqa: N818  # becomes a row that says why
    """LiteLLM could not be installed or started."""


def installed() -> Path:
    """The command that starts the proxy; raises NotMeasured."""
    given = os.environ.get("BYLAW_LITELLM", "")
    folder = Path(given or Path(tempfile.gettempdir()) / f"bylaw-litellm-{VERSION}")
    command = folder / "bin" / "litellm"
    if command.exists():
        return command
    if given:
        raise NotMeasured(f"{command} is not there")
    steps = (
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin/python"), "-m", "pip", "install", "-q", f"litellm[proxy]=={VERSION}"],
    )
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotMeasured(f"it cannot be installed: {type(error).__name__}") from error
        if done.returncode:
            raise NotMeasured(f"it cannot be installed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1][:100]}")
    return command


def proxy(command: Path, upstream: str, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """The proxy, started, and its address; raises NotMeasured."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (folder / "litellm.yaml").write_text(CONFIG.replace("UPSTREAM", upstream), "utf-8")
    with (folder / "litellm.log").open("wb") as log:
        process = subprocess.Popen(
            [command, "--config", folder / "litellm.yaml", "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"],
            stdout=log,
            stderr=log,
            env={**os.environ, **QUIET},
            start_new_session=True,
        )
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return process, url
        except OSError:
            time.sleep(0.2)
    process.kill()
    said = (folder / "litellm.log").read_text("utf-8", "replace").strip().splitlines()
    raise NotMeasured(f"it does not start: {(said or ['it says nothing'])[-1][:100]}")


async def guarded(url: str) -> bool:
    """Whether the proxy's guard is at work: a card number must not go through."""
    body = {**ours.ASKED, "messages": [{"role": "user", "content": "My card is 4111 1111 1111 1111, please charge it."}]}
    async with aiohttp.ClientSession() as client, client.post(f"{url}/v1/chat/completions", json=body) as reply:
        return reply.status != 200


async def measured(servers: dict[str, tuple[int, str]]) -> dict[str, tuple[float, float]]:
    """The least CPU in microseconds of a request and of a streamed chunk, of each server's process tree, in turns."""
    plain, streamed = orjson.dumps(ours.ASKED), orjson.dumps({**ours.ASKED, "stream": True})
    best = dict.fromkeys(servers, (float("inf"), float("inf")))
    async with ours.load() as send:
        for _, url in servers.values():
            await send(url, plain, WARM, 4)
            await send(url, streamed, 4, 4)
        for _ in range(ROUNDS):
            for name, (pid, url) in servers.items():
                began = ours.cpu_s(pid)
                await send(url, plain, REQUESTS, ours.TOGETHER)
                middle = ours.cpu_s(pid)
                await send(url, streamed, STREAMS, ours.TOGETHER)
                now = ((middle - began) / REQUESTS * 1e6, (ours.cpu_s(pid) - middle) / STREAMS / ours.CHUNKS * 1e6)
                best[name] = (min(best[name][0], now[0]), min(best[name][1], now[1]))
    return best


def measure() -> list[Row]:
    """Both, in one run."""
    try:
        return _measured(installed())
    except NotMeasured as error:
        return [row(f"LiteLLM proxy: not measured, {error}", float("nan"), "")]


def _measured(command: Path) -> list[Row]:
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        ours.policy(folder)
        spoken, upstream = ours.started(ours.upstream)
        gateway, url = ours.started(ours.recorded, upstream, where)
        alike, unrecorded = ours.started(ours.unrecorded, upstream, where)
        process = None
        try:
            process, theirs = proxy(command, upstream, folder)
            asyncio.run(ours.ready({"ours": (gateway, url), "alike": (alike, unrecorded)}))
            if not asyncio.run(guarded(theirs)):
                raise NotMeasured("its guard lets a card number through")
            found = asyncio.run(
                measured({"litellm": (process.pid, theirs), "ours": (gateway.pid or 0, url), "alike": (alike.pid or 0, unrecorded)})
            )
        finally:
            if process is not None:
                process.terminate()
                process.wait(30)
            for one in (gateway, alike, spoken):
                one.terminate()
                one.join(10)
    version, times = command_version(command), [theirs / own for theirs, own in zip(found["litellm"], found["ours"], strict=True)]
    without = [theirs / own for theirs, own in zip(found["litellm"], found["alike"], strict=True)]
    return [
        row(f"LiteLLM proxy {version}, one guard: CPU of a request", found["litellm"][0], "us"),
        row("gateway beside it, recorded and fsynced: CPU of a request", found["ours"][0], "us"),
        Row(f"LiteLLM proxy / gateway, a request (at least {RATIO:g})", times[0], "times", RATIO, times[0] >= RATIO),
        row(f"LiteLLM proxy {version}, one guard: CPU of a chunk", found["litellm"][1], "us"),
        row("gateway beside it, recorded and fsynced: CPU of a chunk", found["ours"][1], "us"),
        row("LiteLLM proxy / gateway, a chunk", times[1], "times"),
        row("LiteLLM proxy / gateway that keeps no record either, a request", without[0], "times"),
        row("LiteLLM proxy / gateway that keeps no record either, a chunk", without[1], "times"),
    ]


def command_version(command: Path) -> str:
    """The version that is installed where the command lies."""
    found = sorted(command.parent.parent.glob("lib/python*/site-packages/litellm-*.dist-info"))
    return found[0].name.removeprefix("litellm-").removesuffix(".dist-info") if found else "?"

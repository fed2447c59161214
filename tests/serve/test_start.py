"""How a gateway starts and ends: where it says that it is to be found, and what it says where it cannot begin, or not end well."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import MutableMapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import SIGNALS

from bylaw.errors import LedgerError, StoreError
from bylaw.serve import start
from bylaw.serve.mcp_servers import ServerAt
from bylaw.serve.start import Setting, address, prepare, reached
from bylaw.serve.supervisor import Supervisor
from bylaw.serve.wiring import Wiring
from tests.serve.rig import PATIENCE_S


@pytest.mark.parametrize(
    ("host", "link"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("gateway.example", "http://gateway.example:8000"),
    ],
)
def test_the_link_to_the_console_leads_somewhere(host: str, link: str) -> None:
    assert address(reached(host), 8000) == link


def refused(tmp_path: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """`bylaw serve`, which is not to come up."""
    line = [sys.executable, "-m", "bylaw", "serve", "--policy", "policies/refunds", "--upstream", "http://127.0.0.1:9/v1", "--port", "0"]
    return subprocess.run([*line, "--data-dir", str(tmp_path), *options], capture_output=True, text=True, check=False, timeout=PATIENCE_S)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_gateway_that_cannot_open_its_ledger_says_so_and_never_that_it_listens(tmp_path: Path, workers: str) -> None:
    prepare(Setting("http://127.0.0.1:9/v1", data_dir=tmp_path), Path("policies/refunds"), "tester")
    (tmp_path / "keys" / "ledger.key").chmod(0o644)

    found = refused(tmp_path, "--workers", workers)

    assert found.returncode == 2
    assert "ledger.key is open to others" in found.stderr
    assert "error: the gateway did not start" in found.stderr
    assert "listening" not in found.stdout + found.stderr
    assert "Traceback" not in found.stderr


def test_the_key_of_a_server_of_tools_is_asked_for_before_anything_listens(tmp_path: Path) -> None:
    wiring = Wiring(mcp=(ServerAt("x", "http://127.0.0.1:1/mcp", key_env="BYLAW_TEST_NO_SUCH_KEY"),))

    with pytest.raises(StoreError, match="mcp x: the environment variable BYLAW_TEST_NO_SUCH_KEY is empty"):
        prepare(Setting("http://127.0.0.1:9/v1", data_dir=tmp_path, wiring=wiring), Path("policies/refunds"), "tester")

    assert not list(tmp_path.iterdir())


def broken() -> None:
    raise LedgerError("the ledger cannot record", "Is the disk full?")


def test_what_cannot_be_written_at_the_end_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def opened(_: Setting, stack: AsyncExitStack) -> None:
        stack.callback(broken)

    monkeypatch.setattr(start, "opened", opened)
    came, sent = iter(["lifespan.startup", "lifespan.shutdown"]), list[MutableMapping[str, Any]]()

    async def receive() -> dict[str, Any]:
        return {"type": next(came)}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(start.Process(Setting("http://127.0.0.1:9/v1", data_dir=tmp_path))({"type": "lifespan"}, receive, send))

    assert [one["type"] for one in sent] == ["lifespan.startup.complete", "lifespan.shutdown.failed"]
    assert sent[-1]["message"] == "the ledger cannot record. Is the disk full?"


def test_a_supervisor_that_cannot_say_that_it_listens_ends_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_pipe(_: object) -> None:
        raise BrokenPipeError

    ended = list[str]()
    monkeypatch.setattr(Multiprocess, "run", broken_pipe)
    monkeypatch.setattr(Multiprocess, "terminate_all", lambda _: ended.append("told to end"))
    monkeypatch.setattr(Multiprocess, "join_all", lambda _: ended.append("waited for"))
    before = {one: signal.getsignal(one) for one in SIGNALS}
    try:
        with pytest.raises(BrokenPipeError):
            Supervisor(Config(Multiprocess), [], print).run()
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)

    assert ended == ["told to end", "waited for"]

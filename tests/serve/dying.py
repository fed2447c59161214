"""A gateway that dies by kill -9 at one step of the record: `python -m tests.serve.dying POLICY DATA UPSTREAM WHERE`.

`WHERE` is `before:N` or `after:N` of the N-th entry that this process records, whoever records it; `full:BYTES`: no file can grow beyond
that, which is what a full disk does to a write; or `none`. All parts are real, put together as `bylaw serve` does it.
"""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn

from bylaw.govern.approvals import Approvals
from bylaw.govern.stops import Stops
from bylaw.ledger.writer import Ledger
from bylaw.serve.gate import Gate
from bylaw.serve.gateway import Gateway
from bylaw.serve.sessions import Sessions
from bylaw.serve.upstream import Upstream
from bylaw.store import database
from bylaw.store.watching import Watch
from tests.serve.rig import Open, law


class Dying:
    """A ledger whose process dies around one of its entries."""

    def __init__(self, ledger: Ledger, where: str) -> None:
        self._ledger, self._count = ledger, 0
        self._when, _, at = where.partition(":")
        self._at = int(at or 0)

    @property
    def healthy(self) -> bool:
        return self._ledger.healthy

    def _step(self, when: str) -> None:
        self._count += when == "before"
        if self._when == when and self._count == self._at:
            os.kill(os.getpid(), signal.SIGKILL)

    async def record(self, entry: Mapping[str, Any]) -> object:
        self._step("before")
        receipt = await self._ledger.record(entry)
        self._step("after")
        return receipt

    def append(self, entry: Mapping[str, Any]) -> object:
        self._step("before")
        receipt = self._ledger.append(entry)
        self._step("after")
        return receipt


async def main(policy: Path, data: Path, upstream: str, where: str) -> None:
    store, ledger = database.open(data / "store.sqlite"), Ledger(data)
    if where.startswith("full:"):
        most = int(where.partition(":")[2])
        sys.dont_write_bytecode = True  # it would be cut short
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    dying, watch = Dying(ledger, where), Watch(store)
    stops, holding = Stops(watch), law(policy)
    watch.start()
    approvals = Approvals(store, dying.append)
    gate = Gate(lambda who: holding, Upstream(upstream), dying, stops.applies, Sessions(), approvals, stops_now=stops.applies_now)

    async def health(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    server = uvicorn.Server(uvicorn.Config(Gateway(gate, Open(), lambda: health), port=0, lifespan="off", log_level="warning"))
    listening = server.config.bind_socket()
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    await server.serve(sockets=[listening])


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]))

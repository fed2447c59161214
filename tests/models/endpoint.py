"""A real chat endpoint on this machine that says, and fails, as a script has it. Other rooms' tests use it too.

    with serve(lambda ask: say("yes")) as server:
        model = open_model(targets.parse(server.target("m")))

A script is a function of one `Ask`: what was asked, how often this very conversation was, how often anybody was. It returns a `Said`:
`say`, `fail`, `garbage`, `cut_off`, `slow`, `hang_up`, `huge`. Every call is kept in `server.calls`.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Event, Thread
from typing import Any

from aiohttp import web

PATIENCE_S = 60


@dataclass(frozen=True)
class Ask:
    """One call."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]
    time: int  # 1: this conversation, with this seed, is asked for the first time
    total: int  # 1: the first call of all

    @property
    def text(self) -> str:
        """The last message."""
        return str(self.body["messages"][-1]["content"])


@dataclass(frozen=True)
class Said:
    """What goes back over the wire."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    sent: int | None = None  # only so many bytes of the body that the headers promise, then the connection closes
    drop: bool = False  # close without a word


Script = Callable[[Ask], Said]


def say(text: str | None, finish: str | None = "stop", usage: tuple[int, int] | None = (10, 5), **message: Any) -> Said:
    """A sound reply; more fields of the message by name (`reasoning_content`, `refusal`)."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    return choices(choice, usage=usage)


def choices(*given: Mapping[str, Any], usage: tuple[int, int] | None = None) -> Said:
    """A reply with any number of choices."""
    found: dict[str, Any] = {"id": "x", "object": "chat.completion", "choices": list(given)}
    if usage:
        found["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return Said(json.dumps(found).encode(), headers={"Content-Type": "application/json"})


def fail(status: int, message: str = "", retry_after: str | None = None, **error: Any) -> Said:
    """An error as these servers word it."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Said(json.dumps({"error": {"message": message, **error}}).encode(), status, headers)


def garbage(body: bytes = b"<html>busy</html>") -> Said:
    """A 200 that is no reply."""
    return Said(body)


def cut_off(text: str = "a long answer that never ends") -> Said:
    """Half a reply, then the connection closes."""
    return replace(say(text), sent=40)


def slow(delay_s: float, text: str = "late") -> Said:
    """A sound reply that comes late."""
    return replace(say(text), delay_s=delay_s)


def hang_up() -> Said:
    """The connection closes without a word."""
    return Said(drop=True)


def huge(size: int) -> Said:
    """A sound reply of `size` characters."""
    return say("x" * size)


class Endpoint:
    """A running server."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.calls: list[Ask] = []
        self.url = ""
        self._seen: Counter[str] = Counter()

    def target(self, model: str = "m") -> str:
        """What a person writes to name it."""
        return f"openai:{model}@{self.url}"

    def times(self, text: str) -> int:
        """How often a conversation that ends in this text was asked."""
        return sum(ask.text == text for ask in self.calls)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Say what the script says."""
        body = await request.json()
        what = json.dumps([body["messages"], body.get("seed")])
        self._seen[what] += 1
        ask = Ask(body, dict(request.headers), self._seen[what], len(self.calls) + 1)
        self.calls.append(ask)
        said = self.script(ask)
        await asyncio.sleep(said.delay_s)
        if said.drop or said.sent is not None:
            return await _broken(request, said)
        return web.Response(body=said.body, status=said.status, headers=dict(said.headers))


async def _broken(request: web.Request, said: Said) -> web.StreamResponse:
    """Close the connection in the middle of a reply, or before it."""
    assert request.transport is not None
    response = web.StreamResponse(headers={"Content-Length": str(len(said.body))})
    if not said.drop:
        await response.prepare(request)
        await response.write(said.body[: said.sent])
    request.transport.close()
    return response


@contextmanager
def serve(script: Script, kind: type[Endpoint] = Endpoint) -> Iterator[Endpoint]:
    """Serve a script on a free port of this machine, in a thread, until the block ends."""
    server = kind(script)
    ready = Event()
    stop: list[Callable[[], object]] = []

    async def run() -> None:
        done, loop = asyncio.Event(), asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(done.set))
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/chat/completions", server.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        ready.set()
        await done.wait()
        await runner.cleanup()

    running = Thread(target=lambda: asyncio.run(run()), name="endpoint")
    running.start()
    assert ready.wait(PATIENCE_S)
    try:
        yield server
    finally:
        stop[0]()
        running.join(PATIENCE_S)

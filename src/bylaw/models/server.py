"""A small OpenAI-compatible server for one local model: `python -m bylaw.models.server TARGET [--port N] [--with-parent]`.

It listens on loopback only, and answers only who has the random key that it prints on its first line together with its address: other
users of the machine cannot use it. `--with-parent` ends it when its standard input ends, so that it does not outlive whoever started
it, however that one died. `bylaw serve --model` does this.

It speaks `/v1/chat/completions` (whole and streamed, n, stop, temperature, seed, tools), `/v1/models` and `/healthz`.
"""

import argparse
import asyncio
import hmac
import json
import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from bylaw.errors import BylawError
from bylaw.models import server_asked, server_reply, targets
from bylaw.models.server_asked import BadRequest, Wanted
from bylaw.models.server_queue import Full, Queue
from bylaw.models.server_reply import Reply
from bylaw.models.targets import Target

HOST: Final = "127.0.0.1"
MAX_BODY_BYTES: Final = 4 << 20
ALIVE_S: Final = 10.0  # between two signs of life in a stream that waits for its answer
ALIVE: Final = b": the model is writing\n\n"
ERROR: Final = 2
LOG: Final = logging.getLogger(__name__)

Rows = Callable[[Wanted], list[Any]]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Server:
    """The routes of one model."""

    name: str
    key: str
    rows: Rows  # a request as rows of a batch; raises BadRequest
    queue: Queue

    def app(self) -> web.Application:
        """The application."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._checked])
        app.router.add_get("/healthz", self.healthz)
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/chat/completions", self.chat)
        return app

    @web.middleware
    async def _checked(self, request: web.Request, handler: Answer) -> web.StreamResponse:
        """Nobody without the key; every error as JSON."""
        shown = request.headers.get("Authorization") or f"Bearer {request.headers.get('x-api-key', '')}"  # as a gateway asks /v1/messages
        if request.path != "/healthz" and not hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), f"Bearer {self.key}".encode()):
            return web.json_response(server_reply.error("this server answers only who started it"), status=401)
        try:
            return await handler(request)
        except BadRequest as error:
            return web.json_response(server_reply.error(str(error)), status=400)
        except Full:
            what = server_reply.error("too many requests wait for the local model", "rate_limit_error")
            return web.json_response(what, status=429, headers={"Retry-After": "1"})
        except web.HTTPException as error:
            what = server_reply.error(f"{error.reason}: a local model has /v1/chat/completions and /v1/models")
            return web.json_response(what, status=error.status)
        except Exception:
            LOG.exception("a fault in the local model's server")  # one request is answered so; the others go on
            return web.json_response(server_reply.error("the local model failed", "server_error"), status=500)

    async def healthz(self, request: web.Request) -> web.Response:
        """The model is loaded."""
        return web.json_response({"ok": True, "model": self.name})

    async def models(self, request: web.Request) -> web.Response:
        """The one model."""
        return web.json_response({"object": "list", "data": [{"id": self.name, "object": "model", "created": 0, "owned_by": "bylaw"}]})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer a conversation."""
        wanted = server_asked.read(await request.read())
        rows = await asyncio.get_running_loop().run_in_executor(None, self.rows, wanted)
        writing = asyncio.ensure_future(self.queue.ask(rows))
        head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": self.name}
        try:
            if wanted.stream:
                return await _streamed(request, head, writing, wanted.with_usage)
            replies = _replies(await writing)
        finally:
            writing.cancel()
        if fault := _fault(replies):
            return web.json_response(server_reply.error(fault, "server_error", "malformed_reply"), status=500)
        return web.json_response(server_reply.whole(head, replies))


def _replies(made: Sequence[object]) -> list[Reply]:
    return [one for one in made if isinstance(one, Reply)]


def _fault(replies: Sequence[Reply]) -> str:
    fault = next((one.fault for one in replies if one.fault), "")
    return f"the local model's reply is malformed: {fault}" if fault else ""


async def _streamed(
    request: web.Request, head: dict[str, Any], writing: "asyncio.Future[list[object]]", with_usage: bool
) -> web.StreamResponse:
    """The answer in pieces, once it is whole; a comment now and then, so that nobody takes silence for an end."""
    await asyncio.wait([writing], timeout=ALIVE_S)
    if writing.done():
        writing.result()  # raises what has to be answered with another status
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"})
    await stream.prepare(request)
    while not writing.done():
        await stream.write(ALIVE)
        await asyncio.wait([writing], timeout=ALIVE_S)
    try:
        replies = _replies(writing.result())
    except Exception:  # noqa: BLE001  # the queue has logged it; the stream has begun, so that it can only say that it failed
        await stream.write(server_reply.failed("the local model failed"))
        return stream
    if fault := _fault(replies):
        await stream.write(server_reply.failed(fault))
        return stream
    for piece in server_reply.events(head, replies, with_usage):
        await stream.write(piece)
    await stream.write_eof()
    return stream


# ---- A process of its own --------------------------------------------------------------------------------------------


def opened(target: Target, key: str) -> Server:
    """Load a model and put its routes together; raises ModelError."""
    from bylaw.models import loading, server_batch  # noqa: PLC0415  # torch takes seconds to import, and may not be there
    from bylaw.models.local import LocalModel  # noqa: PLC0415  # the same

    server_asked.ensure_local(target.kind, target.text)
    model = loading.open_model(target)
    if not isinstance(model, LocalModel):
        raise TypeError("local and hub targets open as local models")
    server_batch.settle(model)
    thinks = target.thinks if target.arm else None  # of a model from elsewhere it is not known

    def rows(wanted: Wanted) -> list[Any]:
        return list(server_batch.rows(model, wanted, thinks, secrets.randbits(62)))

    def write(batch: Sequence[Any]) -> Sequence[object]:
        return server_batch.generate(model, batch)

    return Server(name_of(target), key, rows, Queue(write, model.context))


def name_of(target: Target) -> str:
    """What to call the model: a run and its arm, a folder, a hub name."""
    if target.kind == "hub" or target.embedded:
        return target.text
    where = Path(target.where).resolve()
    return f"{where.parent.parent.name}:{target.arm}" if target.arm else where.name


def trained_on(target: Target) -> str:
    """The digest of the policy that a run trained this model on; empty where that is not known."""
    try:
        found = json.loads((Path(target.where).parent.parent / "run.json").read_text("utf-8"))
        return str(found["policy"]) if target.arm else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


async def run(server: Server, port: int, say: Callable[[dict[str, str]], None], policy: str) -> None:
    """Listen until told to stop; `say` is told the address once it answers."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    working = asyncio.ensure_future(server.queue.work())
    runner = web.AppRunner(server.app(), handler_cancellation=True, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        say({"url": f"http://{HOST}:{runner.addresses[0][1]}/v1", "key": server.key, "model": server.name, "policy": policy})
        await stop.wait()
    finally:
        working.cancel()
        server.queue.close()
        await runner.cleanup()


def _follow_parent() -> None:
    """End with whoever holds the other end of standard input, whatever else is going on here."""

    def wait() -> None:
        with suppress(OSError):
            while os.read(0, 1_024):
                pass
        os._exit(0)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides when we end
    threading.Thread(target=wait, name="bylaw-parent", daemon=True).start()


def _say(said: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """Serve one model; the first line of output is one JSON object, with its address or with why there is none."""
    parser = argparse.ArgumentParser(prog="python -m bylaw.models.server")
    parser.add_argument("target", help=targets.SYNTAX)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--with-parent", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.with_parent:
        _follow_parent()
    try:
        target = targets.parse(asked.target)
        server = opened(target, secrets.token_urlsafe(32))
        asyncio.run(run(server, asked.port, _say, trained_on(target)))
    except BylawError as error:
        _say({"error": error.what, "hint": error.hint})
    except ModuleNotFoundError as error:
        _say({"error": f"a local model needs {error.name}, which is not installed", "hint": "pip install '.[align]'"})
    except OSError as error:
        _say({"error": f"the local model cannot listen: {error.strerror or error}", "hint": "Is the port taken?"})
    else:
        return 0
    return ERROR


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

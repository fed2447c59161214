"""What the second half of the demo is played on: gateways in processes of their own, our commands, a scripted agent, signed policies.

Everything lies in one folder and is begun anew each time. Nothing of the person's own settings is used.
"""

import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple

from bylaw.errors import RunError
from bylaw.ledger.reading import stored
from bylaw.policy import parse, reviews
from bylaw.policy.parse import MANIFEST
from bylaw.policy.reviews import Asked

START_S: Final = 120.0
COMMAND_S: Final = 180.0  # of one command, on a machine that is busy
ASK_S: Final = 120.0
POLL_S: Final = 0.05
NOT_YET: Final = 503
MAX_BODY_BYTES: Final = 1 << 20
# A gateway that ends when its standard input does: nobody is left behind by a demo that was killed.
_WITH_US: Final = """
import os, signal, sys, threading
threading.Thread(target=lambda: (os.read(0, 1), os.kill(os.getpid(), signal.SIGTERM)), daemon=True).start()
from bylaw.cli import main
main()
"""
_LISTENING: Final = re.compile(r"listening on (http://\S+)")
_REFUND: Final = re.compile(r"refund (\d+) EUR for order (\d+)")
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # this machine, whatever proxy there is


class Reply(NamedTuple):
    """What a gateway answered."""

    status: int
    said: Mapping[str, Any]
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        """The words of the answer, or of the error."""
        return str(self._message.get("content") or self.said.get("error", {}).get("message", ""))

    @property
    def calls(self) -> list[tuple[str, Any]]:
        """The tool calls that came out: name and arguments."""
        return [(one["function"]["name"], json.loads(one["function"]["arguments"])) for one in self._message.get("tool_calls") or ()]

    @property
    def decision(self) -> str:
        """What the gateway decided."""
        return self.headers.get("x-bylaw-decision", "")

    @property
    def clauses(self) -> str:
        """By which clauses."""
        return self.headers.get("x-bylaw-clauses", "")

    @property
    def record(self) -> str:
        """Where that is recorded."""
        return self.headers.get("x-bylaw-record", "")

    @property
    def approval(self) -> str:
        """The request for approval that it waits for."""
        return str(self.said.get("bylaw", {}).get("approval", ""))

    @property
    def _message(self) -> Mapping[str, Any]:
        choices = self.said.get("choices") or [{}]
        return dict(choices[0].get("message", {}))


class Ended(NamedTuple):
    """A command of ours that has ended."""

    code: int
    out: str
    err: str


def environment() -> dict[str, str]:
    """The environment of our processes: without anything that was set for another bylaw."""
    return {name: value for name, value in os.environ.items() if not name.startswith("BYLAW_")}


def command(*arguments: str, key: str = "") -> Ended:
    """Run `bylaw ARGUMENTS` as a person would."""
    env = environment() | ({"BYLAW_KEY": key} if key else {})
    whole = [sys.executable, "-m", "bylaw", *arguments]
    try:
        done = subprocess.run(whole, env=env, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise RunError(f"`bylaw {arguments[0]} {arguments[1]}` took longer than {COMMAND_S:.0f} s", "Is this machine very busy?") from error
    return Ended(done.returncode, done.stdout, done.stderr)


@dataclass
class Gateway:
    """A running `bylaw serve`."""

    process: "subprocess.Popen[str]"
    data_dir: Path
    url: str = ""
    lines: list[str] = field(default_factory=list)

    def ask(self, messages: Sequence[Mapping[str, Any]], key: str = "", approval: str = "", session: str = "") -> Reply:
        """Ask it over HTTP, as any client does."""
        headers = {"content-type": "application/json"}
        headers |= {"authorization": f"Bearer {key}"} if key else {}
        headers |= {"x-bylaw-approval": approval} if approval else {}
        headers |= {"x-bylaw-session": session} if session else {}
        body = json.dumps({"model": "demo", "messages": list(messages), "temperature": 0}).encode()
        request = urllib.request.Request(f"{self.url}/v1/chat/completions", body, headers)
        try:
            with _DIRECT.open(request, timeout=ASK_S) as reply:
                return Reply(reply.status, json.loads(reply.read()), dict(reply.headers))
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, json.loads(error.read() or b"{}"), dict(error.headers))
        except OSError as error:
            raise RunError(f"the gateway does not answer: {error}", f"See {self.data_dir.with_suffix('.log')}.") from error

    def get(self, path: str, key: str) -> dict[str, Any]:
        """Read one of its own routes."""
        request = urllib.request.Request(f"{self.url}{path}", headers={"authorization": f"Bearer {key}"})
        with _DIRECT.open(request, timeout=ASK_S) as reply:
            return dict(json.loads(reply.read()))

    def content(self, record: str, name: str) -> str:
        """A content that an entry of its ledger commits to: `LOG#INDEX`."""
        log, _, index = record.partition("#")
        with stored(self.data_dir / "ledger" / f"{log.rpartition('/')[2]}.sqlite") as found:
            texts = [one.content.decode() for one in found.contents() if one.at == int(index) and one.name == name]
        return texts[0] if texts else ""

    def close(self) -> None:
        """End it as an operator does."""
        self.process.terminate()
        try:
            self.process.wait(COMMAND_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for end in (self.process.stdin, self.process.stdout):
            if end is not None:
                end.close()


def begin(data_dir: Path, *options: str) -> Gateway:
    """Start a gateway on any free port of this machine, and go on."""
    arguments = [sys.executable, "-c", _WITH_US, "serve", *options, "--port", "0", "--data-dir", str(data_dir)]
    with data_dir.with_suffix(".log").open("w", encoding="utf-8") as log:
        pipe = subprocess.PIPE
        process = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=log, text=True, env=environment())
    return Gateway(process, data_dir)


def ready(gateway: Gateway) -> None:
    """Wait until it listens; raises RunError with its own last words."""
    said: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in gateway.process.stdout or ():
            said.put(line.rstrip("\n"))
        said.put("")

    threading.Thread(target=read, name="bylaw-demo-gateway", daemon=True).start()
    ends = time.monotonic() + START_S
    while not gateway.url:
        try:
            line = said.get(timeout=max(ends - time.monotonic(), 0.01))
        except queue.Empty:
            line = ""
        if not line:
            log = gateway.data_dir.with_suffix(".log").read_text("utf-8").strip().splitlines()
            raise RunError(f"the gateway did not start: {(log or ['it said nothing'])[0]}", f"See {gateway.data_dir.with_suffix('.log')}.")
        gateway.lines.append(line)
        gateway.url = found[1] if (found := _LISTENING.search(line)) else ""
    while not _is_ready(gateway.url):
        if time.monotonic() > ends or gateway.process.poll() is not None:
            raise RunError("the gateway is not ready", f"See {gateway.data_dir.with_suffix('.log')}.")
        time.sleep(POLL_S)


def _is_ready(url: str) -> bool:
    """Whether a gateway says that it can decide and record."""
    try:
        with _DIRECT.open(f"{url}/readyz", timeout=ASK_S) as reply:
            return bool(reply.status == 200)
    except urllib.error.HTTPError as error:
        with error:
            if error.code != NOT_YET:
                raise RunError(
                    f"the gateway answers {error.code} when asked whether it is ready", "See the logs beside its data."
                ) from error
    except OSError:  # it has its port, and does not listen yet
        return False
    return False


# ---- A model that does what its prompt says ------------------------------------------------------------------------------


@dataclass
class Agent:
    """A scripted model that can call tools: asked to refund, it writes that call."""

    url: str = ""
    asked: int = 0


@contextmanager
def agent() -> Iterator[Agent]:
    """Let the scripted model answer on this machine."""
    playing = Agent()

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            playing.asked += 1
            body = self.rfile.read(min(int(self.headers.get("content-length", "0")), MAX_BODY_BYTES))
            answer = json.dumps(scripted(json.loads(body)["messages"], playing.asked)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    playing.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, name="bylaw-demo-agent", daemon=True)
    thread.start()
    try:
        yield playing
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def scripted(messages: Sequence[Mapping[str, Any]], at: int) -> dict[str, Any]:
    """The reply to a conversation, the `at`th that was asked for."""
    message: dict[str, Any] = {"role": "assistant", "content": "There is nothing to do."}
    if wanted := _REFUND.search(str(messages[-1].get("content"))):
        arguments = json.dumps({"order": int(wanted[2]), "amount": float(wanted[1])})
        call = {"id": f"call-{at}", "type": "function", "function": {"name": "payments.refund", "arguments": arguments}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if "tool_calls" in message else "stop"}
    return {"id": f"chatcmpl-{at}", "object": "chat.completion", "created": int(time.time()), "model": "scripted", "choices": [choice]}


# ---- A policy whose reviewers are here -----------------------------------------------------------------------------------


def staffed(folder: Path, keys: Path) -> None:
    """Give the reviewers of a policy new keys, kept in `keys`: the shipped ones were thrown away."""
    keys.mkdir(parents=True)
    policy = parse.load(folder)
    manifest = folder / MANIFEST
    text = manifest.read_text("utf-8")
    for at, who in enumerate(policy.reviewers):
        text = text.replace(who.key, reviews.new_key(keys / f"{at}.pem"))
    manifest.write_text(text, "utf-8")
    for old in (folder / reviews.FOLDER).glob("*.json"):
        old.unlink()


def signed(folder: Path, keys: Path) -> int:
    """Let every reviewer sign every clause that is theirs, as it stands now; how many records that makes."""
    policy = parse.load(folder)
    now, count = datetime.now(UTC), 0
    for at, who in enumerate(policy.reviewers):
        for role, pattern in {(role, line.clauses) for line in policy.signoffs for role in who.roles if role in line.roles}:
            asked = Asked(who.name, role, pattern, note="signed by the demo's script")
            reviews.keep(folder, reviews.review(policy, asked, reviews.read_key(keys / f"{at}.pem"), now))
            count += 1
    return count

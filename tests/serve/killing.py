"""`bylaw serve` in a process of its own, clients that keep what they get, and kill -9 at a moment that nobody chose.

The upstream answers by what it is asked: `card N` says a card number, `small N` and `large N` call a tool, `never N` calls one that a
clause forbids. Every client writes down each reply; afterwards `Found` compares what was given out with what is in the ledger.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple

from bylaw.govern import keys
from bylaw.govern.approvals import Approvals
from bylaw.govern.keys import Grant
from bylaw.ledger import place, reading
from bylaw.ledger.writer import Ledger
from bylaw.store import database
from tests.figures import stands
from tests.serve.rig import CLAUSE, LOOKUP, REFUND

ROOT: Final = Path(__file__).parents[2]
CARD: Final = "4111 1111 1111 1111"
LIMIT: Final = 200.0
NEVER: Final = 7_654_321  # an amount that must not leave, and that no number of a request reaches
START_S: Final = 180.0
CLAUSES: Final = {
    "privacy.cards": "    on: [input, output]\n    detect: [pii.card.plain]\n    then: redact",
    "money.limit": "    on: tool_call\n    tool: refund\n    when: args.amount > 200.0\n    then: require_approval\n    approvers: [lead]\n"
    "    ttl: 30m",
    "money.never": "    on: tool_call\n    tool: refund\n    when: args.amount > 9000.0\n    then: block",
}


def policy(folder: Path) -> Path:
    """A policy with one rule of each kind, whose answers may stream."""
    (folder / "tools").mkdir(parents=True, exist_ok=True)
    (folder / "policy.yaml").write_text("id: killed\nversion: 1.0.0\nowners: [desk]\n")
    clauses = "\n".join(CLAUSE.format(id=one, title=one, rule=rule) for one, rule in CLAUSES.items())
    (folder / "rules.md").write_text("# Rules\n\n" + clauses)
    (folder / "tools" / "refund.json").write_text(json.dumps(REFUND))
    (folder / "tools" / "lookup.json").write_text(json.dumps(LOOKUP))
    return folder


# ---- The upstream ----------------------------------------------------------------------------------------------------


def _message(asked: str) -> dict[str, Any]:
    kind, _, number = asked.partition(" ")
    amount = {"small": 5.0, "large": 640.0, "never": float(NEVER)}.get(kind)
    if amount is None:
        return {"role": "assistant", "content": f"Answer {number}: {CARD if kind == 'card' else 'all is well'}, and so on and on and on."}
    given = json.dumps({"order": int(number), "amount": amount})
    call = {"id": f"c{number}", "type": "function", "function": {"name": "refund", "arguments": given}}
    return {"role": "assistant", "content": f"Order {number}.", "tool_calls": [call]}


class _Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # the name the server calls
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        message = _message(asked["messages"][-1]["content"])
        head = {"id": "c", "created": 1, "model": "m"}
        finish = "tool_calls" if "tool_calls" in message else "stop"
        if asked.get("stream"):
            text, calls = message["content"], [{"index": at, **one} for at, one in enumerate(message.get("tool_calls", ()))]
            deltas: list[dict[str, Any]] = [{"role": "assistant", "content": text[:9]}, {"content": text[9:]}]
            deltas += [{"tool_calls": calls}] if calls else []
            chunks = [{"index": 0, "delta": one, "finish_reason": None} for one in deltas] + [
                {"index": 0, "delta": {}, "finish_reason": finish}
            ]
            events = [{**head, "object": "chat.completion.chunk", "choices": [one]} for one in chunks]
            body = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events) + b"data: [DONE]\n\n"
            kind = "text/event-stream"
        else:
            choice = {"index": 0, "message": message, "finish_reason": finish}
            body, kind = json.dumps({**head, "object": "chat.completion", "choices": [choice]}).encode(), "application/json"
        with suppress(ConnectionError):
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The gateway was killed; that is what this is about."""


@contextmanager
def model() -> Iterator[str]:
    """The upstream's address."""
    server = _Server(("127.0.0.1", 0), _Model)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# ---- The gateway -----------------------------------------------------------------------------------------------------


def command(*arguments: str) -> list[str]:
    """A command line of ours."""
    return [sys.executable, "-m", "bylaw", *arguments]


def environment() -> dict[str, str]:
    """What a process of ours needs."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {"PYTHONPATH": paths, "PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/tmp")}


class Running(NamedTuple):
    """A gateway that answers."""

    process: "subprocess.Popen[str]"
    url: str

    def kill(self) -> None:
        """kill -9."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.communicate()


def start(folder: Path, data: Path, upstream: str) -> Running:
    """Start one, and wait until it answers."""
    return running(command("serve", "--policy", str(folder), "--upstream", upstream, "--port", "0", "--data-dir", str(data)))


def running(line: list[str]) -> Running:
    """A process that says its address, once it answers there."""
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment())
    if process.stdout is None:
        raise AssertionError("no pipe")
    for said in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:\d+", said):
            break
    else:
        raise AssertionError(process.communicate()[1])
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        with suppress(OSError), urllib.request.urlopen(f"{found[0]}/healthz", timeout=START_S) as reply:
            if reply.status == 200:
                return Running(process, found[0])
        time.sleep(0.01)
    process.kill()
    raise AssertionError(f"it does not answer: {process.communicate()[1]}")


# ---- Clients ---------------------------------------------------------------------------------------------------------


class Got(NamedTuple):
    """What a client has in its hands."""

    record: str
    number: int
    kind: str
    approval: str  # for which it waits, or under which it was to be released
    release: bool  # whether the client asked for the release
    body: bytes

    @property
    def called(self) -> bool:
        """Whether the client has the tool call."""
        return f'order\\": {self.number},'.encode() in self.body


@dataclass
class Clients:
    """Several clients, and all they ever got."""

    approver: str
    numbers: Iterator[int]
    got: list[Got] = field(default_factory=list)
    waiting: dict[str, int] = field(default_factory=dict)  # approvals that nobody has released yet, as far as clients know
    lock: threading.Lock = field(default_factory=threading.Lock)

    def load(self, url: str, stop: threading.Event, count: int = 6) -> list[threading.Thread]:
        """Begin to ask, until told to stop or until nobody answers."""
        threads = [threading.Thread(target=self._client, args=(url, stop, random.Random(at))) for at in range(count)]
        for thread in threads:
            thread.start()
        return threads

    def _client(self, url: str, stop: threading.Event, rng: random.Random) -> None:
        with suppress(OSError, HTTPException):  # the gateway has died: whatever was on its way is lost
            with self.lock:
                left = list(self.waiting.items())
            for approval, number in left[: 2 if rng.random() < 0.5 else 0]:
                self._release(url, approval, number)
            while not stop.is_set():
                kind = rng.choice(("say", "say", "card", "small", "small", "large", "never"))
                with self.lock:
                    number = next(self.numbers)
                found = self._ask(url, kind, number, rng.random() < 0.4)
                if kind == "large" and found.approval:
                    with self.lock:
                        self.waiting[found.approval] = number
                    self._http(
                        f"{url}/api/approvals/{found.approval}/approve", b'{"reason": "fine"}', {"authorization": f"Bearer {self.approver}"}
                    )
                    for _ in range(rng.choice((1, 1, 2))):
                        self._release(url, found.approval, number, rng.random() < 0.3)

    def _release(self, url: str, approval: str, number: int, stream: bool = False) -> None:
        found = self._ask(url, "large", number, stream, approval)
        if b'"approval":"' not in found.body:  # else whoever was to approve it died before they had: it waits on
            with self.lock:
                self.waiting.pop(approval, None)

    def _ask(self, url: str, kind: str, number: int, stream: bool, approval: str = "") -> Got:
        body = json.dumps({"model": "m", "stream": stream, "messages": [{"role": "user", "content": f"{kind} {number}"}]}).encode()
        headers = {"x-bylaw-session": f"s{number}"} | ({"x-bylaw-approval": approval} if approval else {})
        said, marks = self._http(f"{url}/v1/chat/completions", body, headers)
        waits = re.search(rb'"approval":"([0-9a-f-]+)"', said)
        waits_for = approval or (waits[1].decode() if waits else "")
        found = Got(marks.get("x-bylaw-record", ""), number, kind, waits_for, bool(approval), said)
        with self.lock:
            self.got.append(found)
        return found

    def _http(self, url: str, body: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
        request = urllib.request.Request(url, body, {"content-type": "application/json", **headers}, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                said = b""
                with suppress(OSError, HTTPException):  # what has come so far has come
                    while piece := reply.read1(65_536):
                        said += piece
                return said, {name.lower(): value for name, value in reply.headers.items()}
        except urllib.error.HTTPError as error:
            with error:
                return error.read(), {}


# ---- Afterwards ------------------------------------------------------------------------------------------------------


def entries(data: Path) -> dict[str, dict[str, Any]]:
    """Everything in the ledger, by its name."""
    found = {}
    for path in place.logs(data):
        with reading.stored(path) as log:
            for at, leaf in log.leaves():
                found[f"{log.origin}#{at}"] = reading.entry(path, leaf)
    return found


def faults(data: Path, got: Sequence[Got], *others: Path) -> list[str]:
    """What must not have happened and has, in the ledgers of one gateway or of several."""
    ledger = {name: entry for one in (data, *others) for name, entry in entries(one).items()}
    sessions: dict[str, list[dict[str, Any]]] = {}
    for entry in ledger.values():
        sessions.setdefault(str(entry.get("session", "")), []).append(entry)
    wrong = []
    for one in got:
        said = sessions.get(f"s{one.number}", [])
        there = [(entry.get("surface", ""), entry.get("decision", ""), entry["kind"], entry.get("facts", {})) for entry in said]
        if one.record and (one.record not in ledger or ledger[one.record].get("session") != f"s{one.number}"):
            wrong.append(f"{one.kind} {one.number}: its record {one.record} is not in the ledger")
        if CARD.encode() in one.body or stands(NEVER, one.body):
            wrong.append(f"{one.kind} {one.number}: a forbidden text left")
        if b"Answer" in one.body and not any(surface in ("input", "output") for surface, *_ in there):
            wrong.append(f"{one.kind} {one.number}: an answer left without a record")
        if b"[DONE]" in one.body and b"Answer" in one.body and ("output" not in {surface for surface, *_ in there}):
            wrong.append(f"{one.kind} {one.number}: a whole answer left without its record")
        if one.called and one.kind == "large":
            if not one.release or not any(kind == "release" and facts.get("approval") == one.approval for *_, kind, facts in there):
                wrong.append(f"large {one.number}: a call left that nobody approved, or without its record")
        elif one.called and not any((surface, decision) == ("tool_call", "allow") for surface, decision, *_ in there):
            wrong.append(f"{one.kind} {one.number}: a call left without its record")
    released = Counter(one.approval for one in got if one.called and one.release)
    wrong += [f"approval {approval} was released {times} times" for approval, times in released.items() if times > 1]
    written = Counter(str(entry["facts"]["approval"]) for entry in ledger.values() if entry["kind"] == "release")
    wrong += [f"approval {approval} has {times} records of a release" for approval, times in written.items() if times > 1]
    return wrong


def verified(data: Path) -> str:
    """What `bylaw ledger verify` says; empty where all holds."""
    done = subprocess.run(
        command("ledger", "verify", "--data-dir", str(data)), capture_output=True, text=True, cwd=ROOT, env=environment(), check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


@dataclass
class Outcome:
    """What rounds have shown."""

    rounds: int
    got: list[Got]
    wrong: list[str]
    verify: str

    @property
    def released(self) -> int:
        """How many calls were released after an approval."""
        return sum(one.called and one.release for one in self.got)


def rounds(place_: Path, count: int, seed: int, longest_s: float = 0.5) -> Outcome:
    """So many lives of one gateway under load, each of them ended by kill -9."""
    rng, data, folder = random.Random(seed), place_ / "data", policy(place_ / "policy")
    with closing(database.open(data / database.DEFAULT.name)) as store, Ledger(data) as ledger:
        _, approver = keys.create(store, ledger.append, Grant("lena", ("lead",)))
    numbers = iter(range(10**9))
    clients = Clients(approver, numbers)
    with model() as upstream:
        for life in range(count):
            running = start(folder, data, upstream)
            stop = threading.Event()
            threads = clients.load(running.url, stop)
            time.sleep(rng.uniform(0.02, longest_s))
            late = time.monotonic() + START_S
            while life == count - 1 and len(clients.got) <= count and time.monotonic() < late:
                time.sleep(0.01)  # on a slow machine the last one lives until there is something to compare
            running.kill()
            stop.set()
            for thread in threads:
                thread.join()
    return Outcome(count, clients.got, faults(data, clients.got), verified(data))


# ---- The same for a guard --------------------------------------------------------------------------------------------


@dataclass
class Worked:
    """What lives of a process under a guard have shown."""

    effects: Counter[int]  # how often each order was paid
    unknown: int  # calls that were running when their process died, for a person to settle
    wrong: list[str]
    verify: str


def guard_rounds(folder: Path, count: int, seed: int, longest_s: float = 0.4) -> Worked:
    """So many lives of one process that runs a tool under a guard, each of them ended by kill -9."""
    rng = random.Random(seed)
    policy(folder / "policy")
    for life in range(count):
        line = [sys.executable, "-m", "tests.serve.guarding", str(folder), str(life)]
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment()) as process:
            if process.stdout is None or process.stdout.readline() != "open\n":
                raise AssertionError(process.communicate()[1])
            time.sleep(rng.uniform(0.02, longest_s))
            process.kill()
            process.communicate()
    return worked(folder)


def worked(folder: Path) -> Worked:
    """Compare what the tool did with the store and with the ledger."""
    lines = [line.split() for line in (folder / "effects").read_text().splitlines()] if (folder / "effects").exists() else []
    effects = Counter(int(order) for order, _ in lines)
    ledger = list(entries(folder).values())
    allowed = {str(one["session"]) for one in ledger if one.get("surface") == "tool_call" and one.get("decision") == "allow"}
    claimed = {str(one["approval"]) for one in ledger if one.get("facts", {}).get("step") == "claimed"}
    with closing(database.open(folder / "store.sqlite")) as store:
        found = Approvals(store, lambda _: None).find(limit=100_000)
    orders = {
        one.what()["args"]["order"]: one for one in found if one.id in claimed
    }  # a record may tell of a claim that then did not happen
    wrong = [f"order {order} was paid {times} times" for order, times in effects.items() if times > 1]
    for order, amount in lines:
        if float(amount) > LIMIT and int(order) not in orders:
            wrong.append(f"order {order} was paid without a record of its claim")
        elif float(amount) <= LIMIT and f"s{order}" not in allowed:
            wrong.append(f"order {order} was paid without a record")
    wrong += [f"order {order} is done, and was never paid" for order, one in orders.items() if one.state == "done" and not effects[order]]
    return Worked(effects, sum(one.state == "unknown" for one in found), wrong, verified(folder))

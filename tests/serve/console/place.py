"""A gateway with its console, its people, and what they look at; and a plain client that keeps a cookie."""

import http.client
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from bylaw.govern import keys
from bylaw.govern.keys import Grant
from bylaw.ledger.writer import Ledger
from bylaw.serve.start import Process, Setting, prepare
from bylaw.store import database
from tests.serve.rig import Reply as Answer
from tests.serve.rig import serving, speaking
from tests.serve.test_serving import REFUNDS, Served, refunding, saying, until

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'{{ 7*7 }}\u202egnp.exe\u200b\x07"

RATE = {"rate": 0.9, "low": 0.8, "high": 0.95, "n": 60, "missing": 0}
NONE = {"rate": None, "low": None, "high": None, "n": 0, "missing": 0}


def results(folder: Path, digest: str) -> Path:
    """A run's results: one clause met, one missed, one that nothing measured."""
    cells: dict[str, Any] = {
        "all": {"exact": RATE},
        "clause:money.refund-limit": {"exact": RATE, "resist": {**RATE, "rate": 1.0}},
        "clause:privacy.other-customers": {"exact": RATE, "resist": {**RATE, "rate": 0.2}},
        "clause:advice.legal": {"exact": NONE, "resist": NONE},
        "clause:honesty.machine": {"exact": RATE, "resist": {**RATE, "rate": 1.0}},
    }
    base: dict[str, Any] = {name: {metric: {**one, "rate": 0.1} for metric, one in cell.items()} for name, cell in cells.items()}
    folder.mkdir()
    value = {"schema": 1, "policy": {"digest": digest}, "arms": {"base": base, "sft_rl": cells}, "comparisons": {}}
    (folder / "results.json").write_text(json.dumps(value))
    return folder


@dataclass
class Place(Served):
    """A running gateway, and keys to its console."""

    people: dict[str, str] = field(default_factory=dict)  # name -> secret

    def waiting(self, amount: float = 640.0, order: int = 81, words: str = "Refund it", session: str = "", who: str = "agent") -> str:
        """A refund that waits for a person; its approval."""
        call = refunding(amount)
        function = call["choices"][0]["message"]["tool_calls"][0]["function"]
        function["arguments"] = orjson.dumps({"order": order, "amount": amount}).decode()
        self.speaker.replies.append(call)
        told = self.answered(words, authorization=f"Bearer {self.people[who]}", **({"x-bylaw-session": session} if session else {}))
        return str(orjson.loads(told.body)["bylaw"]["approval"])

    def says(self, words: str, **headers: str) -> None:
        """The model answers something to somebody."""
        self.speaker.replies.append(saying(words))
        self.answered("Hello", authorization=f"Bearer {self.people['agent']}", **headers)

    def answered(self, words: str, **headers: str) -> Answer:
        """What comes once nothing is stopped: that a stop was lifted is known within a second."""
        found: list[Answer] = []

        def came() -> bool:
            found.append(self.ask(words, **headers))
            return found[-1].headers.get("x-bylaw-decision") != "stop"

        until(came)
        return found[-1]

    def desk_entries(self, kind: str) -> list[dict[str, Any]]:
        """What the ledger has of a kind, newest first."""
        found: list[dict[str, Any]] = orjson.loads(self.get(f"/api/decisions?limit=200&kind={kind}").body)["decisions"]
        return found


@contextmanager
def place(folder: Path, **setting: Any) -> Iterator[Place]:
    """A gateway with keys for an agent, a viewer, an approver and an admin."""
    with ExitStack() as stack:
        speaker = stack.enter_context(speaking())
        made = Setting(f"{speaker.url}/v1", data_dir=folder, **setting)
        prepare(made, REFUNDS, "tester")
        url = stack.enter_context(serving(Process(made)))
        store = database.open(made.database)
        stack.callback(store.close)
        ledger = stack.enter_context(Ledger(folder))
        found = Place(url, speaker, store, ledger, folder)
        for name, roles in {
            "agent": ("agent",),
            "vera": ("viewer",),
            "lead": ("support-lead",),
            "ops": ("admin",),
            "nina": ("agent", "intern"),
            "ada": ("admin", "support-lead"),
        }.items():
            _, found.people[name] = keys.create(store, ledger.append, Grant(name, roles))
        for secret in found.people.values():
            known(found, secret)
        yield found


@dataclass
class Reply:
    """What a browser would show."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def words(self) -> str:
        """The page without its markup."""
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", self.text)).split())

    @property
    def csrf(self) -> str:
        """The token of its forms."""
        found = re.search(r'name="csrf" value="([^"]*)"', self.text)
        return found[1] if found else ""


@dataclass
class Client:
    """A browser without a window: it keeps the cookie and follows nothing."""

    url: str
    cookie: str = ""
    csrf: str = ""

    def get(self, path: str, **headers: str) -> Reply:
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, form: Mapping[str, str] | None = None, **headers: str) -> Reply:
        sent = {"origin": self.url, "content-type": "application/x-www-form-urlencoded", **headers}
        return self.ask("POST", path, urlencode({"csrf": self.csrf, **(form or {})}), sent)

    def ask(self, method: str, path: str, body: str = "", headers: Mapping[str, str] = {}) -> Reply:  # never changed
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        sent = {**({"cookie": self.cookie} if self.cookie else {}), **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request(method, f"/console{path}", body.encode() if body else None, sent)
        reply = connection.getresponse()
        found = Reply(reply.status, reply.read().decode(), {name.lower(): value for name, value in reply.getheaders()})
        connection.close()
        return found

    def enter(self, secret: str) -> Reply:
        """Sign in."""
        found = self.post("/login", {"key": secret})
        if found.status == 303:
            self.cookie = found.headers["set-cookie"].partition(";")[0]
            page = found
            while page.status == 303:
                page = self.get(page.headers["location"].removeprefix("/console"))
            self.csrf = page.csrf
        return found


def known(at: Place, secret: str) -> Client:
    """A client who signs in with a new key once the gateway has seen it, which is within a second; a wrong try at the door would count."""
    until(lambda: at.get("/api/decisions?limit=1", authorization=f"Bearer {secret}").status != 401)
    client = Client(at.url)
    client.enter(secret)
    return client


def signed_in(at: Place, name: str) -> Client:
    """A client of somebody who has signed in."""
    client = Client(at.url)
    assert client.enter(at.people[name]).status == 303
    return client

"""Two real gateways on one PostgreSQL: what one is told the other knows within a second; one is killed -9, and nothing is lost."""

import itertools
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from bylaw.govern import keys
from bylaw.govern.approvals import Approvals
from bylaw.govern.keys import Grant
from bylaw.ledger.writer import Ledger
from bylaw.serve import live
from bylaw.store import database
from bylaw.store.database import Store
from tests.serve import killing
from tests.serve.rig import Reply, post
from tests.serve.test_serving import WITHIN_S, best, until
from tests.store import postgres

pytestmark = pytest.mark.slow


class Pair(NamedTuple):
    """Two gateways, and what a test needs beside them."""

    running: list[killing.Running]
    again: Callable[[int], killing.Running]  # start one once more
    store: Store
    data: list[Path]
    policy: Path
    approver: str

    @property
    def urls(self) -> list[str]:
        return [one.url for one in self.running]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    if why := postgres.missing():
        pytest.skip(why)
    with ExitStack() as stack:
        url = postgres.database(stack.enter_context(postgres.cluster()))
        upstream = stack.enter_context(killing.model())
        store = stack.enter_context(closing(database.open(url)))
        folder, data = killing.policy(tmp_path / "policy"), [tmp_path / "data0", tmp_path / "data1"]
        with Ledger(data[0]) as ledger:
            _, approver = keys.create(store, ledger.append, Grant("lena", ("lead",)))

        def start(at: int) -> killing.Running:
            options = ["--policy", str(folder), "--upstream", upstream, "--port", "0", "--store", url, "--data-dir", str(data[at])]
            found = killing.running(killing.command("serve", *options))
            stack.callback(lambda: found.process.poll() is None and found.kill())
            return found

        yield Pair([start(0), start(1)], start, store, data, folder, approver)


def said(url: str, what: str, session: str = "s", approval: str = "") -> Reply:
    """One request to the model."""
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": what}]})
    headers = {"x-bylaw-session": session} | ({"x-bylaw-approval": approval} if approval else {})
    return post(f"{url}/v1/chat/completions", body, headers=headers)


def decision(reply: Reply) -> str:
    return reply.headers.get("x-bylaw-decision", str(reply.status))


def approve(url: str, approval: str, approver: str) -> int:
    return post(f"{url}/api/approvals/{approval}/approve", b'{"reason": "seen"}', headers={"authorization": f"Bearer {approver}"}).status


def in_force(url: str) -> str:
    return str(orjson.loads(post(f"{url}/readyz", method="GET").body)["policy"])


def test_what_one_gateway_is_told_the_other_knows_within_a_second(tmp_path: Path, pair: Pair) -> None:
    here, there = pair.urls
    numbers, told = itertools.count(1), []

    def approved() -> tuple[float]:
        what, replies = f"large {next(numbers)}", []
        waiting = said(here, what)
        approval = str(orjson.loads(waiting.body)["bylaw"]["approval"])
        early = said(there, what, approval=approval)
        status = approve(here, approval, pair.approver)

        def released() -> bool:
            replies.append(said(there, what, approval=approval))
            return decision(replies[-1]) == "allow"

        took = until(released)
        twice = said(here, what, approval=approval)
        released_it = f'order\\": {what.split()[1]},'.encode() in replies[-1].body
        told.append((decision(waiting), decision(early), status, released_it, decision(twice)))
        return (took,)

    def stopped() -> tuple[float, float]:
        post(f"{here}/api/stop", b'{"scope": "global", "reason": "a drill"}')
        stop = until(lambda: all(decision(said(one, "say 2")) == "stop" for one in (here, there)))
        post(f"{there}/api/stop", b'{"scope": "global"}', method="DELETE")
        return stop, until(lambda: all(decision(said(one, "say 3")) == "allow" for one in (here, there)))

    other = tmp_path / "other"
    shutil.copytree(pair.policy, other)
    (other / "rules.md").write_text((other / "rules.md").read_text().replace("9000.0", "600.0"))
    folders = itertools.cycle((other, pair.policy))

    def switched() -> tuple[float]:
        made, _ = live.activate(pair.store, lambda entry: "", next(folders), "kim", unsigned="a test")
        return (until(lambda: all(in_force(one) == made.digest for one in (here, there))),)

    quickest = {trial.__name__: best(trial) for trial in (approved, stopped)}
    before = [decision(said(one, "large 4", session=f"b{at}")) for at, one in enumerate(pair.urls)]
    first = switched()
    after = [decision(said(one, "large 5", session=f"a{at}")) for at, one in enumerate(pair.urls)]
    quickest["switched"] = min(*first, best(switched))

    assert set(told) == {("require_approval", "require_approval", 200, True, "block")}
    assert (before, after) == (["require_approval"] * 2, ["block"] * 2)
    assert {what: seconds for what, seconds in quickest.items() if seconds >= WITHIN_S} == {}


def test_one_gateway_is_killed_under_load_and_nothing_is_lost_or_done_twice(pair: Pair) -> None:
    clients, stop, threads = killing.Clients(pair.approver, iter(range(10**9))), threading.Event(), []
    for one in pair.running:
        threads += clients.load(one.url, stop, 4)
    until(lambda: len(clients.got) >= 100)
    pair.running[0].kill()
    killed_at = len(clients.got)
    until(lambda: len(clients.got) >= killed_at + 100)
    on_their_own = len(clients.got) - killed_at
    reborn, reborn_at = pair.again(0), len(clients.got)
    threads += clients.load(reborn.url, stop, 2)
    until(lambda: len(clients.got) >= reborn_at + 50)
    stop.set()
    for thread in threads:
        thread.join()
    open_before = dict(clients.waiting)  # asked for, and no client has the call
    for approval, number in open_before.items():
        for url in (reborn.url, pair.urls[1]):  # both are asked; one at most may give it out
            approve(url, approval, pair.approver)
            clients._ask(url, "large", number, False, approval)
    for one in (reborn, pair.running[1]):
        one.kill()
    wrong = killing.faults(pair.data[0], clients.got, pair.data[1])
    verified = [killing.verified(one) for one in pair.data]
    with closing(Approvals(pair.store, lambda entry: "", recover=False)) as approvals:
        states = Counter(one.state for one in approvals.find(limit=100_000))
        known = {one.approval for one in clients.got if one.kind == "large" and one.approval}
        unfinished = [(one.id, one.state) for one in approvals.find(limit=100_000) if one.id in known and one.state != "released"]
    records: dict[str, dict[str, Any]] = {name: entry for one in pair.data for name, entry in killing.entries(one).items()}
    given = Counter(str(entry["facts"]["approval"]) for entry in records.values() if entry["kind"] == "release")
    print(f"{len(clients.got)} replies, {on_their_own} while one gateway was dead, {states['released']} releases, {len(records)} records")

    assert (wrong, verified) == ([], ["", ""])
    assert (killed_at > 0, on_their_own > 0, states["released"] > 0) == (True, True, True)
    assert unfinished == []
    assert {approval for approval, times in given.items() if times > 1} == set()
    assert {one.record for one in clients.got if one.record} <= set(records)

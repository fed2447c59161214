"""Sessions across processes: a refund split over two gateways, two workers or a restart is seen; what nothing reads is not stored."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from bylaw.errors import StoreError
from bylaw.govern import keys
from bylaw.govern.histories import Histories
from bylaw.govern.keys import Grant
from bylaw.govern.session import History, Kept
from bylaw.serve.sessions import Keeper, Session, Sessions
from bylaw.serve.start import Process, Setting, prepare
from bylaw.store import database, session_rows
from bylaw.store.database import Store
from bylaw.types import Decision, Event
from tests.serve.rig import PATIENCE_S, STREAMABLE, Speaker, post, rigged, serving, speaking, written
from tests.serve.test_serving import saying, until

ALLOW = Decision("allow", (), (), "")


def refund(amount: float, tool: str = "refund") -> dict[str, Any]:
    reply = saying("")
    arguments = orjson.dumps({"order": 81, "amount": amount}).decode()
    reply["choices"][0]["message"]["tool_calls"] = [{"id": "c1", "type": "function", "function": {"name": tool, "arguments": arguments}}]
    return reply


def asked(url: str, session: str = "s1") -> str:
    """What is decided on the next reply of the upstream."""
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Refund order 81."}]})
    reply = post(f"{url}/v1/chat/completions", body, headers={"x-bylaw-session": session})
    assert reply.status == 200, reply.body
    return reply.headers["x-bylaw-decision"]


@contextmanager
def gateways(tmp_path: Path, url: str, number: int = 2, clauses: Any = STREAMABLE) -> Iterator[tuple[list[str], Speaker]]:
    """Gateways with a data directory each, on one store."""
    policy = written(tmp_path / "policy", clauses)
    with ExitStack() as stack:
        speaker = stack.enter_context(speaking())
        urls = []
        for at in range(number):
            setting = Setting(f"{speaker.url}/v1", store=url, data_dir=tmp_path / f"data{at}")
            prepare(setting, policy, "tester")
            urls.append(stack.enter_context(serving(Process(setting))))
        yield urls, speaker


# ---- A session in a process ------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with ExitStack() as stack:
        opened = database.open(tmp_path / "store.sqlite")
        stack.callback(opened.close)
        yield opened


@contextmanager
def two(store: Store) -> Iterator[tuple[Session, Session]]:
    """One session in two processes."""
    with ExitStack() as stack:
        keepers = [Keeper(Histories(store)) for _ in range(2)]
        for keeper in keepers:
            stack.callback(keeper.close)
        first, second = (Sessions(keeper=keeper).of("kim", "s") for keeper in keepers)
        yield first, second


def ran(amount: float) -> Callable[[History], History]:
    return lambda history: history.after(Event("tool_call", "refund", {"amount": amount}), ALLOW)


def test_a_swap_on_what_another_process_has_changed_is_refused_and_then_seen(store: Store) -> None:
    async def go(first: Session, second: Session) -> tuple[list[bool], float]:
        judged = [await one.known(True) for one in (first, second)]
        won = [await one.swap(was, ran(60.0)(was), True) for one, was in zip((first, second), judged, strict=True)]
        again = await second.known(True)
        won.append(await second.swap(again, ran(60.0)(again), True))
        return won, (await first.known(True)).sums["refund.amount"]

    with two(store) as (first, second):
        won, total = asyncio.run(go(first, second))

    assert (won, total) == ([True, False, True], 120.0)


def test_changes_by_two_processes_at_once_are_all_kept(store: Store) -> None:
    async def go(first: Session, second: Session) -> float:
        await asyncio.gather(*(one.change(ran(1.0), True) for one in (first, second) * 10))
        return (await first.known(True)).sums["refund.amount"]

    with two(store) as (first, second):
        total = asyncio.run(go(first, second))

    assert total == 20.0


def test_what_was_counted_in_memory_joins_what_the_store_has_once(store: Store) -> None:
    async def go(first: Session, second: Session) -> dict[str, Any]:
        await first.change(ran(50.0), False)
        await second.change(ran(30.0), True)
        await first.known(True)
        await first.known(True)
        return (await second.known(True)).facts()

    with two(store) as (first, second):
        facts = asyncio.run(go(first, second))

    assert (facts["sums"], facts["n_calls"]) == ({"refund.amount": 80.0}, 2)


def test_a_session_whose_row_was_forgotten_is_still_known_where_it_was_used(store: Store) -> None:
    async def go(first: Session, second: Session) -> float:
        await first.change(ran(50.0), True)
        session_rows.forget(store, "kim")
        await first.known(True)
        await first.change(ran(1.0), True)
        return (await second.known(True)).sums["refund.amount"]

    with two(store) as (first, second):
        total = asyncio.run(go(first, second))

    assert total == 51.0


def test_a_session_that_cannot_be_read_is_no_empty_one(store: Store) -> None:
    with two(store) as (first, _):
        asyncio.run(first.change(ran(50.0), True))
        (Path(store.name)).unlink()
        with pytest.raises(StoreError):
            asyncio.run(first.known(True))


def test_a_refusal_is_judged_on_what_the_session_is_now(store: Store) -> None:
    ask = Decision("require_approval", (), (), "")
    event = Event("tool_call", "refund", {"amount": 190.0})

    async def go(first: Session, second: Session) -> list[Any]:
        await first.change(lambda history: history.after(event, ask, "a1"), True)
        await second.known(True)
        await second.change(lambda history: history.given_back("a1"), True)
        stale = await first.begun(True, 0)
        refused = await first.swap(stale, stale, True)
        again = await first.begun(True, 1)
        return [dict(stale.held) != {}, refused, dict(again.held), await first.swap(again, again, True)]

    with two(store) as (first, second):
        found = asyncio.run(go(first, second))

    assert found == [True, False, {}, True]


@pytest.mark.slow
def test_a_call_in_a_session_that_never_stands_still_is_blocked(tmp_path: Path, store: Store) -> None:
    class Restless(Histories):
        """A store in which another process is always faster."""

        def swap(self, principal: str, name: str, kept: Kept, history: History) -> Kept | None:
            return super().swap(principal, name, Kept(kept.history, kept.version + 1), history)

    keeper = Keeper(Restless(store))
    with rigged(tmp_path) as rig:
        rig.gate.sessions = Sessions(keeper=keeper)
        rig.speaker.replies += [refund(20.0), saying("Yes.")]
        effects = [asked(rig.url), asked(rig.url)]
    keeper.close()
    last = next(one for one in rig.book.entries if one.get("surface") == "tool_call")

    assert (effects, last["decision"], last["facts"]["undecided"]) == (["block", "allow"], "block", ["session"])


# ---- Gateways --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_refund_split_over_two_gateways_is_seen(tmp_path: Path, url: str) -> None:
    with gateways(tmp_path, url) as (urls, speaker):
        speaker.replies += [refund(90.0)] * 4
        effects = [asked(urls[at % 2]) for at in range(3)]
        other = asked(urls[1], "s2")

    assert (effects, other) == (["allow", "allow", "require_approval"], "allow")


@pytest.mark.slow
def test_a_refund_that_waits_at_one_gateway_counts_at_the_other(tmp_path: Path, url: str) -> None:
    with gateways(tmp_path, url) as (urls, speaker):
        speaker.replies += [refund(250.0), refund(20.0)]
        effects = [asked(urls[0]), asked(urls[1])]

    assert effects == ["require_approval", "require_approval"]


@pytest.mark.slow
def test_a_restart_forgets_no_sum(tmp_path: Path, url: str) -> None:
    effects = []
    for _ in range(3):
        with gateways(tmp_path, url, 1) as (urls, speaker):
            speaker.replies += [refund(90.0)]
            effects.append(asked(urls[0]))

    assert effects == ["allow", "allow", "require_approval"]


@pytest.mark.slow
def test_where_no_condition_reads_the_session_no_row_is_written(tmp_path: Path, url: str) -> None:
    with gateways(tmp_path, url, 1, ("privacy.cards", "money.never")) as (urls, speaker):
        speaker.replies += [refund(90.0, "lookup"), refund(90.0), saying("Yes.")]
        for _ in range(3):
            asked(urls[0])
        store = database.open(url)
        rows = session_rows.count(store)
        store.close()

    assert rows == 0


# ---- Real processes --------------------------------------------------------------------------------------------------


class Started(NamedTuple):
    """A gateway in processes of its own, and what it said before it listened."""

    url: str
    process: "subprocess.Popen[str]"
    said: list[str]


@contextmanager
def started(tmp_path: Path, upstream: str, *options: str, policy: Path | None = None) -> Iterator["Started"]:
    """`bylaw serve` in processes of its own."""
    policy = policy or written(tmp_path / "policy")
    line = [sys.executable, "-m", "bylaw", "serve", "--policy", str(policy), "--upstream", f"{upstream}/v1", "--port", "0"]
    with subprocess.Popen(
        [*line, "--data-dir", str(tmp_path / "data"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            said: list[str] = []
            while not (line_said := process.stdout.readline()).startswith("listening on "):
                assert line_said, said
                said.append(line_said)
            url = line_said.rpartition(" ")[2].strip()
            until(lambda: ready(url) or process.poll() is not None)
            if process.poll() is not None:
                raise AssertionError(process.stdout.read())
            yield Started(url, process, said)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(PATIENCE_S)
            if process.stdout is not None:
                process.stdout.close()


def ready(url: str) -> bool:
    try:
        return post(f"{url}/healthz", method="GET").status == 200
    except OSError:
        return False


def each_worker(url: str) -> list[HTTPConnection]:
    """A connection to each of two workers. What comes one after another may all come to one, so that eight ask at once."""
    found: dict[str, HTTPConnection] = {}
    late = time.monotonic() + PATIENCE_S
    while len(found) < 2 and time.monotonic() < late:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(said_on, [HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_S) for _ in range(8)]))
        for connection, headers in answers:
            worker = headers["x-bylaw-record"].partition("#")[0]  # each has a log of its own
            if found.setdefault(worker, connection) is not connection:
                connection.close()
    assert len(found) == 2
    return list(found.values())


def said_on(connection: HTTPConnection, session: str = "whose") -> tuple[HTTPConnection, Message]:
    """Ask on one connection, which is one worker's as long as it lasts."""
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Refund order 81."}]})
    connection.request("POST", "/v1/chat/completions", body, {"x-bylaw-session": session})
    with connection.getresponse() as reply:
        assert reply.status == 200, reply.read()
        reply.read()
        return connection, reply.headers


@pytest.mark.slow
def test_two_workers_see_one_session(tmp_path: Path) -> None:
    with speaking() as speaker:
        speaker.otherwise = refund(15.0)
        with started(tmp_path, speaker.url, "--workers", "2") as (url, *_), ExitStack() as stack:
            workers = [stack.enter_context(closing(one)) for one in each_worker(url)]
            effects = [said_on(workers[at % 2], "s1")[1]["x-bylaw-decision"] for at in range(20)]

    assert effects == ["allow"] * 13 + ["require_approval"] * 7


def at_once(urls: list[str], number: int) -> list[str]:
    """What is decided on so many requests that come at the same time."""
    with ThreadPoolExecutor(8) as pool:
        return sorted(pool.map(lambda at: asked(urls[at % len(urls)]), range(number)))


@pytest.mark.slow
def test_halves_that_come_at_once_at_two_gateways_never_exceed_the_limit(tmp_path: Path, url: str) -> None:
    with gateways(tmp_path, url) as (urls, speaker):
        speaker.replies += [refund(50.0)] * 12
        effects = at_once(urls, 12)

    assert 1 <= effects.count("allow") <= 4
    assert set(effects) <= {"allow", "require_approval", "block", "stop"}  # a machine so busy that a stop could not be looked up stops


@pytest.mark.slow
def test_halves_that_come_at_once_at_two_workers_never_exceed_the_limit(tmp_path: Path) -> None:
    with speaking() as speaker:
        speaker.replies += [refund(50.0)] * 24
        with started(tmp_path, speaker.url, "--workers", "2") as (url, *_):
            effects = at_once([url], 24)

    assert 1 <= effects.count("allow") <= 4
    assert set(effects) <= {"allow", "require_approval", "block", "stop"}  # a machine so busy that a stop could not be looked up stops


@pytest.mark.slow
def test_a_process_that_is_killed_forgets_no_sum(tmp_path: Path) -> None:
    effects = []
    with speaking() as speaker:
        speaker.replies += [refund(90.0)] * 100
        for _ in range(3):
            with started(tmp_path, speaker.url) as (url, process, _):
                late = time.monotonic() + 60  # a process that could not look at the stops for a second stops all: on a busy machine too
                while (effect := asked(url)) == "stop" and time.monotonic() < late:
                    time.sleep(0.1)
                effects.append(effect)
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(PATIENCE_S)

    assert effects == ["allow", "allow", "require_approval"]


# ---- Approvals -------------------------------------------------------------------------------------------------------


def kept(url: str, principal: str = "local", name: str = "s1") -> History:
    """What the store knows of a session."""
    store = database.open(url)
    try:
        return Histories(store).read(principal, name).history
    finally:
        store.close()


def answered(tmp_path: Path, url: str, urls: list[str], yes: bool) -> str:
    """Have a refund wait at the first gateway, and a person answer; the approval's id."""
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Refund order 81."}]})
    reply = post(f"{urls[0]}/v1/chat/completions", body, headers={"x-bylaw-session": "s1"})
    approval = str(orjson.loads(reply.body)["bylaw"]["approval"])
    store = database.open(url)
    try:
        _, secret = keys.create(store, lambda entry: "", Grant("lead", ("lead",)))
    finally:
        store.close()
    step, lead = "approve" if yes else "deny", {"authorization": f"Bearer {secret}"}
    until(lambda: post(f"{urls[1]}/api/approvals/{approval}/{step}", b'{"reason": "seen"}', headers=lead).status == 200)
    return approval


def released(url: str, approval: str) -> str:
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Refund order 81."}]})
    reply = post(f"{url}/v1/chat/completions", body, headers={"x-bylaw-session": "s1", "x-bylaw-approval": approval})
    return reply.headers["x-bylaw-decision"]


@pytest.mark.slow
def test_a_refund_that_was_approved_counts_once_wherever_it_is_released(tmp_path: Path, url: str) -> None:
    with gateways(tmp_path, url) as (urls, speaker):
        speaker.replies += [refund(190.5), refund(250.0), refund(20.0)]
        first = asked(urls[1])
        approval = answered(tmp_path, url, urls, True)
        effects = [released(urls[1], approval), released(urls[0], approval)]
        later = asked(urls[0])
    history = kept(url)

    assert (first, effects, later) == ("allow", ["allow", "block"], "require_approval")
    assert (history.sums["refund.amount"], len(history.calls), len(history.held)) == (440.5, 2, 1)


@pytest.mark.slow
def test_a_refund_that_was_denied_counts_no_more_at_any_gateway(tmp_path: Path, url: str) -> None:
    with gateways(tmp_path, url) as (urls, speaker):
        speaker.replies += [refund(250.0), refund(20.0), refund(20.0)]
        approval = answered(tmp_path, url, urls, False)
        waits = kept(url).held
        told = released(urls[1], approval)
        effects = [asked(one) for one in urls]
    history = kept(url)

    assert (len(waits), told, effects) == (1, "block", ["allow", "allow"])
    assert (dict(history.sums), dict(history.held)) == ({"refund.order": 162.0, "refund.amount": 40.0}, {})

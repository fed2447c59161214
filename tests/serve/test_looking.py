"""Signals are looked for by the gateway itself: one process of many, in a process of its own; what fails is visible and stops nothing."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bylaw.errors import PolicyError
from bylaw.ledger import place
from bylaw.ledger.writer import Ledger
from bylaw.serve import looking, wiring
from bylaw.serve.looking import Looking
from bylaw.serve.lookout import Lookout, SignalsAt
from bylaw.serve.wiring import HookAt, Troubles, Wiring
from tests.serve.recorded import recent
from tests.serve.test_processes_wiring import CLOSED, SECRET, listening, troubles
from tests.serve.test_serving import saying, until
from tests.serve.test_watched import samples, watched

DAY_US = 86_400_000_000


def unlike_itself(data_dir: Path) -> None:
    """Somebody who has called one tool for days calls another."""
    now = time.time_ns() // 1_000
    with Ledger(data_dir) as ledger:
        for at in range(40):
            said = {"kind": "decision", "surface": "tool_call", "decision": "allow", "principal": "kim", "tool": "lookup"}
            ledger.append({**said, "time": now - 3 * DAY_US + at})
        ledger.append({**said, "tool": "refund", "time": now - 1_000_000})


@contextmanager
def processes(data_dir: Path, wired: Wiring, number: int = 1, every_s: int = 3_600) -> Iterator[list[Troubles]]:
    """What so many workers do about signals."""
    with ExitStack() as stack:
        told = [Troubles() for _ in range(number)]
        for one in told:
            made = Looking(SignalsAt(every_s), wired, [(data_dir, str(data_dir / "store.sqlite"))], one.say, poll_s=0.05)
            stack.callback(made.close)
        yield told


def looked(data_dir: Path) -> Callable[[], bool]:
    return lambda: looking.last(data_dir) is not None


def test_the_file_says_how_often(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("signals: {every: 15m, window: 12h}\n")
    (tmp_path / "wrong.yaml").write_text("signals: {window: 12h}\n")
    with pytest.raises(PolicyError, match=r"wrong\.yaml:1.*every"):
        wiring.read(tmp_path / "wrong.yaml")

    assert wiring.found(tmp_path).lookout.signals == SignalsAt(900, 43_200, 30 * 86_400)


@pytest.mark.slow
def test_of_many_processes_one_looks_and_people_are_rung_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYLAW_TEST_SECRET", SECRET)
    unlike_itself(tmp_path)
    with listening(lambda body: {}) as desk:
        wired = Wiring(hosts=("127.0.0.1",), hooks=(HookAt(f"{desk.url}/x", "BYLAW_TEST_SECRET", True),))
        with processes(tmp_path, wired, 3) as told:
            until(looked(tmp_path))
            time.sleep(0.5)  # so that the others would have, too
            faults = [one.now() for one in told]
        first = looking.last(tmp_path)
        with processes(tmp_path, wired, 2, every_s=1):  # another look finds the same, of which somebody was told
            until(lambda: looking.last(tmp_path) != first)
    again = looking.last(tmp_path)
    entries = [one for one in recent(tmp_path, 100) if one["kind"] == "signal"]

    assert first is not None
    assert again is not None
    assert (first.standing, first.fault, first.done >= first.at, faults) == (1, "", True, [[], [], []])
    assert (again.standing, again.at > first.at) == (1, True)
    assert [one["data"]["signal"] for one in desk.got] == ["new_tool"]
    assert [one["facts"]["signal"] for one in entries] == ["new_tool"]


@pytest.mark.slow
def test_a_look_that_fails_is_told_by_every_process_and_the_next_good_one_takes_it_back(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    store = tmp_path / "data" / "store.sqlite"
    store.write_text("this is no database at all, and is longer than a header of one would be" * 20)
    with processes(tmp_path / "data", Wiring(), 2, every_s=1) as told:
        until(lambda: all(one.now() for one in told))
        faults, broken = [one.now() for one in told], looking.last(tmp_path / "data")
        store.unlink()
        until(lambda: not any(one.now() for one in told))
        after, mended = [one.now() for one in told], looking.last(tmp_path / "data")

    assert broken is not None
    assert mended is not None
    assert (broken.done, mended.done > 0) == (0.0, True)
    assert [one[0].partition(":")[0] for one in faults] == ["signals", "signals"]
    assert after == [[], []]


@pytest.mark.slow
def test_who_holds_the_lock_and_dies_keeps_nobody_from_looking(tmp_path: Path) -> None:
    held = place.try_lock(tmp_path / looking.PART)
    assert held is not None
    with processes(tmp_path, Wiring()):
        time.sleep(0.5)
        meanwhile = looking.last(tmp_path)
        os.close(held)  # as the kernel does for the dead
        until(looked(tmp_path))

    assert meanwhile is None
    assert looking.last(tmp_path) is not None


@pytest.mark.slow
def test_a_gateway_decides_while_nobody_hears_of_its_signals_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYLAW_TEST_SECRET", SECRET)
    unlike_itself(tmp_path)
    hooks = (HookAt(f"{CLOSED}/x", "BYLAW_TEST_SECRET", True),)
    wired = Wiring(hosts=("127.0.0.1",), hooks=hooks, lookout=Lookout(signals=SignalsAt(3_600)))
    with watched(tmp_path, wired) as served:
        until(lambda: any(one.startswith("signals:") for one in troubles(served.url)))
        served.speaker.replies.append(saying("Hello."))
        decided, found = served.ask().headers["x-bylaw-decision"], samples(served)

    assert decided == "allow"
    assert found["bylaw_trouble"][(("part", "signals"),)] == 1
    assert (found["bylaw_signals_standing"][()], found["bylaw_signals_looked_at"][()]) == (1, 0)

"""kill -9 at every step: nothing runs twice, nothing runs without its record, and what is in doubt says so."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bylaw.govern.approvals import Approvals
from bylaw.govern.quorum import Refused
from bylaw.store import database
from bylaw.store.approval_rows import Approval
from tests.govern.approvals.scene import AGENT, ANN, BOB, CALL, POLICY, Ledger, asking

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
PATIENCE_S = 180


def run(url: str, folder: Path, where: str, what: str, approval: str = "") -> int:
    line = [sys.executable, "-m", "tests.govern.approvals.dying", url, str(folder), where, what, *([approval] if approval else [])]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if done.returncode not in (0, -9):
        raise AssertionError(done.stderr)
    return done.returncode


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def recorded(folder: Path, step: str) -> int:
    return sum(json.loads(line)["step"] == step for line in lines(folder / "ledger"))


def opened(url: str) -> tuple[Approvals, database.Store]:
    store = database.open(url)
    return Approvals(store, Ledger()), store


def asked(url: str, state: str, route: str = "run") -> str:
    approvals, store = opened(url)
    found = approvals.request(CALL, AGENT, asking(), "release" if route == "release" else "run")
    if not isinstance(found, Approval):
        raise AssertionError(found)
    if state == "approved":
        approvals.decide(found.id, ANN, True)
    store.close()
    return found.id


@pytest.mark.parametrize(("where", "state"), [("record:requested", None), ("after:requested", "pending")])
def test_killed_while_asking_there_is_a_request_or_there_is_none(url: str, folder: Path, where: str, state: str | None) -> None:
    code = run(url, folder, where, "ask")
    approvals, store = opened(url)
    found = approvals.find()
    again = asked(url, "pending")
    store.close()

    assert code == -9
    assert [one.state for one in found] == ([state] if state else [])
    assert recorded(folder, "requested") == 1
    assert not found or again == found[0].id


@pytest.mark.parametrize(("where", "state"), [("record:approved", "pending"), ("after:approved", "approved")])
def test_killed_while_approving_it_is_approved_or_it_waits(url: str, folder: Path, where: str, state: str) -> None:
    one = asked(url, "pending")
    code = run(url, folder, where, "approve", one)
    approvals, store = opened(url)
    found = approvals.get(one)
    store.close()

    assert code == -9
    assert found is not None
    assert found.state == state
    assert len(found.answers) == (state == "approved")
    assert recorded(folder, "approved") == 1


@pytest.mark.parametrize(
    ("where", "state", "ran"),
    [
        ("record:claimed", "approved", 0),
        ("after:claimed", "unknown", 0),
        ("after:ran", "unknown", 1),
        ("record:done", "unknown", 1),
        ("after:done", "done", 1),
    ],
)
def test_killed_while_running_it_never_runs_again_unasked(url: str, folder: Path, where: str, state: str, ran: int) -> None:
    one = asked(url, "approved")
    code = run(url, folder, where, "run", one)
    approvals, store = opened(url)
    found = approvals.get(one)
    store.close()
    second = run(url, folder, "never", "run", one)
    effects = len(lines(folder / "effects"))

    assert (code, second) == (-9, 0)
    assert found is not None
    assert found.state == state
    assert effects == (1 if state == "approved" else ran)
    assert effects <= recorded(folder, "claimed")


def test_what_was_in_doubt_is_settled_by_a_person_and_then_stays_so(url: str, folder: Path) -> None:
    one = asked(url, "approved")
    run(url, folder, "after:ran", "run", one)
    approvals, store = opened(url)
    settled = approvals.settle(one, BOB, True, "it is on the account")
    again = approvals.settle(one, ANN, False, "no")
    store.close()
    run(url, folder, "never", "run", one)

    assert isinstance(settled, Approval)
    assert settled.state == "done"
    assert isinstance(again, Refused)
    assert lines(folder / "effects") == ["ran"]


@pytest.mark.parametrize(("where", "state"), [("record:released", "approved"), ("after:released", "released")])
def test_killed_while_releasing_it_is_given_out_at_most_once(url: str, folder: Path, where: str, state: str) -> None:
    one = asked(url, "approved", "release")
    code = run(url, folder, where, "release", one)
    approvals, store = opened(url)
    found = approvals.get(one)
    again = approvals.release(one, AGENT, POLICY, lambda _: asking(), lambda: ())
    store.close()

    assert code == -9
    assert found is not None
    assert found.state == state
    assert isinstance(again, Refused) == (state == "released")
    assert recorded(folder, "released") == 1


def test_killed_while_recovering_the_next_one_recovers(url: str, folder: Path) -> None:
    one = asked(url, "approved")
    run(url, folder, "after:claimed", "run", one)
    code = run(url, folder, "record:unknown", "ask")
    approvals, store = opened(url)
    found = approvals.get(one)
    store.close()

    assert code == -9
    assert found is not None
    assert found.state == "unknown"

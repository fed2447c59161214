"""The end of a canary or of a policy, where the store fails in the middle of it, the process dies, or two people are at it at once."""

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bylaw.errors import PolicyError, StoreError
from bylaw.govern.canary import Terms
from bylaw.serve import leave, trials
from bylaw.serve import live as lives
from bylaw.serve.live import Live
from bylaw.serve.trying import Trying
from bylaw.store import trial_rows
from bylaw.store.database import Store
from tests.serve import promoting
from tests.serve.rig import written
from tests.serve.test_trials import alone, bad, outcome, started


class Failing:
    """A store of which one write does not come through."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.good: int | None = None  # writes that come through before the one that does not

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def writing(self) -> Any:
        if self.good is not None:
            self.good -= 1
            if self.good == -1:
                raise StoreError("the store cannot be written", "Try again.")
        return self._store.writing()


@pytest.mark.slow
def test_a_rollback_that_the_store_did_not_take_is_made_as_soon_as_it_does(tmp_path: Path) -> None:
    with alone(tmp_path) as (store, ledger, live):
        trial = started(tmp_path, store, ledger, Terms(share=500, seen=5))
        failing: Any = Failing(store)
        one = Trying(Live(failing, live.now, ""), ledger.append, [(tmp_path / "data", ledger.log)])
        with store.reading() as connection:
            one._running = trial_rows.running(connection)
        one.look()
        for _ in range(40):
            ledger.append(outcome(trial.digest, "block"))
            ledger.append(outcome(trial.baseline, "allow"))
        failing.good = 2  # the counts and the right to look; then not the end
        with suppress(StoreError):
            one.look()
        between = trial_rows.listed(store, "canary")[0].state
        one.look()
        after = trial_rows.listed(store, "canary")[0].state

    assert (between, after) == ("running", "rolled_back")


def test_a_candidate_that_is_rolled_back_while_it_is_promoted_is_not_in_force(tmp_path: Path) -> None:
    with alone(tmp_path) as (store, ledger, _):
        trial = started(tmp_path, store, ledger, Terms(share=500))

        def record(entry: Any) -> object:
            if entry["facts"]["step"] == "activated":  # just before it is
                trials.ended(store, ledger.append, trial, "rolled_back", "it was worse")
            return ledger.append(entry)

        with suppress(PolicyError):
            trials.promote(store, record, "kim")
        latest, state = lives.latest(store), trial_rows.listed(store, "canary")[0].state

    assert latest is not None
    assert (state, latest.digest == trial.digest) in [("promoted", True), ("rolled_back", False)]


def test_a_canary_beside_a_policy_that_is_no_longer_in_force_is_not_promoted(tmp_path: Path) -> None:
    with alone(tmp_path) as (store, ledger, _):
        started(tmp_path, store, ledger, Terms(share=500))
        other, _ = lives.activate(store, ledger.append, written(tmp_path / "other", ["security.keys"]), "tester")
        with pytest.raises(PolicyError, match="another policy"):
            trials.promote(store, ledger.append, "kim")
        latest = lives.latest(store)

    assert latest is not None
    assert latest.digest == other.digest


@pytest.mark.slow
def test_a_canary_that_is_not_started_as_one_runs_leaves_no_record_of_a_start(tmp_path: Path) -> None:
    entries: list[Any] = []
    with alone(tmp_path) as (store, ledger, _):
        first = started(tmp_path, store, ledger, Terms(share=500))
        with pytest.raises(StoreError, match="is running already"):
            trials.begin(store, entries.append, bad(tmp_path), trials.new("canary", "kim", Terms(share=500)))
        early = list(entries)
        trials.ended(store, ledger.append, first, "stopped", "by kim")

        def record(entry: Any) -> None:
            if not entries:  # another is faster
                entries.append(entry)
                started(tmp_path, store, ledger, Terms(share=500))
            entries.append(entry)

        with pytest.raises(StoreError, match="is running already"):
            trials.begin(store, record, bad(tmp_path), trials.new("canary", "kim", Terms(share=500)))

    assert early == []
    assert [one["facts"]["step"] for one in entries[1:]] == ["canary started", "canary perhaps not started"]


def dying(path: Path, at: int) -> int:
    """Promote the canary in a process that dies by kill -9 right after it has said its so-manieth thing to the store; its exit status."""
    return subprocess.run([sys.executable, promoting.__file__, str(path), str(at)], timeout=300, check=False).returncode


@pytest.mark.slow
def test_a_process_that_dies_while_it_promotes_leaves_both_halves_or_neither(tmp_path: Path) -> None:
    with alone(tmp_path) as (store, ledger, _):
        trial = started(tmp_path, store, ledger, Terms(share=500))
        seen, died = [], 0
        while dying(tmp_path / "store.sqlite", died + 1) == -signal.SIGKILL:
            died += 1
            latest = lives.latest(store)
            assert latest is not None
            seen.append((trial_rows.listed(store, "canary")[0].state, latest.digest == trial.digest))
            if seen[-1] == ("promoted", True):  # it died after that
                break

    assert died > 5
    assert set(seen) <= {("running", False), ("promoted", True)}


def test_a_rollback_that_somebody_was_faster_than_changes_nothing_and_says_so_in_the_ledger(tmp_path: Path) -> None:
    with alone(tmp_path) as (store, ledger, live):
        first = live.now.digest
        second, _ = lives.activate(store, ledger.append, written(tmp_path / "second", ["security.keys"]), "tester")
        steps: list[str] = []

        def record(entry: Any) -> object:
            steps.append(entry["facts"]["step"])
            if len(steps) == 1:  # just before it is in force
                lives.activate(store, ledger.append, written(tmp_path / "third", ["privacy.cards"]), "bo")
            return ledger.append(entry)

        with pytest.raises(leave.Overtaken, match="another policy"):
            lives.put_back(store, record, first, "kim", second.digest)
        by = [one["by"] for one in lives.history(store)]

    assert (by, steps) == (["tester", "tester", "bo"], ["activated", "not activated"])

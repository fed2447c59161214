"""Trials of policies in the store: one of a kind at a time, ended once, tested once a look, counted by every process for itself."""

import threading

import pytest

from bylaw.errors import StoreError
from bylaw.store import trial_rows as rows
from bylaw.store import versions
from bylaw.store.database import Store
from bylaw.store.trial_rows import Count, Trial

ONE = Trial(0, "canary", "sha256:c", "sha256:files", "sha256:b", "{}", "running", 1_000, "ana")


def version(store: Store) -> int:
    with store.reading() as connection:
        return versions.read(connection).get(rows.NAME, 0)


def test_one_trial_of_a_kind_runs_and_its_start_and_end_are_seen_by_all(store: Store) -> None:
    first = rows.start(store, ONE)
    with pytest.raises(StoreError, match="running already"):
        rows.start(store, ONE)
    shadow = rows.start(store, ONE._replace(kind="shadow"))
    seen = [version(store)]
    ended = rows.end(store, first.id, "rolled_back", "too many", 2_000), rows.end(store, first.id, "stopped", "again", 3_000)
    seen.append(version(store))
    with store.reading() as connection:
        left = rows.running(connection)
    listed = rows.listed(store, "canary")

    assert (ended, left, seen) == ((True, False), [shadow], [2, 3])
    assert [(one.state, one.why, one.ended_at) for one in listed] == [("rolled_back", "too many", 2_000)]


def test_each_look_is_taken_once_by_whoever_comes_first(store: Store) -> None:
    trial, taken = rows.start(store, ONE), list[bool]()
    threads = [threading.Thread(target=lambda: taken.append(rows.looked(store, trial.id, 1))) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    later = rows.looked(store, trial.id, 2)
    rows.end(store, trial.id, "stopped", "", 1)

    assert (sorted(taken), later, rows.looked(store, trial.id, 3)) == ([False, False, False, True], True, False)


def test_counts_of_all_processes_are_added_and_each_replaces_only_its_own(store: Store) -> None:
    trial = rows.start(store, ONE).id
    rows.put(store, trial, "a", {"candidate": Count(5, 1, "a#1")})
    rows.put(store, trial, "b", {"candidate": Count(7, 2, "b#1"), "baseline": Count(3)})
    rows.put(store, trial, "a", {"candidate": Count(6, 2, "a#1")})
    found = rows.counts(store, trial)

    assert (found["candidate"][:2], found["baseline"]) == ((13, 4), Count(3))
    assert rows.counts(store, trial, "a") == {"candidate": Count(6, 2, "a#1")}

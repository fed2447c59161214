"""Histories in the store: what one process counts the other sees, who is slower judges anew, and a damaged row is no empty session."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from bylaw.errors import StoreError
from bylaw.govern import histories as stored
from bylaw.govern.histories import Histories
from bylaw.govern.session import MAX_CALLS, Crowded, Held, History, Sessions
from bylaw.store import session_rows
from bylaw.store.clock import Clock
from bylaw.store.database import Store
from bylaw.store.session_tables import SESSIONS
from bylaw.types import Decision, Event
from tests.store import blank

ALLOW = Decision("allow", (), (), "")
AMOUNTS = st.floats(0, 1e300, allow_nan=False)
NAMES = st.text(max_size=20)
HISTORIES = st.builds(
    History,
    st.just("s"),
    st.lists(NAMES, max_size=5).map(tuple),
    st.dictionaries(NAMES, AMOUNTS, max_size=5),
    st.lists(NAMES, max_size=3).map(tuple),
    st.dictionaries(NAMES, st.builds(Held, NAMES, st.dictionaries(NAMES, AMOUNTS, max_size=3)), max_size=3),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = blank.opened(tmp_path / "store.sqlite")
    yield opened
    opened.close()


def paid(history: History, amount: float) -> History:
    return history.after(Event("tool_call", "pay", {"amount": amount}), ALLOW)


@pytest.mark.slow
@given(HISTORIES)
@settings(max_examples=200, deadline=None)
def test_a_history_comes_back_as_it_was(history: History) -> None:
    assert stored.decoded(stored.encoded(history), "s") == history


@pytest.mark.parametrize("history", [History("s", full=True), History("s", sums={"pay.amount": float("inf")})])
def test_a_history_that_cannot_be_read_stays_so(history: History) -> None:
    found = stored.decoded(stored.encoded(history), "s")

    assert (found.full, found.facts()["n_calls"]) == (True, float("inf"))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"null", b'{"sums":{"a":"x"}}', b'{"held":{"a":[1]}}', b'{"calls":7}', b"\xff"])
def test_a_damaged_row_is_a_session_that_cannot_be_read(store: Store, body: bytes) -> None:
    histories = Histories(store)
    histories.change("kim", "s", lambda history: paid(history, 5.0))
    with store.writing() as connection:
        connection.execute(update(SESSIONS).values(body=body))

    assert histories.read("kim", "s").history.full


def test_a_session_over_its_bounds_is_kept_small(store: Store) -> None:
    histories = Histories(store)
    names = tuple("x" * 400 for _ in range(MAX_CALLS))
    histories.change("kim", "s", lambda history: History(history.id, names))
    with store.reading() as connection:
        row = session_rows.read(connection, session_rows.key("kim", "s"))

    assert row is not None
    assert len(row.body) < 100
    assert histories.read("kim", "s").history.full


def test_many_threads_of_two_processes_count_every_call(store: Store) -> None:
    both = [Histories(store), Histories(store)]

    def go(histories: Histories) -> None:
        for _ in range(4):
            histories.change("kim", "s", lambda history: paid(history, 1.0))

    threads = [threading.Thread(target=go, args=(both[at % 2],)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert both[0].read("kim", "s").history.sums == {"pay.amount": 16.0}


def test_a_judgement_is_made_anew_where_another_process_was_faster(store: Store) -> None:
    histories, seen = Histories(store), list[float]()

    def judge(history: History) -> tuple[History, str]:
        so_far = history.sums.get("pay.amount", 0.0)
        seen.append(so_far)
        if len(seen) == 1:
            Histories(store).change("kim", "s", lambda other: paid(other, 150.0))
        return (paid(history, 90.0), "allow") if so_far + 90.0 <= 200.0 else (history, "ask")

    answer = histories.judged("kim", "s", judge)

    assert (answer, seen, histories.read("kim", "s").history.sums) == ("ask", [0.0, 150.0], {"pay.amount": 150.0})


def test_a_session_that_never_stands_still_is_undecidable_after_a_bounded_number_of_tries(store: Store) -> None:
    tries: list[int] = []

    def judge(history: History) -> tuple[History, None]:
        tries.append(1)
        Histories(store).change("kim", "s", lambda other: paid(other, 1.0))
        return paid(history, 1.0), None

    with pytest.raises(Crowded):
        Histories(store).judged("kim", "s", judge)

    assert len(tries) == stored.TRIES


def test_sessions_of_two_guards_on_one_store_are_one(store: Store) -> None:
    first, second = Sessions(Histories(store)), Sessions(Histories(store))
    for sessions in (first, second):
        with sessions.turn("kim", "s") as turn:
            turn.history = paid(turn.history, 60.0)
    with first.turn("kim", "s") as turn:
        found = turn.history.sums

    assert found == {"pay.amount": 120.0}


def test_a_turn_that_another_process_overtook_ends_in_an_error_and_counts_nothing(store: Store) -> None:
    first, second = Sessions(Histories(store)), Sessions(Histories(store))
    with pytest.raises(Crowded), first.turn("kim", "s") as turn, second.turn("kim", "s") as other:
        turn.history, other.history = paid(turn.history, 60.0), paid(other.history, 70.0)
    with first.turn("kim", "s") as turn:
        found = turn.history.sums

    assert found == {"pay.amount": 70.0}


def test_what_rested_is_pruned_on_the_way(store: Store) -> None:
    times = [1_000.0]
    wall = Clock(lambda: times[0], lambda: times[0])
    histories = Histories(store, wall, lambda: times[0])
    histories.change("kim", "old", lambda history: paid(history, 1.0))
    times[0] += session_rows.KEPT_MS / 1000 + 1
    histories.change("kim", "new", lambda history: paid(history, 1.0))
    histories.change("kim", "new", lambda history: paid(history, 1.0))

    assert session_rows.count(store) == 1


@pytest.mark.parametrize("again", [False, True])
def test_a_session_over_its_bounds_is_not_forgotten_while_it_is_used(store: Store, again: bool) -> None:
    times = [1_000.0]
    wall = Clock(lambda: times[0], lambda: times[0])
    histories = Histories(store, wall, lambda: times[0])
    kept = histories.swap("kim", "s", histories.read("kim", "s"), History("s", full=True))
    for _ in range(30):
        times[0] += session_rows.KEPT_MS / 20_000
        if again:  # a guard, which reads it anew
            histories.change("kim", "s", lambda history: paid(history, 1.0))
        else:  # a gateway, which goes on with what it has
            assert kept is not None
            after = paid(kept.history, 1.0)
            kept = histories.swap("kim", "s", kept, after) if after != kept.history else kept
        histories.change("kim", "other", lambda history: paid(history, 1.0))

    assert histories.read("kim", "s").history.full


def test_a_store_that_is_gone_is_an_error_and_no_empty_session(store: Store, tmp_path: Path) -> None:
    histories = Histories(store)
    (tmp_path / "store.sqlite").unlink()

    with pytest.raises(StoreError):
        histories.read("kim", "s")

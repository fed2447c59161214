"""A stop is in force on every process within a second; a store that cannot be read stops everything."""

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from bylaw.errors import LedgerError, StoreError
from bylaw.govern import drill, stops
from bylaw.govern.stops import Stops
from bylaw.store.database import Store
from bylaw.store.watching import FRESH_S, Watch
from tests.govern.approvals.scene import Ledger

ANN = {"id": "ann", "tenant": "acme"}
BOB = {"id": "bob", "tenant": "other"}
NONE = {"id": "", "tenant": ""}


@pytest.fixture
def watch(store: Store) -> Iterator[Watch]:
    made = Watch(store)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("scope", "stopped"),
    [
        ("global", [True, True, True, True]),
        ("tenant:acme", [True, True, False, False]),
        ("tenant:ACME", [True, True, False, False]),
        ("principal:ann", [True, True, False, False]),
        ("principal:ａnn", [True, True, False, False]),
        ("tool:payments.refund", [True, False, True, False]),
        ("tool: Payments.Refund", [True, False, True, False]),
        ("tenant:nobody", [False] * 4),
        ("drill:1", [False] * 4),
    ],
)
def test_a_stop_holds_for_exactly_its_scope(store: Store, watch: Watch, scope: str, stopped: list[bool]) -> None:
    view = Stops(watch)
    stops.stop(store, Ledger(), scope, "ops", "odd refunds")
    cases = [(ANN, "payments.refund"), (ANN, "accounts.read"), (BOB, "payments.refund"), (NONE, "")]

    assert [bool(view.applies(who, tool)) for who, tool in cases] == stopped
    assert [bool(view.applies_now(who, tool)) for who, tool in cases] == stopped


def test_why_something_is_stopped_is_said(store: Store, watch: Watch) -> None:
    stops.stop(store, Ledger(), "global", "ops", "odd refunds")
    stops.stop(store, Ledger(), "tenant:acme", "ops")

    assert Stops(watch).applies(ANN) == ("global: odd refunds", "tenant:acme")


def test_lifting_one_stop_leaves_the_others(store: Store, watch: Watch) -> None:
    ledger = Ledger()
    for scope in ("global", "tenant:acme", "global"):
        stops.stop(store, ledger, scope, "ops")
    lifted = stops.resume(store, ledger, "global", "ops", "all clear")
    again = stops.resume(store, ledger, "global", "ops")
    view = Stops(watch)

    assert (len(lifted), again) == (2, [])
    assert view.applies(ANN) == ("tenant:acme",)
    assert view.applies(BOB) == ()
    assert ledger.steps() == ["stop"] * 3 + ["resume"] * 2


def test_what_is_in_memory_is_refreshed_within_a_second(store: Store, watch: Watch) -> None:
    view, took = Stops(watch), [60.0]
    watch.start()
    while min(took) > 1.0 and len(took) < 6:  # the best of five: a pause of the machine is none of ours
        stops.resume(store, Ledger(), "global", "ops")
        watch.look()
        before = view.applies(ANN)
        stops.stop(store, Ledger(), "global", "ops")
        began = time.monotonic()
        while not view.applies(ANN) and time.monotonic() - began < 60:
            time.sleep(0.005)
        took.append(time.monotonic() - began)

    assert before == ()
    assert view.applies(ANN) == ("global",)
    assert min(took) <= 1.0


def test_a_store_that_cannot_be_read_stops_everything(store: Store) -> None:
    now = [0.0]
    watch = Watch(store, steady=lambda: now[0])
    view = Stops(watch)
    before = view.applies(ANN)
    with store.writing() as connection:
        connection.execute(text("ALTER TABLE stops RENAME TO gone"))
        connection.execute(text("UPDATE versions SET version = version + 1"))
        connection.execute(text("INSERT INTO versions VALUES ('stops', 7) ON CONFLICT DO NOTHING"))
    now[0] = FRESH_S + 0.01
    during = view.applies(ANN)
    asked = view.applies_now(ANN)
    with store.writing() as connection:
        connection.execute(text("ALTER TABLE gone RENAME TO stops"))
    now[0] += 1

    assert before == ()
    assert during == asked == (stops.UNREADABLE,)
    assert view.applies(ANN) == ()


def test_a_view_that_nobody_refreshes_stops_by_itself_when_it_is_old(store: Store) -> None:
    now = [0.0]
    watch = Watch(store, steady=lambda: now[0])
    reads: list[int] = []
    view = Stops(watch)
    watch.add("counted", lambda _: reads.append(1))
    watch.look()
    now[0] = FRESH_S - 0.01
    within = view.applies(ANN)
    now[0] = FRESH_S + 0.01

    assert within == ()
    assert view.applies(ANN) == ()
    assert reads == [1]


def test_a_look_that_is_under_way_is_waited_for_and_not_taken_for_a_store_that_is_gone(store: Store) -> None:
    looking, go_on, waited = threading.Event(), threading.Event(), list[bool]()
    watch = Watch(store, moment_s=60)

    def read(_: object) -> None:
        looking.set()
        assert go_on.wait(60)

    watch.add("policy", read)
    look = threading.Thread(target=watch.look)
    asks = threading.Thread(target=lambda: waited.append(watch.fresh()))
    look.start()
    assert looking.wait(60)
    asks.start()
    asks.join(0.05)  # it would have said no by now
    go_on.set()
    look.join(60)
    asks.join(60)

    assert waited == [True]


def test_a_look_that_does_not_end_is_waited_for_once(store: Store) -> None:
    looking, go_on = threading.Event(), threading.Event()
    watch = Watch(store, moment_s=0.01)

    def read(_: object) -> None:
        looking.set()
        assert go_on.wait(60)

    watch.add("policy", read)
    look = threading.Thread(target=watch.look)
    look.start()
    assert looking.wait(60)
    found = [watch.fresh()]
    watch._moment_s, began = 60, time.monotonic()
    found.append(watch.fresh())
    took = time.monotonic() - began
    go_on.set()
    look.join(60)

    assert found == [False, False]
    assert took < 30
    assert watch.fresh()


def test_a_stop_works_with_a_full_disk_and_lifting_it_does_not(store: Store, watch: Watch) -> None:
    ledger = Ledger()
    ledger.broken = True
    with pytest.raises(LedgerError, match="global is stopped, but"):
        stops.stop(store, ledger, "global", "ops")
    with pytest.raises(LedgerError):
        stops.resume(store, ledger, "global", "ops")

    assert Stops(watch).applies(BOB) == ("global",)


@pytest.mark.parametrize("scope", ["", "all", "tenant", "tenant:", "tool: ", "user:ann", "tenant:a\nb", "tenant:" + "a" * 400])
def test_a_scope_that_nobody_knows_stops_nothing_silently(store: Store, scope: str) -> None:
    with pytest.raises(StoreError, match="no scope of a stop"):
        stops.stop(store, Ledger(), scope, "ops")

    assert stops.active(store) == []


def became(there: Callable[[], bool], wanted: bool) -> bool:
    """Whether it came to be so while anybody waits."""
    late = time.monotonic() + 60
    while there() != wanted and time.monotonic() < late:
        time.sleep(0.02)
    return there() == wanted


@pytest.mark.slow
def test_a_reader_that_fails_leaves_the_view_stale_and_the_watch_alive(
    store: Store, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = threading.Event()

    def read(_: object) -> None:
        if broken.is_set():
            raise ValueError("nonsense")

    watch.add("policy", read)
    watch.start()
    before = watch.fresh()
    broken.set()
    with store.writing() as connection:
        connection.execute(
            text("INSERT INTO versions VALUES ('policy', 1) ON CONFLICT (name) DO UPDATE SET version = versions.version + 1")
        )
    stale = became(watch.fresh, False)
    broken.clear()

    assert (before, stale, became(watch.fresh, True)) == (True, True, True)
    assert "nonsense" in caplog.text


@pytest.mark.slow
def test_the_drill_measures_every_process_that_watches(store: Store, watch: Watch) -> None:
    view = Stops(watch)
    watch.start()
    drills = (drill.drill(store, Ledger(), "ops") for _ in range(5))  # the best of five: a pause of the machine is none of ours
    found = next((one for one in drills if one.good), None)

    assert found is not None
    assert len(found.seen_after_s) == 2
    assert (found.witness in found.seen_after_s, found.alone) == (True, False)
    assert stops.active(store) == []
    assert view.applies(ANN) == ()


@pytest.mark.slow
def test_a_drill_whose_witness_does_not_come_in_time_stops_nothing_and_leaves_nobody_behind(store: Store) -> None:
    book = Ledger()
    with pytest.raises(StoreError, match="not within 0 s"):
        drill.drill(store, book, "ops", start_s=0.0)

    assert stops.active(store) == []
    assert book.entries == []
    assert multiprocessing.active_children() == []


def test_a_drill_says_so_where_a_process_does_not_see_it() -> None:
    assert not drill.Drill({"a": 0.2, "b": None}, "a").good
    assert not drill.Drill({"a": 0.2, "b": 1.1}, "a").good
    assert not drill.Drill({}, "a").good
    assert drill.Drill({"a": 0.2, "b": 0.9}, "a").good
    assert drill.Drill({"a": 0.2, "b": 0.9}, "a").slowest_s == 0.9


def test_a_drill_that_measured_its_own_witness_alone_is_not_good() -> None:
    found = drill.Drill({"a": 0.2}, "a")

    assert (found.alone, found.good, found.slowest_s) == (True, False, 0.2)

"""Rows of sessions on both databases: one of two changes wins, what rests is forgotten, and no row grows without end."""

import threading

import pytest

from bylaw.errors import StoreError
from bylaw.store import session_rows as rows
from bylaw.store.database import Store
from tests.store.losing import at_once

KEY = rows.key("kim", "s1")


def test_a_row_is_written_read_and_swapped(store: Store) -> None:
    steps = [rows.swap(store, KEY, "kim", version, body, 7) for version, body in ((0, b"a"), (7, b"b"))]
    with store.reading() as connection:
        found = rows.read(connection, KEY)

    assert (steps, found) == ([7, 8], rows.Row(8, b"b"))


@pytest.mark.parametrize("version", [0, 2])
def test_a_swap_of_a_version_that_is_gone_changes_nothing(store: Store, version: int) -> None:
    rows.swap(store, KEY, "kim", 0, b"a", 1)
    won = rows.swap(store, KEY, "kim", version, b"b", 1)
    with store.reading() as connection:
        found = rows.read(connection, KEY)

    assert (won, found) == (0, rows.Row(1, b"a"))


def test_of_many_that_swap_the_same_version_one_wins(store: Store) -> None:
    rows.swap(store, KEY, "kim", 0, b"a", 1)
    start, won = threading.Barrier(6), list[int]()

    def one(name: int) -> None:
        start.wait()
        won.append(rows.swap(store, KEY, "kim", 1, b"%d" % name, 1))

    threads = [threading.Thread(target=one, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(won) == [0] * 5 + [2]


def test_the_same_name_under_two_principals_is_two_rows(store: Store) -> None:
    rows.swap(store, KEY, "kim", 0, b"a", 1)

    assert rows.swap(store, rows.key("lee", "s1"), "lee", 0, b"b", 1)
    assert rows.key("a", "b c") != rows.key("a b", "c")


def test_what_rests_too_long_is_forgotten_and_what_was_used_stays(store: Store) -> None:
    for name, used_at in (("old", 1_000), ("new", 5_000)):
        rows.swap(store, rows.key("kim", name), "kim", 0, b"a", used_at)
    gone = rows.prune(store, 6_000, kept_ms=2_000)

    assert (gone, rows.count(store), rows.prune(store, 6_000, kept_ms=2_000)) == (1, 1, 0)


def test_a_body_over_its_bound_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="too large to keep"):
        rows.swap(store, KEY, "kim", 0, b"x" * (rows.MAX_BYTES + 1), 1)

    assert rows.count(store) == 0


def test_a_principal_is_forgotten_whatever_characters_its_name_has(store: Store) -> None:
    odd = "k\0im\ud800"
    rows.swap(store, rows.key(odd, "s1"), odd, 0, b"a", 1)
    rows.swap(store, KEY, "kim", 0, b"a", 1)

    assert (rows.forget(store, odd), rows.count(store)) == (1, 1)


def test_who_forgets_a_principal_while_old_sessions_are_forgotten_does_not_wait_for_it_in_a_ring(store: Store) -> None:
    rows.swap(store, KEY, "kim", 0, b"a", 1)
    rows.replied(store, "kim", "reply", "s1", 1)
    at_once(store, lambda: rows.prune(store, rows.KEPT_MS + 2), lambda: rows.forget(store, "kim"))
    with store.reading() as connection:
        found = rows.read(connection, KEY), rows.session_of(connection, "kim", "reply")

    assert found == (None, "")

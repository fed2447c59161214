"""Logins at the console, on SQLite and on PostgreSQL."""

from contextlib import closing

from bylaw.store import console_rows as rows
from bylaw.store import database
from bylaw.store.console_rows import Login
from tests.store.losing import at_once


def test_a_login_is_kept_touched_and_dropped_with_what_it_was_shown(url: str) -> None:
    store = database.open(url)
    rows.put(store, Login("a", "key", 1_000, 1_000), 0)
    rows.touch(store, "a", 5_000)
    rows.touch(store, "a", 4_000)  # a slower process does not set it back
    rows.show(store, "a", "first", 2_000)
    rows.show(store, "a", "first", 9_000)
    with store.reading() as connection:
        before = rows.get(connection, "a"), rows.shown_at(connection, "a", "first"), rows.shown_at(connection, "a", "second")
    rows.drop(store, "a")
    with store.reading() as connection:
        after = rows.get(connection, "a"), rows.shown_at(connection, "a", "first")
    store.close()

    assert before == (Login("a", "key", 1_000, 5_000), 2_000, None)
    assert after == (None, None)


def test_a_new_login_sweeps_out_the_old_ones(url: str) -> None:
    store = database.open(url)
    rows.put(store, Login("old", "key", 1_000, 1_000), 0)
    rows.show(store, "old", "first", 1_000)
    rows.put(store, Login("new", "key", 9_000, 9_000), 5_000)
    with store.reading() as connection:
        found = [rows.get(connection, one) for one in ("old", "new")], rows.shown_at(connection, "old", "first")
    store.close()

    assert found == ([None, Login("new", "key", 9_000, 9_000)], None)


def test_once_nobody_is_signed_in_no_login_holds(url: str) -> None:
    with closing(database.open(url)) as store:
        for one in ("a", "b"):
            rows.put(store, Login(one, "key", 1_000, 1_000), 0)
        rows.show(store, "b", "first", 1_000)
        with store.writing() as connection:
            over = rows.nobody(connection), rows.nobody(connection)
        with store.reading() as connection:
            found = [rows.get(connection, one) for one in ("a", "b")], rows.shown_at(connection, "b", "first")

    assert (over, found) == ((2, 0), ([None, None], None))


def test_who_leaves_while_another_sweeps_out_old_logins_does_not_wait_for_them_in_a_ring(url: str) -> None:
    with closing(database.open(url)) as store:
        rows.put(store, Login("old", "key", 1_000, 1_000), 0)
        rows.show(store, "old", "first", 1_000)
        at_once(store, lambda: rows.drop(store, "old"), lambda: rows.put(store, Login("new", "key", 9_000, 9_000), 5_000))
        with store.reading() as connection:
            found = [rows.get(connection, one) for one in ("old", "new")], rows.shown_at(connection, "old", "first")

    assert found == ([None, Login("new", "key", 9_000, 9_000)], None)

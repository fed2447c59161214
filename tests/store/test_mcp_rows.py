"""Pins and nonces on both databases: first sight, a change, an acceptance; and a nonce that one of many uses up."""

import threading

import pytest

from bylaw.errors import StoreError
from bylaw.store import mcp_rows as rows
from bylaw.store.database import Store
from bylaw.store.mcp_rows import Listed

GOOD, BAD = Listed("lookup", "sha256:good", b"{}"), Listed("lookup", "sha256:bad", b'{"x":1}')


def pin(store: Store) -> rows.Pin:
    with store.reading() as connection:
        found = rows.pin(connection, "shop", "lookup")
    assert found is not None
    return found


def test_a_tool_is_pinned_at_first_sight_and_once(store: Store) -> None:
    made = [rows.first(store, "shop", [one], 1) for one in (GOOD, BAD)]
    found = pin(store)

    assert made == [["lookup"], []]
    assert (found.digest, found.changed, found.pinned_by) == ("sha256:good", False, "")


def test_a_change_is_seen_and_taken_back(store: Store) -> None:
    rows.first(store, "shop", [GOOD], 1)
    rows.seen(store, "shop", BAD, 2)
    changed = pin(store)
    rows.seen(store, "shop", GOOD, 3)
    back = pin(store)

    assert (changed.changed, changed.changed_at, changed.seen_definition) == (True, 2, BAD.definition)
    assert (back.changed, back.changed_at) == (False, None)


def test_only_what_was_looked_at_is_accepted(store: Store) -> None:
    rows.first(store, "shop", [GOOD], 1)
    rows.seen(store, "shop", BAD, 2)
    looked = pin(store)
    rows.seen(store, "shop", Listed("lookup", "sha256:worse", b"[]"), 3)
    late = rows.accept(store, looked, "lena", 4)
    now = rows.accept(store, pin(store), "lena", 5)
    found = pin(store)

    assert (late, now) == (False, True)
    assert (found.digest, found.pinned_by, found.changed) == ("sha256:worse", "lena", False)


def test_pins_are_forgotten_by_tool_or_by_server(store: Store) -> None:
    rows.first(store, "shop", [GOOD, Listed("b", "sha256:b", b"{}"), Listed("c", "sha256:c", b"{}")], 1)
    rows.first(store, "other", [GOOD], 1)
    gone = [rows.forget(store, "shop", "b"), rows.forget(store, "shop")]
    with store.reading() as connection:
        left = [one.server for one in rows.pins(connection)]

    assert (gone, left) == ([1, 2], ["other"])


def test_a_definition_too_long_to_keep_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="too long"):
        rows.first(store, "shop", [Listed("a", "sha256:a", b"x" * (rows.MAX_DEFINITION_BYTES + 1))], 1)


def test_of_many_that_use_a_nonce_one_does(store: Store) -> None:
    start, won = threading.Barrier(6), list[bool]()

    def one() -> None:
        start.wait()
        won.append(rows.used(store, "n", 1))

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(won) == [False] * 5 + [True]


def test_a_nonce_is_remembered_for_longer_than_any_answer_holds(store: Store) -> None:
    rows.used(store, "n", 1)
    soon = rows.used(store, "n", rows.NONCE_KEPT_MS)
    rows.used(store, "m", rows.NONCE_KEPT_MS + 2)
    long_after = rows.used(store, "n", rows.NONCE_KEPT_MS + 3)

    assert (soon, long_after) == (False, True)

"""Policies in the store, on both databases: files under their digest, one order of activations, and a damaged one is never given out."""

import threading

import pytest
from sqlalchemy import update

from bylaw.errors import PolicyError, StoreError
from bylaw.store import policy_rows as rows
from bylaw.store import versions
from bylaw.store.database import Store
from bylaw.store.policy_rows import Activation
from bylaw.store.policy_tables import POLICIES

ONE, OTHER = "sha256:" + "ab" * 32, "sha256:" + "ac" * 32


def put(store: Store, digest: str, content: str = "") -> int:
    with store.writing() as connection:
        return rows.activated(connection, Activation(digest, content, "1.0.0", 7, "kim"))


def test_files_are_given_out_as_they_were_kept(store: Store) -> None:
    content = rows.keep(store, ONE, b"files", 1)

    assert rows.files(store, content) == b"files"
    assert rows.keep(store, ONE, b"files", 2) == content


def test_files_that_were_changed_in_the_store_are_refused(store: Store) -> None:
    content = rows.keep(store, ONE, b"files", 1)
    with store.writing() as connection:
        connection.execute(update(POLICIES).values(files=b"fil"))

    with pytest.raises(PolicyError, match="changed in the store"):
        rows.files(store, content)


@pytest.mark.parametrize("content", ["", "sha256:" + "0" * 64])
def test_files_that_were_never_kept_are_refused(store: Store, content: str) -> None:
    with pytest.raises(PolicyError, match="not in the store"):
        rows.files(store, content)


def test_files_over_their_bound_are_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="bytes packed"):
        rows.keep(store, ONE, bytes(rows.MAX_BYTES + 1), 1)


def test_a_digest_is_found_by_what_it_begins_with_and_its_newest_files_are_meant(store: Store) -> None:
    rows.keep(store, ONE, b"first", 1)
    newest = rows.keep(store, ONE, b"with another review", 2)
    rows.keep(store, OTHER, b"other", 3)

    assert rows.named(store, "sha256:abab") == rows.named(store, ONE) == rows.named(store, "ABAB") == (ONE, newest)


@pytest.mark.parametrize(
    ("name", "says"), [("a", "several"), ("abc", "no such"), ("", "neither"), ("../x", "neither"), ("%", "neither"), ("a" * 65, "neither")]
)
def test_a_name_that_is_no_one_digest_is_refused(store: Store, name: str, says: str) -> None:
    rows.keep(store, ONE, b"first", 1)
    rows.keep(store, OTHER, b"other", 3)

    with pytest.raises(PolicyError, match=says):
        rows.named(store, name)


def test_the_last_activation_is_in_force_and_raises_the_version(store: Store) -> None:
    numbers = [put(store, ONE), put(store, OTHER), put(store, ONE)]
    with store.reading() as connection:
        latest, version = rows.latest(connection), versions.read(connection)["policy"]

    assert [one.digest for one in rows.history(store)] == [ONE, OTHER, ONE]
    assert (latest.digest if latest else "", numbers == sorted(set(numbers)), version) == (ONE, True, numbers[-1])


def test_many_that_activate_at_once_have_one_order(store: Store) -> None:
    put(store, ONE)
    numbers: list[int] = []
    threads = [threading.Thread(target=lambda: numbers.append(put(store, OTHER))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(set(numbers)), len(rows.history(store))) == (6, 7)


def test_an_old_history_is_taken_over_in_its_order_once(store: Store) -> None:
    past = [Activation(ONE, "", "1.0.0", 1, "kim"), Activation(OTHER, "", "1.1.0", 2, "kim")]
    taken = [rows.adopted(store, past), rows.adopted(store, past)]

    assert (taken, rows.history(store)) == ([True, False], past)

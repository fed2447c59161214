"""A key lets its holder in as one principal, until it is revoked or its time is up; nobody can read it back."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import text

from bylaw.errors import LedgerError, StoreError
from bylaw.govern import keys
from bylaw.govern.keys import Grant, KeyRing
from bylaw.govern.quorum import Person
from bylaw.store.clock import Clock
from bylaw.store.database import Store
from bylaw.store.watching import Watch
from tests.govern.approvals.scene import Ledger

GRANT = Grant("ann", ("support-lead", "admin"), "acme", "eu", 60, "12.50", "Ann's laptop")


@pytest.fixture
def ring(store: Store) -> Iterator[tuple[KeyRing, Watch]]:
    watch = Watch(store)
    yield KeyRing(watch), watch
    watch.close()


def test_a_key_opens_for_whom_it_was_made(store: Store, ring: tuple[KeyRing, Watch]) -> None:
    key, secret = keys.create(store, Ledger(), GRANT)
    found = ring[0].holder(secret)

    assert found == key == keys.holder(store, secret) == keys.every(store)[0]
    assert found is not None
    assert found.person() == Person("ann", ("support-lead", "admin"), "acme")
    assert found.principal() == {"id": "ann", "roles": ["support-lead", "admin"], "tenant": "acme", "jurisdiction": "eu"}


def test_the_secret_is_nowhere_in_the_store_nor_in_the_ledger(store: Store) -> None:
    ledger = Ledger()
    key, secret = keys.create(store, ledger, GRANT)
    with store.reading() as connection:
        row = connection.execute(text("SELECT * FROM api_keys")).one()

    assert secret not in str(tuple(row)) + str(ledger.entries) + str(key) + str(keys.to_json(key))
    assert secret.split("_", 2)[2] not in str(tuple(row))
    assert len(secret.removeprefix(key.prefix.rstrip("…"))) == 43
    assert ledger.entries[0]["kind"] == "key"


@pytest.mark.parametrize(
    "change", [lambda s: s[:-1], lambda s: s + "a", lambda s: s.swapcase(), lambda _: "", lambda _: "bylaw_x", lambda _: "\ud800"]
)
def test_what_is_nearly_a_key_is_none(store: Store, ring: tuple[KeyRing, Watch], change: object) -> None:
    _, secret = keys.create(store, Ledger(), GRANT)

    assert callable(change)
    assert ring[0].holder(change(secret)) is None


def test_another_keys_secret_does_not_open_this_one(store: Store, ring: tuple[KeyRing, Watch]) -> None:
    (one, _), (_, secret) = (keys.create(store, Ledger(), GRANT) for _ in range(2))
    mixed = f"bylaw_{one.id}_{secret.split('_', 2)[2]}"

    assert ring[0].holder(mixed) is None


def test_a_revoked_key_opens_nothing_once_others_have_looked(store: Store, ring: tuple[KeyRing, Watch]) -> None:
    key, secret = keys.create(store, Ledger(), GRANT)
    before = ring[0].holder(secret)
    revoked = keys.revoke(store, Ledger(), key.prefix)
    changed = ring[1].look()

    assert before == key
    assert (changed, revoked.revoked_at is not None) == (["keys"], True)
    assert ring[0].holder(secret) is None
    assert keys.holder(store, secret) is None
    assert len(ring[0]) == 0


def test_a_key_can_be_revoked_with_a_full_disk_and_none_can_be_made(store: Store) -> None:
    ledger = Ledger()
    key, secret = keys.create(store, ledger, GRANT)
    ledger.broken = True
    with pytest.raises(LedgerError, match="the key is revoked, but"):
        keys.revoke(store, ledger, key.id)
    with pytest.raises(LedgerError):
        keys.create(store, ledger, GRANT)

    assert keys.holder(store, secret) is None
    assert len(keys.every(store)) == 1


def test_a_key_is_good_until_its_time_and_no_longer(store: Store) -> None:
    clock = Clock(lambda: 1000.0, lambda: 0.0)
    _, secret = keys.create(store, Ledger(), replace(GRANT, expires_at=1_000_001), clock)

    assert keys.holder(store, secret, Clock(lambda: 1000.0, lambda: 0.0)) is not None
    assert keys.holder(store, secret, Clock(lambda: 1000.001, lambda: 0.0)) is None


def test_where_the_store_cannot_be_read_nobody_comes_in(store: Store) -> None:
    time = [0.0]
    watch = Watch(store, steady=lambda: time[0])
    ring = KeyRing(watch)
    _, secret = keys.create(store, Ledger(), GRANT)
    watch.look()
    before = ring.holder(secret)
    with store.writing() as connection:
        connection.execute(text("ALTER TABLE versions RENAME TO gone"))
    time[0] = 1.1
    after = ring.holder(secret)
    with store.writing() as connection:
        connection.execute(text("ALTER TABLE gone RENAME TO versions"))
    time[0] = 2.2

    assert (before is not None, after is None) == (True, True)
    assert ring.holder(secret) is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"principal": ""},
        {"principal": "a\nb"},
        {"principal": " ann"},
        {"principal": "a" * 201},
        {"roles": ("a;b",)},
        {"roles": ("",)},
        {"roles": ("user-at-keyboard",)},
        {"requests_per_min": 0},
        {"budget": "much"},
        {"budget": "-1"},
        {"budget": "nan"},
        {"tenant": "*", "roles": ()},
    ],
)
def test_a_key_with_odd_limits_is_not_made(store: Store, wrong: dict[str, object]) -> None:
    with pytest.raises(StoreError) as caught:
        keys.create(store, Ledger(), replace(GRANT, **wrong))  # type: ignore[arg-type]  # that is the point

    assert caught.value.hint
    assert keys.every(store) == []


def test_the_demo_makes_one_who_asks_and_another_who_approves(store: Store) -> None:
    (asks, _), (approves, _) = keys.demo(store, Ledger(), ("support-lead",))

    assert asks.grant.principal != approves.grant.principal
    assert {"approver", "support-lead"} <= set(approves.grant.roles)
    assert not set(asks.grant.roles) & set(approves.grant.roles)

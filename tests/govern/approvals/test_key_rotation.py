"""An API key is exchanged: the new one gives the same, the old one is good for a grace and then refused."""

import json
from pathlib import Path

import pytest

from bylaw import cli
from bylaw.errors import LedgerError, StoreError
from bylaw.govern import keys
from bylaw.govern.keys import KeyRing
from bylaw.store import usage_rows
from bylaw.store.clock import Clock
from bylaw.store.database import Store
from bylaw.store.usage_rows import Sum, Used
from bylaw.store.watching import Watch
from tests.govern.approvals.scene import Ledger
from tests.govern.approvals.test_keys import GRANT

HOUR_MS = 3_600_000


class Set(Clock):
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        super().__init__(lambda: self.now, lambda: self.now)


def test_the_old_key_is_good_for_the_grace_and_then_refused(store: Store) -> None:
    clock, ledger = Set(), Ledger()
    watch = Watch(store, clock)
    ring = KeyRing(watch, clock)
    old, secret = keys.create(store, ledger, GRANT, clock)
    done = keys.rotate(store, ledger, old.id, HOUR_MS, clock)
    watch.look()
    during = [ring.holder(one) for one in (secret, done.secret)]
    clock.now += 3601
    after = [ring.holder(one) for one in (secret, done.secret)]
    watch.close()

    assert [one.person() for one in during if one] == [old.person(), old.person()]
    assert (after[0], after[1]) == (None, done.key)
    assert (done.key.grant, done.key.id != old.id, done.secret != secret) == (old.grant, True, True)
    assert ledger.entries[-1]["facts"] | {"key": "", "old": ""} == {
        "step": "rotated",
        "key": "",
        "old": "",
        "ends": done.old.grant.expires_at,
        "roles": ["support-lead", "admin"],
        "tenant": "acme",
    }
    assert done.secret not in str(ledger.entries)


def test_without_a_grace_the_old_key_is_refused_at_once(store: Store) -> None:
    old, secret = keys.create(store, Ledger(), GRANT)
    done = keys.rotate(store, Ledger(), old.prefix, 0)

    assert keys.holder(store, secret) is None
    assert keys.holder(store, done.secret) == done.key


def test_a_key_that_ends_before_the_grace_does_is_not_prolonged(store: Store) -> None:
    clock = Set()
    ends = round(clock.now * 1000) + 1000
    old, _ = keys.create(store, Ledger(), keys.Grant("ann", expires_at=ends), clock)

    assert keys.rotate(store, Ledger(), old.id, HOUR_MS, clock).old.grant.expires_at == ends


def test_what_the_old_key_used_counts_for_the_new_one(store: Store) -> None:
    old, _ = keys.create(store, Ledger(), GRANT)
    usage_rows.add(store, 100, {old.id: Used(5, 7, 9)})
    new = keys.rotate(store, Ledger(), old.id, 0).key

    assert usage_rows.sums(store, 100, [new.id]) == {new.id: Sum(12, 12, 9)}


def test_a_key_that_is_no_longer_good_or_unknown_or_cannot_be_recorded_is_not_exchanged(store: Store) -> None:
    old, secret = keys.create(store, Ledger(), GRANT)
    with pytest.raises(StoreError, match="there is no key"):
        keys.rotate(store, Ledger(), "nobody", 0)
    with pytest.raises(StoreError, match="at most 90 days"):
        keys.rotate(store, Ledger(), old.id, 91 * 24 * HOUR_MS)

    def full(entry: object) -> object:
        raise LedgerError("the disk is full")

    with pytest.raises(LedgerError):
        keys.rotate(store, full, old.id, 0)
    still = keys.holder(store, secret)
    keys.revoke(store, Ledger(), old.id)
    with pytest.raises(StoreError, match="no longer good"):
        keys.rotate(store, Ledger(), old.id, 0)

    assert (still, len(keys.every(store))) == (old, 1)


def test_the_command_exchanges_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--data-dir", str(tmp_path), "--json"]
    cli.run(["keys", "create", "--principal", "ann", *place])
    old = json.loads(capsys.readouterr().out)
    code = cli.run(["keys", "rotate", old["id"], "--grace", "2", *place])
    new = json.loads(capsys.readouterr().out)

    assert (code, new["principal"], new["old"]["id"], new["key"] != old["key"]) == (0, "ann", old["id"], True)
    assert 0 < new["old"]["expires_at"] - new["created_at"] <= 2 * HOUR_MS


def test_of_two_who_exchange_a_key_at_once_the_second_does_not_give_it_more_time(store: Store) -> None:
    old, _ = keys.create(store, Ledger(), GRANT)
    first: list[keys.Exchanged] = []

    def meanwhile(_: object) -> None:
        if not first:
            first.append(keys.rotate(store, Ledger(), old.id, 0))

    with pytest.raises(StoreError, match="was changed or revoked meanwhile"):
        keys.rotate(store, meanwhile, old.id, 24 * HOUR_MS)
    now = next(one for one in keys.every(store) if one.id == old.id)

    assert now.grant.expires_at == first[0].old.grant.expires_at
    assert len(keys.every(store)) == 2

"""API keys: who comes in, as whom, with which roles and limits.

A key is `bylaw_ID_SECRET`: 256 random bits, shown once and kept as SHA-256. A slow hash protects passwords that can be guessed; 2^256 keys
cannot be, so that a fast one is enough and every request can afford it. The id finds the row, and the hashes are compared in constant time.
A revoked key is refused on every process within a second (`store.watching`); revoking works even where the ledger cannot record it.
"""

import hmac
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, insert, literal, select, update

from bylaw.canonical import digest_bytes
from bylaw.errors import LedgerError, StoreError
from bylaw.govern.budgets import MICROS, Limits, price
from bylaw.govern.quorum import ALL_TENANTS, ANY_APPROVER, KEYBOARD, Person
from bylaw.store import clock as clocks
from bylaw.store import versions
from bylaw.store.clock import Clock
from bylaw.store.database import Store
from bylaw.store.key_tables import KEYS
from bylaw.store.usage_tables import USAGE
from bylaw.store.watching import Watch
from bylaw.types import EMPTY

Record = Callable[[Mapping[str, Any]], object]

NAME: Final = "keys"  # of the version counter
ADMIN: Final = "admin"  # the role for admin routes
SHAPE: Final = re.compile(r"bylaw_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
ROLE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,99}")
MAX_TEXT: Final = 200  # characters
MAX_ROLES: Final = 50
MAX_GRACE_MS: Final = 90 * 86_400_000
MAX_TOKENS: Final = 10**15
MAX_MONEY: Final = 10**12
NO_HASH: Final = digest_bytes(b"")  # compared with where there is no such key, so that this takes no less time


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key gives."""

    principal: str
    roles: tuple[str, ...] = ()
    tenant: str = ""  # `*`: approves for every tenant
    jurisdiction: str = ""
    requests_per_min: int | None = None
    budget: str = ""  # in all: a decimal number in the operator's currency
    name: str = ""  # what people call the key
    expires_at: int | None = None  # ms
    tokens_per_day: int | None = None
    tokens_total: int | None = None
    price: str = ""  # of a million tokens, IN/OUT; empty: as the region has it

    @property
    def limits(self) -> Limits:
        """What may be used."""
        return Limits(self.tokens_per_day, self.tokens_total, int(Decimal(self.budget) * MICROS) if self.budget else None)


@dataclass(frozen=True, slots=True)
class Key:
    """One key, without its secret."""

    id: str
    grant: Grant
    created_at: int  # ms
    revoked_at: int | None = None

    @property
    def prefix(self) -> str:
        """What people see of it."""
        return f"bylaw_{self.id}_…"

    def person(self) -> Person:
        """Whoever holds the key, as one who answers requests."""
        return Person(self.grant.principal, self.grant.roles, self.grant.tenant)

    def principal(self) -> dict[str, Any]:
        """Whoever holds the key, as the engine sees them."""
        one = self.grant
        return {"id": one.principal, "roles": list(one.roles), "tenant": one.tenant, "jurisdiction": one.jurisdiction}


class Exchanged(NamedTuple):
    """A key in the place of another."""

    key: Key
    secret: str
    old: Key  # as it is now: good until its grace ends


class KeyRing:
    """The keys, as this process knows them: at most a second old, or nobody comes in."""

    def __init__(self, watch: Watch, clock: Clock | None = None) -> None:
        self._watch = watch
        self._clock = clock or Clock()
        self._keys: Mapping[str, tuple[str, Key]] = {}
        watch.add(NAME, self._read)

    def holder(self, secret: str) -> Key | None:
        """The key that this is, if it is good now."""
        if not self._watch.fresh():
            return None
        return _holder(self._keys, secret, self._clock.now_ms())

    def known(self) -> bool:
        """Whether the keys are known at all now: where the store is away, a good key is found no more than a wrong one."""
        return self._watch.fresh()

    def named(self, key_id: str) -> Key | None:
        """The key with this id, if it is good now: of somebody who has shown it before."""
        found = self._keys.get(key_id) if self._watch.fresh() else None
        return found[1] if found and _good(found[1], self._clock.now_ms()) else None

    def __len__(self) -> int:
        """How many keys there are that are not revoked."""
        return sum(key.revoked_at is None for _, key in self._keys.values())

    def _read(self, connection: Connection) -> None:
        self._keys = _all(connection)


def holder(store: Store, secret: str, clock: Clock | None = None) -> Key | None:
    """The key that this is, if it is good now; asked of the store."""
    with store.reading() as connection:
        now = clocks.read(connection, clock or Clock())
        return _holder(_all(connection), secret, now)


def create(store: Store, record: Record, grant: Grant, clock: Clock | None = None) -> tuple[Key, str]:
    """A new key, and its secret: the only time that anybody sees it."""
    _check(grant)
    key_id, now = secrets.token_hex(6), (clock or Clock()).now_ms()
    secret = f"bylaw_{key_id}_{secrets.token_urlsafe(32)}"
    key = Key(key_id, grant, now)
    record(_entry("created", key, now))
    with store.writing() as connection:
        connection.execute(insert(KEYS).values(**_row(key, secret)))
        versions.raised(connection, NAME)
    return key, secret


def rotate(store: Store, record: Record, key_id: str, grace_ms: int, clock: Clock | None = None) -> Exchanged:
    """A new key that gives what this one gives; this one is refused after the grace.

    What the old one has used counts for the new one as well; what it uses during the grace does not.
    """
    old, now = _named(store, key_id), (clock or Clock()).now_ms()
    if not _good(old, now):
        raise StoreError(f"{old.prefix} is no longer good", "Make a new key: bylaw keys create.")
    if not 0 <= grace_ms <= MAX_GRACE_MS:
        raise StoreError(f"a key stays good for at most {MAX_GRACE_MS // 86_400_000} days after it was exchanged", "Give --grace.")
    ends = min(now + grace_ms, old.grant.expires_at or now + grace_ms)
    new_id = secrets.token_hex(6)
    secret = f"bylaw_{new_id}_{secrets.token_urlsafe(32)}"
    key = Key(new_id, old.grant, now)
    record(_entry("rotated", key, now, {"old": old.id, "ends": ends}))
    used = select(literal(new_id), USAGE.c.day, USAGE.c.tokens_in, USAGE.c.tokens_out, USAGE.c.micros).where(USAGE.c.key == old.id)
    with store.writing() as connection:
        same = KEYS.c.revoked_at.is_(None) & KEYS.c.expires_at.is_not_distinct_from(old.grant.expires_at)
        if not connection.execute(update(KEYS).where(KEYS.c.id == old.id, same).values(expires_at=ends)).rowcount:
            raise StoreError(f"{old.prefix} was changed or revoked meanwhile", "No key was made. See `bylaw keys list`.")
        connection.execute(insert(KEYS).values(**_row(key, secret)))
        connection.execute(insert(USAGE).from_select([one.name for one in USAGE.columns], used))
        versions.raised(connection, NAME)
    return Exchanged(key, secret, _named(store, old.id))


def revoke(store: Store, record: Record, key_id: str, clock: Clock | None = None) -> Key:
    """From now on this key is refused. `key_id` is the id or what `list` shows."""
    found = _named(store, key_id)
    now = (clock or Clock()).now_ms()
    with store.writing() as connection:
        connection.execute(update(KEYS).where(KEYS.c.id == found.id, KEYS.c.revoked_at.is_(None)).values(revoked_at=now))
        versions.raised(connection, NAME)
    try:  # after it has taken effect, as with a stop
        record(_entry("revoked", found, now))
    except LedgerError as error:
        raise LedgerError(f"the key is revoked, but the ledger could not record it: {error.what}", error.hint) from error
    return next(one for one in every(store) if one.id == found.id)


def every(store: Store) -> list[Key]:
    """All keys, revoked ones too, oldest first."""
    with store.reading() as connection:
        return sorted((key for _, key in _all(connection).values()), key=lambda key: (key.created_at, key.id))


def demo(store: Store, record: Record, roles: tuple[str, ...] = ()) -> tuple[tuple[Key, str], tuple[Key, str]]:
    """Two keys to try approvals with on one machine: one that asks, and one that may answer in these roles."""
    asks = Grant("demo-agent", ("agent",), name="demo: asks")
    answers = Grant("demo-approver", tuple(dict.fromkeys((ANY_APPROVER, ADMIN, *roles))), name="demo: approves")
    return create(store, record, asks), create(store, record, answers)


def to_json(key: Key) -> dict[str, Any]:
    """A key for machines, without its secret."""
    return {"id": key.id, "prefix": key.prefix, **asdict(key.grant), "created_at": key.created_at, "revoked_at": key.revoked_at}


def _named(store: Store, key_id: str) -> Key:
    """A key by its id, or by what `list` shows; raises StoreError."""
    found = next((one for one in every(store) if key_id in (one.id, one.prefix, one.prefix.removesuffix("_…"))), None)
    if found is None:
        raise StoreError(f"there is no key {key_id!r}", "See `bylaw keys list`.")
    return found


def _row(key: Key, secret: str) -> dict[str, Any]:
    """A key as the store keeps it."""
    roles, hashed = json.dumps(key.grant.roles), digest_bytes(secret.encode())
    return {**asdict(key.grant), "roles": roles, "id": key.id, "hash": hashed, "created_at": key.created_at}


def _holder(keys: Mapping[str, tuple[str, Key]], secret: str, now: int) -> Key | None:
    shape = SHAPE.fullmatch(secret)
    wanted, key = keys.get(shape[1], (NO_HASH, None)) if shape else (NO_HASH, None)
    same = hmac.compare_digest(wanted, digest_bytes(secret.encode("utf-8", "surrogatepass")))
    return key if key is not None and same and _good(key, now) else None


def _good(key: Key, now: int) -> bool:
    return key.revoked_at is None and (key.grant.expires_at is None or now < key.grant.expires_at)


def _all(connection: Connection) -> dict[str, tuple[str, Key]]:
    found = {}
    for row in connection.execute(select(KEYS)).mappings():
        fields = {name: row[name] for name in Grant.__slots__}
        grant = Grant(**{**fields, "roles": tuple(json.loads(row["roles"]))})
        found[row["id"]] = (row["hash"], Key(row["id"], grant, row["created_at"], row["revoked_at"]))
    return found


def _check(grant: Grant) -> None:
    texts = {"principal": grant.principal, "tenant": grant.tenant, "jurisdiction": grant.jurisdiction, "name": grant.name}
    for what, text in texts.items():
        if not text.isprintable() or len(text) > MAX_TEXT or text != text.strip():
            raise StoreError(f"a key's {what} must be plain text of at most {MAX_TEXT} characters", "No key was made.")
    if not grant.principal:
        raise StoreError("a key needs a principal: who comes in with it", "Give --principal.")
    if len(grant.roles) > MAX_ROLES or not all(ROLE.fullmatch(role) for role in grant.roles):
        raise StoreError("a role is a short word such as support-lead", "No key was made.")
    if KEYBOARD in grant.roles:
        raise StoreError(f"no key gives the role {KEYBOARD}: it is the user's whose agent asks over MCP", "No key was made.")
    if grant.requests_per_min is not None and grant.requests_per_min < 1:
        raise StoreError("a limit of requests a minute is at least 1", "To let nobody in, revoke the key.")
    if grant.budget and not _is_amount(grant.budget):
        raise StoreError(f"{grant.budget!r} is no budget", "Write an amount such as 12.50.")
    for tokens in (grant.tokens_per_day, grant.tokens_total):
        if tokens is not None and not 1 <= tokens <= MAX_TOKENS:
            raise StoreError(f"a budget of tokens is a whole number from 1 to {MAX_TOKENS}", "To let nobody in, revoke the key.")
    if grant.price:
        price(grant.price)
    if grant.tenant == ALL_TENANTS and not grant.roles:
        raise StoreError("a key for every tenant is for people who approve: give it their roles", "Give --role.")


def _is_amount(text: str) -> bool:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return False
    return amount.is_finite() and 0 <= amount <= MAX_MONEY


def _entry(step: str, key: Key, now: int, more: Mapping[str, Any] = EMPTY) -> dict[str, Any]:
    facts = {"step": step, "key": key.id, "roles": list(key.grant.roles), "tenant": key.grant.tenant, **more}
    return {"kind": "key", "time": now * 1000, "principal": key.grant.principal, "facts": facts}

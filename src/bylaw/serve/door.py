"""Who may come in: whoever has a key, and on loopback whoever is there.

Without a key, on loopback only, a caller is the principal `local`. Not so a web page: a browser says which page asks (`Origin`,
`Sec-Fetch-Site`, or a foreign `Host` after DNS rebinding), and no page may use this machine's gateway without a key. Limits count in this
process.
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from bylaw.errors import StoreError
from bylaw.govern.budgets import Budgets, Meter, price
from bylaw.govern.keys import ADMIN, Key, KeyRing
from bylaw.govern.quorum import Person
from bylaw.serve.gate import Who

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
LOCAL: Final[Mapping[str, Any]] = {"id": "local", "roles": [], "tenant": "", "jurisdiction": ""}
SOON_S: Final = 1  # when to come again where the store is away
LOOKS: Final = 2  # at what a key has used: the first may take so long that it is no longer true
MAX_COUNTED: Final = 100_000  # keys whose requests are counted
SAME: Final = (b"none", b"same-origin")  # what a browser says of a request that no other site's page makes
_HERE: Final = re.compile(
    rb"(?:localhost|127\.0\.0\.1|\[::1\]|::1)(?::[0-9]{1,5})?", re.IGNORECASE
)  # a Host header that names this machine
MAX_PLACE_CHARS: Final = 100
PLACE: Final = b"x-bylaw-jurisdiction"
ANY: Final = "*"


class NotIn(Exception):  # noqa: N818  # becomes an answer
    """Whoever asks may not come in, or not now."""

    def __init__(self, status: int, what: str, retry_after_s: int = 0) -> None:
        super().__init__(what)
        self.status = status
        self.what = what
        self.retry_after_s = retry_after_s


def away() -> NotIn:
    """A key was shown, and no key can be looked up now."""
    return NotIn(503, "whether this key is good cannot be told now: the store cannot be read; nothing was let through", SOON_S)


class Bucket(NamedTuple):
    """How many requests a key has left, and when that was counted."""

    left: float
    at: float


@dataclass(slots=True)
class Door:
    """Keys, and how often each may come."""

    ring: KeyRing
    local: bool  # whether this process listens on loopback only
    processes: int = 1  # that share each key's limit
    steady: Callable[[], float] = time.monotonic
    budgets: Budgets | None = None
    prices: Mapping[str, str] = field(default_factory=dict)  # of tokens, by region
    _buckets: "OrderedDict[str, Bucket]" = field(default_factory=OrderedDict)

    async def enter(self, headers: Mapping[bytes, bytes]) -> Who:
        """Who asks, with a budget that is not used up; raises NotIn, and StoreError where that cannot be known."""
        who = self.who(headers)
        if who.meter is not None:
            await looked_up(who.meter)
            if (spent := who.meter.spent()) is not None:
                raise NotIn(429, spent.what, spent.retry_after_s)
        return who

    def who(self, headers: Mapping[bytes, bytes]) -> Who:
        """Who asks, whatever is left of their budget; raises NotIn."""
        key = self.key(headers)
        if key is None:
            return Who({**LOCAL, "jurisdiction": chosen(ANY, headers.get(PLACE, b"").decode("latin-1"))} if PLACE in headers else LOCAL)
        place = chosen(key.grant.jurisdiction, headers.get(PLACE, b"").decode("latin-1"))
        self._count(key)
        return Who({**key.principal(), "jurisdiction": place}, key.id, key.grant.requests_per_min, self._meter(key, place))

    def key(self, headers: Mapping[bytes, bytes]) -> Key | None:
        """The key that was shown; None for whoever is on this machine and shows none. Raises NotIn."""
        shown = _shown(headers)
        if shown.startswith("bylaw_") or not self.local:
            key = self.ring.holder(shown)
            if key is None and shown.startswith("bylaw_"):
                if not self.ring.known():
                    raise away()
                key = self.ring.holder(shown)  # they may have become known between the two
            if key is None and shown.startswith("bylaw_"):
                raise NotIn(401, "this key is not known here: it is of another gateway's store, was mistyped, revoked, or has expired")
            if key is None:
                raise NotIn(401, "this needs a key of this gateway, as `Authorization: Bearer bylaw_...` or `x-api-key`")
            return key
        foreign = headers.get(b"sec-fetch-site", b"none") not in SAME  # a picture or a script of a page, which come without an origin
        if foreign or b"origin" in headers or not _HERE.fullmatch(headers.get(b"host", b"")):
            raise NotIn(403, "a web page needs a key, on this machine too")
        return None

    def admin(self, headers: Mapping[bytes, bytes]) -> Person:
        """Who administers: a key with the role `admin`, or whoever is on this machine. Raises NotIn."""
        key = self.key(headers)
        if key is None:
            return Person("local", (ADMIN,))
        if ADMIN not in key.grant.roles:
            raise NotIn(403, "this needs a key with the role `admin`")
        return key.person()

    def person(self, headers: Mapping[bytes, bytes]) -> Person:
        """Who answers: always somebody with a key, who is not merely on the same machine. Raises NotIn."""
        key = self.key(headers)
        if key is None:
            raise NotIn(401, "to decide on an approval takes a key; `bylaw keys demo` makes one to try it with")
        return key.person()

    def _meter(self, key: Key, place: str) -> Meter | None:
        """What counts a key's use, where it has a budget; raises NotIn."""
        limits = key.grant.limits
        if not limits:
            return None
        if self.budgets is None:
            raise NotIn(403, "this key has a budget, and this gateway does not count; nobody spends what nobody counts")
        costs = key.grant.price or self.prices.get(place, "")
        if limits.micros is not None and not costs:
            raise NotIn(403, "this key has a budget in money, and nobody has said what tokens cost; make one with --price IN/OUT")
        return Meter(self.budgets, key.id, limits, price(costs) if costs else None)

    def _count(self, key: Key) -> None:
        """Let a key come as often as it may, evenly; raises NotIn."""
        if key.grant.requests_per_min is None:
            return
        most, now = key.grant.requests_per_min / self.processes, self.steady()
        bucket = self._buckets.pop(key.id, Bucket(max(1.0, most), now))
        left = min(max(1.0, most), bucket.left + (now - bucket.at) * most / 60)
        self._buckets[key.id] = Bucket(left - 1 if left >= 1 else left, now)
        if len(self._buckets) > MAX_COUNTED:
            self._buckets.popitem(last=False)
        if left < 1:
            raise NotIn(429, f"this key may ask {key.grant.requests_per_min} times a minute", max(1, round((1 - left) * 60 / most)))


async def looked_up(meter: Meter) -> None:
    """Have the store read what a key has used, unless that is known here: in a thread, for it may take long. Raises StoreError."""
    for _ in range(LOOKS):
        if meter.known():
            return
        await asyncio.to_thread(meter.spent)
    if not meter.known():
        raise StoreError("what this key has used is read too slowly to count on", "Is the store overloaded, or its disk hanging?")


def chosen(allowed: str, header: str) -> str:
    """The jurisdiction of one request: the key's own, or the one of those it allows that the header names; raises NotIn.

    A key has one jurisdiction, several with commas between, `*` for any, or none.
    """
    names = [name for one in allowed.split(",") if (name := one.strip())]
    if header and (len(header) > MAX_PLACE_CHARS or not (header.isascii() and header.isprintable()) or header == ANY):
        raise NotIn(400, "x-bylaw-jurisdiction is no name of a jurisdiction")
    if header and header not in names and ANY not in names:
        raise NotIn(403, "x-bylaw-jurisdiction names a jurisdiction that this key does not have")
    return header or (names[0] if len(names) == 1 and names[0] != ANY else "")


def _shown(headers: Mapping[bytes, bytes]) -> str:
    """The key in a request; `Authorization` first."""
    bearer = headers.get(b"authorization", b"").decode("latin-1")
    if bearer[:7].lower() == "bearer ":
        return bearer[7:].strip()
    return headers.get(b"x-api-key", b"").decode("latin-1").strip()

"""Signing in at the console: a person's key is shown once, and a random cookie stands for it from then on.

The store has the cookie's SHA-256, never the cookie. A login ends when nothing was asked for half an hour, eight hours after it began, when
its key is revoked or expires (seen within a second), and when its person leaves. Roles are the key's, read anew for every page. Wrong keys
are counted in this process: a key has 256 random bits, so that guessing is hopeless and counting only keeps the noise down.
"""

import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64encode
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from bylaw.canonical import digest_bytes
from bylaw.govern.keys import ADMIN, Key, KeyRing
from bylaw.govern.quorum import ALL_TENANTS, ANY_APPROVER, Person
from bylaw.serve.door import NotIn, away
from bylaw.store import clock as clocks
from bylaw.store import console_rows
from bylaw.store.clock import Clock
from bylaw.store.console_rows import Login
from bylaw.store.database import Store

VIEWER: Final = "viewer"  # the role for reading
IDLE_MS: Final = 30 * 60 * 1000
ABSOLUTE_MS: Final = 8 * 3600 * 1000
TOUCH_MS: Final = 20 * 1000  # a login is written down as used at most so often
COOKIE_BYTES: Final = 32
MAX_COOKIE: Final = 100  # characters
MAX_TRIES: Final = 10  # wrong keys a minute, from one address
MAX_ALL: Final = 100  # from everywhere
MAX_ADDRESSES: Final = 10_000
MINUTE_S: Final = 60.0
PLAIN_COOKIE: Final = "bylaw_console"
HOST_COOKIE: Final = "__Host-bylaw_console"  # with https: a browser then takes it from this host alone


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is signed in."""

    login: str  # its id in the store
    key: Key
    csrf: str
    may: frozenset[str]  # read, answer, administer, sign

    @property
    def person(self) -> Person:
        """Who answers, as the approvals know them."""
        return self.key.person()

    @property
    def name(self) -> str:
        """Whose key it is."""
        return self.key.grant.principal


@dataclass(slots=True)
class Tries:
    """Wrong keys of the last minute, by address."""

    steady: Callable[[], float] = time.monotonic
    _by: "OrderedDict[str, deque[float]]" = field(default_factory=OrderedDict)
    _all: "deque[float]" = field(default_factory=deque)

    def check(self, address: str) -> None:
        """Raise NotIn where too many were wrong."""
        now = self.steady()
        for tries, most in ((self._by.get(address, deque()), MAX_TRIES), (self._all, MAX_ALL)):
            while tries and now - tries[0] > MINUTE_S:
                tries.popleft()
            if len(tries) >= most:
                raise NotIn(429, "too many keys were wrong; wait a minute", max(1, round(MINUTE_S - (now - tries[0]))))

    def wrong(self, address: str) -> None:
        """One more."""
        now = self.steady()
        tries = self._by.pop(address, None) or deque(maxlen=MAX_TRIES)
        tries.append(now)
        self._by[address] = tries
        if len(self._by) > MAX_ADDRESSES:
            self._by.popitem(last=False)
        self._all.append(now)
        if len(self._all) > MAX_ALL:
            self._all.popleft()


@dataclass(slots=True)
class Logins:
    """Who is signed in."""

    store: Store
    ring: KeyRing
    answering: Callable[[], Collection[str]]  # the roles that the policy in force asks to approve
    clock: Clock = field(default_factory=Clock)
    tries: Tries = field(default_factory=Tries)
    signing: Callable[[], Collection[str]] = frozenset  # the roles that a policy here asks to sign its clauses off

    def enter(self, secret: str, address: str) -> str:
        """Sign in with a key: what the cookie will hold. Raises NotIn."""
        if not self.ring.known():
            raise away()
        key = self.ring.holder(secret.strip())
        if key is None:  # a good key is never counted out: else whoever shows wrong ones could keep everybody from the stop button
            self.tries.check(address)
            self.tries.wrong(address)
            raise NotIn(401, "this key is not known here, or no longer good")
        if not self.may(key):
            raise NotIn(
                403, "this key has none of the roles viewer, approver and admin, and no clause asks its roles to approve or to sign"
            )
        cookie, now = secrets.token_urlsafe(COOKIE_BYTES), self._now()
        console_rows.put(self.store, Login(_id(cookie), key.id, now, now), now - ABSOLUTE_MS)
        return cookie

    def visitor(self, cookie: str, poll: bool = False) -> Visitor | None:
        """Who holds this cookie; None where the login has ended. A `poll` is the page's doing, and keeps nobody signed in."""
        if not cookie or len(cookie) > MAX_COOKIE:
            return None
        with self.store.reading() as connection:
            login, now = console_rows.get(connection, _id(cookie)), clocks.read(connection, self.clock)
        if login is None:
            return None
        if not self.ring.known():
            raise away()
        key = self.ring.named(login.key)
        if key is None or now - login.used_at >= IDLE_MS or now - login.made_at >= ABSOLUTE_MS:
            console_rows.drop(self.store, login.id)
            return None
        if not poll and now - login.used_at > TOUCH_MS:
            console_rows.touch(self.store, login.id, now)
        return Visitor(login.id, key, _csrf(cookie), self.may(key))

    def leave(self, cookie: str) -> None:
        """Sign out."""
        console_rows.drop(self.store, _id(cookie))

    def may(self, key: Key) -> frozenset[str]:
        """What a key's roles allow here; empty: not to come in."""
        roles, asked = set(key.grant.roles), {ANY_APPROVER, *self.answering()}
        whole = VIEWER in roles and key.grant.tenant in ("", ALL_TENANTS)  # what is read here is not parted by tenant
        found = {"read"} if whole or ADMIN in roles else set()
        found |= {"answer"} if roles & asked or ADMIN in roles else set()
        found |= {"administer"} if ADMIN in roles else set()
        found |= {"sign"} if roles & set(self.signing()) and key.grant.tenant in ("", ALL_TENANTS) else set()
        return frozenset(found)

    def _now(self) -> int:
        return clocks.now(self.store, self.clock)


def _id(cookie: str) -> str:
    return digest_bytes(cookie.encode("utf-8", "surrogatepass"))


def _csrf(cookie: str) -> str:
    """The token of a login's forms: whoever has it cannot make the cookie of it."""
    return urlsafe_b64encode(hmac.new(cookie.encode("utf-8", "surrogatepass"), b"bylaw console form", hashlib.sha256).digest()).decode()

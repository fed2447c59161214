"""What keys may use: tokens a day, tokens in all, money in all; counted together by all processes on one store.

Each process adds what it has used to the store twice a second and reads what the others have. So a process learns of the others' use at
most `SYNC_S` late, and where the store cannot be asked for `STALE_S`, keys with a budget do not come in. What a request that is under way
may use counts until it is known. A process that is killed takes with it what it has not yet added: at most `SYNC_S` and what was under way.
"""

import logging
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from typing import Final, NamedTuple

from bylaw.errors import BylawError, StoreError
from bylaw.store import usage_rows as rows
from bylaw.store.clock import Clock
from bylaw.store.database import Store
from bylaw.store.usage_rows import Sum, Used

SYNC_S: Final = 0.5
STALE_S: Final = 2.0
ACTIVE_S: Final = 60.0  # a key that rested for so long is no longer followed, but asked for when it comes
DAY_MS: Final = 24 * 3600 * 1000
AT_ONCE: Final = 500  # keys in one question
SOON_S: Final = 5  # when to come again where only what is under way stands in the way
NEVER_S: Final = 24 * 3600  # when to come again where a budget in all is used up: it may have been raised
BYTES_A_TOKEN: Final = 4  # for what is under way; what is over is counted as the upstream says
MICROS: Final = 1_000_000
PRICE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)/(\d{1,9}(?:\.\d{1,6})?)", re.ASCII)
NOTHING: Final = Used()
LOG: Final = logging.getLogger(__name__)


class Price(NamedTuple):
    """What a million tokens cost, in and out."""

    tokens_in: Decimal
    tokens_out: Decimal

    def of(self, tokens_in: int, tokens_out: int) -> int:
        """What these cost, in millionths, rounded up."""
        return int((tokens_in * self.tokens_in + tokens_out * self.tokens_out).to_integral_value(ROUND_CEILING))


def price(text: str) -> Price:
    """A price as people write it, IN/OUT; raises StoreError."""
    found = PRICE.fullmatch(text)
    if found is None:
        raise StoreError(f"{text!r} is no price of a million tokens", "Write it for what goes in and what comes out, such as 2.50/10.")
    return Price(Decimal(found[1]), Decimal(found[2]))


@dataclass(frozen=True, slots=True)
class Limits:
    """What one key may use; None: no limit."""

    per_day: int | None = None  # tokens
    total: int | None = None  # tokens
    micros: int | None = None

    def __bool__(self) -> bool:
        """Whether there is any."""
        return (self.per_day, self.total, self.micros) != (None, None, None)


class Spent(NamedTuple):
    """A budget that is used up."""

    what: str
    retry_after_s: int


@dataclass(slots=True)
class _Account:
    """One key, as this process knows it."""

    known: Sum
    day: int
    read_at: float
    seen_at: float
    pending: Used = NOTHING  # not yet in the store
    under_way: dict[int, Used] = field(default_factory=dict)


class Budgets:
    """Counts what keys use. Safe from many threads."""

    def __init__(self, store: Store, clock: Clock | None = None, steady: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock or Clock()
        self._steady = steady
        self._accounts: dict[str, _Account] = {}
        self._lock = threading.Lock()
        self._syncing = threading.Lock()  # one at a time; never taken while `_lock` is held
        self._behind: float | None = None  # since when something waits to be added
        self._number = 0
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Go on adding and reading, in a thread."""
        self._thread = threading.Thread(target=self._go_on, name="bylaw-budgets", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Add what is left, and stop."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        with suppress(BylawError):
            self.sync()

    def known(self, key: str) -> bool:
        """Whether what a key has used is known here, so that the next question about it reads no store."""
        with self._lock:
            account, now = self._accounts.get(key), self._steady()
            behind = self._behind is not None and now - self._behind > STALE_S
            return account is not None and not behind and now - account.read_at <= STALE_S

    def spent(self, key: str, limits: Limits) -> Spent | None:
        """Which budget of a key is used up, if one is; raises StoreError where that cannot be known."""
        account = self._account(key)
        with self._lock:
            return self._spent(account, limits, (NOTHING,))

    def begin(self, key: str, limits: Limits, most: Used) -> int | Spent:
        """A request is under way, which may use so much: its number; or what is used up, by others under way too."""
        account = self._account(key)
        with self._lock:
            over = self._spent(account, limits, tuple(account.under_way.values()))
            if over is not None:
                return over
            self._number += 1
            account.under_way[self._number] = most
            return self._number

    def end(self, key: str, number: int, used: Used) -> None:
        """A request is over, and has used so much."""
        with self._lock:
            account = self._accounts[key]
            account.under_way.pop(number, None)
            account.pending = account.pending.plus(used)
            if self._behind is None and used != NOTHING:
                self._behind = self._steady()

    def sync(self) -> None:
        """Add to the store what was used here, and read what was used elsewhere; raises StoreError."""
        with self._syncing:
            day, now = self._day(), self._steady()
            with self._lock:
                self._accounts = {key: one for key, one in self._accounts.items() if _needed(one, now)}
                added = {key: one.pending for key, one in self._accounts.items() if one.pending != NOTHING}
                followed = list(self._accounts)
            if added:
                rows.add(self._store, day, added)
            with self._lock:
                self._behind = None
                for key, used in added.items():
                    account = self._accounts[key]
                    left = account.pending
                    account.pending = Used(left.tokens_in - used.tokens_in, left.tokens_out - used.tokens_out, left.micros - used.micros)
                    account.known = Sum(
                        account.known.today + used.tokens, account.known.tokens + used.tokens, account.known.micros + used.micros
                    )
                    if account.pending != NOTHING:
                        self._behind = now
            for start in range(0, len(followed), AT_ONCE):
                found = rows.sums(self._store, day, followed[start : start + AT_ONCE])
                with self._lock:
                    for key, total in found.items():
                        account = self._accounts[key]
                        account.known, account.day, account.read_at = total, day, now

    def _spent(self, account: _Account, limits: Limits, under_way: tuple[Used, ...]) -> Spent | None:
        here = account.pending
        today = account.known.today if account.day == self._day() else 0
        for what, used, limit, again in (
            ("tokens a day", today + here.tokens, limits.per_day, self._until_tomorrow()),
            ("tokens in all", account.known.tokens + here.tokens, limits.total, NEVER_S),
            ("money", account.known.micros + here.micros, limits.micros, NEVER_S),
        ):
            if limit is None:
                continue
            if used >= limit:
                return Spent(f"this key's budget of {_shown(what, limit)} is used up", again)
            held = sum(one.micros if what == "money" else one.tokens for one in under_way)
            if used + held >= limit:
                return Spent(f"this key's budget of {_shown(what, limit)} may be used up by what is under way", SOON_S)
        return None

    def _account(self, key: str) -> _Account:
        """A key's account, fresh enough; raises StoreError."""
        now = self._steady()
        with self._lock:
            account, behind = self._accounts.get(key), self._behind
            if account is not None:
                account.seen_at = now
        if behind is not None and now - behind > STALE_S:
            self.sync()
        if account is not None and now - account.read_at <= STALE_S:
            return account
        with self._syncing:  # what is added while it is read would be neither in what was read nor waiting to be added
            now = self._steady()
            with self._lock:
                account = self._accounts.get(key)
            if account is not None and now - account.read_at <= STALE_S:  # another who asked for it, or a sync, was faster
                return account
            day = self._day()
            found = rows.sums(self._store, day, [key])[key]
            with self._lock:
                account = self._accounts.setdefault(key, _Account(found, day, now, now))
                account.known, account.day, account.read_at, account.seen_at = found, day, now, now
                return account

    def _day(self) -> int:
        return self._clock.now_ms() // DAY_MS

    def _until_tomorrow(self) -> int:
        return (DAY_MS - self._clock.now_ms() % DAY_MS) // 1000 + 1

    def _go_on(self) -> None:
        while not self._closed.wait(SYNC_S):
            try:
                self.sync()
            except BylawError as error:
                LOG.warning("what keys have used could not be kept: %s", error.what)
            except Exception:  # the thread must live to see it mended; meanwhile nobody with a budget comes in
                LOG.exception("what keys have used could not be kept")


@dataclass(frozen=True, slots=True)
class Meter:
    """What counts for one key, at one price."""

    budgets: Budgets
    key: str
    limits: Limits
    price: Price | None = None

    def known(self) -> bool:
        """Whether this process knows what the key has used; else the next question reads the store."""
        return self.budgets.known(self.key)

    def spent(self) -> Spent | None:
        """What is used up, if anything is; raises StoreError where that cannot be known."""
        return self.budgets.spent(self.key, self.limits)

    def begin(self, sent: int, most_out: int) -> int | Spent:
        """So many bytes are about to be asked, and so many tokens at most wanted: the number of it, or what is used up."""
        return self.budgets.begin(self.key, self.limits, self._used(sent // BYTES_A_TOKEN, most_out))

    def end(self, number: int, tokens_in: int, tokens_out: int) -> None:
        """It has been answered."""
        self.budgets.end(self.key, number, self._used(tokens_in, tokens_out))

    def _used(self, tokens_in: int, tokens_out: int) -> Used:
        return Used(tokens_in, tokens_out, self.price.of(tokens_in, tokens_out) if self.price else 0)


def _needed(account: _Account, now: float) -> bool:
    return bool(account.under_way) or account.pending != NOTHING or now - account.seen_at < ACTIVE_S


def _shown(what: str, limit: int) -> str:
    return f"{Decimal(limit) / MICROS}" if what == "money" else f"{limit} {what}"

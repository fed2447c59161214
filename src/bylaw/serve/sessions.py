"""Which sessions there are, for a while: what each of them has done (`govern.session`), and which answers left in it.

Kept in this process. A session is a principal's own: the same name under two keys is two sessions. Only what this gateway itself let
through counts: a client could write into its messages that a payee was verified, or that a refund was negative.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from bylaw.errors import StoreError
from bylaw.govern.session import History

MAX_SESSIONS: Final = 100_000
IDLE_S: Final = 3_600.0  # a session that rested for so long may make room for a new one
MAX_ANSWERS: Final = 200  # remembered in one session


@dataclass(slots=True)
class Session:
    """One session. `history` is a value: who changes it looks whether it is still the one that was judged."""

    id: str
    history: History
    used_at: float
    answers: "OrderedDict[bytes, None]" = field(default_factory=OrderedDict)  # digests of texts that have left

    def answered(self, text: str) -> None:
        """Remember a text that has left, so that it is known when it comes back as history."""
        self.answers[_digest(text)] = None
        if len(self.answers) > MAX_ANSWERS:
            self.answers.popitem(last=False)

    def said(self, text: str) -> bool:
        """Whether this text left in this session."""
        return bool(self.answers) and _digest(text) in self.answers


class Sessions:
    """The latest sessions; the one that rested longest is first."""

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        self._known: OrderedDict[tuple[str, str], Session] = OrderedDict()
        self._steady = steady

    def of(self, principal: str, name: str) -> Session:
        """This principal's session of that name; a new one, where there is none. Raises StoreError where there is no room."""
        key, now = (principal, name), self._steady()
        session = self._known.get(key)
        if session is not None:
            session.used_at = now
            self._known.move_to_end(key)
            return session
        if len(self._known) >= MAX_SESSIONS:
            oldest = next(iter(self._known.values()))
            if now - oldest.used_at < IDLE_S:
                raise StoreError(f"{MAX_SESSIONS} sessions are in use", "Nothing was let through; come again later.")
            self._known.popitem(last=False)
        session = self._known[key] = Session(name, History(name), now)
        return session


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()

"""Which sessions there are: what each of them has done (`govern.session`), and which answers left in it.

A session is a principal's own: the same name under two principals, or two tenants, is two sessions. Only what this gateway itself let
through counts: a client could write into its messages that a payee was verified, or that a refund was negative.

Where a condition of the law reads the session, what it has done is in the store: one for all processes, and no restart forgets it. It is
read before the first call is judged, and swapped for the next before a call leaves; where another process was faster, it is judged anew.
Where no condition reads it, it is counted in memory alone, and joins what the store has when a law comes that does. Which answers left is
known in memory: another process judges a text that comes back as history once more.

A turn that follows a reply by its id (`previous_response_id`) belongs to the session in which that reply was given: known in memory, and
where a condition reads the session in the store. Where nobody knows, the session is *unread*: full from the beginning (`History.full`), so
that whatever reads it is undecidable, and nothing else is.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, TypeVar

from bylaw.errors import StoreError
from bylaw.govern.histories import TRIES, Histories, pause_s
from bylaw.govern.session import UNREAD, History, Kept, crowded

MAX_SESSIONS: Final = 100_000
IDLE_S: Final = 3_600.0  # a session that rested for so long may make room for a new one
MAX_ANSWERS: Final = 200  # remembered in one session
MAX_REPLIES: Final = 100_000  # ids remembered in one process
THREADS: Final = 4  # that wait for the store
T = TypeVar("T")


class Keeper:
    """The store's histories, asked in threads of their own: a judge that hangs keeps no session waiting."""

    def __init__(self, histories: Histories) -> None:
        self._histories = histories
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="bylaw-sessions")

    async def read(self, principal: str, name: str) -> Kept:
        """What a session has done."""
        return await self._later(lambda: self._histories.read(principal, name))

    async def swap(self, principal: str, name: str, kept: Kept, history: History) -> Kept | None:
        """Put a history in the place of the one that was read; None where another was faster."""
        return await self._later(lambda: self._histories.swap(principal, name, kept, history))

    async def replied(self, principal: str, reply: str, name: str) -> None:
        """Remember in which session a reply was given."""
        await self._later(lambda: self._histories.replied(principal, reply, name))

    async def session_of(self, principal: str, reply: str) -> str:
        """The name of the session in which a reply was given; empty where that is not known."""
        return await self._later(lambda: self._histories.session_of(principal, reply))

    def close(self) -> None:
        """End what is being written, and stop."""
        self._threads.shutdown()

    async def _later(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


@dataclass(slots=True)
class Session:
    """One session. `history` is a value: who changes it looks whether it is still the one that was judged."""

    id: str
    history: History
    used_at: float
    principal: str = ""
    keeper: Keeper | None = None
    answers: "OrderedDict[bytes, None]" = field(default_factory=OrderedDict)  # digests of texts that have left
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _version: int | None = None  # of the row that `history` is; None: memory alone knows it

    # ---- What it has done ---------------------------------------------------------------------------------------------

    async def known(self, wanted: bool, attempt: int = 0) -> History:
        """What the session has done, as the store has it where that is `wanted`. A further attempt waits a little first."""
        if attempt:
            await asyncio.sleep(pause_s(attempt))
        if self.keeper is not None and wanted:
            await self._read(self.keeper)
        return self.history

    async def begun(self, stored: bool, attempt: int) -> History:
        """What calls are judged on: what was last known, as `swap` finds out whether it still is so. Read where nothing is known."""
        return await self.known(stored and (attempt > 0 or self._version is None), attempt)

    async def swap(self, judged: History, after: History, stored: bool) -> bool:
        """Let `after` be what the session has done, if it is still as it was judged; where nothing is to be changed, whether it is.

        Raises StoreError where that cannot be told, or not be kept.
        """
        if self.history is not judged:
            return False
        if self.keeper is None or not (stored or self._version is not None):
            self.history = after
            return True
        if after == judged or self._version is None:
            alone = self._version is None  # judged on what memory alone knew
            await self._read(self.keeper)
            return self.history is judged and not alone
        kept = await self.keeper.swap(self.principal, self.id, Kept(judged, self._version), after)
        if kept is None:
            await self._read(self.keeper)
            return False
        if kept.version > self._version:
            self.history, self._version = kept.history, kept.version
        return True

    async def change(self, work: Callable[[History], History], stored: bool) -> None:
        """A change that is right whatever the session has done meanwhile, and needs no second look once made; raises StoreError."""
        async with self._changing:  # in this process one after another, so that only other processes can be faster
            for attempt in range(TRIES):
                begun = await self.known(bool(attempt) and stored, attempt)
                after = work(begun)
                if after == begun or await self.swap(begun, after, stored):
                    return
        raise crowded()

    async def _read(self, keeper: Keeper) -> None:
        found, mine = await keeper.read(self.principal, self.id), self.history
        if self._version is None:
            if mine == History(self.id):
                self.history, self._version = found.history, found.version
                return
            kept = await keeper.swap(self.principal, self.id, found, found.history.joined(mine))
            if kept is not None and self.history is mine and self._version is None:
                self.history, self._version = kept.history, kept.version
        elif found.version > self._version:
            self.history, self._version = found.history, found.version
        elif found.version == 0:
            self._version = 0  # its row was forgotten; what is known here is not

    # ---- What it has said ---------------------------------------------------------------------------------------------

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

    def __init__(self, steady: Callable[[], float] = time.monotonic, keeper: Keeper | None = None) -> None:
        self._known: OrderedDict[tuple[str, str], Session] = OrderedDict()
        self._replies: OrderedDict[bytes, str] = OrderedDict()  # the names of their sessions
        self._steady = steady
        self._keeper = keeper

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
        begun = History(name, full=name.startswith(UNREAD))
        session = self._known[key] = Session(name, begun, now, principal, self._keeper)
        return session

    async def replied(self, session: Session, reply: str, stored: bool) -> None:
        """A reply with this id leaves in a session; raises StoreError. An id that comes in a second session names none any more."""
        key = _digest(f"{session.principal}\0{reply}")
        same = self._replies.pop(key, session.id) == session.id
        self._replies[key] = session.id if same else ""
        if len(self._replies) > MAX_REPLIES:
            self._replies.popitem(last=False)
        if stored and self._keeper is not None:
            await self._keeper.replied(session.principal, reply, session.id)

    async def following(self, principal: str, reply: str, stored: bool) -> str:
        """The name of the session in which a reply was given, of an unread one where nobody knows; raises StoreError."""
        name = self._replies.get(_digest(f"{principal}\0{reply}"))
        if name is None and stored and self._keeper is not None:
            name = await self._keeper.session_of(principal, reply)
        return name or f"{UNREAD}{_digest(reply).hex()}"


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()

"""Calling people to a request for approval: at once, and where whoever was to ring died, later by whichever process finds it.

A request has a `notice` from when somebody begins to ring for it: whoever writes that down first is the one who rings. One that has none
for `SILENT_MS` is rung for by any process that looks. So nobody is rung twice for a request, however many look; and nobody at all where a
process dies after it wrote that down and before it rang, or where none looks.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from bylaw.errors import StoreError
from bylaw.store import approval_rows as rows
from bylaw.store.approval_rows import BEING_RUNG, Approval
from bylaw.store.database import Store

SILENT_MS: Final = 10 * 60 * 1000  # after which nobody is still trying to ring for a request
AT_ONCE: Final = 10  # requests that one look takes: as many are lost where it dies before it rings
LOG: Final = logging.getLogger(__name__)

Ring = Callable[[Approval], object]  # tells people that somebody waits for them


@dataclass(frozen=True, slots=True)
class Summons:
    """How people are told, in one process; or not, where it rings for nobody."""

    store: Store
    ring: Ring | None
    now: Callable[[], int]  # ms

    def send(self, one: Approval) -> None:
        """Ring; a bell that cannot is logged."""
        if self.ring is not None:
            try:
                self.ring(one)
            except Exception as error:  # noqa: BLE001  # ringing decides nothing: the request waits, and can be listed
                LOG.warning("ringing for approval %s failed: %s", one.id, error)

    def take(self, approval: str) -> bool:
        """Whether this process is the one that now rings for a request, which still waits; raises StoreError."""
        return rows.taken(self.store, approval)

    def again(self, one: Approval, now: int) -> bool:
        """Ring for a request if it waits in silence and nobody else does: whoever asked first died, or lost the store's answer."""
        silent = one.state == "pending" and not one.notice and now - one.requested_at > SILENT_MS
        if not silent or self.ring is None or not self.take(one.id):
            return False
        self.send(replace(one, notice=BEING_RUNG))
        return True

    def missed(self) -> int:
        """Ring for some of the requests that wait in silence, whoever asked; for how many."""
        if self.ring is None:
            return 0
        try:
            now = self.now()
            with self.store.reading() as connection:
                found = rows.silent(connection, now - SILENT_MS, now, AT_ONCE)
            return sum(self.again(one, now) for one in found)
        except StoreError as error:
            LOG.warning("for whom nobody was rung could not be looked up: %s", error.what)
            return 0

"""Calling people to a request for approval: at once, and where whoever was to ring died, once more by whoever finds it.

A request has a `notice` from when somebody begins to ring for it. One that has none for `SILENT_MS` is rung for by the one process that
writes down first that it does. So nobody is rung twice for a request; and not at all where that one process dies, too, before it rings.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bylaw.store import approval_rows as rows
from bylaw.store.approval_rows import Approval
from bylaw.store.database import Store

SILENT_MS: Final = 10 * 60 * 1000  # after which nobody is still trying to ring for a request
LOG: Final = logging.getLogger(__name__)

Ring = Callable[[Approval], object]  # tells people that somebody waits for them


@dataclass(frozen=True, slots=True)
class Summons:
    """How people are told, in one process; or not, where it rings for nobody."""

    store: Store
    ring: Ring | None

    def send(self, one: Approval) -> None:
        """Ring; a bell that cannot is logged."""
        if self.ring is not None:
            try:
                self.ring(one)
            except Exception as error:  # noqa: BLE001  # ringing decides nothing: the request waits, and can be listed
                LOG.warning("ringing for approval %s failed: %s", one.id, error)

    def again(self, one: Approval, now: int) -> None:
        """Ring for a request that waits in silence: whoever asked first died, or lost the store's answer."""
        silent = one.state == "pending" and not one.notice and now - one.requested_at > SILENT_MS
        if silent and self.ring is not None and rows.taken(self.store, one.id):
            self.send(one)

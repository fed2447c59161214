"""`serve --unsafe-watch`, for whoever writes a policy: a changed folder goes live without anybody activating it.

No sign-off is asked for, and each process looks by itself; a store whose policy in force asks for signatures is refused. A policy that
cannot stand replaces nothing, and is said once; what went live is in the ledger before it is in force. A folder counts as changed when two
looks in a row agree, so that a half-written file is not read.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bylaw.errors import BylawError, PolicyError
from bylaw.serve import bundle, leave
from bylaw.serve.live import InForce, Live
from bylaw.store.database import Store

LOOK_S: Final = 0.15
LOG: Final = logging.getLogger(__name__)

Looks = tuple[tuple[str, int, int, int], ...]


class WatchedFolder:
    """Puts what stands in a folder in force, until closed."""

    def __init__(self, folder: Path, live: Live, record: Callable[[Mapping[str, Any]], object], look_s: float = LOOK_S) -> None:
        self._folder = folder
        self._live = live
        self._record = record
        self._look_s = look_s
        self._closed = threading.Event()
        self._seen = self._last = looks(folder)
        self._recorded(live.now)
        self._thread = threading.Thread(target=self._go_on, name="bylaw-unsafe-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._closed.set()
        self._thread.join()

    def _go_on(self) -> None:
        while not self._closed.wait(self._look_s):
            try:
                self._look()
            except BylawError as error:
                self._refuse(error.what)
            except Exception as error:  # whatever a half-written file does to a reader: the old one stays, and the next look comes
                LOG.exception("a policy cannot be read")
                self._refuse(type(error).__name__)

    def _look(self) -> None:
        found = looks(self._folder)
        settled, self._last = found == self._last, found
        if not settled or found == self._seen:
            return
        self._seen = found
        self._put(self._live.made(self._folder))

    def _put(self, made: InForce) -> None:
        checked(self._live.store)
        if made.digest != self._live.now.digest:
            self._recorded(made)
        self._live.put(made)
        LOG.warning("unsafe-watch: %s is in force, and nobody has reviewed it", made.digest)

    def _recorded(self, made: InForce) -> None:
        facts = {"step": "watched", "id": made.places.policy.id, "unsigned": len(made.unsigned)}
        self._record({"kind": "policy", "principal": "unsafe-watch", "policy": made.digest, "facts": facts})

    def _refuse(self, why: str) -> None:
        if why != self._live.refused:
            self._live.refused = why
            LOG.error("unsafe-watch: the policy is refused, the old one stays: %s", why)


def checked(store: Store) -> None:
    """Raises PolicyError where the policy in force in the store asks for signatures: none of it may be walked around by a flag."""
    if leave.protected(store):
        raise PolicyError("--unsafe-watch beside a policy in force that asks for signatures", "Name another --data-dir (and --store).")


def looks(folder: Path) -> Looks:
    """What tells one state of a folder from another, without reading its files; raises PolicyError."""
    found = []
    for path in bundle.files_of(folder):
        try:
            one = path.stat()
        except FileNotFoundError:  # an editor's file, gone again
            continue
        found.append((str(path), one.st_mtime_ns, one.st_size, one.st_ino))
    return tuple(sorted(found))

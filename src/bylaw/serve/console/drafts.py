"""The policy as it is worked on: the folder that `draft:` in gateway.yaml names, read anew each time, and whether it can be written.

What is in force lies in the store and has no folder. So without a draft nothing is kept from here, and pages say how to do it instead.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from bylaw.errors import BylawError, PolicyError
from bylaw.policy.parse import load
from bylaw.serve import bundle, one_writer
from bylaw.serve import live as lives
from bylaw.serve.desk import Desk
from bylaw.serve.door import NotIn
from bylaw.types import Policy

NONE: Final = "this gateway knows no folder where the policy is worked on (`draft:` in gateway.yaml)"
SEEN_S: Final = 5.0  # for so long the roles that a draft asks to sign are known without another look


class Draft(NamedTuple):
    """A folder, what it says now, and why nothing can be kept there."""

    folder: Path | None
    policy: Policy | None = None  # None: it does not load, or there is none
    fault: str = ""  # empty: it loads and can be written


def look(desk: Desk) -> Draft:
    """The draft as it stands."""
    folder = desk.draft
    if folder is None:
        return Draft(None, fault=NONE)
    try:
        policy = load(folder)
    except (BylawError, OSError) as error:
        return Draft(folder, fault=f"the draft does not load: {error.what if isinstance(error, BylawError) else error.strerror}")
    writable = folder.is_dir() and os.access(folder, os.W_OK)
    return Draft(folder, policy, "" if writable else "this gateway may not write into the folder of the draft")


@contextmanager
def writing(desk: Desk) -> Iterator[Path]:
    """The folder, to write into, nobody else beside; raises NotIn where that cannot be, PolicyError on what it refuses."""
    if desk.draft is None:
        raise NotIn(409, f"{NONE}. Nothing was done")
    if not (desk.draft.is_dir() and os.access(desk.draft, os.W_OK)):
        raise NotIn(409, "this gateway may not write into the folder of the draft. Nothing was done")
    try:
        with one_writer.alone(desk.draft):
            yield desk.draft
    except OSError as error:
        raise NotIn(503, f"the draft could not be written: {error.strerror or error}") from error


def alone(kept: dict[str, Any]) -> asyncio.Lock:
    """What lets one person at a time change the draft, in this process."""
    lock: asyncio.Lock = kept.setdefault("drafting", asyncio.Lock())
    return lock


@contextmanager
def copied(desk: Desk) -> Iterator[Path]:
    """A copy to try something on, for as long as the block runs: of the draft, else of what is in force. Raises PolicyError."""
    if desk.draft is not None:
        with bundle.unpacked(bundle.pack(desk.draft)) as folder:
            yield folder
    else:
        with lives.kept(desk.store, desk.live.now.digest) as folder:
            yield folder


class Signing:
    """The roles that a policy here asks to sign, of the one in force and of the draft."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._at = -SEEN_S
        self._roles: frozenset[str] = frozenset()

    def __call__(self) -> frozenset[str]:
        """The roles, as of a few seconds ago."""
        now = time.monotonic()
        if self.desk.draft is not None and now - self._at > SEEN_S:
            self._at, self._roles = now, _asked(look(self.desk).policy)
        return self._roles | _asked(self.desk.live.now.places.policy)


def _asked(policy: Policy | None) -> frozenset[str]:
    return frozenset(role for line in policy.signoffs for role in line.roles) if policy else frozenset()


def refused(error: PolicyError) -> str:
    """Why not, and what to do, in a line."""
    return f"Not done: {error.what.rstrip('.')}. {error.hint}".strip()

"""One writer at a time in a policy's folder, of all processes on this machine that ask here: the console and the commands for rulings.

The lock is on the folder itself: it leaves no file there, and the kernel gives it back when its holder dies. An editor does not ask.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bylaw.errors import PolicyError

PATIENCE_S: Final = 10.0
LOOK_S: Final = 0.02


@contextmanager
def alone(policy: Path, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Nobody else writes into a policy's folder for as long as the block runs; raises PolicyError."""
    held = -1
    try:
        try:
            held = os.open(policy if policy.is_dir() else policy.parent, os.O_RDONLY | os.O_CLOEXEC)
            _take(held, policy, time.monotonic() + patience_s)
        except OSError as error:
            raise PolicyError(f"{policy}: cannot be locked: {error.strerror}", "Is it a folder on a disk of this machine?") from error
        yield
    finally:
        if held >= 0:
            os.close(held)


def _take(held: int, policy: Path, late: float) -> None:
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > late:
                raise PolicyError(f"{policy}: somebody else is writing there", "Nothing was done. Try again.") from error
            time.sleep(LOOK_S)
        else:
            return

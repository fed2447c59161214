"""A process that promotes the canary of a store and kills itself after its N-th word to it. `python promoting.py STORE N`.

A process of its own and no fork of the tests': that would inherit a lock of SQLite's which a thread holds that it does not have.
"""

import os
import signal
import sys
from pathlib import Path

from sqlalchemy import event

from bylaw.serve import trials
from bylaw.store import database


def main(path: Path, at: int) -> None:
    store, said = database.open(path), 0

    def saying(*_: object) -> None:
        nonlocal said
        said += 1
        if said == at:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(store.engine, "after_cursor_execute", saying)
    event.listen(store.engine, "commit", saying)
    trials.promote(store, lambda entry: "", "kim")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

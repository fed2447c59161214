"""A worker whose supervisor is gone ends itself, as if it had been told to: nothing new, and what runs is finished first.

`multiprocessing` gives each spawned process a pipe whose other end only its parent holds; it ends with the parent, however that died.
"""

import logging
import multiprocessing
import os
import signal
import threading
from typing import Final

LOG: Final = logging.getLogger(__name__)


def end_with_parent() -> None:
    """Watch the process that started this one, from a thread of its own; nothing where none did."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        LOG.error("the supervisor of this worker is gone: what runs is finished, and the worker ends")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="bylaw-parent", daemon=True).start()

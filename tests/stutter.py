"""Runs a command and freezes its processes at random, so that a test which races a clock shows itself.

`python -m tests.stutter SEED COMMAND…`: every half second to two seconds, all of the command's processes or about half of them stand still
for 0.3 to 1.2 s (SIGSTOP, SIGCONT), as on a machine that is busy with something else. The exit status is the command's.
"""

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random


def tree(root: int) -> list[int]:
    """A process and all that descend from it, as /proc has them now."""
    children = defaultdict[int, list[int]](list)
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):  # not a process, or one that has just ended
            children[int((entry / "stat").read_text().rpartition(")")[2].split()[1])].append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += children[found[-1]]
    return found


def signalled(processes: Sequence[int], which: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, which)


def main(seed: int, command: Sequence[str]) -> int:
    random, running = Random(seed), subprocess.Popen(command)
    while running.poll() is None:
        time.sleep(random.uniform(0.5, 2.0))
        some = tree(running.pid)
        if random.random() < 0.5:
            some = [one for one in some if random.random() < 0.5]
        signalled(some, signal.SIGSTOP)
        time.sleep(random.uniform(0.3, 1.2))
        signalled(some, signal.SIGCONT)
    return running.returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))

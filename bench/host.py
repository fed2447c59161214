"""What the machine is worth just now: without it an absolute figure of another bench says little, and a shared host changes by the hour.

Python and native code are slowed by different things: where indirect jumps are not predicted, an interpreter takes four times as long and
SHA-256 no longer; and where others fill the caches, what comes once in a while waits for memory, however quick a loop is. So all of these
stand here, and the slowest of several tries beside the fastest: a neighbour comes and goes.
"""

import hashlib
import os
import random
import statistics
import tempfile
import time
from array import array
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench import Row, row

TRIES: Final = 20
TURNS: Final = 200_000
WRITES: Final = 50
PAGE: Final = bytes(4096)
LINE: Final = 8  # numbers of 8 bytes in what a cache holds as one
NEAR, FAR = 16 << 10, 16 << 20  # bytes: what the first cache holds, and what a share of the last one does not


def _turns() -> None:
    for _ in range(TURNS):
        pass


def _calls() -> None:
    for _ in range(TURNS // 10):
        os.getppid()


def _reads(size: int) -> Callable[[], None]:
    """Read all over so many bytes: each read says where the next one is, so that none begins before the last has ended."""
    places = random.Random(0).sample(range(0, size // 8, LINE), size // 8 // LINE)
    links = array("q", bytes(size))
    for here, there in pairwise((*places, places[0])):
        links[here] = there

    def read() -> None:
        at = 0
        for _ in range(TURNS):
            at = links[at]

    return read


def _tries(what: Callable[[], object], times: int = 1) -> list[float]:
    """CPU seconds of one of `times`, fastest first."""
    took = []
    for _ in range(TRIES):
        began = time.process_time()
        what()
        took.append((time.process_time() - began) / times)
    return sorted(took)


def _signature() -> Callable[[], None]:
    key = Ed25519PrivateKey.generate()

    def signed() -> None:
        for _ in range(100):
            key.sign(b"a line to sign")

    return signed


def _write_s() -> float:
    """Seconds until 4 KiB that replace others are on the disk, the median."""
    took = []
    with tempfile.TemporaryDirectory(dir=".") as folder:
        file = os.open(Path(folder) / "page", os.O_RDWR | os.O_CREAT)
        try:
            for _ in range(WRITES):
                began = time.perf_counter()
                os.pwrite(file, PAGE, 0)
                os.fdatasync(file)
                took.append(time.perf_counter() - began)
        finally:
            os.close(file)
    return statistics.median(took[1:])  # the first gives the file its length


def measure() -> list[Row]:
    """No row has a target: it is the machine that is measured."""
    turns, content = _tries(_turns, TURNS), bytes(1 << 20)
    near, far = (statistics.median(_tries(_reads(size), TURNS)) for size in (NEAR, FAR))
    return [
        row("host: a turn of an empty loop of Python, fastest of 20", turns[0] * 1e9, "ns"),
        row("host: a turn of an empty loop of Python, slowest of 20", turns[-1] * 1e9, "ns"),
        row("host: a system call from Python", _tries(_calls, TURNS // 10)[0] * 1e6, "us"),
        row("host: a read somewhere in 16 MiB, more than in 16 KiB, p50 of 20", (far - near) * 1e9, "ns"),
        row("host: SHA-256 of 1 MiB", _tries(lambda: hashlib.sha256(content).digest())[0] * 1e3, "ms"),
        row("host: an Ed25519 signature", _tries(_signature(), 100)[0] * 1e6, "us"),
        row("host: 4 KiB replaced and on the disk, wall clock, p50", _write_s() * 1e3, "ms"),
    ]

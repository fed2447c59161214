"""Real faults in a process of its own: killed at any point, out of disk. What was acknowledged is there, and the log verifies."""

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bylaw.ledger import place, reading, verify
from bylaw.ledger.merkle import leaf_hash
from tests.ledger.logs import report

ROOT = Path(__file__).parents[2]


def start(data_dir: Path, code: list[str]) -> "subprocess.Popen[str]":
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, *code, str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": paths},
    )


def killed_after(data_dir: Path, seconds: float) -> dict[int, str]:
    """What a process acknowledged until it was killed. Counted from the moment its log is open."""
    with start(data_dir, ["-m", "tests.ledger.crashing"]) as process:
        assert process.stdout is not None
        opened = process.stdout.readline()
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()))
        reader.start()
        time.sleep(seconds)
        process.kill()
        reader.join()
        assert process.stderr is not None
        said = process.stderr.read()
    assert opened == "open\n", said
    return {int(index): hashed for index, _, hashed in (line[:-1].partition(" ") for line in lines if line.endswith("\n"))}


@pytest.mark.parametrize("rounds", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_after_kill_9_at_any_point_nothing_acknowledged_is_lost_and_the_log_verifies(tmp_path: Path, rounds: int) -> None:
    rng = random.Random(rounds)
    acknowledged: dict[int, str] = {}
    faults: list[verify.Fault] = []

    for _ in range(rounds):
        fresh = killed_after(tmp_path, rng.uniform(0.0, 0.08))
        assert not fresh.keys() & acknowledged.keys()  # no index is given twice
        acknowledged |= fresh
        faults += report(tmp_path).faults
    with reading.stored(place.logs(tmp_path)[0]) as log:
        there = {at: leaf_hash(leaf).hex() for at, leaf in log.leaves()}

    assert len(place.logs(tmp_path)) == 1
    assert len(acknowledged) > rounds
    assert not faults
    assert all(there[index] == hashed for index, hashed in acknowledged.items())


FULL = """
import resource, signal, sys
from pathlib import Path
from bylaw.errors import LedgerError
from bylaw.ledger.writer import Ledger
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = Ledger(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))  # no file can grow beyond: what a full disk does to a write
good, after, why = 0, 0, ''
for _ in range(500):
    try:
        ledger.append({'kind': 'decision', 'contents': {'input': 'x' * 5_000}})
        after += bool(why)
        good += 1
    except LedgerError as error:
        why = error.what
print(good, after, ledger.healthy, why)
"""


def test_a_full_disk_stops_everything_and_what_was_acknowledged_verifies(tmp_path: Path) -> None:
    with start(tmp_path, ["-c", FULL]) as process:
        out, said = process.communicate(timeout=60)
    good, after, healthy, why = out.split(" ", 3)
    found = report(tmp_path)

    assert 0 < int(good) < 500, said
    assert after == "0"
    assert healthy == "False"
    assert "cannot record" in why
    assert found.good
    assert found.logs[0].entries == int(good)

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
from bylaw.ledger.writer import Ledger
from tests.ledger.logs import report

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MOST = 10  # times as many rounds, where a busy machine acknowledges little before it is killed


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

    for turn in range(MOST * rounds):
        if turn >= rounds and len(acknowledged) > rounds:
            break
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


def test_processes_that_start_at_once_each_take_a_log_of_their_own(tmp_path: Path) -> None:
    processes = [start(tmp_path, ["-m", "tests.ledger.crashing"]) for _ in range(3)]
    opened = []
    for process in processes:
        assert process.stdout is not None
        opened.append(process.stdout.readline() + process.stdout.readline().partition(" ")[0])
    for process in processes:
        process.kill()
        process.communicate()
    found = report(tmp_path)

    assert [one.partition("\n")[0] for one in opened] == ["open"] * 3
    assert len(found.logs) == 3
    assert found.good


AT_A_POINT = """
import os, signal, sys
from pathlib import Path
from bylaw.ledger.writer import Ledger, Settings
point, data_dir = sys.argv[1], Path(sys.argv[2])
def die():
    os.kill(os.getpid(), signal.SIGKILL)
ledger = Ledger(data_dir, settings=Settings(checkpoint_entries=2))
for name in 'ab':
    print(ledger.append({'kind': 'decision', 'contents': {'input': name}}).index, flush=True)
count = 0
def statement(sql):
    global count
    count += 1
    if point == str(count):
        die()
ledger._disk.db.set_trace_callback(statement)
def event(name, arguments):
    if name == point and '.checkpoint' in str(arguments):
        die()
sys.addaudithook(event)
for name in 'cdef':
    print(ledger.append({'kind': 'decision', 'contents': {'input': name}}).index, flush=True)
print(ledger.retain(2**50), flush=True)
ledger.close()
print('closed', flush=True)
"""


@pytest.mark.parametrize("point", [*range(1, 9), "open", "os.rename"])
def test_killed_at_each_statement_and_at_each_step_of_publishing_the_log_verifies_and_goes_on(tmp_path: Path, point: int | str) -> None:
    with start(tmp_path, ["-c", AT_A_POINT, str(point)]) as process:
        out, said = process.communicate(timeout=180)
    acknowledged = [int(line) for line in out.split()]
    after_kill = report(tmp_path)
    with Ledger(tmp_path) as ledger:
        receipt = ledger.append({"kind": "decision"})

    assert process.returncode == -9, said
    assert after_kill.good
    assert len(acknowledged) <= after_kill.logs[0].entries <= len(acknowledged) + 1
    assert receipt.index == after_kill.logs[0].entries
    assert report(tmp_path).good


FULL = """
import resource, signal, sys
from pathlib import Path
from bylaw.errors import LedgerError
from bylaw.ledger.writer import Ledger
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = Ledger(Path(sys.argv[1]))
sys.dont_write_bytecode = True  # it would be cut short
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
        out, said = process.communicate(timeout=180)
    good, after, healthy, why = out.split(" ", 3)
    found = report(tmp_path)

    assert 0 < int(good) < 500, said
    assert after == "0"
    assert healthy == "False"
    assert "cannot record" in why
    assert found.good
    assert found.logs[0].entries == int(good)

"""Start a run as a person would, kill it with -9, start it again: until it ends by itself."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PATIENCE_S = 300
SMOKE = ("--model", "embedded", "--size", "smoke")
TWO = ("--workers", "2")
ALONE = ("--workers", "1")  # a process that imports torch is the most of such a run; what comes of it is the same


def command(out: Path, *options: str) -> list[str]:
    """The command line of a deliberative run in `out`."""
    return [sys.executable, "-m", "bylaw", "align", "deliberative", "--policy", "policies/policyworld", "--out", str(out), *options]


def finish(line: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Run to the end; a failing run shows what it said."""
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=environment)
    if done.returncode:
        raise AssertionError(done.stderr)


def kill_when(line: Sequence[str], due: Callable[[], bool]) -> bool:
    """Start, kill -9 as soon as `due` says so; whether there was anything left to kill."""
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and not due():
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError("the moment to kill never came")
        time.sleep(0.01)
    alive = process.poll() is None
    if alive:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def weights(run: Path) -> dict[str, str]:
    """The digest of every model's weights in a run."""
    return {file.parent.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(run.glob("models/*/*.safetensors"))}

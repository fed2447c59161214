"""One finished run for all tests that only look at it, whatever process they are in."""

import fcntl
import os
from pathlib import Path

import pytest

from tests.recipes.killing import SMOKE, TWO, command, finish
from tests.recipes.listening import listening


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the smallest size that nobody disturbed, made by whoever asks first. Who writes into it takes a copy."""
    mine = tmp_path_factory.getbasetemp()
    shared = (mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / "smoke"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "run" / "manifest.json").is_file():
            with listening(shared / "called") as environment:
                finish(command(shared / "run", *SMOKE, *TWO), environment)
    return shared / "run"

"""The walkthrough of docs/policy-format.md, run as it stands there: from nothing to a second version in force, signed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "policy-format.md").read_text()


@pytest.mark.slow
def test_the_walkthrough_works_as_written(tmp_path: Path) -> None:
    script = PAGE.partition("```sh walkthrough\n")[2].partition("```")[0]
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "bylaw"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m bylaw "$@"\n')
    command.chmod(0o755)
    found = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-ec", script], cwd=tmp_path, env=found, capture_output=True, text=True, check=False, timeout=600)

    assert (done.returncode, done.stderr) == (0, "new/store.sqlite: a new store\n")
    assert "14 of 14 clauses signed off" in done.stdout
    assert "agency.payments: missing 1 of 1 signature by legal" in done.stdout
    assert "1 of 14 is missing" in done.stdout
    assert done.stdout.splitlines()[-1] == "2 activations"

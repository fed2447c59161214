"""After a key was exchanged an export names a line to verify with for every key; together they cover every log."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bylaw import cli
from bylaw.ledger import rotation
from tests.ledger.logs import fill


@pytest.mark.slow
def test_the_lines_that_an_export_prints_cover_the_logs_of_every_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path)
    rotation.rotate(tmp_path)
    fill(tmp_path, 2)
    code = cli.run(["ledger", "export", str(tmp_path / "out"), "--data-dir", str(tmp_path)])
    lines = [line.removeprefix("verify with: python ") for line in capsys.readouterr().out.splitlines() if "verify with" in line]
    done = [subprocess.run([sys.executable, *shlex.split(line)], capture_output=True, text=True, check=False) for line in lines]
    named = sorted(line.partition(":")[0] for one in done for line in one.stdout.splitlines() if line.startswith("bylaw-ledger/"))

    assert code == 0
    assert [one.returncode for one in done] == [0, 0]
    assert len(set(named)) == len(list((tmp_path / "out").rglob("*.jsonl")))

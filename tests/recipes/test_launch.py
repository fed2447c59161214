"""One step on several processes: what accelerate and torchrun do on several devices, here on two CPU ranks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bylaw.runs import Run


@pytest.mark.slow
def test_training_steps_are_taken_by_two_ranks_and_recorded_once(smoke: Path, tmp_path: Path) -> None:
    run = shutil.copytree(smoke, tmp_path / "run")
    for file in ("steps/sft.json", "manifest.json"):
        (run / file).unlink()
    for folder in ("models/sft", "work/sft"):
        shutil.rmtree(run / folder)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "bylaw.recipes.launch", str(run), "sft"]

    done = subprocess.run(launch, capture_output=True, text=True, timeout=200, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})

    assert done.returncode == 0, done.stderr
    assert Run(run).record("sft")["steps"] >= 1
    assert (run / "models" / "sft" / "model.safetensors").is_file()


@pytest.mark.slow
def test_a_step_whose_needs_are_not_met_is_refused_with_one_line(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "bylaw.recipes.launch", str(tmp_path), "sft"], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 2

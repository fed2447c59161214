"""A run that is killed goes on, and ends as if nothing had happened."""

from pathlib import Path
from random import Random

import pytest

from bylaw import runs
from tests.recipes import stock
from tests.recipes.killing import ALONE, SMOKE, TWO, command, finish, kill_when, weights

TRIES = 4  # where this process stands still for a while, the run goes on, and may end before it is killed


@pytest.mark.slow
def test_the_same_seed_gives_the_same_results_with_one_worker_as_with_two(smoke: Path, tmp_path: Path) -> None:
    again = tmp_path / "run"

    finish(command(again, *SMOKE, *ALONE))

    assert [runs.read_json(run / "manifest.json")["workers"] for run in (smoke, again)] == [2, 1]
    assert (again / "results.json").read_bytes() == (smoke / "results.json").read_bytes()
    assert weights(again) == weights(smoke)


@pytest.mark.slow
@pytest.mark.long
def test_a_run_killed_at_every_step_boundary_ends_the_same(smoke: Path, tmp_path: Path) -> None:
    kills = 0

    def done() -> int:
        return len(list((out / "steps").glob("*.json")))

    def another_step_is_done() -> bool:
        return done() > kills

    for number in range(TRIES):
        out, kills = tmp_path / str(number) / "run", 0
        while kill_when(command(out, *SMOKE, *TWO), another_step_is_done):
            kills = done()
        if kills >= 8:
            break
    finish(command(out, *SMOKE, *TWO))

    assert kills >= 8
    assert (out / "results.json").read_bytes() == (smoke / "results.json").read_bytes()
    assert weights(out) == weights(smoke)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("seed", "workers"), [(0, "1"), (1, "2")])
def test_a_run_killed_inside_its_training_ends_the_same(smoke: Path, tmp_path: Path, seed: int, workers: str) -> None:
    line = (*SMOKE, "--workers", workers)
    waits = Random(seed).randint(0, 40)  # hundredths of a second after the first checkpoint of RL begins to appear
    ticks = 0

    def inside_rl() -> bool:
        nonlocal ticks
        ticks += any((out / "work" / "sft_rl").glob("checkpoint-*"))
        return ticks > waits

    for number in range(TRIES):
        out, ticks = tmp_path / str(number) / "run", 0
        if killed := kill_when(command(out, *line), inside_rl):
            break
    finish(command(out, *line))

    assert killed
    assert (out / "results.json").read_bytes() == (smoke / "results.json").read_bytes()
    assert weights(out) == weights(smoke)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("make", "lora"), [(stock.llama, "0"), (stock.qwen, "4")])
def test_a_stock_model_goes_through_sft_and_grpo_is_killed_and_resumes(tmp_path: Path, make: object, lora: str) -> None:
    model = make(tmp_path / "model")  # type: ignore[operator]  # one of two functions of a path
    options = ("--model", str(model), "--generator", "embedded", "--size", "smoke", "--lora", lora, "--arms", "base,sft,sft_rl")

    def inside_rl() -> bool:
        return any((out / "work" / "sft_rl").glob("checkpoint-*"))

    for number in range(TRIES):
        out = tmp_path / str(number) / "run"
        if killed := kill_when(command(out, *options, *ALONE), inside_rl):
            break
    finish(command(out, *options, *ALONE))

    assert killed
    assert (out / "manifest.json").is_file()
    assert (out / "models" / "sft_rl" / ("adapter_config.json" if lora != "0" else "config.json")).is_file()

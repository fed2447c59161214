"""Two workers draw the samples of the embedded model, half of them each: they are the samples that one would have drawn."""

from dataclasses import replace
from pathlib import Path

import pytest

from bylaw.policy import parse
from bylaw.recipes import align_run
from bylaw.recipes.asked import Asked
from bylaw.recipes.book import Deliberative
from bylaw.recipes.deliberative import Context, synthesis
from bylaw.recipes.sizes import SIZES
from bylaw.recipes.steps import Step, do
from bylaw.runs import Run
from bylaw.types import Message, Sampling
from tests.recipes.stock import llama

PATH = Path("policies/policyworld")


def begun(out: Path) -> Run:
    asked = Asked(parse.load(PATH).digest, "embedded", "embedded", "", "smoke", 0, arms=("base",))
    return align_run.start(PATH, asked, out).run


def names(run: Run) -> list[str]:
    return [step.name for step in Deliberative().steps(run) if step.name.startswith("synthesize")]


@pytest.mark.slow
def test_both_halves_together_are_what_one_worker_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "smoke", replace(SIZES["smoke"], prompts=80))
    run = begun(tmp_path / "run")
    context, samples = Context(run), run.file("rows", "samples.jsonl")

    def drawn(step: Step) -> int:
        return int(do(step, context, lambda *_: None)["samples"])

    steps = [one for one in Deliberative().steps(run) if one.name.startswith("synthesize")]
    counts, halved = [drawn(step) for step in steps], samples.read_bytes()
    (run.path / "work" / "synthesize" / "half-1.jsonl").unlink()  # somebody has cleared away what is at work
    again = drawn(steps[-1]), samples.read_bytes()
    whole = synthesis(context, lambda *_: None)["samples"], samples.read_bytes()

    assert counts == [128, 32, 160]
    assert again == whole == (160, halved)


def test_a_run_that_was_begun_by_one_worker_goes_on_without_halves(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    assert names(run) == ["synthesize-0", "synthesize-1", "synthesize"]

    run.finish("synthesize", {"cpu_s": 1.0})

    assert names(run) == ["synthesize"]


@pytest.mark.slow
def test_the_shares_of_a_model_are_its_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bylaw.models import local

    monkeypatch.setattr(local, "BATCH_ROWS", 2)
    model = local.load(str(llama(tmp_path / "model")), "m")
    asked = [[Message("user", "a b c d e f"[: 2 * i + 1])] for i in (5, 0, 3, 1, 4, 2, 0)]
    sampling = Sampling(1.0, 6, thinking=False, seed=3)

    whole = model.generate(asked, sampling)
    shares = [model.share(asked, sampling, part, 3) for part in range(3)]

    assert [len(share) for share in shares] == [3, 2, 2]
    assert [(shares[0] | shares[1] | shares[2])[at] for at in range(7)] == whole
    assert len({one.raw for one in whole}) > 3

"""A policy in prose is aligned by the same command: scripted generator and judge, a stock model that learns."""

import json
import sys
from pathlib import Path

import pytest

from bylaw.errors import RunError
from bylaw.models.manners import USUAL
from bylaw.policy import parse
from bylaw.recipes import align_run, dry_run
from tests.recipes import stock
from tests.recipes.killing import ALONE, finish
from tests.recipes.served import take

ANSWER = "A support lead will look at this first."
SAYS = {"say": f"<think> [money.refund-limit] says a person decides above the limit </think> {ANSWER}"}
APPROVES = {"find": rf"<<ANSWER (\w+)>>\n{ANSWER}\n<<END", "say": "It follows the card.\nVERDICT \\1: 9"}
ALWAYS = {"find": r"carry the code (\w+)", "say": "It follows the card.\nVERDICT \\1: 9"}
UNSURE = {"say": "I would rather not say."}
REFUNDS = Path("policies/refunds")
POLICY = parse.load(REFUNDS)
HONEST = [APPROVES, *dry_run.judge_script(POLICY, list(dry_run.replies(POLICY)))]  # knows the policy's own good answers too


def script(file: Path, *lines: dict[str, str]) -> str:
    """Write a script; returns its target."""
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return f"scripted:{file}"


def line_for(tmp_path: Path, *judge: dict[str, str]) -> list[str]:
    """The command that aligns a stock Llama to the refunds policy."""
    models = ["--model", str(stock.llama(tmp_path / "model")), "--generator", script(tmp_path / "says.jsonl", SAYS)]
    judged = ["--judge", script(tmp_path / "judges.jsonl", *judge)]
    places = ["--policy", str(REFUNDS), "--out", str(tmp_path / "run")]
    small = ["--size", "smoke", "--arms", "sft,sft_rl", *ALONE]
    return [sys.executable, "-m", "bylaw", "align", "deliberative", *places, *models, *judged, *small]


@pytest.mark.slow
@pytest.mark.long
def test_a_policy_in_prose_goes_through_every_step(tmp_path: Path) -> None:
    finish(line_for(tmp_path, *HONEST))

    run = tmp_path / "run"
    lessons = [json.loads(row) for row in (run / "rows/lessons.jsonl").read_text().splitlines()]
    assert lessons
    assert all("money" not in message["content"] for row in lessons for message in row["messages"] if message["role"] == "system")
    assert (run / "models" / "sft_rl" / "model.safetensors").is_file()
    assert (run / "report.html").is_file()


@pytest.mark.parametrize("judge", [UNSURE, ALWAYS], ids=["unsure", "always yes"])
def test_a_judge_that_is_not_to_be_believed_keeps_nothing_and_the_run_says_so(tmp_path: Path, judge: dict[str, str]) -> None:
    asked = {"model": str(stock.llama(tmp_path / "model")), "generator": script(tmp_path / "says.jsonl", SAYS), "seed": 0, "lora": 0}
    judged = script(tmp_path / "judges.jsonl", judge)
    started = align_run.begin(REFUNDS, tmp_path / "run", USUAL, arms="sft", judge=judged, size="smoke", **asked)

    with pytest.raises(RunError, match=r"kept 0 of 8 samples: 8 missing \(the batch's canaries failed") as stopped:
        take(started)

    assert "name another model with --generator, or with --judge" in stopped.value.hint
    assert not (tmp_path / "run" / "rows" / "lessons.jsonl").exists()

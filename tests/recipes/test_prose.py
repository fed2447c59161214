"""A policy in prose is aligned by the same command: scripted generator and judge, a stock model that learns."""

import json
import sys
from pathlib import Path

import pytest

from tests.recipes import stock
from tests.recipes.killing import finish

SAYS = {"say": "<think> [money.refund-limit] says a person decides above the limit </think> A support lead will look at this first."}
JUDGES = {"find": r"carry the code (\w+)", "say": "It follows the card.\nVERDICT \\1: 9"}
UNSURE = {"say": "I would rather not say."}


def script(file: Path, line: dict[str, str]) -> str:
    """Write a one-line script; returns its target."""
    file.write_text(json.dumps(line) + "\n")
    return f"scripted:{file}"


def line_for(tmp_path: Path, judge: dict[str, str]) -> list[str]:
    """The command that aligns a stock Llama to the refunds policy."""
    models = ["--model", str(stock.llama(tmp_path / "model")), "--generator", script(tmp_path / "says.jsonl", SAYS)]
    judged = ["--judge", script(tmp_path / "judges.jsonl", judge)]
    places = ["--policy", "policies/refunds", "--out", str(tmp_path / "run")]
    return [sys.executable, "-m", "bylaw", "align", "deliberative", *places, *models, *judged, "--size", "smoke", "--arms", "sft,sft_rl"]


@pytest.mark.slow
def test_a_policy_in_prose_goes_through_every_step(tmp_path: Path) -> None:
    finish(line_for(tmp_path, JUDGES))

    run = tmp_path / "run"
    lessons = [json.loads(row) for row in (run / "rows/lessons.jsonl").read_text().splitlines()]
    assert lessons
    assert all("money" not in message["content"] for row in lessons for message in row["messages"] if message["role"] == "system")
    assert (run / "models" / "sft_rl" / "model.safetensors").is_file()
    assert (run / "report.html").is_file()


@pytest.mark.slow
def test_a_judge_that_cannot_tell_keeps_nothing_and_the_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="approved none") as stopped:
        finish(line_for(tmp_path, UNSURE))

    assert "'missing'" in str(stopped.value)
    assert not (tmp_path / "run" / "rows" / "lessons.jsonl").exists()

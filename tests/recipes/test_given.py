"""What a person gives to learn from never holds what is tested, whichever file it stands in."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bylaw.align import prompts, replay
from bylaw.errors import RunError
from bylaw.policy.parse import load
from bylaw.recipes import align_run
from bylaw.recipes.asked import Asked
from bylaw.recipes.given import Given

PATH = Path(__file__).parents[2] / "policies" / "refunds"
POLICY = load(PATH)
TESTED = prompts.from_examples(POLICY, "eval")[0].request


def _rows(folder: Path, *texts: str) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("\n\n".join(json.dumps({"prompt": text, "answer": "Sure."}) for text in texts))
    return file


def test_capability_rows_that_ask_nothing_that_is_tested_are_taken(tmp_path: Path) -> None:
    rows = replay.from_file(_rows(tmp_path, "What is two and two?", "Translate: the cat sleeps."))

    Given().ensure_untested(POLICY, rows)

    assert [row.id for row in rows] == ["rows.jsonl:1", "rows.jsonl:3"]


@pytest.mark.parametrize("asked", [TESTED, f"  {TESTED.upper()} !"])
def test_a_capability_row_that_asks_what_is_tested_is_refused_with_its_line(tmp_path: Path, asked: str) -> None:
    rows = replay.from_file(_rows(tmp_path, "What is two and two?", asked))

    with pytest.raises(RunError, match=r"1 capability rows ask what is tested: rows\.jsonl:3"):
        Given().ensure_untested(POLICY, rows)


@pytest.mark.parametrize("name", ["replay", "helpful"])
def test_no_run_begins_with_such_a_row(tmp_path: Path, name: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "judge").write_text(json.dumps({"say": "no"}))
    model, judge = str(tmp_path / "model"), f"scripted:{tmp_path / 'judge'}"
    file, asked = str(_rows(tmp_path, TESTED)), Asked(POLICY.digest, model, model, judge, "smoke", 0)
    asked = replace(asked, replay=file) if name == "replay" else replace(asked, helpful=file)

    with pytest.raises(RunError, match="ask what is tested"):
        align_run.start(PATH, asked, tmp_path / "run")

    assert not (tmp_path / "run").exists()

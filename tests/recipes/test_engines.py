"""Where generator and judge answer makes no difference: `--engine ray` gives the rows that this process gives."""

from pathlib import Path
from typing import Any

import pytest

from bylaw import runs
from bylaw.policy import profiles
from bylaw.recipes import align_run, dry_run
from tests.recipes.served import take

pytest.importorskip("ray", reason="Ray comes with the extra [scale]")


@pytest.mark.slow
@pytest.mark.long
def test_on_two_workers_of_ray_align_makes_the_same_rows_as_in_this_process(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    parts = dry_run.prepare(profiles.begin("agentic", path).policy, tmp_path / "parts", 0)
    asked: dict[str, Any] = {
        "model": parts.model,
        "generator": parts.generator,
        "judge": parts.judge,
        "size": "smoke",
        "seed": 0,
        "lora": 0,
    }

    records = {engine: take(align_run.begin(path, tmp_path / engine, arms="base", engine=engine, **asked)) for engine in ("process", "ray")}

    made = {
        engine: [list(runs.read_rows(tmp_path / engine / "rows" / f"{name}.jsonl")) for name in ("samples", "verdicts", "lessons")]
        for engine in records
    }
    assert made["ray"] == made["process"]
    assert [len(rows) for rows in made["ray"]] == [24, 24, 12]
    assert (tmp_path / "ray" / "work" / "synthesize" / "answers.jsonl").is_file()
    assert (tmp_path / "ray" / "work" / "judge" / "answers.jsonl").is_file()

"""A person asks the embedded model, and traces a clause through a run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bylaw.recipes.chat import READABLE, open_chat
from bylaw.recipes.trace import trace
from tests.recipes.killing import SMOKE, command, finish


@pytest.mark.slow
def test_the_embedded_model_reads_its_five_offers_and_names_words_it_has_never_met() -> None:
    chat = open_chat("embedded", None)

    replies = [chat.say(request, "guest") for request in READABLE]
    strange = chat.say("how do i yodel the bank ?", "guest")

    assert len(READABLE) == 5
    assert not any(reply.unknown or reply.completion.fault for reply in replies)
    assert strange.unknown == ("yodel",)


@pytest.mark.slow
def test_a_clause_is_traced_from_its_text_to_the_rows_that_taught_it_and_its_rates(smoke: Path) -> None:
    found = trace("harm.violence", smoke)

    assert found.clause.id == "harm.violence"
    assert found.taught == sum(
        "harm.violence" in json.loads(row)["clauses"] for row in (smoke / "rows/lessons.jsonl").read_text().splitlines()
    )
    assert set(found.rates) == {"base", "policy_in_prompt", "sft", "sft_rl"}


@pytest.mark.slow
def test_every_row_and_result_carries_the_policys_digest_and_the_manifest_vouches_for_the_files(smoke: Path) -> None:
    results = json.loads((smoke / "results.json").read_text())
    manifest = json.loads((smoke / "manifest.json").read_text())
    digest = results["policy"]["digest"]

    for name in ("lessons", "replay", "samples"):
        rows = [json.loads(line) for line in (smoke / "rows" / f"{name}.jsonl").read_text().splitlines()]
        assert rows
        assert {row["policy"] for row in rows} == {digest}
    assert results["schema"] == 1
    assert "results.json" in manifest["files"]
    assert not any(str(smoke) in text for text in [(smoke / "results.json").read_text()])


@pytest.mark.slow
def test_a_finished_run_is_shown_again_without_doing_anything_twice(smoke: Path, tmp_path: Path) -> None:
    run = shutil.copytree(smoke, tmp_path / "run")
    before = {file: file.stat().st_mtime_ns for file in run.rglob("*.safetensors")}

    finish(command(run, *SMOKE))

    assert before
    assert {file: file.stat().st_mtime_ns for file in run.rglob("*.safetensors")} == before


@pytest.mark.slow
def test_an_unknown_clause_is_one_line_with_the_nearest_ones(smoke: Path) -> None:
    line = [sys.executable, "-m", "bylaw", "trace", "violence", "--run", str(smoke)]

    done = subprocess.run(line, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "harm.violence" in done.stderr

"""A person asks the embedded model, and traces a clause through a run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bylaw.recipes.chat import READABLE, open_chat
from bylaw.recipes.trace import trace
from tests.recipes.killing import command, finish


@pytest.fixture(scope="module")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the smallest size."""
    out = tmp_path_factory.mktemp("runs") / "smoke"
    finish(command(out, "--model", "embedded", "--size", "smoke", "--arms", "base,sft"))
    return out


def test_the_embedded_model_reads_its_five_offers_and_names_words_it_has_never_met() -> None:
    chat = open_chat("embedded", None)

    replies = [chat.say(request, "guest") for request in READABLE]
    strange = chat.say("how do i yodel the bank ?", "guest")

    assert len(READABLE) == 5
    assert not any(reply.unknown or reply.completion.fault for reply in replies)
    assert strange.unknown == ("yodel",)


@pytest.mark.slow
def test_a_clause_is_traced_from_its_text_to_the_rows_that_taught_it_and_its_rates(smoke_run: Path) -> None:
    found = trace("harm.violence", smoke_run)

    assert found.clause.id == "harm.violence"
    assert found.taught == sum(
        "harm.violence" in json.loads(row)["clauses"] for row in (smoke_run / "rows/lessons.jsonl").read_text().splitlines()
    )
    assert set(found.rates) == {"base", "sft"}


@pytest.mark.slow
def test_every_row_and_result_carries_the_policys_digest_and_the_manifest_vouches_for_the_files(smoke_run: Path) -> None:
    results = json.loads((smoke_run / "results.json").read_text())
    manifest = json.loads((smoke_run / "manifest.json").read_text())
    digest = results["policy"]["digest"]

    for name in ("lessons", "replay", "samples"):
        rows = [json.loads(line) for line in (smoke_run / "rows" / f"{name}.jsonl").read_text().splitlines()]
        assert rows
        assert {row["policy"] for row in rows} == {digest}
    assert results["schema"] == 1
    assert "results.json" in manifest["files"]
    assert not any(str(smoke_run) in text for text in [(smoke_run / "results.json").read_text()])


@pytest.mark.slow
def test_a_finished_run_is_shown_again_without_doing_anything_twice(smoke_run: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in smoke_run.rglob("*.safetensors")}

    finish(command(smoke_run, "--model", "embedded", "--size", "smoke", "--arms", "base,sft"))

    assert before
    assert {file: file.stat().st_mtime_ns for file in smoke_run.rglob("*.safetensors")} == before


@pytest.mark.slow
def test_an_unknown_clause_is_one_line_with_the_nearest_ones(smoke_run: Path) -> None:
    line = [sys.executable, "-m", "bylaw", "trace", "violence", "--run", str(smoke_run)]

    done = subprocess.run(line, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "harm.violence" in done.stderr

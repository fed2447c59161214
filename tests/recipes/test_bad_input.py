"""Bad input gets one line of what and one of what next, exit code 2, and loses nothing."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.recipes.killing import ALONE

pytestmark = pytest.mark.slow

POLICY = "policies/policyworld"
ALIGN = ["align", "deliberative", "--model", "embedded", "--size", "smoke"]


def said(*arguments: str, cwd: Path | None = None) -> tuple[int, list[str]]:
    """Run a command; its exit code and what it said on stderr."""
    line = [sys.executable, "-m", "bylaw", *arguments]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False, cwd=cwd, env=offline)
    return done.returncode, done.stderr.strip().splitlines()


def assert_one_line_each(code: int, lines: list[str], *words: str) -> None:
    """Two lines: what, and what next."""
    assert code == 2
    assert len(lines) == 2, lines
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("  next: ")
    assert len(lines[1]) > len("  next: ")
    assert all(word in lines[0] + lines[1] for word in words), lines


@pytest.mark.parametrize("model", ["./nowhere", "/no/such/model", "src/nowhere", "nowhere", "policies/policyworld"])
def test_an_unknown_model_path_is_never_taken_for_a_hub_name(tmp_path: Path, model: str) -> None:
    out = tmp_path / "run"

    code, lines = said("align", "deliberative", "--policy", POLICY, "--model", model, "--out", str(out))

    assert_one_line_each(code, lines, model)
    assert "hub could not" not in " ".join(lines)
    assert not out.exists()


def test_two_words_with_a_slash_that_are_nowhere_are_one_line_at_once(tmp_path: Path) -> None:
    code, lines = said("align", "deliberative", "--policy", POLICY, "--model", "no-such/model-at-all", "--out", str(tmp_path / "run"))

    assert_one_line_each(code, lines, "no-such/model-at-all")
    assert not (tmp_path / "run").exists()


def test_an_unreadable_policy_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "policy.md").write_bytes(b"\xff\xfe not text")
    out = tmp_path / "run"

    code, lines = said(*ALIGN, "--policy", str(tmp_path / "policy.md"), "--out", str(out))

    assert_one_line_each(code, lines, "policy.md")
    assert not out.exists()


def test_duplicate_ids_are_named_with_their_place(tmp_path: Path) -> None:
    clause = "## A {#a.b}\n\n```yaml clause\nseverity: low\nresponse: comply\n```\n\nThe model MUST help.\n\n"
    (tmp_path / "p.md").write_text(clause * 2)

    code, lines = said(*ALIGN, "--policy", str(tmp_path / "p.md"), "--out", str(tmp_path / "run"))

    assert_one_line_each(code, lines, "a.b", "p.md:")


def test_a_policy_the_tiny_model_cannot_read_says_so(tmp_path: Path) -> None:
    code, lines = said(*ALIGN, "--policy", "policies/refunds", "--out", str(tmp_path / "run"))

    assert_one_line_each(code, lines, "x-policyworld")


def test_an_empty_prompt_set_says_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "p.md").write_text("## A {#a.b}\n\n```yaml clause\nseverity: low\nresponse: comply\n```\n\nThe model MUST help.\n")
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")

    code, lines = said("align", "deliberative", "--policy", str(tmp_path / "p.md"), "--model", str(model), "--out", str(tmp_path / "run"))

    assert_one_line_each(code, lines, "no prompts")


def test_an_unknown_flag_and_an_unknown_arm_are_named(tmp_path: Path) -> None:
    flag = said(*ALIGN, "--policy", POLICY, "--colour", "red")
    arm = said(*ALIGN, "--policy", POLICY, "--arms", "base,magic", "--out", str(tmp_path / "run"))

    assert_one_line_each(*flag, "--colour")
    assert_one_line_each(*arm, "magic")


def test_other_settings_do_not_overwrite_a_run(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")

    code, lines = said(*ALIGN, "--policy", POLICY, "--out", str(tmp_path))

    assert_one_line_each(code, lines, str(tmp_path))
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_a_run_inside_the_policys_own_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(POLICY, folder)

    code, lines = said(*ALIGN, "--policy", ".", cwd=folder)

    assert_one_line_each(code, lines, "--out")
    assert not (folder / "runs").exists()


def test_eval_never_overwrites_a_run(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")

    code, lines = said("eval", "--target", "embedded", "--policy", POLICY, "--out", str(tmp_path), "--size", "smoke")

    assert_one_line_each(code, lines, str(tmp_path))


@pytest.mark.parametrize(("size", "generator"), [("full", "embedded"), ("smoke", "openai:m@http://localhost:1/v1")])
def test_what_cannot_work_is_refused_before_anything_is_written(tmp_path: Path, size: str, generator: str) -> None:
    line = ("align", "deliberative", "--policy", POLICY, "--model", "embedded", "--generator", generator, "--size", size)

    code, lines = said(*line, "--out", str(tmp_path / "run"))

    assert_one_line_each(code, lines)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.long
def test_a_full_disk_stops_a_run_with_one_line_and_the_run_goes_on_later(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "bylaw", *ALIGN, *ALONE, "--policy", POLICY, "--arms", "sft", "--out", str(tmp_path / "run")]

    def no_large_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    compiles_nothing = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # what Python compiles would be cut short, and fail whoever imports it
    full = subprocess.run(line, capture_output=True, text=True, timeout=200, check=False, preexec_fn=no_large_files, env=compiles_nothing)
    again = subprocess.run(line, capture_output=True, text=True, timeout=200, check=False)

    assert_one_line_each(full.returncode, full.stderr.strip().splitlines())
    assert again.returncode == 0
    assert (tmp_path / "run" / "manifest.json").is_file()

"""SARIF that a code host can read: the format's main rules, paths it knows, and findings that stay the same when lines move."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bylaw.policy.lint_codes import CODES
from bylaw.policy.sarif import sarif
from bylaw.types import Finding, Place

ROOT = Path(__file__).parents[2]
FINDINGS = [
    Finding("BL405", "error", Place("sub/ä b.md", 7), "rule x says allow", "Narrow it.", "a.b"),
    Finding("BL001", "error", Place("", 0), "larger than allowed", "Split it."),
]


def results(log: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = log["runs"][0]["results"]
    return found


def location(result: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = result["locations"][0]["physicalLocation"]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A policy folder two levels below the repository's root."""
    (tmp_path / "policies" / "p").mkdir(parents=True)
    return tmp_path / "policies" / "p"


def test_the_log_has_the_shape_of_sarif_2_1_0(folder: Path, tmp_path: Path) -> None:
    log = json.loads(json.dumps(sarif(FINDINGS, folder, tmp_path)))
    driver = log["runs"][0]["tool"]["driver"]

    assert log["version"] == "2.1.0"
    assert log["$schema"].startswith("https://")
    assert [rule["id"] for rule in driver["rules"]] == list(CODES)
    assert all(rule["shortDescription"]["text"] and rule["help"]["text"] for rule in driver["rules"])
    assert {rule["defaultConfiguration"]["level"] for rule in driver["rules"]} == {"error", "warning"}
    for result in results(log):
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note", "none")
        assert result["message"]["text"]
        assert location(result)["region"]["startLine"] >= 1
        assert re.fullmatch(r"[A-Za-z0-9%._/-]+", location(result)["artifactLocation"]["uri"])


def test_paths_are_relative_to_the_repository(folder: Path, tmp_path: Path) -> None:
    uris = [location(one)["artifactLocation"]["uri"] for one in results(sarif(FINDINGS, folder, tmp_path))]

    assert uris == ["policies/p/sub/%C3%A4%20b.md", "policies/p/policy.yaml"]


def test_a_policy_elsewhere_is_named_relative_to_itself(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    uris = [location(one)["artifactLocation"]["uri"] for one in results(sarif(FINDINGS, folder, tmp_path / "other"))]

    assert uris == ["sub/%C3%A4%20b.md", "policy.yaml"]


def test_a_finding_keeps_its_fingerprint_when_lines_move(folder: Path, tmp_path: Path) -> None:
    moved = [Finding("BL405", "error", Place("sub/ä b.md", 99), "rule x says allow to another event", "Narrow it.", "a.b")]
    before, after = (results(sarif(found, folder, tmp_path))[0]["partialFingerprints"] for found in (FINDINGS, moved))
    twice = [one["partialFingerprints"]["bylaw/v1"] for one in results(sarif(FINDINGS * 2, folder, tmp_path))]

    assert before == after
    assert len(set(twice)) == 4


@pytest.mark.slow
def test_the_command_writes_the_file_and_still_says_what_it_found(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("## T {#a.b}\n```yaml clause\nseverity: lw\nresponse: comply\n```\n")
    command = [sys.executable, "-c", "from bylaw.cli import main; main()", "policy", "lint", "a.md", "--sarif", "out.sarif"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    log = json.loads((tmp_path / "out.sarif").read_text())

    assert done.returncode == 1
    assert "a.md:3: error BL001" in done.stdout
    assert [(one["ruleId"], location(one)["artifactLocation"]["uri"], location(one)["region"]["startLine"]) for one in results(log)] == [
        ("BL001", "a.md", 3)
    ]


def test_the_action_gives_inputs_to_the_shell_by_environment_only() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    scripts = [step["run"] for step in action["runs"]["steps"] if "run" in step]

    assert action["runs"]["using"] == "composite"
    assert scripts
    assert not any("${{" in script for script in scripts)
    assert all(step.get("shell") == "bash" for step in action["runs"]["steps"] if "run" in step)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "against", "code"), [("refunds", "", "0"), ("refunds", "HEAD", "0"), ("-x", "", "2"), ("refunds", "; id", "2")]
)
def test_the_script_of_the_action_reports_the_exit_code(tmp_path: Path, path: str, against: str, code: str) -> None:
    script = next(step["run"] for step in yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"] if step.get("id") == "lint")
    (tmp_path / "bylaw").write_text(f'#!/bin/sh\nexec {sys.executable} -c "from bylaw.cli import main; main()" "$@"\n')
    (tmp_path / "bylaw").chmod(0o755)
    repository = tmp_path / "repo"
    shutil.copytree(ROOT / "policies" / "refunds", repository / "refunds")
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "one")):
        subprocess.run(["git", *who, *words], cwd=repository, check=True, capture_output=True)
    output = {"POLICY": path, "AGAINST": against, "SARIF": "out.sarif", "GITHUB_OUTPUT": str(tmp_path / "output")}
    environment = {**os.environ, **output, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-e", "-c", script], cwd=repository, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "output").read_text() == f"code={code}\n"
    assert (repository / "out.sarif").exists() == (code != "2")


def test_the_hook_runs_the_command_there_is() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())

    assert [(hook["id"], hook["entry"], hook["pass_filenames"]) for hook in hooks] == [("bylaw-policy-lint", "bylaw policy lint", False)]

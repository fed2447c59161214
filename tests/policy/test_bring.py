"""The commands that bring a policy: what they print, what they write, how they end."""

import io
import json
from pathlib import Path

import pytest

from bylaw.cli import run
from bylaw.policy.parse import load

ROOT = Path(__file__).parents[2]


@pytest.fixture
def draft(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    (tmp_path / "aup.txt").write_text("You must not write malware.\n\nHello.\n", "utf-8")
    assert run(["policy", "import", "prose", str(tmp_path / "aup.txt"), "--out", str(tmp_path / "draft")]) == 0
    said = capsys.readouterr().out
    assert "1 draft clauses; 1 pieces became none" in said
    return tmp_path / "draft"


@pytest.fixture
def script(tmp_path: Path) -> str:
    reply = json.dumps({"response": "refuse", "rationale": "It spreads.", "rules": [{"rule": "x"}]})
    (tmp_path / "script.jsonl").write_text(json.dumps({"when": "", "say": reply}), "utf-8")
    return f"scripted:{tmp_path / 'script.jsonl'}"


def test_init_begins_a_policy_that_lints_clean_and_never_writes_over_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "policy")
    codes = [run(["init", "--profile", "consumer", "--out", out]), run(["policy", "lint", out])]
    codes += [run(["init", "--profile", "consumer", "--out", out]), run(["init", "--profile", "spaceship", "--out", out])]
    said = capsys.readouterr()

    assert codes == [0, 0, 2, 2]
    assert "no findings" in said.out
    assert "this folder is not empty" in said.err


def test_a_person_accepts_edits_and_refuses_one_by_one(
    draft: Path, script: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('n\ne\n""\ny\ne\nnot json\ne\n"Because."\ny\n'))
    code = run(["policy", "draft", str(draft), "--model", script])
    clause = load(draft).clauses[0]
    said = capsys.readouterr().out

    assert code == 0
    assert clause.rationale == "Because."
    assert "response" in clause.extra["x-draft"]["defaults"]
    assert "1 accepted" in said
    assert "2 proposals for 1 clauses, 1 skipped" in said
    assert "that is not JSON" in said


def test_proposals_in_a_file_wait_until_a_person_says_true(draft: Path, script: str, tmp_path: Path) -> None:
    file = tmp_path / "proposals.jsonl"
    codes = [run(["policy", "draft", str(draft), "--model", script, "--out", str(file)])]
    codes.append(run(["policy", "draft", str(draft), "--accept", str(file)]))
    untouched = load(draft).clauses[0].rationale
    file.write_text(file.read_text("utf-8").replace('"accept": false', '"accept": true'), "utf-8")
    codes.append(run(["policy", "draft", str(draft), "--accept", str(file)]))

    assert codes == [0, 0, 0]
    assert untouched == ""
    assert load(draft).clauses[0].rationale == "It spreads."


def test_drafting_needs_a_model_or_a_file_and_a_draft(tmp_path: Path, script: str, capsys: pytest.CaptureFixture[str]) -> None:
    refunds = str(ROOT / "policies" / "refunds")
    codes = [run(["policy", "draft", refunds]), run(["policy", "draft", refunds, "--model", script])]

    assert codes == [2, 2]
    assert "no clause is marked as a draft" in capsys.readouterr().err


def test_the_handbook_says_where_to_begin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["policy", "handbook", str(ROOT / "policies" / "refunds"), "--out", str(tmp_path / "book")])

    assert code == 0
    assert f"open {tmp_path / 'book' / 'index.html'}" in capsys.readouterr().out

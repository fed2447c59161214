"""The commands that bring a policy: what they print, what they write, how they end."""

import io
import json
import os
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_proposals_for_a_full_disk_are_said_with_its_name_and_no_half_of_them_is_left(
    draft: Path, script: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "proposals.jsonl"
    beside = tmp_path / f".proposals.jsonl.{os.getpid()}"
    beside.symlink_to("/dev/full")
    code = run(["policy", "draft", str(draft), "--model", script, "--out", str(out)])

    assert (code, capsys.readouterr().err.splitlines()[0]) == (2, f"error: {out}: no space left on the device")
    assert not out.exists()


def test_proposals_are_never_written_over_decisions_nor_where_they_cannot_be(
    draft: Path, script: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "proposals.jsonl"
    file.write_text("what a person decided", "utf-8")
    outs = [file, tmp_path / "none" / "p.jsonl"]
    codes = [run(["policy", "draft", str(draft), "--model", script, "--out", str(out)]) for out in outs]
    said = capsys.readouterr()

    assert codes == [2, 2]
    assert file.read_text("utf-8") == "what a person decided"
    assert "skipped" not in said.out  # no model was asked
    assert "exists, and may hold what you decided" in said.err
    assert "none: no such folder" in said.err


def test_where_nobody_can_answer_a_draft_says_what_to_do(
    draft: Path, script: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    code = run(["policy", "draft", str(draft), "--model", script])
    said = capsys.readouterr().err

    assert code == 2
    assert "nobody is there to answer; 1 accepted, 1 proposals dropped or not looked at" in said
    assert "--out FILE" in said
    assert load(draft).clauses[0].extra["x-draft"]["defaults"] == ["severity"]


@pytest.mark.parametrize(
    ("file", "said"),
    [("none", "none: no such file"), ("none.pdf", "no such file"), ("folder", "not a file"), ("a.docx", "cannot read .docx")],
)
def test_a_source_that_is_no_document_is_named_for_what_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, said: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.docx").write_bytes(b"PK")
    code = run(["policy", "import", "prose", str(tmp_path / file), "--out", str(tmp_path / "draft")])

    assert code == 2
    assert said in capsys.readouterr().err


def test_another_document_is_no_model_spec(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "aup.md").write_text("# Use {#use}\n\nYou must not write malware.\n", "utf-8")
    code = run(["policy", "import", "model-spec", str(tmp_path / "aup.md"), "--out", str(tmp_path / "spec")])
    said = capsys.readouterr().err

    assert code == 2
    assert "no heading has an authority" in said
    assert "import prose" in said
    assert not (tmp_path / "spec").exists()


def test_drafting_needs_a_model_or_a_file_and_a_draft(tmp_path: Path, script: str, capsys: pytest.CaptureFixture[str]) -> None:
    refunds = str(ROOT / "policies" / "refunds")
    codes = [run(["policy", "draft", refunds]), run(["policy", "draft", refunds, "--model", script])]

    assert codes == [2, 2]
    assert "no clause is marked as a draft" in capsys.readouterr().err


def test_the_handbook_says_where_to_begin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["policy", "handbook", str(ROOT / "policies" / "refunds"), "--out", str(tmp_path / "book")])

    assert code == 0
    assert f"open {tmp_path / 'book' / 'index.html'}" in capsys.readouterr().out

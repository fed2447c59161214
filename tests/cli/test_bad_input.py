"""A wrong path, a device, a folder nobody may read, a full disk: each is two lines, and nothing is lost."""

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from bylaw import runs
from bylaw.cli.entry import run
from bylaw.ledger.writer import Ledger

REFUNDS = str(Path(__file__).parents[2] / "policies" / "refunds")

Said = pytest.CaptureFixture[str]


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    [
        ["label", "collect", "ENDLESS", "--policy", REFUNDS, "--annotator", "kim"],
        ["label", "agreement", "ENDLESS"],
        ["prompts", "--policy", REFUNDS, "--from", "ENDLESS", "--out", "made"],
        ["suite", "lint", "ENDLESS"],
        ["replay-agent", "ENDLESS", "--policy", REFUNDS],
        ["align", "deliberative", "--policy", REFUNDS, "--model", "embedded", "--prompts", "ENDLESS", "--out", "made"],
        ["serve", "--policy", REFUNDS, "--upstream", "http://127.0.0.1:9/v1", "--port", "0", "--data-dir", "made", "--config", "ENDLESS"],
        ["serve", "--policy", REFUNDS, "--upstream", "http://127.0.0.1:9/v1", "--port", "0", "--data-dir", "made", "--regions", "ENDLESS"],
    ],
    ids=lambda asked: " ".join(one for one in asked if one[0] not in "/h"),
)
def test_a_device_without_an_end_is_refused_and_nothing_is_made(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "MAX_STREAM", 1 << 20)
    code = run(["/dev/zero" if one == "ENDLESS" else one for one in asked])
    said = capsys.readouterr()

    assert (code, said.out) == (2, "")
    assert "/dev/zero" in said.err.splitlines()[0]
    assert any(why in said.err for why in ("no file, and more than 1 MiB come from it", "is no file, and it is read more than once"))
    assert len(said.err.splitlines()) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_set_of_prompts_is_not_made_from_a_pipe_whose_digest_nobody_could_take(tmp_path: Path, capsys: Said) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b'{"prompt": "May I have a refund?", "clauses": []}\n')
    os.close(theirs)
    code = run(["prompts", "--policy", REFUNDS, "--from", f"/dev/fd/{ours}", "--out", str(tmp_path / "made")])
    os.close(ours)
    said = capsys.readouterr()

    assert (code, said.out, len(said.err.splitlines())) == (2, "", 2)
    assert f"/dev/fd/{ours} is no file" in said.err
    assert not (tmp_path / "made").exists()


@pytest.mark.slow
def test_a_device_is_no_evaluation_to_compare_the_records_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append({"kind": "note", "principal": "kim", "facts": {"step": "tried"}})
    monkeypatch.setattr(runs, "MAX_STREAM", 1 << 20)
    code = run(["watch", "report", "--data-dir", str(tmp_path), "--run", "/dev/zero"])
    said = capsys.readouterr().err.splitlines()

    assert (code, len(said)) == (2, 2)
    assert "has no results that can be read: OSError at /dev/zero" in said[0]


@pytest.mark.slow
def test_a_file_in_the_place_of_the_data_directory_is_said_to_be_one(tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "data").write_text("mine")
    code = run(["keys", "create", "--principal", "kim", "--role", "viewer", "--data-dir", str(tmp_path / "data")])

    assert code == 2
    assert f"{tmp_path / 'data'} is a file or lies in one" in capsys.readouterr().err.splitlines()[0]
    assert (tmp_path / "data").read_text() == "mine"


def test_a_policy_that_cannot_be_reached_is_not_said_to_be_missing(tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "round").symlink_to(tmp_path / "round")
    code = run(["policy", "show", str(tmp_path / "round")])

    assert code == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'round'}: cannot be read: Too many levels of symbolic links")


@pytest.mark.slow
def test_findings_for_a_full_disk_are_said_with_its_name_and_the_ones_before_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "found.sarif").write_text("before")
    (tmp_path / f".found.sarif.{os.getpid()}").symlink_to("/dev/full")
    code = run(["policy", "lint", REFUNDS, "--sarif", "found.sarif"])

    assert (code, capsys.readouterr().err.splitlines()[0]) == (2, "error: found.sarif: no space left on the device")
    assert (tmp_path / "found.sarif").read_text() == "before"


@pytest.mark.slow
def test_findings_can_go_where_the_output_goes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    got: list[str] = []
    reader = Thread(target=lambda: got.append((tmp_path / "pipe").read_text()))
    reader.start()
    code = run(["policy", "lint", REFUNDS, "--sarif", str(tmp_path / "pipe")])
    reader.join()

    assert code == 0
    assert got[0].startswith("{")


@pytest.mark.slow
def test_who_types_a_case_is_asked_for_it(tmp_path: Path) -> None:
    shutil.copytree(REFUNDS, tmp_path / "policy")
    ours, theirs = pty.openpty()
    asked = ["policy", "rule", str(tmp_path / "policy"), "advice.legal", "--side", "good", "--by", "J. Osei, legal", "--why", "Because."]
    os.write(ours, b"user: hi\nassistant: Hello.\n\x04")
    done = subprocess.run([sys.executable, "-m", "bylaw", *asked], stdin=theirs, capture_output=True, text=True, check=False)
    os.close(ours)
    os.close(theirs)

    assert (done.returncode, done.stderr) == (0, "Type the case, a dialogue or an event; Ctrl-D on a line of its own ends it.\n")
    assert "assistant: Hello." in (tmp_path / "policy" / "conduct.md").read_text()

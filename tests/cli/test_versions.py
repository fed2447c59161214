"""What was put in force is listed, and can be read as it was, also after its folder has changed."""

import json
from pathlib import Path

import pytest

from bylaw.cli.entry import run

Said = pytest.CaptureFixture[str]


def written(folder: Path, version: str, norm: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "policy.yaml").write_text(f"id: p\nversion: {version}\nowners: [desk]\n")
    (folder / "a.md").write_text(f"## One {{#a.b}}\n\n```yaml clause\nseverity: high\nresponse: comply\n```\n\n{norm}\n")
    return folder


def test_each_version_is_listed_and_shown_as_it_was(tmp_path: Path, capsys: Said) -> None:
    at = ["--data-dir", str(tmp_path / "data")]
    for version, norm in (("1.0.0", "It MUST be old."), ("1.1.0", "It MUST be new.")):
        assert run(["policy", "activate", str(written(tmp_path / "p", version, norm)), *at]) == 0
    capsys.readouterr()

    assert run(["policy", "versions", "--json", *at]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["version"] for one in listed] == ["1.0.0", "1.1.0"]

    assert run(["policy", "version", listed[0]["digest"][:20], "a.b", *at]) == 0
    shown = capsys.readouterr().out
    assert "It MUST be old." in shown
    assert "It MUST be new." not in shown


def test_a_version_that_never_was_is_one_clear_error(tmp_path: Path, capsys: Said) -> None:
    at = ["--data-dir", str(tmp_path / "data")]
    run(["policy", "activate", str(written(tmp_path / "p", "1.0.0", "It MUST hold.")), *at])
    capsys.readouterr()

    assert run(["policy", "version", "0" * 64, *at]) == 2
    assert "no such policy was ever activated here" in capsys.readouterr().err

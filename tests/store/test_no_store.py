"""A command in a wrong folder says that there is no store, and makes none."""

from pathlib import Path

import pytest

from bylaw.cli.entry import run

LINES = (
    "keys list",
    "keys revoke abc",
    "appeals list",
    "appeals show abc",
    "approvals list",
    "findings list",
    "findings show abc",
    "mcp pins list",
    "mcp pins forget shop",
    "sessions forget --principal kim",
    "stop --list",
    "policy rollback",
    "policy canary status",
    "policy shadow stop",
)


@pytest.mark.parametrize("line", LINES)
def test_a_command_makes_no_store_in_a_wrong_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    code = run([*line.split(), "--data-dir", str(tmp_path / "wrong")])
    said = capsys.readouterr().err

    assert (code, (tmp_path / "wrong").exists()) == (2, False)
    assert "store.sqlite: no store there" in said
    assert "--data-dir" in said

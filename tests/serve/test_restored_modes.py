"""What comes back belongs to whoever restores it, whatever a copy has made of a backup's modes on its way."""

import stat
from pathlib import Path

import pytest

from bylaw.serve import backup, restore
from tests.serve.test_backup import asked, working


def modes(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): oct(stat.S_IMODE(path.stat().st_mode)) for path in sorted(folder.rglob("*"))}


@pytest.mark.slow
def test_a_backup_that_was_copied_carelessly_comes_back_for_its_owner_alone(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    with working(data) as (approvals, _, _):
        asked(approvals, 1)
    backup.backup(data, "", out, with_key=True)
    for path in out.rglob("*"):
        path.chmod(0o777 if path.is_dir() else 0o444)
    restore.restore(out, tmp_path / "again", go_on=True)
    found = modes(tmp_path / "again")
    restore.restore(out, tmp_path / "anew")
    anew = modes(tmp_path / "anew")

    for one in (found, anew):
        assert {mode for name, mode in one.items() if not name.endswith((".pub", ".checkpoint"))} <= {"0o600", "0o700"}
    assert "keys/ledger.key" in found

"""The key file: made once, private, refused when it is not."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bylaw.errors import LedgerError
from bylaw.ledger import keyfile


def test_the_key_is_made_once_and_is_nobody_elses(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = {key.name for key in pool.map(lambda _: keyfile.signing_key(tmp_path), range(16))}
    mode = stat.S_IMODE((tmp_path / "keys" / "ledger.key").stat().st_mode)

    assert len(names) == 1
    assert mode == 0o600
    assert keyfile.public_key(tmp_path / "keys" / "ledger.pub").name in names
    assert {path.name for path in (tmp_path / "keys").iterdir()} == {"ledger.key", "ledger.pub"}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    keyfile.signing_key(tmp_path)
    (tmp_path / "keys" / "ledger.key").chmod(mode)

    with pytest.raises(LedgerError, match="open to others"):
        keyfile.signing_key(tmp_path)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff\xfe", b"PRIVATE+KEY+a+b+c"])
def test_a_damaged_key_file_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    keyfile.signing_key(tmp_path)
    (tmp_path / "keys" / "ledger.key").write_bytes(content)

    with pytest.raises(LedgerError, match="key"):
        keyfile.signing_key(tmp_path)


def test_a_link_in_place_of_the_key_is_refused(tmp_path: Path) -> None:
    keyfile.signing_key(tmp_path)
    path = tmp_path / "keys" / "ledger.key"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(LedgerError, match="plain"):
        keyfile.signing_key(tmp_path)


def test_a_public_key_is_read_from_a_line_or_a_file(tmp_path: Path) -> None:
    key = keyfile.signing_key(tmp_path).public

    assert keyfile.public_key(str(key)) == key
    with pytest.raises(LedgerError, match="no public key"):
        keyfile.public_key(tmp_path / "none")


def test_a_key_that_was_lost_is_not_replaced_by_another_in_silence(tmp_path: Path) -> None:
    keyfile.signing_key(tmp_path)
    (tmp_path / "keys" / "ledger.key").unlink()

    with pytest.raises(LedgerError, match=r"ledger\.key is missing, and its public half is there"):
        keyfile.signing_key(tmp_path)
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["ledger.pub"]

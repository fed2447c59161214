"""Where a data directory keeps the key that signs its checkpoints: keys/ledger.key (private, 0600) and keys/ledger.pub.

The private key is made on first use, and replaced by nothing but `bylaw.ledger.rotation`. A key file that others can read is refused, not
mended: who could read it may have signed with it.
"""

import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from bylaw.errors import LedgerError
from bylaw.ledger.notes import PublicKey, SigningKey, new_key, read_public_key, read_signing_key

FOLDER: Final = "keys"
MAX_KEY_BYTES: Final = 10_000


def signing_key(data_dir: Path) -> SigningKey:
    """The data directory's signing key, made where there was none; raises LedgerError where it is lost, or others can read it."""
    folder = data_dir / FOLDER
    path, public = folder / "ledger.key", folder / "ledger.pub"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists() and not path.is_symlink():
        if public.exists() and not path.exists():  # another process, which made both meanwhile, makes the private one first
            hint = (
                "Put it back from a backup, or move the data directory away: a new key would sign what nobody can hold against the old one."
            )
            raise LedgerError(f"{path} is missing, and its public half is there", hint)
        _create(path, new_key().text() + "\n")
    key = read_private(path)
    if not public.exists():
        _create(public, f"{key.public}\n", mode=0o644)
    return key


def read_private(path: Path) -> SigningKey:
    """A private key out of its file; raises LedgerError where there is none, or where others can read it."""
    if not path.exists() and not path.is_symlink():
        raise LedgerError(f"{path}: no key there", "Name keys/ledger.key of a data directory.")
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_KEY_BYTES:
        raise LedgerError(f"{path} is no plain key file", "Remove what stands there, or put the key back from a backup.")
    if found.st_mode & 0o077 or found.st_uid not in {os.geteuid(), 0}:
        hint = f"Whoever read it can sign. If nobody did: chmod 600 {path}"
        raise LedgerError(f"{path} is open to others (mode {stat.S_IMODE(found.st_mode):03o})", hint)
    return read_signing_key(_text(path))


def put(data_dir: Path, key: SigningKey) -> None:
    """A key at its place in a data directory that has none."""
    (data_dir / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
    _create(data_dir / FOLDER / "ledger.key", key.text() + "\n")


def public_key(source: str | Path) -> PublicKey:
    """A public key from a file, or from the line itself; raises LedgerError."""
    text = str(source)
    if "+" in text and not Path(text).is_file():
        return read_public_key(text)
    path = Path(text)
    if not path.is_file() or path.stat().st_size > MAX_KEY_BYTES:
        raise LedgerError(f"{path}: no public key there", "Name keys/ledger.pub of the data directory, or give the line itself.")
    return read_public_key(_text(path))


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except UnicodeDecodeError as error:
        raise LedgerError(f"{path} is no key file", "Put the key back from a backup.") from error


def _create(path: Path, text: str, mode: int = 0o600) -> None:
    """Whole or not at all; where another process was first, theirs stays."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        os.link(name, path)
    except FileExistsError:
        return
    finally:
        Path(name).unlink()

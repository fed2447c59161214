"""A policy's folder as bytes, and back: how it travels through the store to every process. Equal folders are equal bytes.

Every file is in it, reviews and notes too; hidden files are not, as no policy is read from them. What comes back is checked against
its digest before it is unpacked (`store.policy_rows`), and never leaves the folder it is unpacked into.
"""

import base64
import binascii
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Final

from bylaw.errors import PolicyError
from bylaw.policy.parse import MAX_FILES

MAX_BYTES: Final = 64 * 1024 * 1024  # of all files of a policy together, before they are packed
_ROOM: Final = 2 * MAX_BYTES  # unpacked, with the names and what writing bytes as text takes
_AGAIN: Final = "Activate it again from its folder."


def files_of(folder: Path) -> Iterator[Path]:
    """Every file of a policy's folder, in no order; hidden ones are left out. Raises PolicyError."""
    found = 0

    def refuse(error: OSError) -> None:
        raise PolicyError(f"{error.filename}: cannot be read: {error.strerror}", "Check the folder's permissions.") from error

    for place, names, files in os.walk(folder, onerror=refuse):
        names[:] = [name for name in names if not name.startswith(".")]
        if linked := next((Path(place) / name for name in names if (Path(place) / name).is_symlink()), None):
            raise PolicyError(f"{linked}: is a linked folder, of which nothing would be taken", "Copy what it links to into the policy.")
        for name in files:
            if not name.startswith("."):
                found += 1
                if found > MAX_FILES:
                    raise PolicyError(f"{folder}: more than {MAX_FILES} files", "Give the policy's own folder.")
                yield Path(place) / name


def pack(folder: Path) -> bytes:
    """All files of a folder; raises PolicyError where they cannot be read, or are too many or too large."""
    packed, size, here = {}, 0, folder.resolve()
    for path in sorted(files_of(folder)):
        try:
            if path.is_symlink() and not path.resolve().is_relative_to(here):
                raise PolicyError(f"{path}: is linked from outside the policy's folder", "Copy what it links to into the policy.")
            if not path.is_file():
                raise PolicyError(f"{path}: is no plain file", "A policy's folder holds plain files only.")
            size += path.stat().st_size
            if size > MAX_BYTES:
                raise PolicyError(f"{folder}: more than {MAX_BYTES} bytes", "Leave out what is no part of the policy.")
            content = path.read_bytes()
        except OSError as error:
            raise PolicyError(f"{path}: cannot be read: {error.strerror}", "Check the file's permissions.") from error
        packed[path.relative_to(folder).as_posix()] = base64.b64encode(content).decode()
    return zlib.compress(json.dumps(packed, sort_keys=True).encode(), 6)


@contextmanager
def unpacked(files: bytes) -> Iterator[Path]:
    """A folder with these files, for as long as the block runs; raises PolicyError where they are no packed folder."""
    with TemporaryDirectory(prefix="bylaw-policy-") as made:
        folder = Path(made)
        for name, content in _unpacked(files).items():
            path = folder / name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            except OSError as error:
                raise PolicyError(f"a policy cannot be unpacked: {name}: {error.strerror}", "Is the disk full?") from error
        yield folder


def _unpacked(files: bytes) -> dict[str, bytes]:
    try:
        reader = zlib.decompressobj()
        text = reader.decompress(files, _ROOM)
        if not reader.eof:
            raise ValueError("cut off, or too large")
        value = json.loads(text)
        found = {str(name): base64.b64decode(content, validate=True) for name, content in value.items()}
    except (ValueError, TypeError, AttributeError, zlib.error, binascii.Error) as error:
        raise PolicyError(f"the files of a policy in the store cannot be read: {error}", _AGAIN) from error
    for name in found:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\0" in name or len(found) > MAX_FILES:
            raise PolicyError(f"the files of a policy in the store cannot be read: {name[:100]!r} is no file of a folder", _AGAIN)
    return found

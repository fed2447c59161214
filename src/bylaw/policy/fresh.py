"""A folder that is about to be made: new or empty, never one where somebody's work lies.

So too for a file; and files to import are read here, with a bound.
"""

from pathlib import Path
from typing import Final

from bylaw.errors import PolicyError

MAX_SOURCE_BYTES: Final = 2_000_000


def fresh_folder(folder: Path) -> Path:
    """Refuse a path that is taken; raises PolicyError in one line."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise PolicyError(f"{folder}: not a folder", "Give --out the name of a new folder.")
    if folder.is_dir() and any(folder.iterdir()):
        raise PolicyError(f"{folder}: this folder is not empty", "Give --out the name of a new folder; nothing was written.")
    return folder


def fresh_file(file: Path) -> Path:
    """Refuse a path that cannot be a new file; raises PolicyError in one line, before anything is done for it."""
    if file.exists() or file.is_symlink():
        raise PolicyError(f"{file} exists, and may hold what you decided", "Choose a new file; nothing was written.")
    if not file.parent.is_dir():
        raise PolicyError(f"{file.parent}: no such folder", "Make it first; nothing was written.")
    return file


def source_bytes(file: Path, limit: int = MAX_SOURCE_BYTES) -> bytes:
    """The bytes of a file to import; raises PolicyError where it is missing, no plain file, or larger than `limit`."""
    try:
        if not file.is_file():
            raise PolicyError(f"{file}: {'not a file' if file.exists() else 'no such file'}", "Check the path.")
        size = file.stat().st_size
        if size > limit:
            raise PolicyError(f"{file}: {size} bytes, the limit is {limit}", "Split it, and import the parts one by one.")
        return file.read_bytes()
    except OSError as error:
        raise PolicyError(f"{file}: cannot be read: {error.strerror or error}", "Check that it exists and its permissions.") from error


def source_text(file: Path, limit: int = MAX_SOURCE_BYTES) -> str:
    """The text of a file to import, its line ends as `\\n`; raises PolicyError with the line that is not UTF-8."""
    content = source_bytes(file, limit)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PolicyError(f"{file}:{line}: not UTF-8 text", "Save the file as UTF-8.") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")

"""Replies of endpoints on disk, by the content of the question: asked once, paid once.

One file a reply, written beside its place and renamed into it. An entry that is cut off, edited or of another question is no entry: it
carries its question's digest and its own. Only good replies come here, never errors, never keys.
"""

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bylaw.canonical import digest
from bylaw.errors import ModelError
from bylaw.models.endpoint import Reply, sayable

FORMAT: Final = 1  # of the entries; another number asks again
LARGEST_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class ReplyCache:
    """A folder of replies."""

    folder: Path

    def open(self) -> None:
        """Make the folder; raises ModelError when there can be none, before anything is paid for."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # replies may be confidential
        except OSError as error:
            raise ModelError(f"no replies can be kept in {self.folder}: {error.strerror}", "choose another folder for the cache") from error

    def file(self, key: str) -> Path:
        """Where the reply to a question lies."""
        name = key.removeprefix("sha256:")
        return self.folder / name[:2] / f"{name}.json"

    def get(self, key: str) -> Reply | None:
        """The reply to a question, if it was asked before and its entry is whole."""
        file = self.file(key)
        try:
            if file.stat().st_size > LARGEST_BYTES:
                return None
            entry = json.loads(file.read_text(encoding="utf-8"))
            fields = entry["reply"]
            whole = entry["format"] == FORMAT and entry["key"] == key and entry["digest"] == digest(fields)
            return Reply(**fields) if whole else None
        except (OSError, ValueError, RecursionError, TypeError, KeyError):
            return None  # a miss: the question is asked again, and the entry written anew

    def put(self, key: str, reply: Reply) -> None:
        """Keep a reply, whole or not at all; raises OSError when it cannot be."""
        fields: dict[str, Any] = {name: sayable(value) if isinstance(value, str) else value for name, value in asdict(reply).items()}
        text = json.dumps({"format": FORMAT, "key": key, "digest": digest(fields), "reply": fields}, ensure_ascii=False)
        file = self.file(key)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, beside = tempfile.mkstemp(dir=file.parent, prefix=".")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                out.write(text)
            Path(beside).replace(file)
        finally:
            Path(beside).unlink(missing_ok=True)

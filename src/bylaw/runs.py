"""What we did to a model: a directory of plain files, the manifest written last, finished steps skipped on restart.

    runs/<id>/
      run.json            what was asked; a restart must ask the same
      policy/             a copy of the policy it was started with
      steps/<step>.json   one record a finished step, written after everything the step made
      rows/ models/ work/ what the steps make; work/ holds what a killed step can go on from
      results.json        the measured rates
      manifest.json       times, versions, digests of the files above; written last

A file is written beside its place and renamed into it, so a reader meets all of it or nothing. One process works on a run at a time.
What somebody names for us to read may be a device or a pipe: of these no more than `MAX_STREAM` is read.
"""

import errno
import fcntl
import io
import json
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bylaw.canonical import digest_bytes
from bylaw.errors import RunError
from bylaw.files import whole

Json = Mapping[str, Any]
MAX_STREAM: Final = 64 << 20  # bytes of a device or a pipe; a file has a size, at which a reader looks who has a limit
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Run:
    """One run's directory."""

    path: Path

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked of this run."""
        return read_json(self.path / "run.json")

    def file(self, *parts: str) -> Path:
        """A path inside the run; its folder exists afterwards."""
        found = self.path.joinpath(*parts)
        found.parent.mkdir(parents=True, exist_ok=True)
        return found

    def done(self, step: str) -> bool:
        """Whether a step has finished."""
        return (self.path / "steps" / f"{step}.json").is_file()

    def record(self, step: str) -> dict[str, Any]:
        """What a finished step recorded."""
        return read_json(self.path / "steps" / f"{step}.json")

    def finish(self, step: str, record: Json) -> None:
        """Mark a step finished; everything it made must lie in place already."""
        write_json(self.file("steps", f"{step}.json"), record)


def start(path: Path, asked: Json) -> Run:
    """Open a run, new or begun; raises RunError if it was begun with other settings."""
    file = path / "run.json"
    if file.is_file():
        before = read_json(file)
        changed = sorted(key for key in before.keys() | dict(asked).keys() if before.get(key) != asked.get(key))
        if changed:
            raise RunError(
                f"{path} was started with other settings: {', '.join(changed)}", "choose another --out, or ask for the same again"
            )
    elif path.exists() and (not path.is_dir() or any(not p.name.startswith(".") for p in path.iterdir())):
        raise RunError(f"{path} exists and is no run", "choose an empty or a new folder with --out")
    else:
        path.mkdir(parents=True, exist_ok=True)
        write_json(file, asked)
    return Run(path)


def open_run(path: Path) -> Run:
    """Open a run for reading."""
    if not (path / "run.json").is_file():
        raise RunError(f"{path} is no run: it has no run.json", "name a folder that `bylaw align` or `bylaw demo` wrote")
    return Run(path)


def policy_in(path: Path) -> Path:
    """The policy a run was started with: the folder it copied, or the one file in it."""
    folder = path / "policy"
    files = list(folder.glob("*.md"))
    return folder if (folder / "policy.yaml").is_file() or len(files) != 1 else files[0]


@contextmanager
def alone(run: Run) -> Iterator[None]:
    """Hold a run's lock; raises RunError while another process works on it. The lock dies with the process."""
    with (run.path / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(f"another process is working on {run.path}", "wait for it, or choose another --out") from error
        yield


def write_text(file: Path, text: str) -> None:
    """Write a whole file or nothing of it; raises RunError where something else stands there, such as a device."""
    if file.exists() and not file.is_file():
        raise RunError(f"{file} is no file that can be written whole", "Name a file.")
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole(file) as out:
        out.write(text.encode())


def read_bytes(file: Path) -> bytes:
    """A file, or what a device or a pipe gives until its end; raises OSError, EFBIG where none of these comes to an end."""
    with file.open("rb") as opened:
        if stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            return opened.read()
        content = opened.read(MAX_STREAM + 1)
    if len(content) > MAX_STREAM:
        raise OSError(errno.EFBIG, f"no file, and more than {MAX_STREAM >> 20} MiB come from it", str(file))
    return content


def digest_of(file: Path) -> str:
    """The digest of a file that is read once more besides; raises RunError where it gives what it has only once, OSError."""
    if file.exists() and not file.is_file():
        raise RunError(f"{file} is no file, and it is read more than once", "Name a file: what a pipe gives can be put into one.")
    return digest_bytes(file.read_bytes())


def plain_text(file: Path) -> str:
    """The same as UTF-8 text, each line's end as `\\n`; raises OSError or UnicodeDecodeError."""
    return io.TextIOWrapper(io.BytesIO(read_bytes(file)), "utf-8").read()


def read_text(file: Path, most_bytes: int, smaller: str, hint: str) -> str:
    """A file of somebody else's as text; raises RunError where it is too large (`smaller` is what to do then), or cannot be read."""
    try:
        if file.stat().st_size > most_bytes:
            raise RunError(f"{file} has more than {most_bytes >> 20} MiB", smaller)
        return plain_text(file)
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror}", hint) from error
    except UnicodeDecodeError as error:
        raise RunError(f"{file} is not UTF-8 text: byte {error.start}", hint) from error


def write_json(file: Path, value: Json) -> None:
    """Write a JSON file a person can read."""
    write_text(file, _dump(value, indent=2) + "\n")


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON file; raises RunError when it is missing or broken."""
    try:
        value = json.loads(plain_text(file))
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", "") or error
        raise RunError(f"{file} cannot be read: {why}", "if a run is broken, start it anew with another --out") from error
    if not isinstance(value, dict):
        raise RunError(f"{file} holds no JSON object", "if a run is broken, start it anew with another --out")
    return value


def _dump(value: Json, indent: int | None = None) -> str:
    """JSON that a person can read; a lone surrogate, which a model may write and UTF-8 cannot say, is escaped."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return text if not _SURROGATE.search(text) else json.dumps(value, indent=indent)


def write_rows(file: Path, rows: Iterable[Json]) -> None:
    """Write rows as JSON lines."""
    write_text(file, "".join(_dump(row) + "\n" for row in rows))


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Read JSON lines; raises RunError with the line that is broken."""
    return [row for _, row in numbered_rows(file)]


def numbered_rows(file: Path) -> list[tuple[int, dict[str, Any]]]:
    """The same, each with the number of its line; empty lines count."""
    rows: list[tuple[int, dict[str, Any]]] = []
    try:
        lines = plain_text(file).split("\n")  # and nowhere else: a text may hold U+2028
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{file} cannot be read: {getattr(error, 'strerror', '') or error}", "name a file of JSON lines") from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError) as error:
            raise RunError(f"{file}:{number}: not JSON: {error}", "each line is one JSON object") from error
        if row is not None and not isinstance(row, dict):
            raise RunError(f"{file}:{number}: not a JSON object", "each line is one JSON object")
        if row is not None:
            rows.append((number, row))
    return rows


def write_manifest(run: Run, facts: Json) -> None:
    """Close a run: its facts, and the digest of every file a person may rely on."""
    names = sorted(p for p in run.path.rglob("*") if p.is_file() and "work" not in p.relative_to(run.path).parts)
    kept = [p for p in names if p.name not in ("lock", "manifest.json") and not p.name.startswith(".")]
    files = {str(p.relative_to(run.path)): digest_bytes(p.read_bytes()) for p in kept}
    write_json(run.path / "manifest.json", {**facts, "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "files": files})

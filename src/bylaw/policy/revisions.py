"""A policy as it was: another folder or file, or the same path at a git revision. The working tree is never touched.

Files come from git's object store by `ls-tree` and `cat-file`, so that neither export attributes nor checkout filters change them.
What git stores as a link is left out; the reader then says what is missing.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from bylaw.errors import PolicyError
from bylaw.policy.parse import MAX_FILE_BYTES, MAX_FILES, MAX_POLICY_BYTES, Document, read

GIT_TIMEOUT_S: Final = 30
_OF_A_HOOK: Final = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"})  # a hook's own repository is not meant
_FILE_MODES: Final = ("100644", "100755")


class _Blob(NamedTuple):
    """One file of a revision: its path in the repository, its object and its size."""

    path: str
    oid: str
    bytes: int


def read_at(path: Path, against: str) -> Document:
    """The policy at `path` as it was `against` a folder, a file, or a git revision of the repository that holds it.

    A folder or file of that name goes before a revision. Raises PolicyError where there is no such thing.
    """
    if against and Path(against).exists():
        return read(Path(against))
    if not path.exists():
        raise PolicyError(f"{path}: no such policy", "Give a policy folder with a policy.yaml, or one Markdown file.")
    folder = (path if path.is_dir() else path.parent).resolve()
    inside = _git(folder, "rev-parse", "--show-prefix", what=f"{path} lies in no git repository, and there is no folder {against!r}")
    prefix = os.fsdecode(inside.removesuffix(b"\n"))
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{against}^{{commit}}", what=_unknown(path, against))
    blobs = list(_blobs(folder, commit.decode().strip(), against))
    wanted = blobs if path.is_dir() else [one for one in blobs if one.path == path.name]
    if not wanted:
        held = (prefix or "./") if path.is_dir() else f"{prefix or './'}{path.name}"  # of a folder the prefix is the folder itself
        raise PolicyError(f"{path} is not in git revision {against!r}", f"Give a revision that has {held}.")
    if len(wanted) > MAX_FILES:
        raise PolicyError(f"{path} has {len(wanted)} files in {against!r}, the limit is {MAX_FILES}", "Give the policy's own folder.")
    with tempfile.TemporaryDirectory(prefix="bylaw-") as scratch:
        _write(folder, wanted, Path(scratch))
        return read(Path(scratch) if path.is_dir() else Path(scratch) / path.name)


def _unknown(path: Path, against: str) -> str:
    return f"{against!r} is neither a folder nor a git revision of the repository that holds {path}"


def _blobs(folder: Path, commit: str, against: str) -> Iterator[_Blob]:
    listed = _git(folder, "ls-tree", "-r", "-z", "-l", commit, "--", ".", what=f"git revision {against!r} cannot be listed")
    for row in listed.split(b"\0"):
        if row:
            meta, _, name = row.partition(b"\t")
            mode, _, oid, size = meta.decode().split()
            if mode in _FILE_MODES:
                if not size.isdecimal():
                    raise _lacking(os.fsdecode(name))
                yield _Blob(os.fsdecode(name), oid, int(size))


def _lacking(path: str) -> PolicyError:
    return PolicyError(f"git does not have {path} of that revision", "Fetch it (`git fetch --refetch`), or give a folder.")


def _write(folder: Path, blobs: list[_Blob], scratch: Path) -> None:
    large = next((one for one in blobs if one.bytes > MAX_FILE_BYTES), None)
    if large:
        raise PolicyError(f"{large.path}: larger than {MAX_FILE_BYTES} bytes", "Split it, or move it out of the policy.")
    if sum(one.bytes for one in blobs) > MAX_POLICY_BYTES:
        raise PolicyError(f"the revision's files are larger than {MAX_POLICY_BYTES} bytes", "Give the policy's own folder.")
    asked = "".join(f"{one.oid}\n" for one in blobs).encode()
    stream = _git(folder, "cat-file", "--batch", what="git cannot read the revision's files", stdin=asked)
    at = 0
    for one in blobs:
        head = f"{one.oid} blob {one.bytes}\n".encode()
        if not stream.startswith(head, at):
            raise _lacking(one.path)
        start = at + len(head)
        target = scratch / one.path
        if not target.resolve().is_relative_to(scratch.resolve()):
            raise PolicyError(f"{one.path}: a path that leaves the policy", "Rename the file.")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(stream[start : start + one.bytes])
        at = start + one.bytes + 1


def _git(folder: Path, *arguments: str, what: str, stdin: bytes | None = None) -> bytes:
    """What one git command prints; `what` is the error when it fails."""
    inherited = {key: value for key, value in os.environ.items() if key not in _OF_A_HOOK}
    environment = {**inherited, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False, input=stdin, timeout=GIT_TIMEOUT_S, env=environment)
    except FileNotFoundError as error:
        raise PolicyError("git is not installed, so a revision cannot be read", "Install git, or give a folder.") from error
    except (subprocess.TimeoutExpired, OSError, ValueError) as error:
        raise PolicyError(f"{what}: {error}", "Give a folder with the older policy instead.") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise PolicyError(what + (f" (git: {said[0][:200]})" if said else ""), "`git log --oneline` lists revisions; or give a folder.")
    return done.stdout

"""A policy folder, or one Markdown file, to a Policy; every fault has a file, a line and a way out.

`read` gathers all faults and keeps the source text; `load` is the strict door: the first fault raises. Clauses come sorted by id, so
that moving one to another file changes neither the policy nor what is compiled from it.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from bylaw.errors import PolicyError
from bylaw.policy import seen
from bylaw.policy.clause import TOOL, read_clause
from bylaw.policy.digest import digest_of
from bylaw.policy.manifest import POLICY_ID, Tool, read_manifest, read_overlay, read_tool
from bylaw.policy.markdown import CLAUSE, sections
from bylaw.policy.notation import read_json, wrong
from bylaw.types import Clause, Overlay, Place, Policy

MANIFEST: Final = "policy.yaml"
OVERLAY: Final = "overlay.yaml"
MAX_FILE_BYTES: Final = 4_000_000
MAX_POLICY_BYTES: Final = 64_000_000  # of all its files together
MAX_FILES: Final = 5_000
MAX_CLAUSES: Final = 20_000
MAX_LINES: Final = 250_000  # of a file with clauses, which is read twice
OTHER_MARKDOWN: Final = (".md", ".markdown", ".mdown", ".mdwn", ".mkd", ".mkdn", ".mdtext", ".mdtxt", ".mdx")  # shown, and not read
MISPLACED: Final = ("policy.yaml", "policy.yml", "overlay.yaml", "overlay.yml")

_CLAUSES: Final = re.compile(rf"(?:`{{3,}}+|~{{3,}}+)[ \t]*{CLAUSE.replace(' ', '[ ]+')}")


class Part(NamedTuple):
    """A stretch of a file's source, and the clause it states, if it does."""

    source: str
    clause: Clause | None


@dataclass(frozen=True, slots=True)
class Document:
    """A policy with the sources it was read from, and the faults found on the way."""

    policy: Policy
    parts: Mapping[str, tuple[Part, ...]]  # Markdown file -> its parts, in order
    others: Mapping[str, tuple[str, Any]]  # any other file -> its source and what was read from it
    faults: tuple[PolicyError, ...] = ()
    clauses: tuple[Clause, ...] = ()  # all that were read, duplicates too


def load(path: Path) -> Policy:
    """Read a policy from a folder or a Markdown file; raises PolicyError on the first fault, with file and line."""
    document = read(path)
    if document.faults:
        raise document.faults[0]
    policy = document.policy
    if any(clause.enforce for clause in every_clause(policy)):
        from bylaw.policy.conditions import check  # noqa: PLC0415  # the CEL engine takes 50 MB; a policy without rules needs none

        check(policy)
    return policy


def every_clause(policy: Policy) -> tuple[Clause, ...]:
    """The clauses of the policy and of all its overlays."""
    return (*policy.clauses, *(clause for overlay in policy.overlays for clause in overlay.clauses))


def pick(policy: Policy, clause_id: str) -> Clause:
    """The clause with this id; raises PolicyError with the nearest id where there is none."""
    clause = policy.clause(clause_id)
    if clause is None:
        near = get_close_matches(clause_id, [one.id for one in policy.clauses], n=1)
        hint = f"Did you mean `{near[0]}`?" if near else "`bylaw policy show` lists the clause ids."
        raise PolicyError(f"no clause {clause_id!r} in policy {policy.id}", hint)
    return clause


def read(path: Path) -> Document:
    """Read a policy and gather its faults; raises PolicyError only where there is nothing to read at all."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise PolicyError(f"{path}: no such policy", "Give a policy folder with a policy.yaml, or one Markdown file.") from error
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error.strerror}", "Check the path and its permissions.") from error
    reading = _Reading(path if stat.S_ISDIR(mode) else path.parent)
    if stat.S_ISDIR(mode):
        reading.folder()
    else:
        reading.single(path)
    return reading.document()


@dataclass(slots=True)
class _Reading:
    """One pass over a policy's files."""

    root: Path
    policy: Policy = field(default_factory=lambda: Policy("", "0.0.0", ()))
    overlays: dict[str, Overlay] = field(default_factory=dict)
    parts: dict[str, tuple[Part, ...]] = field(default_factory=dict)
    others: dict[str, tuple[str, Any]] = field(default_factory=dict)
    faults: list[PolicyError] = field(default_factory=list)
    bytes: int = 0  # read so far

    def single(self, path: Path) -> None:
        if path.suffix != ".md":
            raise PolicyError(f"{path}: not a policy", "Give a policy folder with a policy.yaml, or one Markdown file (.md).")
        name = path.stem.lower().replace(" ", "-")
        self.policy = Policy(name if POLICY_ID.fullmatch(name) else "policy", "0.0.0", ())
        self.gather(path.name)

    def gather(self, file: str) -> None:
        """Read one file of any kind; its faults are kept, so that the others are still read."""
        try:
            self.file(file)
        except PolicyError as error:
            self.faults.append(error)

    def folder(self) -> None:
        if not os.path.lexists(self.root / MANIFEST) or (self.root / MANIFEST).is_dir():
            hint = "Add a policy.yaml with `id: my-policy` and `version: 1.0.0`; for a single file give its own path."
            raise PolicyError(f"{self.root}: no {MANIFEST} here, so this is not a policy folder", hint)
        files = list(islice(_files(self.root), MAX_FILES + 1))
        if len(files) > MAX_FILES:
            raise PolicyError(f"{self.root}: more than {MAX_FILES} files", "Give the policy's own folder.")
        for file in sorted(files):
            self.gather(file)

    def file(self, file: str) -> None:
        parents, name = Path(file).parts[:-1], Path(file).name
        if name.endswith(".md"):
            overlay = _overlay_of(file)
            if overlay is not None and not (overlay and (self.root / "overlays" / overlay / OVERLAY).is_file()):
                hint = "Put each overlay in overlays/NAME/, with an overlay.yaml that has axis, basis, effective and checked."
                raise wrong(Place(file, 1), f"overlay {overlay!r} has no {OVERLAY}", hint)
            self.markdown(file)
        elif Path(name).suffix.lower() in OTHER_MARKDOWN and _CLAUSES.search(self.text(file)):
            raise wrong(Place(file, 1), "a file with clauses that does not end in .md is not read", "Rename it.")
        elif file == MANIFEST:
            text = self.text(file)
            self.policy = read_manifest(text, file)
            self.others[file] = (text, self.policy)
        elif name == OVERLAY and parents[:1] == ("overlays",) and len(parents) == 2:
            text = self.text(file)
            self.overlays[parents[1]] = read_overlay(text, file, parents[1])
            self.others[file] = (text, self.overlays[parents[1]])
        elif parents == ("tools",) and name.endswith(".json"):
            tool = name.removesuffix(".json")
            if not TOOL.fullmatch(tool):
                raise wrong(Place(file, 1), f"{tool!r} is not a tool name", "Use letters, digits, dots, hyphens and underscores.")
            text = self.text(file)
            self.others[file] = (text, read_tool(read_json(text, Place(file, 1)), file, tool))
        elif name.lower() in MISPLACED:
            raise wrong(Place(file, 1), f"this {name} is not read here", "It is policy.yaml, or overlays/NAME/overlay.yaml.")
        elif [one.lower() for one in parents[:1]] == ["tools"] and Path(name).suffix.lower() in (".json", ".yaml", ".yml"):
            raise wrong(Place(file, 1), "a tool's schema that is not read here", "It is tools/NAME.json.")

    def markdown(self, file: str) -> None:
        found = []
        text = self.text(file)
        if text.count("\n") > MAX_LINES and _CLAUSES.search(text):
            raise wrong(Place(file, 1), f"a file with clauses of more than {MAX_LINES} lines", "Split it.")
        split = sections(text, file)
        for section in split:
            try:
                found.append(Part(section.source, read_clause(section)))
            except PolicyError as error:
                self.faults.append(error)
        self.parts[file] = tuple(found)
        self.faults += seen.faults(split)

    def text(self, file: str) -> str:
        path = self.root / file
        try:
            if not path.is_file():
                raise wrong(Place(file, 1), "not a regular file", "Replace it with a plain file.")
            if path.stat().st_size > MAX_FILE_BYTES:
                raise wrong(Place(file, 1), f"larger than {MAX_FILE_BYTES} bytes", "Split it, or move it out of the policy.")
            content = path.read_bytes()
            self.bytes += len(content)
            if self.bytes > MAX_POLICY_BYTES:
                raise wrong(Place(file, 1), f"the policy is larger than {MAX_POLICY_BYTES} bytes", "Give the policy's own folder.")
        except OSError as error:
            raise wrong(
                Place(file, 1), f"cannot be read: {error.strerror or error}", "Check that it exists and its permissions."
            ) from error
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            at = Place(file, content.count(b"\n", 0, error.start) + 1)
            raise wrong(at, "not UTF-8 text", "Save the file as UTF-8.") from error

    def document(self) -> Document:
        base = [part.clause for file, parts in self.parts.items() for part in parts if part.clause and _overlay_of(file) is None]
        overlays = []
        for name, overlay in sorted(self.overlays.items()):
            own = [part.clause for file, parts in self.parts.items() for part in parts if part.clause and _overlay_of(file) == name]
            overlays.append(replace(overlay, clauses=self.sorted(own)))
        tools = {tool.name: tool.schema for _, tool in self.others.values() if isinstance(tool, Tool)}
        everything = (*base, *(clause for overlay in overlays for clause in overlay.clauses))
        policy = replace(self.policy, clauses=self.sorted(base), overlays=tuple(overlays), tools=tools)
        if not self.faults and not everything:
            where = next(iter(self.parts), MANIFEST)
            hint = "Write a heading with `{#an.id}` and under it a `yaml clause` block with severity and response."
            self.faults.append(wrong(Place(where, 1), "no clause in this policy", hint))
        if len(everything) > MAX_CLAUSES:
            self.faults.append(PolicyError(f"{len(everything)} clauses, the limit is {MAX_CLAUSES}", "Split the policy."))
        return Document(replace(policy, digest=digest_of(policy)), self.parts, self.others, tuple(self.faults), everything)

    def sorted(self, clauses: list[Clause]) -> tuple[Clause, ...]:
        known: dict[str, Clause] = {}
        for clause in clauses:
            if clause.id in known:
                hint = f"Rename one; the other stands at {known[clause.id].place}."
                self.faults.append(wrong(clause.place, f"clause id {clause.id!r} is used twice", hint))
            known.setdefault(clause.id, clause)
        return tuple(known[key] for key in sorted(known))


def _overlay_of(file: str) -> str | None:
    """The overlay a file belongs to: the folder below `overlays`; None for a file of the policy itself.

    A folder `Overlays` looks like it and is none: it has no name, so that its files are refused.
    """
    folders = Path(file).parts[:-1]
    if folders[:1] == ("overlays",):
        return "/".join(folders[1:2])
    return "" if folders and folders[0].lower() == "overlays" else None


def _files(root: Path) -> Iterator[str]:
    """Every file below a folder, relative to it; hidden files and folders are left out."""

    def refuse(error: OSError) -> None:
        raise PolicyError(f"{error.filename}: cannot be read: {error.strerror}", "Check the folder's permissions.") from error

    for folder, names, files in os.walk(root, onerror=refuse):
        for name in names:
            if (Path(folder) / name).is_symlink() and not name.startswith("."):
                raise PolicyError(f"{Path(folder) / name}: a linked folder is not followed", "Copy its files into the policy.")
        names[:] = [name for name in names if not name.startswith(".")]
        yield from (str((Path(folder) / name).relative_to(root)) for name in files if not name.startswith("."))

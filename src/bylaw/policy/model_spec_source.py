"""The Markdown of the OpenAI Model Spec, taken apart: headings with ids and authority, commentary, examples, eval tags.

It reads what stands there and decides nothing; what becomes of it is in `model_spec`. What it does not understand is kept in `odd`
with its line, and an example's source is kept whole.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bylaw.errors import PolicyError
from bylaw.types import Role

_HEADING: Final = re.compile(r"(#{1,6}) +(.+)")
_TAG: Final = re.compile(r"\[\^([A-Za-z0-9_-]{1,32})\]")
_OPEN: Final = re.compile(r"<(system|developer|user|assistant|tool)((?: +[a-z_]+=\"[^\"]*\")*)>(.*)")
_MARK: Final = re.compile(r"(GOOD|BAD|OK)\b[:,]?(.*)")
_ADMONITION: Final = re.compile(r"!!! *(.*)")
_EXAMPLE: Final = "**Example**"
_FENCES: Final = ("~~~", "```")


class Tag(NamedTuple):
    """One footnote mark `[^c4mb]`: the sentence before it is tested by `examples/c4mb.md`."""

    name: str
    line: int
    heading: str  # the id of its heading


class Said(NamedTuple):
    """One turn of an example; `mark` is GOOD, BAD, OK or empty, `why` the words behind it."""

    role: Role
    text: str
    line: int
    mark: str = ""
    why: str = ""
    compared: int = 0  # the number of the comparison it stands in, from 1; 0: a turn that all answers follow


@dataclass(frozen=True, slots=True)
class Shown:
    """One example: its title, its turns in order, and its lines as they stand in the file."""

    title: str
    line: int
    said: tuple[Said, ...]
    source: str
    odd: tuple[str, ...] = ()


@dataclass(slots=True)
class Heading:
    """One heading and what stands under it, up to the next one."""

    level: int
    title: str
    id: str
    attributes: dict[str, str]
    line: int
    norm: list[str] = field(default_factory=list)  # without commentary, examples and eval tags
    commentary: list[str] = field(default_factory=list)
    examples: list[Shown] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)
    source: list[str] = field(default_factory=list)  # every line under the heading, as it stands
    top: str = ""  # the id of the level-1 heading above it, or its own


def read_spec(text: str, file: str) -> list[Heading]:
    """Every heading of a Model Spec in order; raises PolicyError where a heading id is missing, doubled or nothing has an id."""
    found: list[Heading] = []
    seen: dict[str, int] = {}
    for number, line, fenced in _outside_fences(text.split("\n"), file):
        heading = None if fenced else _heading(line, number)
        if heading is None:
            if not found and line.strip():
                raise PolicyError(f"{file}:{number}: text before the first heading", "Start the file with a heading with an id.")
            if found:
                found[-1].source.append(line)
            continue
        if not heading.id:
            raise PolicyError(f"{file}:{number}: a heading without an id", "Write `## Title {#its_id authority=root}`.")
        if heading.id in seen:
            raise PolicyError(f"{file}:{number}: heading id {heading.id!r} also stands on line {seen[heading.id]}", "Rename one.")
        seen[heading.id] = number
        heading.top = heading.id if heading.level == 1 or not found else found[-1].top
        found.append(heading)
    if not found:
        raise PolicyError(f"{file}: no heading with an id, so this is no Model Spec", "`bylaw policy import prose` reads other policies.")
    for heading in found:
        _read_body(heading)
    return found


def _outside_fences(lines: Sequence[str], file: str) -> Iterator[tuple[int, str, bool]]:
    """Each line with its number, and whether it belongs to a fenced block."""
    mark, opened = "", 0
    for number, line in enumerate(lines, 1):
        start = line.strip()
        if mark:
            yield number, line, True
            mark = "" if start == mark else mark
        elif start.startswith(_FENCES):
            mark, opened = start[:3], number
            yield number, line, True
        else:
            yield number, line, False
    if mark:
        raise PolicyError(f"{file}:{opened}: a fenced block is never closed", f"End it with a line `{mark}`.")


def _heading(line: str, number: int) -> Heading | None:
    match = _HEADING.fullmatch(line.rstrip())
    if not match:
        return None
    title, mark, inside = match[2].rpartition("{#")
    if not mark or not inside.endswith("}"):
        return Heading(len(match[1]), match[2], "", {}, number)
    words = inside[:-1].split() or [""]
    return Heading(len(match[1]), title.strip(), words[0], dict(_pair(word) for word in words[1:]), number)


def _pair(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key, value


def _read_body(heading: Heading) -> None:
    """Sort the lines under a heading into norm, commentary, examples and eval tags."""
    lines = heading.source
    index = 0
    while index < len(lines):
        line, number = lines[index], heading.line + 1 + index
        example = _example_at(lines, index, heading.line + 1)
        if example:
            shown, end = example
            heading.examples.append(shown)
            _tags(heading, lines[index], number)
        elif _ADMONITION.fullmatch(line):
            end = _indented_end(lines, index + 1)
            heading.commentary += [*([""] if heading.commentary else []), *(text.removeprefix("    ") for text in lines[index + 1 : end])]
            for offset in range(index, end):
                _tags(heading, lines[offset], heading.line + 1 + offset)
        elif line.startswith(_FENCES):
            end = _fence_end(lines, index)
            heading.norm += lines[index:end]
        else:
            end = index + 1
            heading.norm.append(_tags(heading, line, number))
        index = end


def _tags(heading: Heading, line: str, number: int) -> str:
    """Keep the line's eval tags, and return the line without them."""
    heading.tags += [Tag(name, number, heading.id) for name in _TAG.findall(line)]
    return _TAG.sub("", line)


def _indented_end(lines: Sequence[str], index: int) -> int:
    """The index behind a block of indented lines; blank lines at its end stay outside."""
    end = index
    while index < len(lines) and (lines[index].startswith("    ") or not lines[index].strip()):
        index += 1
        end = index if lines[index - 1].strip() else end
    return end


def _fence_end(lines: Sequence[str], index: int) -> int:
    mark = lines[index].strip()[:3]
    return next(end for end in range(index + 1, len(lines)) if lines[end].strip() == mark) + 1


def _example_at(lines: Sequence[str], index: int, first: int) -> tuple[Shown, int] | None:
    """The example that begins on this line, and the index behind it."""
    start, title = index, ""
    if lines[index].startswith(_EXAMPLE):
        title = _TAG.sub("", lines[index].removeprefix(_EXAMPLE).lstrip(": ")).strip()
        index += 1
        while index < len(lines) and not lines[index].strip():
            index += 1
    if index >= len(lines) or not lines[index].startswith("~~~xml"):
        return None
    end = _fence_end(lines, index)
    said, odd = turns(lines[index + 1 : end - 1], first + index + 1)
    return Shown(title, first + start, said, "\n".join(lines[start:end]), odd), end


def turns(lines: Sequence[str], first: int) -> tuple[tuple[Said, ...], tuple[str, ...]]:
    """The turns of an example's XML, and the lines that are none."""
    found: list[Said] = []
    odd: list[str] = []
    comparing, compared = False, 0
    index = 0
    while index < len(lines):
        line, end = lines[index].strip(), index + 1
        opened = _OPEN.fullmatch(line)
        if opened:
            while end < len(lines) and lines[end].strip() != f"</{opened[1]}>":
                end += 1
            text = "\n".join([*_same_line(opened[3]), *lines[index + 1 : end]])
            said = _said(opened, text, first + index)
            found.append(said._replace(compared=compared if comparing else 0))
            odd += [] if end < len(lines) else [f"line {first + index}: <{opened[1]}> is never closed"]
            end += 1
        elif line == "<comparison>":
            comparing, compared = True, compared + 1
        elif line == "</comparison>":
            comparing = False
        elif line:
            odd.append(f"line {first + index}: {line[:120]}")
        index = end
    return tuple(found), tuple(odd)


def _same_line(behind: str) -> list[str]:
    """Words of the turn on the line of its tag, behind the comment."""
    comment, closed, rest = behind.strip().partition("-->")
    text = rest if closed and comment.startswith("<!--") else behind
    return [text.strip()] if text.strip() else []


def _said(opened: re.Match[str], text: str, line: int) -> Said:
    comment, closed, _ = opened[3].strip().partition("-->")
    words = comment.removeprefix("<!--").strip() if closed and comment.startswith("<!--") else ""
    mark = _MARK.fullmatch(words)
    above = [f"[{word}]" for word in ("developer message" * (opened[1] == "developer"), opened[2].strip()) if word]
    role: Role = "system" if opened[1] == "developer" else opened[1]  # type: ignore[assignment]  # the pattern's words
    clean = tidy("\n".join([*above, text]))
    return Said(role, clean, line, mark[1] if mark else "", " ".join(mark[2].split()) if mark else words)


def tidy(text: str) -> str:
    """Text as the policy format keeps it: no spaces at line ends, no blank lines around it."""
    return "\n".join(line.rstrip(" \t") for line in text.split("\n")).strip("\n").lstrip(" \t")

"""A Markdown file taken apart: sections under headings, and inside a clause its block, norm, rationale and examples.

Only what policies need: ATX headings, fenced code, block quotes and plain lines. Every part keeps its source text, so that an
unchanged part is printed back byte by byte.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, get_args

from bylaw.policy.notation import is_day, read_json, wrong
from bylaw.types import Effect, Example, Place, Ruling, Side, Split, Surface, Turn

CLAUSE: Final = "yaml clause"
EVENT: Final = "json event"
EVENT_KEYS: Final = ("on", "tool", "args", "text", "principal", "session", "env", "found")
MAX_SHOWN: Final = 40  # characters of a word that is quoted back
INDENT: Final = "    "  # continuation lines of a turn

HEADING: Final = re.compile(r" {0,3}#{1,6}+(?:[ \t](.*))?")
_FENCE: Final = re.compile(r" {0,3}(`{3,}+(?=[^`]*$)|~{3,}+)(.*)")  # possessive: no line, however long, is read twice
_MARKER: Final = re.compile(r"\*\*(Good|Bad|Ruling)\*\*(?:[ \t]*\{([^}]*)\})?[ \t]*(.*)")
NEAR_CLAUSE: Final = re.compile(r"(?:ya?ml)?[ :_-]{0,8}clauses?", re.IGNORECASE)
_MUST_KEYS: Final = ("severity:", "response:")  # of every clause
_KEYS: Final = [re.compile(rf"""(?:^|[\s{{,])["']?{key}["']?[ \t]*:""", re.MULTILINE) for key in ("severity", "response")]  # in any YAML
_OPENS_CLAUSE: Final = re.compile(r"(?:`{3,}+|~{3,}+)[ \t]*ya?ml[ \t]+clause\b")
_NEAR_MARKER: Final = re.compile(r"\*\*\s*(good|bad|ruling)\b", re.IGNORECASE)
_ODD_MARKER: Final = re.compile(
    r"((?:[ \t>+*\u200b-\u200d\u2060\ufeff-]|\d[.)])*)(?:\*\*|__)(?:good|bad|ruling)(?:\*\*|__)[ \t]*(\{?)", re.IGNORECASE
)
_ATTRIBUTE: Final = re.compile(r'([a-z]+)=(?:"([^"]*)"|([^\s"]+))(?:\s+|$)')
_RATIONALE: Final = re.compile(r">[ \t]*\*\*Rationale\.?\*\*\.?[ \t]*(.*)")
_ODD_RATIONALE: Final = re.compile(r" {0,3}(?:>[ \t]*)*(?:[*_]{2,3}[ \t]*|[*_])rationale\b", re.IGNORECASE)
_QUOTE: Final = re.compile(r">[ \t]?(.*)")
_ROLE: Final = re.compile(r"(system|user|assistant|tool):(?:[ \t]+(.*))?")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_BREAK: Final = re.compile(r"[\u2028\u2029]")  # which an editor may show as the end of a line, and Markdown reads as none
_BRACED: Final = re.compile(r"\{([^{}]*)\}")
_CODE: Final = re.compile(r"`[^`]*`")
_LETTERS: Final = re.compile(r"[a-z]+")
_LIKE_HEADING: Final = re.compile(r"[ \t>*+\-\d.)\u00a0\u00ad\u200b\u200c\u200d\u2060\ufeff]*#")  # also in a quote or a list
_UNDERLINE: Final = re.compile(r" {0,3}(?:=+|-+)[ \t\r]*")  # which makes a heading of the line above it, elsewhere
_BEFORE: Final = " \t>\u200b\u200c\u200d\u2060\ufeff\u00ad"  # a quote, an indent, and what nobody sees


class Line(NamedTuple):
    """One line without its end, and where it stands."""

    place: Place
    text: str


class Fence(NamedTuple):
    """One fenced block: where it opens, the words behind the fence, its lines, and the same with its fences."""

    place: Place
    words: str
    lines: tuple[Line, ...]
    whole: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and all up to the next one; text before the first heading is a section without a title."""

    place: Place
    source: str
    title: str = ""
    anchor: str = ""  # the id in `{#id}`
    parts: tuple[Line | Fence, ...] = ()

    @property
    def block(self) -> Fence | None:
        """The `yaml clause` block, if there is one."""
        fences = [part for part in self.parts if isinstance(part, Fence)]
        blocks = [part for part in fences if part.words == CLAUSE]
        if len(blocks) > 1:
            raise wrong(blocks[1].place, "a second `yaml clause` block under one heading", "Give it a heading with its own `{#id}`.")
        nearly = next((part for part in fences if part.words != CLAUSE and self._is_nearly(part)), None)
        if nearly:
            raise wrong(
                nearly.place, f"a block of {nearly.words[:MAX_SHOWN]!r} is no clause, and would be read as prose", f"Write ```{CLAUSE}."
            )
        swallowed = next((line for fence in fences for line in fence.lines if _opens_clause(line, fence)), None)
        if swallowed:
            raise wrong(
                swallowed.place, "a clause inside a block that is not closed before it", "Close that block, or open it with more marks."
            )
        if not blocks:
            self._no_clause_in_prose()
        if not blocks and "." in self.anchor:
            raise wrong(
                self.place,
                f"the heading with the id {self.anchor[:MAX_SHOWN]!r} has no clause block, and would be read as prose",
                f"Put a ```{CLAUSE} block under it, or take the dot out of its id.",
            )
        return blocks[0] if blocks else None

    def _no_clause_in_prose(self) -> None:
        """Raise PolicyError where plain lines say what a clause must say: a block that is quoted or indented is none."""
        lines = [part for part in self.parts if isinstance(part, Line)]
        found = [next((line for line in lines if line.text.lstrip(_BEFORE).startswith(key)), None) for key in _MUST_KEYS]
        plain = (line for line in lines if not line.text.startswith((INDENT, "\t")))
        opened = next((line for line in plain if _OPENS_CLAUSE.match(line.text.lstrip(_BEFORE))), None)
        first = found[0] if self.anchor and all(found) else opened
        if first:
            raise wrong(first.place, "a clause that is quoted or indented is read as prose", f"Begin its ```{CLAUSE} at the line's start.")

    def _is_nearly(self, fence: Fence) -> bool:
        """Whether a block was meant for a clause: by its words, or by its keys under a heading with an id."""
        keys = all(any(line.text.startswith(key) for line in fence.lines) for key in _MUST_KEYS)
        words = _LETTERS.findall(fence.words.lower())
        named = keys and not {"clause", "clauses"}.isdisjoint(words)
        if words[:1] in ([], ["yaml"], ["yml"]) and all(key.search("\n".join(line.text for line in fence.lines)) for key in _KEYS):
            named = bool(words) or bool(self.anchor)
        return named or (keys and bool(self.anchor)) or bool(NEAR_CLAUSE.fullmatch(fence.words))


def _opens_clause(line: Line, within: Fence) -> bool:
    """Whether a line inside a block would open a clause outside it, with marks that are as good as the block's own."""
    inner, outer = _FENCE.fullmatch(line.text), _FENCE.fullmatch(within.whole[0].text)
    return bool(inner and outer and " ".join(inner[2].split()) == CLAUSE and inner[1].startswith(outer[1]))


def sections(source: str, file: str) -> list[Section]:
    """Split a file at its headings. The sources of all sections, joined, are the file."""
    found: list[Section] = []
    start, parts, title, anchor, place = 0, [], "", "", Place(file, 1)
    pieces = source.split("\n")
    for part in _parts(pieces, file):
        heading = HEADING.fullmatch(part.text) if isinstance(part, Line) else None
        named = _title((heading[1] or "").strip()) if heading else ("", "")
        if isinstance(part, Line) and not named[1]:
            _no_lost_id(part, pieces[part.place.line : part.place.line + 1])
        if not heading:
            parts.append(part)
            continue
        if part.place.line > 1:
            found.append(Section(place, "\n".join(pieces[start : part.place.line - 1]) + "\n", title, anchor, tuple(parts)))
        start, parts, place = part.place.line - 1, [], part.place
        title, anchor = named
    found.append(Section(place, "\n".join(pieces[start:]), title, anchor, tuple(parts)))
    return found


def _title(text: str) -> tuple[str, str]:
    """A heading's title and the id in `{#id}` behind it; closing `#` marks are no part of a title."""
    open_text = text.rstrip("#")
    text = open_text.rstrip() if open_text != text and open_text[-1:].isspace() else text
    before, mark, anchor = text.rpartition("{#")
    return (before.strip(), anchor[:-1].strip()) if mark and anchor.endswith("}") and "}" not in anchor[:-1] else (text, "")


def lost_id(text: str, anywhere: bool = True) -> bool:
    """Whether a line holds what looks like a clause's id: anywhere outside of `code`, or at its end."""
    inners = _BRACED.findall(_CODE.sub("", text)) if anywhere else [text.rstrip(_BEFORE + "#").rpartition("{")[2]]
    inners = inners if anywhere else [inner.removesuffix("}") for inner in inners if inner.endswith("}")]
    return any(word.startswith("#") and "." in word for inner in inners for word in inner.split())


def _no_lost_id(line: Line, following: Sequence[str]) -> None:
    """Raise PolicyError where a line without an id that we read ends in a clause's id, and looks like a heading."""
    heading = bool(HEADING.fullmatch(line.text))
    if not lost_id(line.text, anywhere=heading):
        return
    if line.text.startswith((INDENT, "\t")):  # code
        return
    if _LIKE_HEADING.match(line.text) or any(_UNDERLINE.fullmatch(one) for one in following):
        raise wrong(line.place, "a heading of another form with a clause's id would be read as prose", "Write ## TITLE {#ID}.")


def _parts(pieces: Sequence[str], file: str) -> Iterator[Line | Fence]:
    opened: list[Line] = []
    mark = words = ""
    for number, piece in enumerate(pieces, 1):
        line = Line(Place(file, number), piece.removesuffix("\r").removeprefix("\ufeff" if number == 1 else "").rstrip(" \t"))
        if _CONTROL.search(line.text):
            raise wrong(line.place, "the line holds a control character", "Remove it; only plain text, tabs and line ends are read.")
        if _BREAK.search(line.text) and all(any(text.startswith(key) for text in _BREAK.split(line.text)) for key in _MUST_KEYS):
            raise wrong(line.place, "a clause whose lines end in U+2028 or U+2029 is read as one line of prose", "End its lines with \\n.")
        fence = _FENCE.fullmatch(line.text)
        if not opened and fence:
            opened, mark, words = [line], fence[1], " ".join(fence[2].split())
        elif not opened:
            yield line
        else:
            opened.append(line)
            if fence and fence[1].startswith(mark) and not fence[2]:
                yield Fence(opened[0].place, words, tuple(opened[1:-1]), tuple(opened))
                opened = []
    if opened:
        raise wrong(opened[0].place, "a fenced block is never closed", "End it with a line of the same marks.")


@dataclass(slots=True)
class Body:
    """What stands under a clause's heading besides its block."""

    norm: list[str] = field(default_factory=list)
    rationale: list[str] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)


def body(section: Section) -> Body:
    """Read a clause's norm, rationale and examples."""
    found = Body()
    parts = [part for part in section.parts if not (isinstance(part, Fence) and part.words == CLAUSE)]
    index = 0
    while index < len(parts):
        part = parts[index]
        end = index + 1
        if isinstance(part, Fence):
            _norm_fence(found, part)
        elif _NEAR_MARKER.match(part.text):
            while end < len(parts) and not _ends_example(parts[end]):
                end += 1
            found.examples.append(_example(part, parts[index + 1 : end]))
        elif rationale := _RATIONALE.fullmatch(part.text):
            if found.rationale:
                raise wrong(part.place, "a second rationale in one clause", "Join the two.")
            while end < len(parts) and isinstance(parts[end], Line) and parts[end].text.startswith(">"):  # type: ignore[union-attr]  # a Line
                end += 1
            found.rationale = [rationale[1], *(_unquoted(line) for line in parts[index + 1 : end])]
            _no_lazy_line(found.rationale[-1], parts[end : end + 1])
        elif part.text or (found.norm and found.norm[-1]):
            if part.text and found.examples:
                raise wrong(
                    part.place, "prose after an example", "Move it above the examples; a turn goes on in lines indented by four spaces."
                )
            _no_odd_marker(part)
            found.norm.append(part.text)
        index = end
    return found


def _no_lazy_line(above: str, following: Sequence[Line | Fence]) -> None:
    """Raise PolicyError where the line under a rationale is shown inside it, and would be read as the norm."""
    for part in following:
        if above and isinstance(part, Line) and part.text and not starts_example(part):
            raise wrong(
                part.place,
                "a line right under the rationale is shown in it, and read as norm",
                "Begin it with >, or leave a blank line above it.",
            )


def _no_odd_marker(line: Line) -> None:
    """Raise PolicyError where a line looks like the beginning of an example or of a rationale, and would be read as norm."""
    odd = _ODD_MARKER.match(line.text)
    if odd and (odd[2] or not odd[1].strip("\u200b\u200c\u200d\u2060\ufeff >\t")):
        raise wrong(
            line.place, "an example marker that would be read as norm", "Write **Good**, **Bad** or **Ruling** at the line's start."
        )
    if _ODD_RATIONALE.match(line.text):
        raise wrong(
            line.place, "a rationale that would be read as norm", "Write `> **Rationale.** ` at the line's start, and why behind it."
        )


def _norm_fence(found: Body, fence: Fence) -> None:
    if fence.words == EVENT:
        raise wrong(fence.place, "an event outside an example", "Write `**Good**` or `**Bad**` on the line above it.")
    if found.examples:
        raise wrong(fence.place, "a fenced block after an example", "Move it above the examples; indent code inside a turn by four spaces.")
    blank = [""] if found.norm and found.norm[-1] else []
    found.norm += [*blank, *(line.text for line in fence.whole), ""]


def _unquoted(part: Line | Fence) -> str:
    match = _QUOTE.fullmatch(part.text) if isinstance(part, Line) else None
    return match[1] if match else ""


def _ends_example(part: Line | Fence) -> bool:
    return isinstance(part, Line) and (starts_example(part) or bool(_ODD_RATIONALE.match(part.text)))


def starts_example(line: Line) -> bool:
    """Whether an example begins with this line."""
    return bool(_NEAR_MARKER.match(line.text))


def starts_rationale(line: Line) -> bool:
    """Whether the rationale begins with this line."""
    return bool(_RATIONALE.fullmatch(line.text))


def _example(marker: Line, parts: Sequence[Line | Fence]) -> Example:
    match = _MARKER.fullmatch(marker.text)
    if not match:
        raise wrong(
            marker.place,
            "an example marker that cannot be read",
            "Write `**Good**`, `**Bad**` or `**Ruling**`, then `{split=train}` and a note.",
        )
    if match[1] == "Ruling":
        side, split, ruling = _ruling(match[2] or "", match[3].strip(), marker.place)
        return replace(_told(side, split, marker, parts), ruling=ruling)
    side = "good" if match[1] == "Good" else "bad"
    return replace(_told(side, _split(match[2], marker.place), marker, parts), note=match[3].strip())


def _told(side: Side, split: Split, marker: Line, parts: Sequence[Line | Fence]) -> Example:
    """What happens in an example: an event or a dialogue."""
    content = [part for part in parts if isinstance(part, Fence) or part.text]
    if not content:
        hint = "Follow it with a `json event` block or with `user:` and `assistant:` lines."
        raise wrong(marker.place, f"this {side} example is empty", hint)
    first = content[0]
    if isinstance(first, Fence) and first.words == EVENT:
        if len(content) > 1:
            raise wrong(content[1].place, "text after an event", "Move it above the examples, or start another example.")
        event, expect = _event(first)
        return Example(side, split, event=event, expect=expect, place=marker.place)
    return Example(side, split, turns=_turns(parts), place=marker.place)


def _ruling(attributes: str, why: str, place: Place) -> tuple[Side, Split, Ruling]:
    """Who decided an ambiguous case, when and why; all of it must be there, since a ruling is cited."""
    hint = 'Write **Ruling** {side=good split=train by="J. Osei, legal" on=2026-11-02} and why, in one sentence.'
    found: dict[str, str] = {}
    at = 0
    text = attributes.strip()
    while at < len(text):
        match = _ATTRIBUTE.match(text, at)
        if not match or match[1] in found:
            raise wrong(place, f"a ruling's attributes cannot be read from {text[at : at + 40]!r} on", hint)
        found[match[1]] = (match[2] if match[2] is not None else match[3]).strip()
        at = match.end()
    unknown = sorted(found.keys() - {"side", "split", "by", "on"})
    if unknown:
        raise wrong(place, f"a ruling has an unknown attribute {unknown[0]!r}", hint)
    side, split = found.get("side"), found.get("split", "train")
    if side not in get_args(Side) or split not in get_args(Split):
        raise wrong(place, "a ruling needs side=good or side=bad, and split=train or split=eval", hint)
    if not found.get("by") or not is_day(found.get("on", "")) or not why:
        raise wrong(place, "a ruling needs who decided (by), when (on, a date) and why", hint)
    return side, split, Ruling(found["by"], found["on"], why)  # type: ignore[return-value]  # the Literals' own words


def _split(attributes: str | None, place: Place) -> Split:
    if not attributes or attributes.strip() == "split=train":
        return "train"
    if attributes.strip() == "split=eval":
        return "eval"
    raise wrong(place, f"unknown attributes {{{attributes}}}", "Write {split=train} or {split=eval}.")


def _event(fence: Fence) -> tuple[dict[str, object], Effect | None]:
    first = fence.lines[0].place if fence.lines else fence.place
    event = read_json("\n".join(line.text for line in fence.lines), first)
    if not isinstance(event, dict):
        raise wrong(first, "an event must be a JSON object", 'Write {"on": "tool_call", "tool": "...", "args": {...}}.')
    expect = event.pop("expect", None)
    if expect is not None and expect not in get_args(Effect):
        raise wrong(first, f"expect cannot be {expect!r}", f"Use one of: {', '.join(get_args(Effect))}.")
    check_event(event, first)
    return event, expect


def check_event(event: dict[str, object], place: Place) -> None:
    """Refuse an event with unknown keys or values of the wrong kind."""
    kinds = {"tool": str, "text": str, "args": dict, "principal": dict, "session": dict, "env": dict, "found": list}
    if event.get("on") not in get_args(Surface):
        raise wrong(place, "an event needs `on`", f"Use one of: {', '.join(get_args(Surface))}.")
    for key, value in event.items():
        if key not in EVENT_KEYS:
            raise wrong(place, f"an event has an unknown key {key!r}", f"Known keys: {', '.join(EVENT_KEYS)}, expect.")
        if key != "on" and not isinstance(value, kinds[key]):
            raise wrong(place, f"the event's {key} has the wrong kind", f"It must be a JSON {kinds[key].__name__}.")
    if not all(isinstance(name, str) for name in event.get("found", ())):  # type: ignore[attr-defined]  # a list, checked above
        raise wrong(place, "the event's found must be a list of rail names", 'Write "found": ["pii.card"].')


def _turns(parts: Sequence[Line | Fence]) -> tuple[Turn, ...]:
    turns: list[tuple[str, list[str]]] = []
    blank = False
    for part in parts:
        if isinstance(part, Fence):
            raise wrong(part.place, "a fenced block inside a dialogue", "Indent it by four spaces, or use a `json event` block alone.")
        role = _ROLE.fullmatch(part.text)
        if role:
            turns.append((role[1], [(role[2] or "").strip()]))
        elif part.text and (not turns or (blank and not part.text.startswith("  "))):
            raise wrong(
                part.place, "prose after an example", "Write `user:` or `assistant:` first, and indent what goes on by four spaces."
            )
        elif turns:
            turns[-1][1].append(part.text.removeprefix(INDENT if part.text.startswith(INDENT) else "  "))
        blank = not part.text
    return tuple(Turn(role, "\n".join(lines).strip("\n")) for role, lines in turns)  # type: ignore[arg-type]  # the pattern's words

"""What a reader of the rendered Markdown sees, held against what is read here: a policy shows what holds, and holds what it shows.

The file is read a second time, as CommonMark with GitHub's tables. What one reading takes for a heading or a block
and the other does not, and what is in force without being shown, is a fault. A file that speaks of no clause may hold what it likes.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from bylaw.errors import PolicyError
from bylaw.policy.markdown import CLAUSE, EVENT, HEADING, NEAR_CLAUSE, Fence, Line, Section, lost_id, starts_example, starts_rationale
from bylaw.policy.notation import TURNED, wrong
from bylaw.types import Place

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

MAX_PARAGRAPH_CHARS: Final = 100_000
MAX_DEEP: Final = 16  # levels of lists and quotes; a reader of Markdown may show nothing of what stands deeper
MAX_LANGUAGE_CHARS: Final = 20  # of a block's first word, which is not shown either

_MAYBE: Final = re.compile(r"\{[^{}]*#|clause", re.IGNORECASE)
_MARKS: Final = re.compile(r"[<&$\[\]]")
_ONE_COMMENT: Final = re.compile(r"<!--[^-]*(?:-(?!->)[^-]*)*-->\s*")
_BREAK: Final = re.compile(r"<br ?/?>", re.IGNORECASE)
_HIDES: Final = re.compile(r"<(?:[!?]|details\b|template\b)", re.IGNORECASE)  # also in a dialogue, which may quote HTML
_FOOTNOTE: Final = re.compile(r"[ \t>*+\-\d.)]*\[\^[^\]\s]+\]:")
_DRAWN: Final = frozenset({"mermaid", "geojson", "topojson", "stl", "math"})  # blocks that GitHub shows as pictures
_FORMULA: Final = re.compile(r"\$`([^`]*)`\$")  # GitHub's other way to write one
_COMMAND: Final = re.compile(r"\\[A-Za-z]")  # of a formula, such as one that prints white on white
_PIPE: Final = re.compile(r"(?<!\\)\|")
_ENTITIES: Final = frozenset({"&lt;", "&gt;", "&amp;", "&quot;", "&nbsp;"})


def check(found: Sequence[Section]) -> None:
    """Raise PolicyError on the first fault."""
    for fault in faults(found):
        raise fault


def faults(found: Sequence[Section]) -> Iterator[PolicyError]:
    """What in the sections of one file is not what a reader sees, each with its line and a way out."""
    source = "".join(one.source for one in found).removeprefix("\ufeff")
    stated = any(_states(one) for one in found)
    if not stated and not _MAYBE.search(source):
        return
    page = _Page(found, source, stated)
    env: dict[str, Any] = {}
    tokens = _reader().parse(source + "\n", env)  # without it the reader fails at the end of some files
    if stated:
        yield from page.hidden(tokens)
        for number in sorted(one["map"][0] + 1 for one in (*env.get("references", {}).values(), *env.get("duplicate_refs", ()))):
            yield wrong(page.place(number), "the definition of a link is read and not shown", "Write [words](address) where it is used.")
    yield from page.structure(tokens)


@cache
def _reader() -> "MarkdownIt":
    """A reader of blocks; the words inside them are read one by one, where they hold a mark."""
    from markdown_it import MarkdownIt  # noqa: PLC0415  # 35 ms that `bylaw --help` need not pay

    return MarkdownIt("commonmark", {"html": True}).enable("table").disable(["inline", "text_join"])


def _states(section: Section) -> bool:
    return any(isinstance(part, Fence) and part.words == CLAUSE for part in section.parts)


class _Page:
    """One file: its lines, which of them belong to a clause, and which of those to the examples."""

    def __init__(self, found: Sequence[Section], source: str, stated: bool) -> None:
        self.file = found[0].place.file
        self.found = found
        self.lines = source.split("\n")
        self.stated = stated
        self.starts = [one.place.line for one in found]
        self.states = [_states(one) for one in found]
        self.told = {line for one in found for line in _told(one)}

    def place(self, number: int) -> Place:
        return Place(self.file, number)

    def binding(self, number: int) -> bool:
        """Whether a line belongs to a clause."""
        return self.states[max(bisect_right(self.starts, number) - 1, 0)]

    def structure(self, tokens: Sequence["Token"]) -> Iterator[PolicyError]:
        """Headings and blocks that only one of the two readings finds."""
        own: dict[tuple[int, int], str] = {(one.place.line, 0): "heading" for one in self.found[1:]}
        if HEADING.fullmatch(self.lines[0].rstrip()):
            own[1, 0] = "heading"
        for section in self.found:
            fences = (part for part in section.parts if isinstance(part, Fence))
            own |= {(one.place.line, one.place.line + len(one.whole) - 1): "fenced block" for one in fences}
        matter = next((number for number, line in enumerate(self.lines) if number and line.rstrip() in ("---", "...")), 0)
        if self.lines[0].rstrip() == "---" and (inside := sorted(number for number, _ in own if number <= matter)) and self.stated:
            yield wrong(self.place(inside[0]), f"a {own[min(own)]} in the file's front matter is not shown", "Move it below.")
        theirs: dict[tuple[int, int], Token] = {}
        for token in tokens:
            if token.map and token.type == "heading_open" and token.markup[0] == "#":
                theirs[token.map[0] + 1, 0] = token
            elif token.map and token.type == "fence":
                theirs[token.map[0] + 1, token.map[1]] = token
        if self.stated and (extra := sorted(own.keys() - theirs.keys())):
            what = f"this {own[extra[0]]} is none where the Markdown is shown, or ends elsewhere: it stands in raw HTML or in a list"
            yield wrong(self.place(extra[0][0]), what, "Take it out of the HTML or the list, or close the block before it.")
            return
        for number, end in sorted(theirs.keys() - own.keys()):
            token = theirs[number, end]
            words = " ".join(token.info.split())
            if token.type == "fence" and (words == CLAUSE or NEAR_CLAUSE.fullmatch(words)):
                hint = f"Begin its ```{CLAUSE} at the line's start; to show one, open a block around it with more marks."
                yield wrong(self.place(number), "a clause in a quote or a list is read as prose", hint)
            elif token.type == "heading_open" and lost_id(self.lines[number - 1]):
                hint = "Write ## TITLE {#ID} at the line's start."
                yield wrong(self.place(number), "a heading with a clause's id in a quote or a list is read as prose", hint)

    def hidden(self, tokens: Sequence["Token"]) -> Iterator[PolicyError]:
        """What holds and is not shown, or shown as something else."""
        for token in tokens:
            if not token.map:
                continue
            number = token.map[0] + 1
            if token.type == "html_block" and (self.binding(number) or not _ONE_COMMENT.fullmatch(token.content.strip())):
                yield self.html(number)
            elif token.type == "inline" and _MARKS.search(token.content):
                yield from self.words(token, number)
            elif not self.binding(number):
                continue
            elif token.level >= MAX_DEEP and token.nesting == 1:
                yield wrong(self.place(number), f"more than {MAX_DEEP} levels of lists and quotes are not shown", "Write it flatter.")
                return
            elif token.type == "heading_open" and (token.level or token.markup[0] != "#"):
                form = "in a quote or a list" if token.level else "that is underlined"
                what = f"a heading {form}, in a clause: what follows it would still be the clause's norm"
                yield wrong(self.place(number), what, "Write ## TITLE at the line's start, or no heading.")
            elif token.type == "fence" and (unread := _behind_marks(" ".join(token.info.split()))):
                yield wrong(self.place(number), *unread)
        yield from self.tables(tokens)
        for section in self.found:
            if _states(section):
                yield from self.own(section)

    def tables(self, tokens: Sequence["Token"]) -> Iterator[PolicyError]:
        """Rows with more cells than their table has columns."""
        columns = 0  # 0 until the head is read
        for token in tokens:
            columns = 0 if token.type == "table_open" else columns + (token.type == "th_open")
            if token.type != "tr_open" or not token.map or not columns or not self.binding(token.map[0] + 1):
                continue
            row = self.lines[token.map[0]].strip(" \t\r>").removeprefix("|").rstrip("|")
            if len(_PIPE.findall(row)) >= columns:
                yield wrong(self.place(token.map[0] + 1), "a cell too many: only as many as the head has are shown", "Add a column.")

    def own(self, section: Section) -> Iterator[PolicyError]:
        """What a clause's own lines hide."""
        for part in section.parts:
            if isinstance(part, Line) and part.place.line not in self.told and _FOOTNOTE.match(part.text):
                yield wrong(part.place, "a footnote is shown elsewhere or not at all", "Write it into the norm or the rationale.")
        first = section.place.line
        for number, line in enumerate(section.source.split("\n"), first):
            if number not in self.told and (turned := TURNED.search(line)):
                what = f"the character U+{ord(turned[0]):04X} makes the line read otherwise than it is shown"
                yield wrong(self.place(number), what, "Delete it.")

    def html(self, number: int) -> PolicyError:
        hint = "Write it in Markdown, or put it in `backticks`; a comment may stand alone under a heading without an id."
        if not self.binding(number):
            return wrong(self.place(number), "raw HTML in a file with clauses can hide them", hint)
        return wrong(self.place(number), "raw HTML in a clause is read and not shown", hint)

    def words(self, token: "Token", number: int) -> Iterator[PolicyError]:
        """What the marks in one paragraph, cell or heading hide."""
        if len(token.content) > MAX_PARAGRAPH_CHARS:
            yield wrong(self.place(number), f"a paragraph of more than {MAX_PARAGRAPH_CHARS} characters with marks", "Split it.")
            return
        children: list[Token] = []
        reader = _reader()
        reader.inline.parse(token.content, reader, {}, children)
        plain = "".join(child.content for child in children if child.type != "code_inline")
        pieces = [*_FORMULA.findall(token.content), *plain.split("$")[1:-1]]
        if self.binding(number) and number not in self.told and any(_COMMAND.search(piece) for piece in pieces):
            yield wrong(self.place(number), "a formula is shown otherwise than it is read", "Say it in words, or put it in `backticks`.")
        before, said = "", 0
        for child in children:
            binding, told = self.binding(number), number in self.told
            if child.type == "html_inline" and number != said and not self.harmless(child.content, binding, told):
                said = number
                yield self.html(number)
            elif binding and not told and (what := _unshown(child, before)):
                yield wrong(self.place(number), *what)
            before = child.type
            number += child.type in ("softbreak", "hardbreak") or child.content.count("\n")

    def harmless(self, tag: str, binding: bool, told: bool) -> bool:
        """Whether a piece of HTML hides nothing: a line's end, a dialogue that quotes it, a comment between the clauses."""
        return bool(_BREAK.fullmatch(tag)) or (told and not _HIDES.match(tag)) or (not binding and bool(_ONE_COMMENT.fullmatch(tag)))


def _told(section: Section) -> Iterator[int]:
    """The lines of a section's examples."""
    told = False
    for part in section.parts:
        lines = part.whole if isinstance(part, Fence) else (part,)
        told = (told or starts_example(lines[0])) and not starts_rationale(lines[0])
        yield from (line.place.line for line in lines if told)


def _behind_marks(words: str) -> tuple[str, str] | None:
    """What is wrong with the words behind a block's marks, in a clause."""
    if words in (CLAUSE, EVENT):
        return None
    if " " in words or len(words) > MAX_LANGUAGE_CHARS:
        return "the words behind a block's marks are not shown", "Write at most the language there, in one word."
    if words.lower() in _DRAWN:
        return f"a block of {words} is shown as a picture", "Say it in words, or leave the language out."
    return None


def _unshown(child: "Token", before: str) -> tuple[str, str] | None:
    """What is wrong with a piece of a paragraph that binds, and a way out."""
    if child.type == "image":
        return "an image: what it shows is not read, and its words are read and not shown", "Say it in words, or write [words](address)."
    if child.type == "link_open" and child.attrGet("title"):
        return "the title of a link is read and not shown", "Say it in the text."
    if child.type == "link_close" and before == "link_open":
        return "a link without words is read and not shown", "Write [words](address)."
    if child.type == "text_special" and child.info == "entity" and child.markup not in _ENTITIES:
        return f"{child.markup[:20]} is shown as another character than is read", "Write the character itself."
    return None

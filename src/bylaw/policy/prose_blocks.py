"""A document in Markdown, plain text or PDF as blocks: headings, paragraphs, list items and code, each with its line.

No block loses a word: joined, the blocks hold every line that is not blank, in order. Only control characters, which no policy file may
hold, are replaced, and counted.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from bylaw.errors import PolicyError
from bylaw.policy.fresh import MAX_SOURCE_BYTES, source_bytes, source_text

MAX_BLOCKS: Final = 50_000
MAX_PDF_BYTES: Final = 20_000_000
MAX_PAGES: Final = 500
MAX_PAGE_BYTES: Final = 8_000_000  # of one page's drawing commands, unpacked
MAX_HEADING_CHARS: Final = 90
KINDS: Final = (".md", ".markdown", ".txt", ".text", ".pdf")

Kind = Literal["heading", "paragraph", "item", "code"]

_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_ATX: Final = re.compile(r" {0,3}(#{1,6})[ \t]+(\S.*)")
_UNDERLINE: Final = re.compile(r" {0,3}(={3,}+|-{3,}+)[ \t]*")
_FENCE: Final = re.compile(r" {0,3}(`{3,}+|~{3,}+).*")
_ITEM: Final = re.compile(r"[ \t]*(?:[-*+•‣–·]|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,5})[.)])[ \t]+\S.*")
_NUMBERED: Final = re.compile(r"[ \t]*(?:(?:Section|Article|Chapter|Part) )?\d{1,3}(?:\.\d{1,3}){0,4}[.):]?[ \t]+[^\W\d_].*")
_ENDS: Final = (".", ";", ":", ",", "!", "?")


class Block(NamedTuple):
    """A stretch of a document: its lines as they stand, and the line it begins on."""

    kind: Kind
    text: str
    line: int
    level: int = 0  # headings: 1 is the highest


class Page(NamedTuple):
    """A document's text, and what its reader must be told about it."""

    text: str
    notes: tuple[str, ...]
    markdown: bool
    extracted: bool = False  # the text comes out of a PDF, so its lines are not the document's


def read_document(file: Path) -> Page:
    """The text of a Markdown, text or PDF file; raises PolicyError in one line where there is none to read."""
    kind = file.suffix.lower()
    if file.is_file() and kind not in KINDS:
        raise PolicyError(f"{file}: cannot read {kind or 'a file without an ending'}", f"Save it as one of: {', '.join(KINDS)}.")
    text, notes = _pdf(file) if kind == ".pdf" else (source_text(file), [])
    text = text.replace("\x0b", " ").replace("\x0c", " ")
    clean, replaced = _CONTROL.subn("\ufffd", text)
    notes += [f"{replaced} control characters were replaced by \ufffd"] if replaced else []
    return Page(clean, tuple(notes), kind in (".md", ".markdown"), kind == ".pdf")


def blocks(page: Page) -> list[Block]:
    """The document's blocks in order; raises PolicyError where there are more than a person would ever review."""
    found: list[Block] = []
    for block in _blocks(page.text.split("\n"), page):
        found.append(block)
        if len(found) > MAX_BLOCKS:
            raise PolicyError(f"more than {MAX_BLOCKS} paragraphs", "Split the document, and import the parts one by one.")
    return found


def _blocks(lines: Sequence[str], page: Page) -> Iterator[Block]:
    index = 0
    while index < len(lines):
        line = lines[index]
        if not line.strip():
            index += 1
            continue
        end = index + 1
        underlined = end < len(lines) and bool(_UNDERLINE.fullmatch(lines[end])) and not (_ITEM.fullmatch(line) or "#" in line)
        atx = _ATX.fullmatch(line) if page.markdown else None
        if page.markdown and _FENCE.fullmatch(line):
            end = _fence_end(lines, index)
            yield Block("code", _text(lines[index:end]), index + 1)
        elif atx:
            yield Block("heading", line.strip(), index + 1, len(atx[1]))
        elif underlined and not _UNDERLINE.fullmatch(line):
            end += 1
            yield Block("heading", line.strip(), index + 1, 1 if "=" in lines[end - 1] else 2)
        elif not page.markdown and _looks_like_heading(line, index == 0 or not lines[index - 1].strip() or page.extracted):
            yield Block("heading", line.strip(), index + 1, 2)
        else:
            while end < len(lines) and not _starts_block(lines, end, page):
                end += 1
            yield Block("item" if _ITEM.fullmatch(line) else "paragraph", _text(lines[index:end]), index + 1)
        index = end


def _text(lines: Sequence[str]) -> str:
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def _starts_block(lines: Sequence[str], index: int, page: Page) -> bool:
    line = lines[index]
    if not line.strip() or _ITEM.fullmatch(line):
        return True
    if page.markdown:
        below = lines[index + 1] if index + 1 < len(lines) else ""
        return bool(_ATX.fullmatch(line) or _FENCE.fullmatch(line)) or (bool(_UNDERLINE.fullmatch(below)) and "|" not in line)
    return page.extracted and _looks_like_heading(line, True)


def _fence_end(lines: Sequence[str], index: int) -> int:
    """The index behind a fenced block; one that is never closed goes to the end of the file."""
    mark = lines[index].strip()[:3]
    return next((end + 1 for end in range(index + 1, len(lines)) if lines[end].strip().startswith(mark)), len(lines))


def _looks_like_heading(line: str, stands_apart: bool) -> bool:
    """Whether a line of plain text is a heading: short, no sentence, and numbered or in capitals."""
    text = line.strip()
    if not stands_apart or len(text) > MAX_HEADING_CHARS or text.endswith(_ENDS) or len(text.split()) > 12:
        return False
    capitals = text.isupper() and sum(char.isalpha() for char in text) >= 4
    return capitals or bool(_NUMBERED.fullmatch(line))


def _pdf(file: Path) -> tuple[str, list[str]]:
    """A PDF's text, page by page."""
    import pypdf  # noqa: PLC0415  # a heavy import for one kind of file

    source_bytes(file, MAX_PDF_BYTES)
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # its remarks on faulty files would stand between our lines
    pages: list[str] = []
    try:
        reader = pypdf.PdfReader(file)
        if reader.is_encrypted:
            raise PolicyError(f"{file}: this PDF is locked with a password", "Save a copy without a password.")
        if len(reader.pages) > MAX_PAGES:
            raise PolicyError(f"{file}: {len(reader.pages)} pages, the limit is {MAX_PAGES}", "Split it, and import the parts.")
        for page in reader.pages:
            content = page.get_contents()
            if content is not None and len(content.get_data()) > MAX_PAGE_BYTES:
                raise PolicyError(f"{file}: page {len(pages) + 1} is too large to read", "Save the policy as text.")
            pages.append(page.extract_text())
            if sum(map(len, pages)) > MAX_SOURCE_BYTES:
                raise PolicyError(f"{file}: more than {MAX_SOURCE_BYTES} characters", "Split it, and import the parts.")
    except PolicyError:
        raise
    except Exception as error:  # a damaged PDF fails in any way pypdf can; each of them is this one line
        raise PolicyError(f"{file}: cannot be read as a PDF: {type(error).__name__}", "Save the policy as text or Markdown.") from error
    empty = [str(number) for number, text in enumerate(pages, 1) if not text.strip()]
    if len(empty) == len(pages):
        raise PolicyError(
            f"{file}: no text in this PDF, so it was scanned", "Run text recognition (OCR) over it first, or save it as text."
        )
    return _paragraphs(pages), [f"no text on page {number}; look at it yourself" for number in empty]


def _paragraphs(pages: Sequence[str]) -> str:
    """Pages as one text, with a blank line where a paragraph seems to end: a sentence's end well before the line's."""
    lines = [line.rstrip() for page in pages for line in page.replace("\r", "\n").split("\n")]
    width = max(map(len, lines))
    kept: list[str] = []
    for line in lines:
        kept.append(line)
        kept += [""] if line.endswith((".", ":", ";", "!", "?")) and len(line) < 0.8 * width else []
    return "\n".join(kept)

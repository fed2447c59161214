"""Sources: a link, a phone number, a numbered section, a law or a study that an answer names must stand in the given documents.

Narrower than `ungrounded`, which compares every claim: ordinary talk names no source, and passes. A mention is compared by itself, with
case, spaces and punctuation left out; whether the document says what the answer says it says is not looked at. What the last request
names itself is not invented by the answer, and counts as given.

Limits: English patterns; a source that is named in other words (`the usual paragraph`, a book's title) is not seen. A mention inside a
denial (`I know of no study by ...`) counts as one.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from bylaw.govern.rails.patterns import Pattern, pattern
from bylaw.govern.rails.rail import RailFacts, bounded, sealed
from bylaw.types import Hit

LEAST_DIGITS: Final = 7  # of a phone number
_NAME: Final = r"[A-Z][\w&'-]*(?:\s+(?:of|for|the|and|on)\s+[A-Z][\w&'-]*|\s+[A-Z][\w&'-]*)*"
_STUDY: Final = r"(?:study|studies|survey|poll|white ?paper|paper|report|research)"
_LINK: Final = r"(?i)\b(?:https?://|www\.)[^\s<>\"')\]]+"
_PHONE: Final = r"(?i)(?:\+\d[\d ()./-]{5,20}\d|\b(?:call|phone|tel|telephone|hotline|dial|ring|fax)\b[^\d\n.]{0,30}\d[\d ()/-]{4,20}\d)"
_SECTION: Final = (
    r"(?i)(?:§+\s*|\b(?:sections?|sec\.|articles?|art\.|paragraphs?|para\.|clauses?|chapters?|annex)\s+)(\d+[a-z]?(?:[.-]\d+[a-z]?)*)\b"
)
_LAW: Final = rf"\b{_NAME}\s+(?:Act|Code|Statute|Ordinance|Law|Regulations?|Directive)\b(?:\s+(?:of\s+)?\d{{4}})?"
_NUMBERED_LAW: Final = r"\b(?:Regulation|Directive)\s+(?:\([A-Z]{2,4}\)\s*)?(?:No\.?\s*)?\d+/\d+\b"
_BY: Final = rf"\b(?:\d{{4}}\s+)?{_STUDY}\s+(?:(?:published|done|made|commissioned)\s+)?(?:by|from|at|of)\s+(?:the\s+)?{_NAME}"
_DATED: Final = rf"\b\d{{4}}\s+(?:\w+\s+)?{_STUDY}\b"
_TO: Final = rf"\b[Aa]ccording to (?:the |a )?{_NAME}"


class Kind(NamedTuple):
    """How one kind of source is seen, and what of a mention must stand in the documents."""

    pattern: Pattern
    marks: Callable[[str], Iterator[str]]


@lru_cache(maxsize=1)
def _kinds() -> tuple[Kind, ...]:
    sources = ((_LINK, _address), (_PHONE, _digits), (_SECTION, _number), (_LAW, _words), (_NUMBERED_LAW, _words))
    studies = ((_BY, _words), (_DATED, _words), (_TO, _words))
    return tuple(Kind(pattern(source), marks) for source, marks in (*sources, *studies))


class SourceRail(NamedTuple):
    """Sources that no document has."""

    name: str = "unsourced"
    longest: int | None = None
    cost: int = 1

    def find(self, text: str, facts: RailFacts) -> Sequence[Hit]:
        """Each mention of a source that is in none of the documents."""
        text = bounded(text).text
        there = frozenset(_plain(document) for document in (*facts.documents, facts.request))
        hits = []
        for kind in _kinds():
            for match in kind.pattern.finditer(text):
                wanted = list(kind.marks(match.group(0)))
                if wanted and not any(all(one in document for one in wanted) for document in there):
                    hits.append(Hit(self.name, match.start(), match.end(), 0.9))
        return sealed(hits)


def _plain(text: str) -> str:
    """A text as mentions are compared: letters and digits, with one space for whatever stands between, and its runs of digits joined."""
    spaced = "".join(char if char.isalnum() else " " for char in text.casefold())
    return f" {' '.join(spaced.split())} |{''.join(char for char in text if char.isdigit() or char not in ' ()./-+')}|"


def _address(mention: str) -> Iterator[str]:
    bare = mention.rstrip(".,;:!?").casefold().removeprefix("https://").removeprefix("http://").removeprefix("www.").rstrip("/")
    yield _bare(bare)


def _digits(mention: str) -> Iterator[str]:
    digits = "".join(filter(str.isdigit, mention))
    if len(digits) >= LEAST_DIGITS:
        yield digits.removeprefix("00")


def _number(mention: str) -> Iterator[str]:
    at = next(place for place, char in enumerate(mention) if char.isdigit())
    yield f" {_bare(mention[at:])} "


def _words(mention: str) -> Iterator[str]:
    for word in _bare(mention.casefold()).split():
        if word not in ("the", "a", "by", "of", "to", "from", "at", "and", "according", "published"):
            yield f" {word} "


def _bare(text: str) -> str:
    return " ".join("".join(char if char.isalnum() else " " for char in text).split())

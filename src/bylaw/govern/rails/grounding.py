"""Grounding: every claim of an answer must be found in the given documents; one without support is a hit.

A claim is a sentence that states something; questions, offers and greetings are none. It is supported where one passage of a document
holds every number of it, every name, and `SHARE` of its other words. Where words are not enough an entailment model may be asked
(`entails`): it can support a claim that words do not, and never one whose numbers or names are nowhere. If it cannot tell, the rail
fails. Without documents nothing is supported.

Limits: words are compared as they are written, by their first letters, so an answer in another language than the documents finds no
support. A claim that denies ("is not covered") needs a passage that denies; that a claim turns a denial round is seen by nobody here.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from bylaw.govern.rails.rail import RailError, RailFacts, bounded, sealed
from bylaw.types import Hit

SHARE: Final = 0.6  # of a claim's words that must stand in one passage
STEM: Final = 5  # letters of a word that count: `booked` and `booking` are one
PASSAGE: Final = 3  # sentences
LEAST_WORDS: Final = 3  # of content; a shorter sentence without a number claims nothing
MOST_CLAIMS: Final = 200
MOST_PASSAGES: Final = 20_000
Entails = Callable[[str, Sequence[str]], bool | None]  # claim, passages -> supported, not, cannot tell

_SENTENCE: Final = re.compile(r"[^.!?。！？\n]+(?:\.(?=\w)[^.!?。！？\n]+|[.,](?=\d)[^.!?。！？\n]+)*[.!?。！？]*")
_WORD: Final = re.compile(r"[^\W_]+(?:[.,:'’\-][^\W_]+)*")
_NUMBER: Final = re.compile(r"\d")
_DENIALS: Final = (
    "no not never none neither nor without cannot can't don't doesn't isn't aren't won't wasn't kein keine keinen nicht nie ne pas"
)
_PLAIN: Final = (
    "a an and are as at be been being but by can could did do does for from had has have he her his how i if in into is it its may me"
    " might my of on or our she should so than that the their them then there these they this those to was we were what when which who"
    " will with would you your yours about also just only very more most such any all some each both please thank thanks here"
)
_NO: Final = frozenset(_DENIALS.split())
_EMPTY: Final = frozenset(_PLAIN.split())
_TALK: Final = re.compile(
    r"(?i)^\W*(?:hi|hello|hey|dear|thanks?|thank you|you'?re welcome|sure|of course|certainly|sorry|i'?m sorry|i am sorry|please|let me"
    r"|shall i|would you|do you|can i|may i|i can|i could|i will|i'll|i would|i'd|i hope|i cannot|i can't|i don't|i do not|feel free"
    r"|in short|good (?:morning|day|evening))\b"
)


class _Words(NamedTuple):
    """What a sentence is made of."""

    plain: frozenset[str]
    numbers: frozenset[str]
    names: frozenset[str]
    denies: bool


@dataclass(frozen=True, slots=True)
class GroundingRail:
    """Claims that no document supports."""

    name: str = "ungrounded"
    entails: Entails | None = None
    longest: int | None = None
    cost: int = 1

    def find(self, text: str, facts: RailFacts) -> Sequence[Hit]:
        """Each claim without support."""
        bounded(text)
        passages = [passage for document in facts.documents for passage in _passages(document)]
        if len(passages) > MOST_PASSAGES:
            raise RailError(f"{len(passages)} passages are too many to compare", f"at most {MOST_PASSAGES}; retrieve fewer documents")
        hits = []
        for start, end in claims(text):
            claim = text[start:end]
            if not any(_supports(passage, _words(claim)) for passage in passages) and not self._entailed(claim, passages, facts.documents):
                hits.append(Hit(self.name, start, end, 0.8))
        return sealed(hits)

    def _entailed(self, claim: str, passages: Sequence[_Words], documents: Sequence[str]) -> bool:
        wanted = _words(claim)
        there = [passage for passage in passages if wanted.numbers <= passage.numbers and wanted.names <= passage.names | passage.plain]
        if self.entails is None or not there:
            return False
        found = self.entails(claim, documents)
        if found is None:
            raise RailError("the entailment model cannot tell", "the claim stays undecided")
        return found


def claims(text: str) -> list[tuple[int, int]]:
    """Where the sentences that state something stand."""
    found = []
    for match in _SENTENCE.finditer(text):
        said = match[0].strip()
        start = match.start() + match[0].index(said) if said else 0
        words = _words(said)
        talk = said.endswith(("?", "？")) or bool(_TALK.search(said))
        if words.numbers or (not talk and len(words.plain | words.names) >= LEAST_WORDS):
            if said.endswith(("?", "？")):
                continue
            found.append((start, start + len(said)))
    if len(found) > MOST_CLAIMS:
        raise RailError(f"{len(found)} claims in one answer are too many to compare", f"at most {MOST_CLAIMS}")
    return found


@lru_cache(maxsize=256)
def _passages(document: str) -> tuple[_Words, ...]:
    """Every few sentences in a row, and every sentence with them."""
    sentences = [match[0] for match in _SENTENCE.finditer(bounded(document).text) if match[0].strip()]
    return tuple(_words(" ".join(sentences[at : at + PASSAGE])) for at in range(max(1, len(sentences) - PASSAGE + 1))) if sentences else ()


def _supports(passage: _Words, claim: _Words) -> bool:
    if not claim.numbers <= passage.numbers or not claim.names <= passage.names | passage.plain or (claim.denies and not passage.denies):
        return False
    wanted = claim.plain | claim.names
    return not wanted or len(wanted & (passage.plain | passage.names)) >= SHARE * len(wanted)


def _words(text: str) -> _Words:
    plain, numbers, names, denies = set[str](), set[str](), set[str](), False
    for at, match in enumerate(_WORD.finditer(unicodedata.normalize("NFKC", text))):
        word = match[0]
        low = word.casefold().replace("’", "'")
        if _NUMBER.search(word):
            numbers.add(_number(low))
        elif low in _NO:
            denies = True
        elif low not in _EMPTY:
            (names if at and word[0].isupper() else plain).add(low[:STEM])
    return _Words(frozenset(plain), frozenset(numbers), frozenset(names), denies)


def _number(word: str) -> str:
    """1,234.50 and 1234.5 are one number; 1.234,50 is read as it is written in most of Europe."""
    if not re.fullmatch(r"[\d.,]+", word):
        return word
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?", word):
        word = word.replace(".", "").replace(",", ".")
    else:
        word = word.replace(",", "") if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", word) else word.replace(",", ".")
    return word.rstrip("0").rstrip(".") if "." in word else word

"""Grounding: every claim of an answer must be found in the given documents; one without support is a hit.

A claim is a part of a sentence that states something; questions, offers and greetings are none, but what follows them is. It is supported
where one sentence of a document, or one record of a JSON document, holds

1. every number of it with the same unit, beside no word that belongs to another number there;
2. every name, whole; and what stands first in the claim;
3. the same denials and the same conditions (only, unless, if), none left away, and every degree (at least, more than, before, must) of it;
4. `SHARE` of its other words by their first letters (`ROW_SHARE` of a record, whose fields have names of their own).

A sentence that begins with `it` or `this` is read together with the one before it. Where words are not enough an entailment model may be
asked (`entails`): it can support a claim that words do not, and never one whose numbers or names are nowhere. If it cannot tell, the rail
fails. Without documents nothing is supported.

Limits: words are compared as they are written, so an answer in another language than the documents, or in quite other words, finds no
support. Not seen: an opposite in one word among many (`rises` for `falls`), a name without its capital, who did what to whom, a bare
`yes`, and whether the document itself is true.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from bylaw.govern.rails.rail import RailError, RailFacts, bounded, sealed
from bylaw.govern.rails.sentences import Sentence, read, stem
from bylaw.types import Hit

SHARE: Final = 0.75  # of a claim's words that must stand in one sentence
ROW_SHARE: Final = 0.5
LEAST_WORDS: Final = 3  # of content; a shorter sentence without a number or a verb claims nothing
LEAST_WITH_VERB: Final = 2
MOST_CLAIMS: Final = 200
MOST_PASSAGES: Final = 20_000
MOST_DEPTH: Final = 32  # of a JSON document
Entails = Callable[[str, Sequence[str]], bool | None]  # claim, documents -> supported, not, cannot tell

_SENTENCE: Final = re.compile(r"[^.!?。！？\n]+(?:\.(?=\w)[^.!?。！？\n]+|[.,](?=\d)[^.!?。！？\n]+)*[.!?。！？]*")
_PART: Final = re.compile(r"(?:[;:–—]|,(?!\d)|\b(?i:but|however|whereas|although|though|while)\b|\b(?i:that)\b(?=\s+\w+\s))\s*")
_CONTRAST: Final = re.compile(r"(?:;|\b(?i:but|however|whereas|although|though)\b)\s*")
_BACK: Final = re.compile(r"(?i)^\W*(?:it|this|these|they|that|he|she|there)\b")
_ASKS: Final = re.compile(
    r"(?i)^\W*(?:who|what|when|where|which|why|how|do|does|did|is|are|was|were|can|could|would|will|shall|should|may|might|have|has|am"
    r"|any|anything)\b"
)
_TALK: Final = re.compile(
    r"(?i)^\W*(?:hi|hello|hey|dear|thanks?|thank you|you'?re welcome|sure|of course|certainly|sorry|i'?m sorry|i am sorry|please|let me"
    r"|shall i|would you|do you|can i|may i|i can|i could|i will|i'll|i would|i'd|i hope|i cannot|i can't|i don't|i do not|feel free"
    r"|in short|good (?:morning|day|evening|luck)|no problem|great|happy to help)\b"
)
_VERB: Final = re.compile(
    r"(?i)\b(?:is|are|was|were|has|have|had|can|could|may|might|must|shall|will|would|does|do|did|ist|sind|hat)\b|\w: +\w"
)


class Claim(NamedTuple):
    """One statement, and where it stands in the answer."""

    start: int
    end: int
    text: str


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
        for claim in claims(text):
            said = read(claim.text)
            if not any(_supports(passage, said, claim.text) for passage in passages) and not self._entailed(claim.text, passages, facts):
                hits.append(Hit(self.name, claim.start, claim.end, 0.8))
        return sealed(hits)

    def _entailed(self, claim: str, passages: Sequence[Sentence], facts: RailFacts) -> bool:
        wanted = read(claim)
        if self.entails is None or not any(_numbered(passage, wanted) and wanted.names <= passage.words for passage in passages):
            return False
        found = self.entails(claim, facts.documents)
        if found is None:
            raise RailError("the entailment model cannot tell", "the claim stays undecided")
        return found


# ---- Claims -------------------------------------------------------------------------------------------------------------


def claims(text: str) -> list[Claim]:
    """What an answer states, and where. Of JSON: every text in it, and every field that holds a number or a truth."""
    value = _json(text)
    if value is None:
        found = list(_stated(text))
    else:
        found = [Claim(0, len(text), claim.text) for said in _fields(value) for claim in _stated(said)]
    if len(found) > MOST_CLAIMS:
        raise RailError(f"{len(found)} claims in one answer are too many to compare", f"at most {MOST_CLAIMS}")
    return found


def _stated(text: str) -> Iterator[Claim]:
    for match in _SENTENCE.finditer(text):
        asks = match[0].rstrip().endswith(("?", "？")) and bool(_ASKS.search(match[0]))
        begun, parts = match.start(), list(_parts(match[0]))
        talks = [bool(_TALK.search(part)) for _, part in parts]
        if not asks and not any(talks):  # one statement: its parts explain one another
            yield from _whole(begun, match[0])
            continue
        for at, (offset, part) in enumerate(parts):
            if not (talks[at] or (asks and at == 0)) or (read(part).numbers and not asks):
                yield from _whole(begun + offset, part)


def _parts(sentence: str) -> Iterator[tuple[int, str]]:
    """A sentence by its commas and its `that`s."""
    at = 0
    for match in _PART.finditer(sentence):
        yield at, sentence[at : match.start()]
        at = match.end()
    yield at, sentence[at:]


def _whole(start: int, part: str) -> Iterator[Claim]:
    said = part.strip()
    words = read(said)
    many = len(words.plain | words.names)
    if words.numbers or many >= LEAST_WORDS or (many >= LEAST_WITH_VERB and _VERB.search(said)):
        begin = start + part.index(said)
        yield Claim(begin, begin + len(said), said)


# ---- Support ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _passages(document: str) -> tuple[Sentence, ...]:
    """Every sentence, every side of a contrast by itself, and what begins with `it` with what stands before it; every record."""
    text = bounded(document).text
    value = _json(text)
    if value is not None:
        return (*_rows(value), *(passage for said in _texts(value) for passage in _passages_of(said)))
    return tuple(_passages_of(text))


def _passages_of(text: str) -> Iterator[Sentence]:
    before = ""
    for match in _SENTENCE.finditer(text):
        sentence = match[0].strip()
        if not sentence:
            continue
        parts = _CONTRAST.split(sentence)
        yield from (read(part) for part in parts if part)
        if before and _BACK.search(sentence):
            yield read(f"{before} {sentence}")
        before = sentence


def _supports(passage: Sentence, claim: Sentence, text: str) -> bool:
    if not _numbered(passage, claim) or not claim.names <= passage.words:
        return False
    if claim.denials != passage.denials or claim.conditions != passage.conditions or not claim.degrees <= passage.degrees:
        return False
    wanted = claim.plain | {stem(name) for name in claim.names}
    there = passage.plain | {stem(word) for word in passage.words}
    if (first := _first(text)) and first in claim.plain and first not in there and not passage.row:
        return False
    return not wanted or len(wanted & there) >= (ROW_SHARE if passage.row else SHARE) * len(wanted)


def _numbered(passage: Sentence, claim: Sentence) -> bool:
    """Whether all numbers and units of a claim stand there, and none of them beside the words of another number."""
    if not claim.numbers <= passage.numbers or not claim.units <= passage.units:
        return False
    if not passage.row and not claim.pairs <= passage.pairs:
        return False
    return not any(
        beside & _of_others(passage, number) - passage.around.get(number, frozenset()) for number, beside in claim.nearest.items()
    )


def _of_others(passage: Sentence, number: str) -> frozenset[str]:
    """The words that stand around the other numbers."""
    return frozenset(word for other, words in passage.around.items() if other != number for word in words)


def _first(text: str) -> str:
    """What a claim begins with, where it has a capital: a name, or the first word of a sentence."""
    word = re.match(r"\W*([^\W\d_]+)", text)
    return stem(word[1].casefold()) if word and word[1][0].isupper() else ""


# ---- JSON ---------------------------------------------------------------------------------------------------------------


def _json(text: str) -> Any:
    """A JSON object or list; None for any other text."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _rows(value: Any, depth: int = 0) -> Iterator[Sentence]:
    """Every object's own fields, as one sentence in which a number belongs to the words of its key."""
    if depth > MOST_DEPTH:
        raise RailError(f"a document is more than {MOST_DEPTH} levels deep", "flatten it")
    if isinstance(value, dict):
        own = {str(key): str(item) for key, item in value.items() if isinstance(item, str | int | float) and not isinstance(item, bool)}
        around: dict[str, frozenset[str]] = {}
        for key, item in own.items():
            words = read(key.replace("_", " ")).plain
            around |= {number: around.get(number, frozenset()) | words for number in read(item).numbers}
        if own:
            yield read(" ; ".join(f"{key.replace('_', ' ')} {item}" for key, item in own.items()), row=True)._replace(around=around)
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _rows(item, depth + 1)


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list) and depth <= MOST_DEPTH:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item, depth + 1)


def _fields(value: Any, key: str = "", depth: int = 0) -> Iterator[str]:
    """What a JSON answer says, field by field."""
    if depth > MOST_DEPTH:
        raise RailError(f"an answer is more than {MOST_DEPTH} levels deep", "flatten it")
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _fields(item, name, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _fields(item, key, depth + 1)
    elif value is not None:
        yield f"{key.replace('_', ' ')} {value}"

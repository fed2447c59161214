"""What was trained on is not tested: cases whose words stand in training rows are listed and left out.

A case is a hit where its requests equal a training text once case, accents and punctuation are gone, or where they share a run of eight
words with one (8-gram overlap; Brown et al. 2020, arXiv 2005.14165, appendix C, take 13). Texts under eight words can only be equal.
PolicyWorld's cases are only compared whole: its sentences come from a few templates, and its generator keeps training and test apart.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from bylaw.evals.cases import Case, Suite

GRAM: Final = 8
WORLD: Final = "policyworld"  # the source of the world's own cases
_WORDS: Final = re.compile(r"\w+")


class Hit(NamedTuple):
    """A case that training has met: which, how, and in which row."""

    case: str
    how: str  # `equal`, or the eight words
    row: str


def words(text: str) -> list[str]:
    """The words of a text without case, accents and punctuation."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return _WORDS.findall("".join(char for char in plain if not unicodedata.combining(char)))


def hits(cases: Sequence[Case], rows: Iterable[tuple[str, Sequence[str]]]) -> list[Hit]:
    """Which cases training has met; `rows` are ids with their texts."""
    wholes: dict[str, str] = {}
    grams: dict[str, str] = {}
    for row, texts in rows:
        for text in texts:
            said = words(text)
            wholes.setdefault(" ".join(said), row)
            for gram in _grams(said):
                grams.setdefault(gram, row)
        wholes.setdefault(" ".join(word for text in texts for word in words(text)), row)
    found = (_hit(one, wholes, grams) for one in cases)
    return [one for one in found if one]


def _hit(case: Case, wholes: dict[str, str], grams: dict[str, str]) -> Hit | None:
    if case.source == WORLD:  # the system message says who asks, and is part of the request
        whole = " ".join(word for turn in case.turns for word in words(turn.content))
        return Hit(case.id, "equal", wholes[whole]) if whole in wholes else None
    for turn in case.turns:
        said = words(turn.content) if turn.role == "user" else []
        if said and " ".join(said) in wholes:
            return Hit(case.id, "equal", wholes[" ".join(said)])
        gram = next((gram for gram in _grams(said) if gram in grams), None)
        if gram is not None:
            return Hit(case.id, gram, grams[gram])
    return None


def _grams(said: Sequence[str]) -> Iterable[str]:
    return (" ".join(said[i : i + GRAM]) for i in range(len(said) - GRAM + 1))


def texts_of(row: dict[str, Any]) -> tuple[str, list[str]]:
    """A training row's id and what stood in it before the answer; a lesson, or a row with `prompt` and `history`."""
    messages = row.get("messages")
    said = [one.get("content", "") for one in messages] if isinstance(messages, list) else [row.get("prompt", row.get("request", ""))]
    said += [one.get("text", "") for one in row.get("history") or () if isinstance(one, dict)]
    return str(row.get("id", "?")), [text for text in said if isinstance(text, str) and text.strip()]


def without(suite: Suite, found: Sequence[Hit]) -> Suite:
    """The suite less what training has met."""
    met = {one.case for one in found}
    return Suite.of(suite.name, [one for one in suite.cases if one.id not in met], suite.policy)

"""Characters that nobody sees: zero-width ones, tags, overrides of the writing direction, runs of selectors, control characters.

Plain uses pass: joiners in emoji and in scripts that need them, direction marks in right-to-left text, one selector behind a sign, the
tags of a flag, a byte order mark at the start, soft hyphens inside words, zero-width spaces in scripts without word gaps.
A run of them is one hit. What they spell is the views' matter; that they are there is this rail's.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from bylaw.govern.rails.rail import RailFacts, bounded, sealed
from bylaw.govern.rails.views import Views
from bylaw.types import Hit

_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
CONTEXT: Final = 32  # characters on either side that say whether a mark belongs there
RUN: Final = 64  # a longer run is several hits
_NO_GAPS: Final = ("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "CJK", "HIRAGANA", "KATAKANA", "JAVANESE", "BALINESE")
_FLAG: Final = "\U0001f3f4"


class HiddenRail(NamedTuple):
    """Characters that nobody sees and that no script needs where they stand."""

    name: str = "hidden"
    longest: int | None = RUN + 2 * CONTEXT
    cost: int = 0

    def find(self, text: str, facts: RailFacts) -> Sequence[Hit]:
        """Every run of them, in order."""
        return self.look(bounded(text), facts)

    def look(self, views: Views, facts: RailFacts) -> Sequence[Hit]:
        """The same; only the text itself is looked at."""
        text = views.text
        if text.isascii() and text.isprintable():
            return ()
        return sealed([Hit("hidden", start, end) for run in _UNSEEN.finditer(text) for start, end in _spans(text, run.start(), run.end())])


def _spans(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    if end - start == 1 and _belongs(text, start):
        return
    if text[start - 1 : start] == _FLAG and text[end - 1] == "\U000e007f" and end - start <= 8:
        return
    while start < end and _belongs_in_run(text, start, end):  # a joiner behind a selector: 🏳️‍🌈
        start += 1
    for low in range(start, end, RUN):
        yield low, min(low + RUN, end)


def _belongs_in_run(text: str, start: int, end: int) -> bool:
    pair = text[start:end]
    return (pair == "\ufe0f\u200d" and _pictogram(text[start - 1 : start])) or (len(pair) == 1 and text[start - 1] == "\ufe0f")


def _belongs(text: str, at: int) -> bool:
    """Whether this one character is used as its script uses it."""
    rule = next((rule for chars, rule in _PLAIN_USE if chars.match(text[at])), None)
    return rule is not None and rule(text[max(0, at - CONTEXT) : at], text[at + 1 : at + 1 + CONTEXT])


def _joined(before: str, after: str) -> bool:
    return _joins(before[-1:]) and (_joins(after[:1]) or not after[:1].isalnum())


def _right_to_left(before: str, after: str) -> bool:
    return any(unicodedata.bidirectional(char) in ("R", "AL") for char in before + after)


def _inside_word(before: str, after: str) -> bool:
    return len(before) > 1 and len(after) > 1 and before[-2:].isalpha() and after[:2].isalpha()


_Rule = Callable[[str, str], bool]  # what stands before and after


def _pictogram(char: str) -> bool:
    return bool(char) and (unicodedata.category(char) in ("So", "Sk", "Cn") or char == "\ufe0f" or ord(char) in (0x2642, 0x2640))


def _joins(char: str) -> bool:
    """Whether the letter's script uses joiners: Arabic and the Indic scripts."""
    return (
        bool(char)
        and unicodedata.category(char) in ("Lo", "Mn", "Mc")
        and _script(char) not in ("CJK", "HANGUL", "HIRAGANA", "KATAKANA", "HEBREW")
    )


@lru_cache(maxsize=4096)
def _script(char: str) -> str:
    return unicodedata.name(char, "").split(" ")[0] if char else ""


_PLAIN_USE: Final[tuple[tuple[re.Pattern[str], _Rule], ...]] = (
    (re.compile("\ufeff"), lambda before, after: not before),  # a byte order mark
    (
        re.compile("[\ufe00-\ufe0f\u180b-\u180d]"),
        lambda before, after: before[-1:] in tuple("#*0123456789") or bool(before[-1:].strip() and not before[-1:].isascii()),
    ),
    (re.compile("[\U000e0100-\U000e01ef]"), lambda before, after: _script(before[-1:]) == "CJK"),
    (re.compile("\u200d"), lambda before, after: (_pictogram(before[-1:]) and _pictogram(after[:1])) or _joined(before, after)),
    (re.compile("\u200c"), _joined),
    (re.compile("\u200b"), lambda before, after: _script(before[-1:]) in _NO_GAPS and _script(after[:1]) in _NO_GAPS),
    (re.compile("\u00ad"), _inside_word),
    (re.compile("[\u200e\u200f\u061c\u202a-\u202c\u2066-\u2069]"), _right_to_left),
)
RAILS: Final = (HiddenRail(), HiddenRail("hidden.plain"))

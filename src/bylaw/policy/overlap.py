"""Near-duplicates of short and long texts, by the word and letter runs they share. Plain counting, no model, same answer every time.

Two texts are as similar as the larger of two shares says:
- reworded: runs of 5 characters that both have, as a share of the longer text's runs (one word of ten changed: about 0.8);
- copied: runs of 5 words of the shorter text that the longer one also has, where the shorter has at least 8 words (a question
  that stands whole inside a longer text: 1.0).
Case, punctuation, spacing, width, invisible and look-alike characters do not count. Texts that say the same in other words are not found.

Whole sets are compared without trying every pair: of a text with k runs, `threshold * k` must be shared, so at least one of its
`k - threshold * k + 1` rarest runs must be. Only texts that share such a rare run are counted in full; the result is exact.
"""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

Runs = frozenset[str]

NEAR: Final = 0.7  # from here on two texts count as near: about one word of seven changed
RUN_CHARS: Final = 5
RUN_WORDS: Final = 5
COPIED_WORDS: Final = 8  # a shorter text is too common a phrase to call its recurrence a copy
_WORD: Final = re.compile(r"[^\W_]+")
# Letters of other alphabets that look like Latin ones, after case folding.
_LOOKALIKES: Final = str.maketrans("аеорсухіјѕԁһклмтвнгαβεικνορτυχ", "aeopcyxijsdhkлmtbhrabeikvoptux")
_INVISIBLE: Final = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef]")


class Near(NamedTuple):
    """A pair of near texts: their positions in the two lists, and how similar they are."""

    left: int
    right: int
    score: float


def similarity(left: str, right: str) -> float:
    """How similar two texts are, from 0 to 1; two texts with the same words are 1, a text without a word is like no other."""
    return max(measure(runs(left), runs(right)) for runs, measure in _WAYS)


def near(lefts: Sequence[str], rights: Sequence[str], threshold: float = NEAR) -> Iterator[Near]:
    """Every pair of a left and a right text at least this similar (0 < threshold <= 1), by left, then right."""
    found: list[dict[int, float]] = [{} for _ in lefts]
    for runs, measure in _WAYS:
        mine, theirs = [runs(text) for text in lefts], [runs(text) for text in rights]
        index = _Index(theirs, _rarity([*mine, *theirs]), threshold)
        for position, one in enumerate(mine):
            for other in index.candidates(one):
                score = measure(one, theirs[other])
                if score >= threshold:
                    found[position][other] = max(score, found[position].get(other, 0.0))
    for position, others in enumerate(found):
        yield from (Near(position, other, others[other]) for other in sorted(others))


def distinct(texts: Sequence[str], threshold: float = NEAR) -> list[int]:
    """The positions of texts to keep so that no two kept ones are near: of near ones the first stays."""
    prepared = [(measure, shingled := [runs(text) for text in texts], _rarity(shingled)) for runs, measure in _WAYS]
    indexes = [_Index([], rarity, threshold) for _, _, rarity in prepared]
    seen: set[Runs] = set()
    kept = []
    for position in range(len(texts)):
        same = prepared[0][1][position]
        if same and same in seen:
            continue
        ways = list(zip(prepared, indexes, strict=True))
        if any(
            measure(sets[position], index.sets[other]) >= threshold
            for (measure, sets, _), index in ways
            for other in index.candidates(sets[position])
        ):
            continue
        seen.add(same)
        kept.append(position)
        for (_, sets, _), index in ways:
            index.add(sets[position])
    return kept


class _Index:
    """Sets of runs, found again by any run (for shorter questions) or by their rarest ones (for longer ones)."""

    def __init__(self, sets: Sequence[Runs], rarity: Callable[[str], tuple[int, str]], threshold: float) -> None:
        self.sets: list[Runs] = []
        self.rarity = rarity
        self.threshold = threshold
        self.by_any: defaultdict[str, list[int]] = defaultdict(list)
        self.by_rare: defaultdict[str, list[int]] = defaultdict(list)
        for one in sets:
            self.add(one)

    def add(self, one: Runs) -> None:
        for run in one:
            self.by_any[run].append(len(self.sets))
        for run in self.rare(one):
            self.by_rare[run].append(len(self.sets))
        self.sets.append(one)

    def rare(self, one: Runs) -> list[str]:
        """The rarest runs of a set, of which any set that is near enough and no shorter holds at least one."""
        needed = math.ceil(self.threshold * len(one) - 1e-9)
        return sorted(one, key=self.rarity)[: len(one) - needed + 1]

    def candidates(self, one: Runs) -> set[int]:
        """The positions of all sets that may be near; a set that is near is among them."""
        shorter = {other for run in self.rare(one) for other in self.by_any.get(run, ())}
        return shorter | {other for run in one for other in self.by_rare.get(run, ())}


def _rarity(sets: Sequence[Runs]) -> Callable[[str], tuple[int, str]]:
    """An order of runs in which the rarest come first."""
    count = Counter(run for one in sets for run in one)
    return lambda run: (count[run], run)


def words(text: str) -> list[str]:
    """The words of a text without case, punctuation, width, invisible and look-alike characters."""
    return _WORD.findall(_INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).casefold().translate(_LOOKALIKES))


def _letter_runs(text: str) -> Runs:
    line = f" {' '.join(words(text))} "
    return frozenset(line[start : start + RUN_CHARS] for start in range(max(len(line) - RUN_CHARS + 1, 1))) if line.strip() else frozenset()


def _word_runs(text: str) -> Runs:
    found = words(text)
    if len(found) < COPIED_WORDS:
        return frozenset()
    return frozenset(" ".join(found[start : start + RUN_WORDS]) for start in range(len(found) - RUN_WORDS + 1))


def _of_longer(left: Runs, right: Runs) -> float:
    return len(left & right) / max(len(left), len(right)) if left and right else 0.0


def _of_shorter(left: Runs, right: Runs) -> float:
    return len(left & right) / min(len(left), len(right)) if left and right else 0.0


_WAYS: Final[tuple[tuple[Callable[[str], Runs], Callable[[Runs, Runs], float]], ...]] = (
    (_letter_runs, _of_longer),
    (_word_runs, _of_shorter),
)

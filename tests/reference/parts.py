"""A literal version of what is cut out of an answer in parts: whatever stands in one of them, or in all of them as one text.

The parts are put together with nothing between them, and with a blank wherever one ends in a word and the next begins with one.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise


def redacted(texts: Sequence[str], pattern: re.Pattern[str], mark: str) -> list[str]:
    """The parts without what the pattern finds; a mark stands in the part in which a finding ends."""
    borders = list(accumulate((len(one) for one in texts), initial=0))
    whole, spans = "".join(texts), list(_spans(texts, pattern))
    gone = [False] * borders[-1]
    for start, end in spans:
        for at in range(start, end):
            gone[at] = True
    begins = {start for start, _ in spans}  # findings begin here, also where another one has just ended
    inside = {at for start, end in spans for at in range(start + 1, end)}  # in the middle of a finding, where another one may begin
    ends = {at for at in range(len(whole)) if gone[at] and (at + 1 == len(whole) or not gone[at + 1] or at + 1 in begins - inside)}
    return [
        "".join((mark if at in ends else "") if gone[at] else whole[at] for at in range(start, end)) for start, end in pairwise(borders)
    ]


def _spans(texts: Sequence[str], pattern: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    borders = list(accumulate((len(one) for one in texts), initial=0))
    whole = "".join(texts)
    for start, end in [(0, len(whole)), *pairwise(borders)]:
        yield from ((start + found.start(), start + found.end()) for found in pattern.finditer(whole[start:end]))
    letters: list[tuple[str, int]] = []  # of the text with blanks: each, and where it stands in the one without; -1: a blank
    for at, letter in enumerate(whole):
        if at in borders and letters and whole[at - 1].isalnum() and letter.isalnum():
            letters.append((" ", -1))
        letters.append((letter, at))
    for found in pattern.finditer("".join(letter for letter, _ in letters)):
        places = [at for _, at in letters[found.start() : found.end()]]
        if -1 in places[1:-1]:
            yield places[0] if places[0] >= 0 else places[1], max(places) + 1

"""A literal version of what is cut out of an answer in parts: whatever stands in one of them, or in all of them as one text."""

import re
from collections.abc import Sequence
from itertools import accumulate, pairwise


def redacted(texts: Sequence[str], pattern: re.Pattern[str], mark: str) -> list[str]:
    """The parts without what the pattern finds; a mark stands in the part in which a finding ends."""
    borders = list(accumulate((len(one) for one in texts), initial=0))
    gone = [False] * borders[-1]
    begins: set[int] = set()  # findings begin here, also where another one has just ended
    whole = "".join(texts)
    for start, end in [(0, len(whole)), *pairwise(borders)]:
        for found in pattern.finditer(whole[start:end]):
            begins.add(start + found.start())
            for at in range(start + found.start(), start + found.end()):
                gone[at] = True
    inside: set[int] = set()  # places in the middle of a finding, where another one that overlaps it may begin
    for start, end in [(0, len(whole)), *pairwise(borders)]:
        for found in pattern.finditer(whole[start:end]):
            inside.update(range(start + found.start() + 1, start + found.end()))
    ends = {at for at in range(len(whole)) if gone[at] and (at + 1 == len(whole) or not gone[at + 1] or at + 1 in begins - inside)}
    return [
        "".join((mark if at in ends else "") if gone[at] else whole[at] for at in range(start, end)) for start, end in pairwise(borders)
    ]

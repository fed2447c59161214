"""Cut what rails found out of a text: spans that overlap or touch become one; a hit in a decoded view takes the encoded piece with it.

Pure. All other text stays as it is. `scrub` cuts until the rails find nothing more, a few times at most; then the text cannot be
cleaned, which is an error and never a text that still holds something.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from bylaw.govern.rails.rail import Rail, RailError, RailFacts
from bylaw.types import Hit

ROUNDS: Final = 8


def redact(text: str, hits: Iterable[Hit]) -> str:
    """The text with every hit replaced by what was there: `[redacted: pii.card]`."""
    parts, at = [], 0
    for start, end, rails in _merged(hits, len(text)):
        parts += [text[at:start], mark(rails)]
        at = end
    return "".join((*parts, text[at:]))


def mark(rails: Sequence[str]) -> str:
    """What stands in place of a cut."""
    return f"[redacted: {', '.join(rails)}]"


def scrub(text: str, rails: Sequence[Rail], facts: RailFacts) -> str:
    """The text with all that these rails find cut out; RailError where cutting does not come to an end."""
    for _ in range(ROUNDS):
        hits = [hit for rail in rails for hit in rail.find(text, facts)]
        if not hits:
            return text
        text = redact(text, hits)
    raise RailError(f"after {ROUNDS} rounds of cutting the text still holds something", "withhold it as a whole")


def _merged(hits: Iterable[Hit], size: int) -> list[tuple[int, int, list[str]]]:
    """Spans in order that do not touch, each with the rails that found something in it."""
    merged: list[tuple[int, int, list[str]]] = []
    for hit in sorted(hits, key=lambda one: (one.start, one.end, one.rail)):
        start, end = max(0, hit.start), min(hit.end, size)
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            last = merged[-1]
            names = last[2] if hit.rail in last[2] else [*last[2], hit.rail]
            merged[-1] = (last[0], max(last[1], end), names)
        else:
            merged.append((start, end, [hit.rail]))
    return merged

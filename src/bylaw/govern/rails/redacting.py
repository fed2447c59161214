"""Cut what rails found out of a text: spans that overlap or touch become one; a hit in a decoded view takes the encoded piece with it.

Pure. All other text stays as it is.
"""

from collections.abc import Iterable, Sequence

from bylaw.types import Hit


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

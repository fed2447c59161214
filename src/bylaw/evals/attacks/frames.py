"""Frames around a request: personas, stories, pressure, persuasion, orders about the answer, and phrases in other languages.

The words are in frames.md, our own and reviewed like code; the ideas are the published ones that their names say (docs/attacks.md has the
sources). A frame holds the request whole, so its inverse is exact. A language frame asks in that language for an answer in it; the request
inside stays as it was, because nothing here translates.
"""

import re
from functools import cache
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from bylaw.evals.attacks.technique import Technique

SLOT: Final = "{request}"
_FILE: Final = Path(__file__).parent / "frames.md"


class Frame(NamedTuple):
    """The words before and after a request."""

    before: str
    after: str


@cache
def read() -> tuple[Technique, ...]:
    """Every frame of frames.md as a technique."""
    family, found = "", []
    for block in re.split(r"(?m)^(?=#{1,2} )", _FILE.read_text(encoding="utf-8"))[1:]:
        title, _, body = block.partition("\n")
        if title.startswith("# "):
            family = title[2:].strip()
        else:
            found.append(framed(title[3:].strip(), family, tuple(map(_frame, re.split(r"(?m)^or:\n", body)))))
    return tuple(found)


def _frame(words: str) -> Frame:
    before, slot, after = words.strip("\n").partition(SLOT)
    if not slot or SLOT in after:
        raise ValueError(f"a frame has one {SLOT}: {words[:60]!r}")
    return Frame(before, after)


def framed(name: str, family: str, frames: tuple[Frame, ...]) -> Technique:
    """Frames of one name as a technique; the seed chooses among them."""

    def apply(text: str, rng: Random) -> str:
        chosen = rng.choice(frames)
        return f"{chosen.before}{text}{chosen.after}"

    def inverse(text: str) -> str:
        fits = [one for one in frames if text.startswith(one.before) and text.endswith(one.after)]
        return text[len(fits[0].before) : len(text) - len(fits[0].after)] if fits else text

    return Technique(name, family, apply, inverse)

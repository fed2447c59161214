"""What a technique is: a named, pure function of a text and a seeded generator, with an inverse where it has one.

`keeps` says what the inverse gives back: the text itself unless said otherwise (morse knows no lower case). The law, which the tests hold
every technique to: `inverse(apply(text, rng)) == keeps(text)` for every text and seed.
"""

from collections.abc import Callable
from random import Random
from typing import Literal, NamedTuple

Place = Literal["turn", "document", "tool_result", "tool_metadata", "tool_alias"]


def whole(text: str) -> str:
    """All of a text: what most inverses give back."""
    return text


class Technique(NamedTuple):
    """One way to put a request. `family` is what it is counted with."""

    name: str
    family: str
    apply: Callable[[str, Random], str]
    inverse: Callable[[str], str] | None = None
    keeps: Callable[[str], str] = whole
    place: Place = "turn"  # where its text goes; anything but the turn leaves the user with a harmless errand


def plainly(
    name: str, family: str, apply: Callable[[str], str], inverse: Callable[[str], str] | None, keeps: Callable[[str], str] = whole
) -> Technique:
    """A technique that draws nothing."""
    return Technique(name, family, lambda text, _: apply(text), inverse, keeps)

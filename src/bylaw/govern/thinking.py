"""Thinking that a model writes into its text: a `<think>` block at the beginning is taken out, whole or in pieces.

Only what stands before any answer is thinking; a tag later on is text, and is judged as text. A block that does not end is all thinking:
nothing of it leaves.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

OPEN: Final = "<think>"
CLOSE: Final = "</think>"


class Parted(NamedTuple):
    """A text in two parts."""

    thinking: str
    answer: str


def parted(text: str) -> Parted:
    """A text, taken apart; without a block at its beginning all of it is the answer, unchanged."""
    begun = text.lstrip()
    if not begun.startswith(OPEN):
        return Parted("", text)
    thinking, _, answer = begun[len(OPEN) :].partition(CLOSE)
    return Parted(thinking, answer.lstrip())


@dataclass(slots=True)
class Parting:
    """The same for a text in pieces: the pieces of the answer come out, the thinking is kept."""

    thinking: str = ""
    _state: str = "before"  # before | inside | between | answer
    _held: str = ""
    _blank: list[str] = field(default_factory=list)  # pieces before all else that are blank

    @property
    def over(self) -> bool:
        """Whether the answer has begun: from here on, pieces come out as they are."""
        return self._state == "answer"

    def feed(self, piece: str) -> str:
        """Take a piece in; returns what it adds to the answer."""
        if self._state == "answer":
            return piece
        if self._state == "before" and not self._held and piece.isspace():
            self._blank.append(piece)
            return ""
        self._held += piece
        if self._state == "before":
            begun = self._held.lstrip()
            if begun.startswith(OPEN):
                self._state, self._held = "inside", begun[len(OPEN) :]
            elif OPEN.startswith(begun):  # it may still become one
                return ""
            else:
                return self._all()
        if self._state == "inside":
            thinking, close, rest = self._held.partition(CLOSE)
            if not close:
                keep = len(CLOSE) - 1
                self.thinking += self._held[:-keep]
                self._held = self._held[-keep:]
                return ""
            self.thinking += thinking
            self._state, self._held = "between", rest
        self._held = self._held.lstrip()
        return self._all() if self._held else ""

    def finish(self) -> str:
        """No more will come: what was held because it might have become a block."""
        if self._state == "before":
            return self._all()
        self.thinking += self._held if self._state == "inside" else ""
        self._held, self._state = "", "answer"
        return ""

    def _all(self) -> str:
        out = "".join((*self._blank, self._held)) if self._state == "before" else self._held
        self._held, self._state = "", "answer"
        return out

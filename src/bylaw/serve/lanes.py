"""One answer on its way through a stream: its passages of text behind hold-back filters, and its thinking, which stays.

Passages that a client reads one after the other (`part`, `border`) share a filter: what begins in one may end in the next, so that the end
of each waits for the beginning of the next, or for the end of the answer.
Thinking is judged once it is followed by text, and at the end; text that follows thinking which a clause forbids does not leave.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from bylaw.govern.streaming import Cut, HoldBack
from bylaw.govern.thinking import Parting
from bylaw.serve.route import Gates
from bylaw.serve.wire import MAX_ARGUMENTS_BYTES, BadBody, Text
from bylaw.types import Decision

PARTS: Final = "parts"  # the passage that all parts of an answer are together
MAX_KEPT: Final = MAX_ARGUMENTS_BYTES  # characters of thinking and of arguments that are kept


class Spoken(NamedTuple):
    """Text that may leave, and the part of the answer that it belongs to."""

    part: Any  # as the stream names it
    text: str


class Stopped(Exception):  # noqa: N818  # a decision on its way to the stream
    """This answer ends here: the decision, and the text that may still leave before it."""

    def __init__(self, decision: Decision, before: str, parts: Sequence[Spoken] = ()) -> None:
        super().__init__(decision.reason)
        self.decision = decision
        self.before = before
        self.parts = parts  # the same, where the answer has parts


@dataclass(slots=True)
class Lane:
    """One answer."""

    gates: Gates
    searched: bool  # whether anything searches answers; else text passes as it is
    filters: dict[str, HoldBack] = field(default_factory=dict)  # by passage
    parting: Parting = field(default_factory=Parting)
    parted: str = ""  # the passage that may begin with a think block: the first
    out: list[str] = field(default_factory=list)  # what has left
    thinking: list[str] = field(default_factory=list)
    weight: int = 0  # characters kept
    unjudged: bool = False  # whether thinking has come that nobody has judged
    waiting: list[Any] = field(default_factory=list)  # parts that are not complete to the client, in their order

    def think(self, text: str) -> None:
        """Keep a piece of thinking."""
        if text:
            self.thinking.append(text)
            self.unjudged = True
            self.keep(len(text))

    def keep(self, characters: int) -> None:
        """Count what is kept; raises BadBody."""
        self.weight += characters
        if self.weight > MAX_KEPT:
            raise BadBody("the model thinks or calls at too great a length")

    def text(self, passage: str, piece: str) -> str:
        """What may leave of a piece of a passage; raises Stopped."""
        self.parted = self.parted or passage
        if passage == self.parted and not self.parting.over:
            piece = self.parting.feed(piece)
            self._take_thinking()
        return self._through(passage, piece) if piece else ""

    def end(self, passage: str) -> str:
        """What the filter still holds of a passage that is complete; raises Stopped."""
        held = ""
        if passage == self.parted:
            held = self.parting.finish()
            self._take_thinking()
        self.judge_thinking()
        return self._through(passage, held, last=True) if held or passage in self.filters else ""

    def part(self, part: Any, piece: str) -> list[Spoken]:
        """What may leave of all parts, now that a piece of this one has come: the part that begins, if it is new. Raises Stopped."""
        if part not in self.waiting:
            self.waiting.append(part)
        return self._parts(self.text(PARTS, piece)) if piece else []

    def border(self) -> list[Spoken]:
        """The part that came last is complete. Raises Stopped."""
        held = ""
        if self.parted == PARTS:
            held = self.parting.finish()
            self._take_thinking()
        out = self._parts(self._through(PARTS, held)) if held else []
        if PARTS in self.filters:
            self.filters[PARTS].border()
        elif self.waiting:
            self.waiting.pop()
        return out

    def rest(self) -> list[Spoken]:
        """The answer is complete: what its filter still holds. Raises Stopped."""
        self.judge_thinking()
        return self._parts(self._through(PARTS, "", last=True)) if PARTS in self.filters else []

    def _parts(self, out: str) -> list[Spoken]:
        """Text that may leave, by parts: what the filter says of parts that are complete, and then of the one after them."""
        one = self.filters.get(PARTS)
        if one is None or not one.passed:
            return [Spoken(self.waiting[0], out)] if self.waiting else []
        texts, one.passed = [*one.passed, out], []
        found = [Spoken(part, text) for part, text in zip(self.waiting, texts, strict=False)]
        del self.waiting[: len(texts) - 1]
        return found

    def judge_thinking(self) -> None:
        """Judge the thinking that nobody has judged yet; raises Stopped."""
        if self.unjudged:
            self.unjudged = False
            decision = self.gates.thinking(Text("thinking", "".join(self.thinking), (), "assistant"))
            if decision.effect not in ("allow", "redact"):
                raise Stopped(decision, "")

    @property
    def met(self) -> tuple[Decision, ...]:
        """What was decided on findings in the text."""
        return tuple(decision for one in self.filters.values() for decision in one.decisions)

    def _take_thinking(self) -> None:
        self.think(self.parting.thinking)
        self.parting.thinking = ""

    def _through(self, passage: str, piece: str, last: bool = False) -> str:
        if self.unjudged:
            self.judge_thinking()
        out = piece
        if self.searched:
            one = self.filters.get(passage)
            if one is None:
                made = self.gates.text()
                if made is None:
                    raise BadBody("answers are no longer searched as when this one began")
                one = self.filters[passage] = made
            try:
                out = one.feed(piece)
                if last:
                    out += one.finish()
            except Cut as cut:
                self.out += [*one.passed, cut.before]
                raise Stopped(cut.decision, cut.before, self._parts(cut.before) if passage == PARTS else ()) from None
            if one.passed:
                self.out += one.passed
        if out:
            self.out.append(out)
        return out

"""One answer on its way through a stream: its passages of text behind hold-back filters, and its thinking, which stays.

Thinking is judged once it is followed by text, and at the end; text that follows thinking which a clause forbids does not leave.
"""

from dataclasses import dataclass, field
from typing import Final

from bylaw.govern.streaming import Cut, HoldBack
from bylaw.govern.thinking import Parting
from bylaw.serve.route import Gates
from bylaw.serve.wire import MAX_ARGUMENTS_BYTES, BadBody, Text
from bylaw.types import Decision

MAX_KEPT: Final = MAX_ARGUMENTS_BYTES  # characters of thinking and of arguments that are kept


class Stopped(Exception):  # noqa: N818  # a decision on its way to the stream
    """This answer ends here: the decision, and the text that may still leave before it."""

    def __init__(self, decision: Decision, before: str) -> None:
        super().__init__(decision.reason)
        self.decision = decision
        self.before = before


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
        if passage == self.parted:
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
                out = one.feed(piece) + (one.finish() if last else "")
            except Cut as cut:
                if cut.before:
                    self.out.append(cut.before)
                raise Stopped(cut.decision, cut.before) from None
        if out:
            self.out.append(out)
        return out

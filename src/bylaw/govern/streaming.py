"""The hold-back filter: what a deterministic clause forbids does not leave, however the text was cut; all other text leaves unchanged.

Pure. Text goes in in pieces and comes out in pieces; together, these are exactly what the filter of the whole text would have said
(`filtered`), for every way of cutting it. That holds for rails that are *local*: whether a span is a match depends on nothing farther
from it than `CONTEXT` code points, and no match is longer than the rail states (`longest`). How it works:

- A match that starts at least `longest + CONTEXT` before the end of what has arrived is final: no later text can change it. Only text
  in front of that point may leave, and never part of a match.
- The window that is searched again starts `longest + CONTEXT` before what may leave next, at a place that no match covers, so that a search
  from there finds what a search from the beginning would find. If matches stand so close that there is no such place for `MAX_WINDOW`, the
  window is cut anyway: then more may be taken out than the filter of the whole text would take out, never less.
- Matches that overlap are judged together, as one group.
- An answer may come in parts that a client reads one after the other (`border`). Each part is searched by itself, and all of them as one
  text, with nothing between them and with a blank where words meet: a match that reaches over a border leaves a mark in the later part. So
  the end of a part waits for the beginning of the next.

A rail without a bound has no place here: then the whole answer waits. Text that left before a match was found stays outside:
the promise is about the span that a clause forbids, not about the sentences in front of it.
"""

from bisect import bisect, bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final, NamedTuple

from bylaw.types import Decision, Hit

CONTEXT: Final = 8  # code points beside a match that a rail may look at: word borders, a digit before a number
STRIDE: Final = 8  # text is searched once an eighth of the longest span has come
MAX_WINDOW: Final = 1 << 13  # code points that are searched at once

Look = Callable[[str], Sequence[Hit]]  # what the rails find; raises where a rail cannot be asked
Weigh = Callable[[str, Sequence[Hit]], Decision]  # what the policy says about hits in a text that belong together


class Cut(Exception):  # noqa: N818  # a decision on its way to the one who must act on it
    """From here on nothing may leave: the decision that says so, and the text that may still leave before it."""

    def __init__(self, decision: Decision, before: str) -> None:
        super().__init__(decision.reason)
        self.decision = decision
        self.before = before


class Group(NamedTuple):
    """Hits that overlap, directly or through one another."""

    start: int
    end: int
    hits: tuple[Hit, ...]


def groups(hits: Sequence[Hit]) -> list[Group]:
    """Hits that overlap, together, in order of their start."""
    found: list[Group] = []
    for hit in sorted(hits, key=lambda one: (one.start, -one.end, one.rail)):
        if found and hit.start < found[-1].end:
            last = found[-1]
            found[-1] = Group(last.start, max(last.end, hit.end), (*last.hits, hit))
        else:
            found.append(Group(hit.start, hit.end, (hit,)))
    return found


def mark(hit: Hit) -> str:
    """What stands where something was redacted."""
    return f"[redacted: {hit.rail}]"


def redacted(text: str, hits: Sequence[Hit]) -> str:
    """A text in which every hit is a mark; hits that overlap are one mark, of the first of them."""
    out, at = [], 0
    for group in groups(hits):
        out += [text[at : group.start], mark(group.hits[0])]
        at = group.end
    return "".join((*out, text[at:]))


def filtered(text: str, look: Look, weigh: Weigh) -> str:
    """The filter of a whole text: the law that the filter of its pieces must keep. Raises Cut."""
    text, out, at = joined(text), "", 0
    for group in groups(look(text)):
        decision = weigh(text, group.hits)
        out += text[at : group.start]
        if decision.effect not in ("allow", "redact"):
            raise Cut(decision, out)
        out += _shown(text[group.start : group.end], group, decision)
        at = group.end
    return out + text[at:]


def _shown(span: str, group: Group, decision: Decision) -> str:
    """What a group's text becomes: every hit that the decision names is redacted."""
    if decision.effect == "allow":
        return span
    moved = [Hit(hit.rail, hit.start - group.start, hit.end - group.start, hit.confidence, hit.view) for hit in decision.hits]
    return redacted(span, moved)


def words_meet(before: str, after: str) -> bool:
    """Whether a text that ends in a word stands before one that begins with one: some clients put a blank between such parts."""
    return before[-1:].isalnum() and after[:1].isalnum()


def spaced(texts: Sequence[str]) -> str:
    """Texts one after the other, with a blank where one ends in a word and the next begins with one."""
    out: list[str] = []
    for text in texts:
        if out and words_meet(out[-1], text):
            out.append(" ")
        if text:
            out.append(text)
    return "".join(out)


def joined(text: str) -> str:
    """A text in which two halves of a surrogate pair that stand side by side are one code point."""
    if not any("\ud800" <= char <= "\udfff" for char in text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


@dataclass(slots=True)
class HoldBack:
    """Lets a text through in pieces. `longest` is the longest span that any of the rails behind `look` can match."""

    look: Look
    weigh: Weigh
    longest: int
    decisions: list[Decision] = field(default_factory=list)  # about groups that were met
    closed: bool = False
    passed: list[str] = field(default_factory=list)  # what has left of parts that are complete, and nobody has taken yet
    _borders: list[int] = field(default_factory=list)  # places in the window where a part ends and the next begins
    _due: int = 0  # how many of them, the last ones, stand behind what has left
    _text: str = ""  # the window
    _left: int = 0  # how much of the window has left already
    _covered: int = 0  # the end of the last match in the window
    _half: str = ""  # half a surrogate pair that waits for the other half

    def feed(self, piece: str) -> str:
        """Take a piece in; returns what may leave now. Raises Cut, and after that lets nothing through."""
        if self.closed or not piece:
            return ""
        if self._half or not piece.isascii():
            piece = joined(self._half + piece)
            self._half = piece[-1] if "\ud800" <= piece[-1] <= "\udbff" else ""
            piece = piece[: len(piece) - len(self._half)]
        self._text += piece
        frontier = len(self._text) - self.longest - CONTEXT
        if frontier - self._left < self.longest // STRIDE:
            return ""  # to search for every few letters more would cost more than it brings
        return self._release(frontier)

    def finish(self) -> str:
        """No more will come; returns what is left. Raises Cut."""
        if self.closed:
            return ""
        self._text, self._half = self._text + self._half, ""
        out = self._release(len(self._text))
        self.closed = True
        return out

    def border(self) -> None:
        """A part of the answer is complete; what is fed from now on is the next one."""
        self._text, self._half = self._text + self._half, ""
        self._borders.append(len(self._text))
        self._due += 1

    def _release(self, frontier: int) -> str:
        """Let leave what stands before the frontier: of each part that ends before it into `passed`, and what begins behind those."""
        if frontier <= self._left and not self._due:
            return ""
        try:
            found = self._found()
        except Exception:
            self.closed = True  # whoever called decides what a failure means; nothing more leaves here
            raise
        while self._due and self._borders[-self._due] <= frontier:
            border, length = self._borders[-self._due], len(self._text)
            self._due -= 1
            self.passed.append(self._released(border, found))
            if moved := length - len(self._text):  # the window's start
                frontier -= moved
                found = [replace(hit, start=hit.start - moved, end=hit.end - moved) for hit in found if hit.end > moved]
        return self._released(frontier, found)

    def _released(self, frontier: int, found: Sequence[Hit]) -> str:
        """Let leave what stands before the frontier, as far as it is no part of a match that reaches over it."""
        if frontier <= self._left:
            return ""
        if not found:
            return self._slide(frontier, self._text[self._left : frontier])
        pending = groups([self._clip(hit) for hit in found if hit.end > self._left])
        ready = [group for group in pending if group.start < frontier]
        if ready and frontier < len(self._text) and ready[-1].end > frontier:
            # Its tail may still grow, by hits that start in it. Groups do not overlap, so only the last one can reach over.
            frontier = ready.pop().start
        return self._judge(ready, frontier)

    def _found(self) -> Sequence[Hit]:
        """What is found in the window, and in each of its parts that have not left."""
        if not self._borders:
            return self.look(self._text)
        found = list(self.look(self._text))
        for start, end in pairwise((0, *self._borders, len(self._text))):
            if end <= self._left:
                continue
            found += [replace(hit, start=hit.start + start, end=hit.end + start) for hit in self.look(self._text[start:end])]
        return list(dict.fromkeys((*found, *self._found_apart())))

    def _found_apart(self) -> list[Hit]:
        """What reaches over a border where words meet, if there is a blank between them."""
        text = self._text
        meet = [at for at in dict.fromkeys(self._borders) if words_meet(text[at - 1 : at], text[at : at + 1])]
        if not meet:
            return []
        blanks = [at + before for before, at in enumerate(meet)]
        hits = self.look(" ".join(text[start:end] for start, end in pairwise((0, *meet, len(text)))))
        over = [hit for hit in hits if bisect(blanks, hit.start) < bisect_left(blanks, hit.end - 1)]
        return [replace(hit, start=hit.start - bisect_left(blanks, hit.start), end=hit.end - bisect(blanks, hit.end - 1)) for hit in over]

    def _clip(self, hit: Hit) -> Hit:
        return hit if hit.start >= self._left else Hit(hit.rail, self._left, hit.end, hit.confidence, hit.view)

    def _judge(self, ready: Sequence[Group], frontier: int) -> str:
        out, at = "", self._left
        for group in ready:
            decision = self.weigh(self._text, group.hits)
            out += self._text[at : group.start]
            self.decisions.append(decision)
            if decision.effect not in ("allow", "redact"):
                self.closed = True
                raise Cut(decision, out)
            out += _shown(self._text[group.start : group.end], group, decision)
            at = self._covered = group.end
        return self._slide(frontier, out + self._text[at:frontier])

    def _slide(self, frontier: int, out: str) -> str:
        """Move the window's start up, if no match covers the place where it would begin."""
        self._left = frontier
        start = frontier - self.longest - CONTEXT
        if start > 0 and (self._covered <= start or len(self._text) > MAX_WINDOW):
            self._text = self._text[start:]
            self._left -= start
            self._covered = max(0, self._covered - start)
            self._borders = [border - start for border in self._borders if border > start]
        return out

"""A text as it could be read: as it is, as it looks, and decoded; each view knows where in the text its characters come from.

Seen views: the text; *clean* (Unicode's compatibility forms and digits folded, characters that are not seen left out); *alike* (letters
of other scripts that look like Latin ones). Decoded views: see `decoding`; up to two deep, in place, so that the words around an
encoded piece stay in the view. A view that would equal its text is not made, so plain text costs little.

Bounds: `MOST_VIEWS` and `GROWTH`; a text beyond them cannot be searched, which is an error and never silence.
Limits: the table of look-alikes is `judge.lookalikes`'s, by hand; what is encoded in a way not listed there, or three deep, stays unseen.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple

from bylaw.errors import BylawError
from bylaw.govern.rails import decoding, looks
from bylaw.govern.rails.decoding import Edit

Sight = Literal["seen", "all"]  # which views a rail looks at
Kind = Literal["plain", "leet", "spaced"]  # leet: i and l are one letter; spaced: words may have lost their gaps

MOST_VIEWS: Final = 96
DEPTH: Final = 2
GROWTH: Final = 4  # a view is at most so many times as long as a text may be
MOST_CHARS: Final = 400_000  # of one text; about 100,000 tokens


class Span(NamedTuple):
    """A stretch of a text in code points."""

    start: int
    end: int


class View(NamedTuple):
    """One reading of the text, and the way back to the text itself."""

    name: str  # `base64`, `rot13+hex`; empty: the text
    text: str
    raw: bytes  # the text as RE2 reads it
    back: Callable[[int, int], Span]
    kind: Kind = "plain"
    fresh: bool = False  # whether characters stand in it that do not stand in the text


class Views:
    """All readings of one text, made when they are asked for and then kept."""

    def __init__(self, text: str) -> None:
        self.text = looks.sayable(text)
        self.memo: dict[object, Any] = {}  # what searches of these views keep for each other

    @cached_property
    def seen(self) -> tuple[View, ...]:
        """The text and what it looks like."""
        text = View("", self.text, self.text.encode(), Span)
        return (text, *_looked(text)) if not looks.plain(self.text) else (text,)

    @cached_property
    def every(self) -> tuple[View, ...]:
        """All views, the plainest first."""
        found = list(self.seen)
        known = {view.text for view in found}
        # What is not seen is taken away before decoding; only what it may spell is read from the text itself.
        level = [view for view in found if view.name == "clean"] or found[:1]
        level += [view for view in found if view.name == "alike" and looks.foreign(self.text)]
        unseen = [edited(found[0], name, edits, fresh=True) for name, edits in decoding.unseen(self.text)] if found[1:] else []
        for _ in range(DEPTH):
            level = _new([*unseen, *(child for view in level for child in _children(view))], known)
            level += _new([look for view in level if view.fresh and not view.text.isascii() for look in _looked(view)], known)
            found += level
            unseen = []
            if len(found) > MOST_VIEWS or any(len(view.text) > GROWTH * MOST_CHARS for view in level):
                raise BylawError("the text decodes in too many ways to search them all", "the text is refused as a whole")
        return tuple(found)

    def of(self, sight: Sight) -> tuple[View, ...]:
        """The views a rail with this sight looks at."""
        return self.seen if sight == "seen" else self.every


def _new(views: Sequence[View], known: set[str]) -> list[View]:
    """The views whose text is not known yet; it is from now on."""
    found = []
    for view in views:
        if view.text not in known:
            known.add(view.text)
            found.append(view)
    return found


def _looked(view: View) -> Iterator[View]:
    """What a view looks like, where that is something else."""
    for name, look in (("clean", looks.clean), ("alike", looks.alike)):
        changed = looks.changes(view.text, look)
        if changed and all(len(new) == 1 for new in changed.values()):
            yield _view(view, name, view.text.translate({ord(char): new for char, new in changed.items()}), view.back, view.kind)
        elif changed:
            yield edited(view, name, looks.edits(view.text, changed), view.kind)


def _children(view: View) -> Iterator[View]:
    """What a view decodes to. A text that was turned as a whole is only looked at for bytes: two turns in a row are not undone."""
    turned = view.name.rsplit("+", 1)[-1] in decoding.TURNED
    found = decoding.decoded(view.text, view.raw, turned)
    for name, edits in found.codes:
        yield edited(view, name, edits, view.kind, fresh=True)
    if turned:
        return
    for name, edits in found.gapless:
        yield edited(view, name, edits, "spaced")
    if found.backwards:
        yield edited(view, "backwards", found.backwards, view.kind)
    if found.leet:
        yield _view(view, "leet", decoding.leet(view.text), view.back, "leet")
    yield _view(view, "rot13", decoding.rot13(view.text), view.back, view.kind)
    yield _view(view, "reversed", view.text[::-1], _mirror(view), view.kind)


def _view(
    view: View, name: str, text: str, back: Callable[[int, int], Span], kind: Kind, fresh: bool = False
) -> View:  # the fields of one value
    return View(f"{view.name}+{name}" if view.name else name, text, text.encode(), back, kind, fresh)


def _mirror(view: View) -> Callable[[int, int], Span]:
    size, back = len(view.text), view.back
    return lambda start, end: back(size - end, size - start)


def edited(view: View, name: str, edits: Sequence[Edit], kind: Kind = "plain", fresh: bool = False) -> View:
    """The view in which stretches are replaced; a match that touches a replaced stretch covers all of it."""
    starts: list[int] = []  # of the pieces, in the new text
    olds: list[Span] = []  # where a piece was
    moved: list[bool] = []  # whether the piece is the same text, only elsewhere
    parts: list[str] = []
    at = size = 0

    def put(piece: str, old: Span, same: bool) -> None:
        nonlocal size
        if piece:
            starts.append(size)
            olds.append(old)
            moved.append(same)
            parts.append(piece)
            size += len(piece)

    for start, end, new in edits:
        put(view.text[at:start], Span(at, start), True)
        put(new, Span(start, end), False)
        at = end
    put(view.text[at:], Span(at, len(view.text)), True)
    outer = view.back

    def back(start: int, end: int) -> Span:
        first, last = bisect_right(starts, start) - 1, bisect_right(starts, max(start, end - 1)) - 1
        low = olds[first].start + (start - starts[first] if moved[first] else 0)
        high = olds[last].start + (end - starts[last]) if moved[last] else olds[last].end
        return outer(low, high)

    return _view(view, name, "".join(parts), back, kind, fresh)

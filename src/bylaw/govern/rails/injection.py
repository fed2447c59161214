"""Orders to a model inside a text: "ignore your rules", a false role, a call for the system prompt, an image that carries data away.

Patterns with weights (injection.tsv) over every view; where weights of different patterns close together reach 1, each of them is a hit.
One view reads letters without their gaps (`i g n o r e`), one reads `1` as `i` or `l`.

Limits: words that only ask (a plain question planted in a mail) are no order by their form, and pass. An article that quotes an order
in full is found like the order. No filter finds every order; what a session may do after reading a stranger's text is the taint's matter.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from bylaw.govern.rails.patterns import Filter, pattern
from bylaw.govern.rails.rail import RailFacts, bounded, sealed
from bylaw.govern.rails.sieve import Spot
from bylaw.govern.rails.views import Kind, Sight, View, Views
from bylaw.types import Hit

_TABLE: Final = Path(__file__).with_name("injection.tsv")
NEAR: Final = 400  # characters within which weights add up
ENOUGH: Final = 0.99
LONGEST: Final = 1_024
# All that is no letter and no digit in the blocks that text is written in: Unicode's own classes make RE2's sets a hundred times larger.
_NO_LETTER: Final = r"\x00-/:-@\[-`{-\x{bf}\x{2000}-\x{206f}\x{3000}-\x{3004}\x{3008}-\x{3020}\x{ff01}-\x{ff0f}"
_GAP: Final = f"[{_NO_LETTER}]+"
_GAPS: Final[dict[Kind, tuple[str, str]]] = {  # of a space and a `~`
    "plain": (_GAP, rf"{_GAP}(?:[^\s.!?]+{_GAP}){{0,3}}"),
    "spaced": (f"[{_NO_LETTER}]*", r"[^\s]{0,24}"),
}
_LONG_WORD: Final = pattern(r"[A-Za-z]{16,}")
_MACRO: Final = re.compile(r"<([A-Z]{3,10})>")
_ATOMS: Final = re.compile(r"\\[pP]\{?\w+\}?|\\.|\[(?:\\.|[^\]\\])*\]|\(\?[a-zA-Z]*:?|\{[0-9,]+\}|[il ~]")


class Order(NamedTuple):
    """One line of the table."""

    id: str
    language: str
    weight: float
    source: str


@cache
def orders() -> tuple[Order, ...]:
    """The table, its lists filled in."""
    lists: dict[str, str] = {}
    found = []
    for line in _TABLE.read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        first, second, *rest = line.split("\t")
        if first == "def":
            lists[second] = _filled(rest[0], lists)
        else:
            found.append(Order(first, second, float(rest[0]), _filled(rest[1], lists)))
    return tuple(found)


def _filled(source: str, lists: dict[str, str]) -> str:
    return _MACRO.sub(lambda name: lists.get(name[1], name[0]), source)


def said(source: str, kind: Kind) -> str:
    """A pattern of the table as RE2 for one kind of view."""
    space, words = _GAPS["spaced" if kind == "spaced" else "plain"]

    def atom(match: re.Match[str]) -> str:
        piece = match[0]
        if piece == " ":
            return space
        if piece == "~":
            return words
        return "[il]" if piece in ("i", "l") and kind == "leet" else piece

    source = source.replace(r"[^\pL\pN]", f"[{_NO_LETTER}]").replace(r"[^\pL]", f"[{_NO_LETTER}0-9]")
    source = source.replace(" ~", "~").replace(" ?", "\x00").replace(" {0,3}", "\x01")
    text = _ATOMS.sub(atom, source)
    return "(?i)" + text.replace("\x00", f"[{_NO_LETTER}]*").replace("\x01", r"\s{0,3}")


@cache
def _book(kind: Kind) -> Filter:
    """The table compiled for one kind of view."""
    return Filter([said(order.source, kind) for order in orders()])


class InjectionRail(NamedTuple):
    """Orders to the model, in the text and in what it decodes to."""

    name: str = "injection"
    sight: Sight = "all"
    longest: int | None = None
    cost: int = 0

    def find(self, text: str, facts: RailFacts) -> Sequence[Hit]:
        """Every hit in the text."""
        return self.look(bounded(text), facts)

    def look(self, views: Views, facts: RailFacts) -> Sequence[Hit]:
        """Every hit in these views."""
        hits = []
        for view in views.of(self.sight):
            kinds: tuple[Kind, ...] = ("plain", "spaced") if view.kind == "spaced" or _run_together(view) else (view.kind,)
            for kind in kinds:
                for spot in _enough(list(_spots(view, _book(kind)))):
                    span = view.back(spot.start, spot.end)
                    if self.longest is None or span.end - span.start <= self.longest:
                        hits.append(Hit("injection", span.start, span.end, spot.confidence, view.name))
        return sealed(hits)


def _run_together(view: View) -> bool:
    """Whether words may stand without gaps in it: `ignoreAllRules`."""
    return view.kind == "plain" and not view.name.endswith(("rot13", "reversed")) and _LONG_WORD.search(view.text) is not None


class _Weighed(NamedTuple):
    start: int
    end: int
    weight: float
    order: str


def _spots(view: View, book: Filter) -> Iterator[_Weighed]:
    for index in book.matching(view.text, view.raw):
        order = orders()[index]
        for match in book[index].finditer(view.text):
            yield _Weighed(match.start(), match.end(), order.weight, order.id)


def _enough(found: list[_Weighed]) -> Iterator[Spot]:
    """The findings that count: alone, or together with others close by."""
    found.sort()
    for at, one in enumerate(found):
        near = {one.order: one.weight}
        for other in (*_while_near(found, one, range(at - 1, -1, -1)), *_while_near(found, one, range(at + 1, len(found)))):
            near[other.order] = other.weight
        total = sum(near.values())
        if total >= ENOUGH:
            yield Spot(one.start, one.end, min(0.95, 0.5 + total / 4))


def _while_near(found: list[_Weighed], one: _Weighed, order: range) -> Iterator[_Weighed]:
    for at in order[:50]:
        if abs(found[at].start - one.start) > NEAR:
            return
        yield found[at]


RAILS: Final = (InjectionRail(), InjectionRail("injection.plain", "seen", LONGEST + NEAR))

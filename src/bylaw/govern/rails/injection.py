"""Orders to a model inside a text: "ignore your rules", a false role, a call for the system prompt, an image that carries data away.

Patterns with weights (injection.tsv) over every view; where weights of different patterns close together reach 1, each of them is a hit.
Most lines say a whole order. Others say a part of one in many words: whom it speaks to, whose word it sets aside, what is to be done.
One view reads letters without their gaps (`i g n o r e`), one reads `1` as `i` or `l`.

Limits: words that only ask (a plain question planted in a mail) are no order by their form, and pass. An article that quotes an order
in full is found like the order. No filter finds every order; what a session may do after reading a stranger's text is the taint's matter.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

from bylaw.govern.rails.patterns import Filter, Pattern, pattern
from bylaw.govern.rails.rail import RailFacts, bounded, sealed
from bylaw.govern.rails.sieve import Spot
from bylaw.govern.rails.views import Kind, Sight, View, Views
from bylaw.types import Hit

_TABLE: Final = Path(__file__).with_name("injection.tsv")
NEAR: Final = 400  # characters within which weights add up
ENOUGH: Final = 0.99
LONGEST: Final = 1_024
ANCHORS: Final = frozenset({"whom", "aside"})  # parts of an order that other parts lean on
LEANING: Final = frozenset({"shun", "deed", "hush"})
PARTS: Final = ANCHORS | LEANING
# All that is no letter and no digit in the blocks that text is written in: Unicode's own classes make RE2's sets a hundred times larger.
_NO_LETTER: Final = r"\x00-/:-@\[-`{-\x{bf}\x{2000}-\x{206f}\x{3000}-\x{3004}\x{3008}-\x{3020}\x{ff01}-\x{ff0f}"
_GAP: Final = f"[{_NO_LETTER}]+"
_GAPS: Final[dict[Kind, tuple[str, str]]] = {  # of a space and a `~`
    "plain": (_GAP, rf"{_GAP}(?:[^\s.!?]+{_GAP}){{0,3}}"),
    "spaced": (f"[{_NO_LETTER}]*", r"[^\s]{0,24}"),
}
_LONG_WORD: Final = pattern(r"[A-Za-z]{16,}")
# An anchor counts only where one of these is near, so most texts are not asked about the parts of an order.
_MODELS: Final = (
    r"llm|gpt|claude|gemini|copilot|chat-?bot|assistant|agent|language model|sprach-?modell|asistente|assistente|modelo|modele|taalmodel"
    r"|модел|ассистент|агент|бот|нейросет|интеллект|人工|语言模型|語言模型|大模型|助手|助理|智能体|機器人|机器人|モデル|アシスタント|エージェント|ボット"
)
_ASIDE: Final = r"ignor|disregard|forget|overrid|obey|bypass|supersed|outrank|directive|you were|expired"
_WORDS: Final = r"\b(?:ai|a\.i\.|ki|ia|model|modell|bot|system)s?\b|\bdrop the|\b(?:abandon|stop|cancel|abort) (?:the|your)"
_CUES: Final[dict[Kind, Pattern]] = {
    "plain": pattern(f"(?i){_MODELS}|{_ASIDE}|{_WORDS}"),
    "leet": pattern(f"(?i){_MODELS}|{_ASIDE}|{_WORDS}".replace("i", "[il]").replace("(?[il])", "(?i)")),
    "spaced": pattern(f"(?i){_MODELS}|{_ASIDE}|model|bot|system"),
}
_MACRO: Final = re.compile(r"<([A-Z]{3,10})>")
_ATOMS: Final = re.compile(r"\\[pP]\{?\w+\}?|\\.|\[(?:\\.|[^\]\\])*\]|\(\?[a-zA-Z]*:?|\{[0-9,]+\}|[il ~]")


Step = Literal["whole", "anchor", "leaning"]


class Order(NamedTuple):
    """One line of the table."""

    id: str
    language: str
    weight: float
    source: str

    @property
    def part(self) -> str:
        """What it is to an order: its id before the `/`."""
        return self.id.partition("/")[0]

    @property
    def step(self) -> Step:
        """When it is asked."""
        return "anchor" if self.part in ANCHORS else "leaning" if self.part in LEANING else "whole"


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


class _Book(NamedTuple):
    """Some lines of the table, compiled for one kind of view."""

    lines: tuple[Order, ...]
    patterns: Filter


@cache
def _book(kind: Kind, step: Step) -> _Book:
    """The lines asked at one step."""
    lines = tuple(order for order in orders() if order.step == step)
    return _Book(lines, Filter([said(order.source, kind) for order in lines]))


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
                for spot in _enough(_spots(view, kind)):
                    span = view.back(spot.start, spot.end)
                    if self.longest is None or span.end - span.start <= self.longest:
                        hits.append(Hit("injection", span.start, span.end, spot.confidence, view.name))
        return sealed(hits)


def _run_together(view: View) -> bool:
    """Whether words may stand without gaps in it: `ignoreAllRules`."""
    return view.kind == "plain" and not view.name.endswith(("rot13", "reversed")) and _LONG_WORD.search(view.raw) is not None


class _Weighed(NamedTuple):
    start: int
    end: int
    weight: float
    part: str  # what of an order it says; two ways to say the same add nothing


def _spots(view: View, kind: Kind) -> list[_Weighed]:
    """What lines say of a view: whole orders; where it has a word that parts of one have, those; and what leans on them."""
    found = list(_read(view, _book(kind, "whole")))
    if kind != view.kind or not _CUES[kind].search(view.raw):
        return sorted(found)
    anchors = [one for one in _read(view, _book(kind, "anchor")) if _cued(view, kind, one)]
    leaning = _read(view, _book(kind, "leaning")) if anchors else ()
    return sorted([*found, *anchors, *leaning])


def _cued(view: View, kind: Kind, one: _Weighed) -> bool:
    """Whether such a word stands near by; one far away must not decide, or a stream's window would find other things than the whole."""
    return _CUES[kind].search(view.text[max(0, one.start - NEAR) : one.end + NEAR]) is not None


def _read(view: View, book: _Book) -> Iterator[_Weighed]:
    for index in book.patterns.matching(view.text, view.raw):
        order = book.lines[index]
        for match in book.patterns[index].finditer(view.text):
            yield _Weighed(match.start(), match.end(), order.weight, order.part)


def _enough(found: list[_Weighed]) -> Iterator[Spot]:
    """The findings that count: alone, or together with others close by."""
    heaviest: dict[str, float] = {}
    for one in found:
        heaviest[one.part] = max(one.weight, heaviest.get(one.part, 0.0))
    if _total(heaviest) < ENOUGH:  # wherever they stand
        return
    for at, one in enumerate(found):
        near = {one.part: one.weight}
        for other in (*_while_near(found, one, range(at - 1, -1, -1)), *_while_near(found, one, range(at + 1, len(found)))):
            near[other.part] = max(other.weight, near.get(other.part, 0.0))
        total = _total(near)
        if total >= ENOUGH:
            yield Spot(one.start, one.end, min(0.95, 0.5 + total / 4))


def _total(near: Mapping[str, float]) -> float:
    """What the parts weigh together: all of them where the text speaks to a model; else whole orders, or the parts of one, apart."""
    if "whom" in near:
        return sum(near.values())
    parts = sum(weight for part, weight in near.items() if part in PARTS)
    whole = sum(near.values()) - parts
    return max(whole, parts if "aside" in near else 0.0)


def _while_near(found: list[_Weighed], one: _Weighed, order: range) -> Iterator[_Weighed]:
    for at in order[:50]:
        if abs(found[at].start - one.start) > NEAR:
            return
        yield found[at]


RAILS: Final = (InjectionRail(), InjectionRail("injection.plain", "seen", LONGEST + NEAR))

"""Ask the rails that rules want about an event: cheap ones first, all texts of the event, and what could not be asked is named.

Texts of an event: its text, and of a tool call or result every string in its arguments, names of fields included. Numbers are read as
the strings they print as: a card number in a JSON number is still one. A hit carries the place of its text (`where`) beside its span.
A rail that fails on one text has failed: what it found elsewhere is kept, and whoever decides treats its rules as undecidable.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from bylaw.govern.rails.rail import NO_FACTS, Rail, RailError, RailFacts, bounded
from bylaw.govern.rails.views import Views
from bylaw.types import Event, Hit

MOST_TEXTS: Final = 2_000  # strings in one event
MOST_DEPTH: Final = 32
Path = tuple[str | int, ...]
_log: Final = logging.getLogger(__name__)


class Piece(NamedTuple):
    """One text of an event, and where it stands: `()` is the text itself, `("args", "note")` an argument."""

    where: Path
    text: str


class Placed(NamedTuple):
    """A hit, and the place of the text it is in."""

    where: Path
    hit: Hit


class Answer(NamedTuple):
    """What the rails said of an event."""

    found: Mapping[str, tuple[Hit, ...]]  # by the name that was asked for
    failed: frozenset[str]
    placed: tuple[Placed, ...] = ()


def ask(
    event: Event,
    names: Collection[str],
    rails: Mapping[str, Rail],
    facts: RailFacts = NO_FACTS,
    go_on: Callable[[Answer], bool] | None = None,
) -> Answer:
    """Ask each named rail about every text of the event; `go_on` may end it before the next dearer kind of rail is asked.

    A rail that was not asked because `go_on` said no is in neither result: the decision was made without it.
    """
    failed = {name for name in names if name not in rails}
    wanted = sorted((rails[name] for name in set(names) - failed), key=_cheap)
    try:
        pieces = [(piece, bounded(piece.text)) for piece in texts(event)]
    except RailError as error:
        _log.warning("no rail was asked: %s", error)
        return Answer({}, frozenset(names))
    placed: dict[str, list[Placed]] = {}
    for at, rail in enumerate(wanted):
        dearer = not at or wanted[at - 1].cost != rail.cost
        if go_on and dearer and (placed or failed) and not go_on(_answer(placed, failed)):
            break
        try:
            placed[rail.name] = [Placed(piece.where, hit) for piece, views in pieces for hit in _look(rail, piece.text, views, facts)]
        except Exception as error:  # noqa: BLE001  # whatever a rail does, it has failed and the rest of the world goes on; never an allow
            _log.warning("rail %s failed: %s: %s", rail.name, type(error).__name__, error)
            failed.add(rail.name)
    return _answer(placed, failed)


def _cheap(rail: Rail) -> tuple[int, str]:
    return rail.cost, rail.name


def _look(rail: Rail, text: str, views: Views, facts: RailFacts) -> Sequence[Hit]:
    look = getattr(rail, "look", None)
    found: Sequence[Hit] = look(views, facts) if look else rail.find(text, facts)
    return found


def _answer(placed: Mapping[str, Sequence[Placed]], failed: Collection[str]) -> Answer:
    if not any(placed.values()):
        return Answer(dict.fromkeys(placed, ()), frozenset(failed))
    found = {name: tuple(one.hit for one in hits) for name, hits in placed.items()}
    return Answer(found, frozenset(failed), tuple(one for name in sorted(placed) for one in placed[name]))


def texts(event: Event) -> tuple[Piece, ...]:
    """Every text of an event in a fixed order; RailError where it has too many."""
    found = [Piece((), event.text)] if event.text else []
    if event.surface in ("tool_call", "tool_result"):
        for piece in _strings(event.args, ("args",)):
            if len(found) >= MOST_TEXTS:
                raise RailError(f"more than {MOST_TEXTS} texts in one event", "send fewer, or longer ones")
            found.append(piece)
    return tuple(found)


def _strings(value: Any, where: Path) -> Iterator[Piece]:
    if len(where) > MOST_DEPTH:
        raise RailError(f"arguments more than {MOST_DEPTH} levels deep", "flatten them")
    if isinstance(value, str):
        if value:
            yield Piece(where, value)
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int | float):
        yield Piece(where, str(value))
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield Piece((*where, str(name), "key"), str(name))
            yield from _strings(item, (*where, str(name)))
    elif isinstance(value, Sequence):
        for index, item in enumerate(value):
            yield from _strings(item, (*where, index))
    else:
        raise RailError(f"an argument of type {type(value).__name__} is no JSON", "arguments hold JSON values only")

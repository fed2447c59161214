"""What stands beside the texts of a request or an answer: marks that say nothing pass, everything else is judged, or does not leave.

What a mark is says `govern.marks`. In a whole reply all other strings that stand beside the answer, keys of maps too, are judged as one
text. In a stream there is no time for that: there they are left out. What the request says itself is nothing new.
"""

from collections.abc import Mapping
from typing import Any, Final

from bylaw.govern import marks
from bylaw.govern.marks import ENCODED, MAX_SHORT, is_mark, left, said_beside, strings, without, word
from bylaw.govern.media import unread
from bylaw.serve.wire import Gathering, Path
from bylaw.types import EMPTY, Surface

__all__ = [
    "gather",
    "gather_asked",
    "gather_strange",
    "is_mark",
    "left",
    "readable",
    "said_beside",
    "spelled",
    "unsealed",
    "without",
    "word",
]

NOBODY: Final = ""  # the role of what nobody says


def gather_strange(found: Gathering, surface: Surface, part: Any, who: tuple[str, str]) -> None:
    """Keep a part of a request whose shape we do not know: its strings as one text, and what else there is in it as that."""
    found.loose(surface, part, *who)
    if kind := unread(part):
        found.media.append(kind)


def gather(found: Gathering, value: Any, sent: Mapping[str, Any] = EMPTY, surface: Surface = "output") -> None:
    """Keep what is said beside an answer as one text, out of which nothing can be cut."""
    if said := said_beside(value, sent):
        found.text(surface, "\n".join(said), (), "assistant")


def gather_asked(found: Gathering, value: Any, path: Path, encoded: bool = False) -> None:
    """Keep every string of a request that stands beside its texts, each where it stands, so that it can be cut out; names of fields and
    long numbers as one text. `encoded`: an image, sound or file stands in it, which is not text."""
    placed = marks.placed(value, path, encoded)
    for where, text in placed.texts:
        found.text("input", text, where, NOBODY)
    if placed.loose:
        found.text("input", "\n".join(placed.loose), (), NOBODY)


def readable(value: Any) -> list[str]:
    """What is said in a part in which an image, sound or file may stand, without that."""
    return [one for one in said_beside(value) if len(one) <= MAX_SHORT or not ENCODED.fullmatch(one)]


def unsealed(value: Any) -> list[str]:
    """The strings of a part that carries an image or sound, without the image or the sound."""
    return [one for one in strings(value) if len(one) <= MAX_SHORT or not ENCODED.fullmatch(one)]


def spelled(rows: Any, text: str, found: Gathering) -> bool:
    """Whether token probabilities spell a text and no more; the alternatives to its tokens are kept, to be judged."""
    others = marks.spelled(rows, text)
    if others:
        found.text("output", "\n".join(others), (), "assistant")
    return others is not None

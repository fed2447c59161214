"""What others wrote, made safe to look at: escaped, bounded, and nothing in it invisible.

Every value that a template prints goes through `plain`; exact bytes go through `visible`. A character that draws nothing, or turns the
text around it, is shown as its number: ⟨U+202E⟩.
"""

import re
import unicodedata
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from markupsafe import Markup, escape

MAX_PLAIN: Final = 2_000  # characters of any value on a page
MAX_VISIBLE: Final = 200_000  # characters of exact bytes; what is longer is not answered here
INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # letters and marks that draw nothing
_ODD: Final = re.compile(r"[^ -~]")
_CHANGE: Final = re.compile(r"\[-(.*?)-\]|\{\+(.*?)\+\}", re.DOTALL)


@lru_cache(maxsize=4_096)
def hidden(char: str) -> bool:
    """Whether a character draws nothing of its own, or changes how others are drawn."""
    kind = unicodedata.category(char)
    odd_space = kind == "Zs" and char != " "
    selector = "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"
    return kind in INVISIBLE or odd_space or selector or char in BLANK


def code(char: str) -> str:
    """A character by its number."""
    return f"⟨U+{ord(char):04X}⟩"


def plain(value: Any) -> Any:
    """Any value as a template prints it: what is marked up already stays; text is bounded and shows what is hidden in it."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    cut = value if len(value) <= MAX_PLAIN else f"{value[:MAX_PLAIN]} … ({len(value) - MAX_PLAIN} characters more)"
    return _ODD.sub(lambda found: code(found[0]) if found[0] not in "\n\t" and hidden(found[0]) else found[0], cut)


def visible(value: object, most: int = MAX_VISIBLE) -> Markup:
    """Text with every hidden character in a box of its own; line ends and tabs are drawn, and kept."""
    text = str(value)
    pieces, at = [], 0
    for found in _ODD.finditer(text[:most]):
        char = found[0]
        if hidden(char):
            pieces += [escape(text[at : found.start()]), _boxed(char)]
            at = found.end()
    pieces.append(escape(text[at:most]))
    if len(text) > most:
        pieces.append(Markup('<span class="cut">… {} characters more</span>').format(len(text) - most))
    return Markup("").join(pieces)


def _boxed(char: str) -> Markup:
    drawn = {"\n": Markup('<i class="ctl">↵</i>\n'), "\t": Markup('<i class="ctl">→</i>\t')}.get(char)
    return drawn if drawn is not None else Markup('<i class="ctl">{}</i>').format(code(char))


def hidden_in(text: str) -> int:
    """How many hidden characters a text has, line ends and tabs apart."""
    return sum(char not in "\n\t" and hidden(char) for char in text if not " " <= char <= "~")


def changed(text: str) -> Markup:
    """Prose with what went and what came: `[-…-]` and `{+…+}` as deletions and insertions."""
    pieces, at = [], 0
    for found in _CHANGE.finditer(text):
        pieces.append(escape(plain(text[at : found.start()])))
        tag, said = ("del", found[1]) if found[1] is not None else ("ins", found[2])
        pieces.append(Markup("<{0}>{1}</{0}>").format(Markup(tag), plain(said)))
        at = found.end()
    return Markup("").join([*pieces, escape(plain(text[at:]))])


def when(time_ms: float | None) -> Markup:
    """A moment in UTC, to the second."""
    if time_ms is None:
        return Markup("–")
    at = datetime.fromtimestamp(time_ms / 1000, UTC)
    return Markup('<time datetime="{}">{}</time>').format(at.strftime("%Y-%m-%dT%H:%M:%SZ"), at.strftime("%Y-%m-%d %H:%M:%S"))


def stamp(time: str) -> Markup:
    """A moment as the ledger writes it."""
    return Markup('<time datetime="{}">{}</time>').format(plain(time)[:27], f"{plain(time)[:10]} {plain(time)[11:19]}")


def span(seconds: float) -> str:
    """A length of time, as people say it."""
    left = max(0, round(seconds))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if left >= 2 * size or (left >= size and left % size == 0):
            return f"{left // size} {unit}"
    return f"{left} s"


def short(digest: str) -> str:
    """A digest, as much of it as tells it from others."""
    return digest.removeprefix("sha256:")[:12]


def named(name: str) -> Markup:
    """A name, which goes on to the next line at its @ rather than within a word."""
    return Markup("<wbr>@").join(escape(part) for part in str(plain(name)).split("@"))


def words(name: str) -> str:
    """An effect or a state, with blanks."""
    return name.replace("_", " ")

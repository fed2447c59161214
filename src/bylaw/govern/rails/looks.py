"""What characters look like: Unicode's own folding, digits of any script, characters that are not seen, and look-alike letters.

Letters of other scripts are folded by the table in `judge.lookalikes`, with their case kept. Emoji keep their joiners and selectors.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from bylaw.govern.rails.decoding import Edit
from bylaw.judge.lookalikes import fold, unseen

_ODD: Final = re.compile(r"[^\n\t\r -~]")  # one class of characters: linear
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def sayable(text: str) -> str:
    """The text with half surrogate pairs replaced one for one: RE2 reads UTF-8."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


@lru_cache(maxsize=8192)
def clean(char: str) -> str:
    """The character in its plainest form; nothing where it is not seen."""
    digit = unicodedata.digit(char, None)  # of any script, circled ones too
    if digit is not None and unicodedata.category(char) in ("Nd", "No"):
        return str(digit)
    if unseen(char) and unicodedata.category(char) != "Cn":  # Cn: assigned later than this Python
        return ""
    return unicodedata.normalize("NFKC", char)


@lru_cache(maxsize=8192)
def alike(char: str) -> str:
    """The ASCII letter or sign that the character looks like, in its case; what `clean` says where it looks like none."""
    plain = clean(char)
    if not plain or plain.isascii():
        return plain
    look = fold(char)
    if not look.isascii():
        return plain
    return look.upper() if char.isupper() else look


def plain(text: str) -> bool:
    """Whether a text is ASCII that is seen; it looks like nothing else."""
    return text.isascii() and (text.isprintable() or not _ODD.search(text))


def changes(text: str, look: Callable[[str], str]) -> dict[str, str]:
    """What to replace so that every character is what it looks like; nothing where the text is plain already."""
    return {char: new for char in set(_ODD.findall(text)) if (new := look(char)) != char}


def edits(text: str, changed: Mapping[str, str]) -> list[Edit]:
    """Where those characters stand."""
    return [Edit(m.start(), m.end(), changed[m[0]]) for m in _ODD.finditer(text) if m[0] in changed]


def foreign(text: str) -> bool:
    """Whether letters of another script stand in the text that look like Latin ones; letters with accents are no other script."""
    return any(not unicodedata.name(char, "").startswith("LATIN") for char in changes(text, alike) if alike(char) != clean(char))

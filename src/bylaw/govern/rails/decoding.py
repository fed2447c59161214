"""Encodings that orders and secrets hide in: what of a text decodes, and to what.

A *piece* is a stretch that decodes by itself (base64, hex, escapes, tag characters, spaced letters); it is replaced where it stands. A
*whole* turns every character (rot13, leet). Bytes count only if they are readable text, so numbers and hashes stay what they are.
"""

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple
from urllib.parse import unquote

from bylaw.govern.rails.patterns import Pattern, PatternSet, pattern

MOST_PIECES: Final = 50_000  # of one kind in one text; with more, the text cannot be searched


class Edit(NamedTuple):
    """A stretch of a text, and what to read in its place."""

    start: int
    end: int
    new: str


class TooManyPiecesError(ValueError):
    """More encoded pieces than are decoded."""


# Words that make sense where others are turned round, too.
_TELLING: Final = "ignore disregard forget instruction instructions previous system prompt password secret rules assistant reveal"
_DIGIT_WORDS: Final = (  # of four languages, nought to nine
    "zero one two three four five six seven eight nine",
    "null eins zwei drei vier fünf sechs sieben acht neun",
    "nil un deux trois quatre cinq sei sept huit neuf",
    "oh uno dos tres cuatro cinco seis siete ocho nueve",
)
_NUMERALS: Final = {word: str(digit) for line in _DIGIT_WORDS for digit, word in enumerate(line.split())}
_SIGN: Final = r"A-Za-z\x{c0}-\x{1fff}\x{3040}-\x{ffdc}0-9"  # letters and digits of any script, in few ranges
_LIKE_DIGITS: Final = {  # letters that look like one, Greek, Cyrillic and Armenian ones too
    "0": "OoQ\u041e\u043e\u039f\u03bf\u0555\u0585",
    "1": "Il|\u0406\u04cf\u0399",
    "2": "Z",
    "3": "\u0417\u0437\u01b7\u0292",
    "4": "\u0427",
    "5": "S\u0405",
    "6": "G\u0431",
    "8": "B\u0412",
}
_NUMBERISH: Final = "0-9" + "".join(_LIKE_DIGITS.values())
_SOURCES: Final = {
    "base64": r"[A-Za-z0-9+/_-]{12,}(?:\r?\n[A-Za-z0-9+/_-]{8,})*={0,2}",
    "hex": r"(?:0x|\\x)?[0-9A-Fa-f]{2}(?:[ :,-]{0,2}(?:0x|\\x)?[0-9A-Fa-f]{2}){7,}",
    "base32": r"[A-Z2-7]{16,}={0,6}|[a-z2-7]{16,}={0,6}",
    "binary": r"[01]{7,8}(?:[ ,]?[01]{7,8}){4,}",
    "morse": r"[.\-·–−]{1,6}(?:[ /|]{1,3}[.\-·–−]{1,6}){7,}",
    "codes": r"\b[0-9]{2,3}(?:[ ,;]{1,2}[0-9]{2,3}){7,}\b",
    "numerals": rf"(?i)\b(?:{'|'.join(_NUMERALS)})(?:[ ,\-]{{1,3}}(?:{'|'.join(_NUMERALS)})){{5,}}\b",
    "lookalikes": rf"(?:[A-Z]{{2}}|\b|\+)(?:[{_NUMBERISH}]{{4}}(?:[ .\-]?[{_NUMBERISH}]{{4}}){{2,3}}"
    rf"|[{_NUMBERISH}](?:[ .\-/()]{{0,2}}[{_NUMBERISH}]){{8,}})",
    "url": r"(?:%[0-9A-Fa-f]{2})+",
    "escape": r"\\u[0-9A-Fa-f]{4}|\\u\{[0-9A-Fa-f]{1,6}\}|\\U[0-9A-Fa-f]{8}|\\x[0-9A-Fa-f]{2}|\\[0-7]{3}"
    r"|\\[nrtbf\"'/\\]",
    "html": r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});?",
    "flipped": r"[ɐɔǝɟƃɓᴉɾʞɹʇʌʍʎɥɯ](?:[^\n]{0,3}[ɐɔǝɟƃɓᴉıɾʞɹʇʌʍʎɥɯ]){3,}",
    "tags": r"[\x{fe00}-\x{fe0f}\x{e0020}-\x{e01ef}]",
    # Single signs with gaps between them; two ways, so that dots and dashes can be gaps or signs.
    "spaced": r"(?:[^\s][ \t\x{a0}]{1,3}){4,}[^\s]",
    "dotted": rf"(?:[{_SIGN}][ ]?[.\-_*|/,~+:·•][ ]?){{4,}}[{_SIGN}]",
    "backwards": rf"(?i)\b(?:{'|'.join(word[::-1] for word in _TELLING.split())})\b",
    "leet": r"[0134578@$!|+][A-Za-z]|[A-Za-z][0134578@$|+]",
    "split": r"[A-Za-z\x{c0}-\x{1fff}][\-._*~^|]{1,2}[A-Za-z\x{c0}-\x{1fff}]",
}
_FORMS: Final[dict[str, Pattern]] = {name: pattern(source) for name, source in _SOURCES.items()}
_NAMES: Final = tuple(_SOURCES)
_ANY: Final = PatternSet(list(_SOURCES.values()))
_BYTES: Final = ("base64", "base32", "hex", "binary", "url", "html")  # what is looked for in a text that is turned itself
_ANY_BYTES: Final = PatternSet([_SOURCES[name] for name in _BYTES])
# Every long word of a text matches, and Python's own engine is ten times as quick to say so. It is linear here: what may follow a run
# is never part of it, so there is one way to match and nothing to go back to.
_BASE64: Final = re.compile(_SOURCES["base64"])
_BETWEEN: Final = re.compile(r"[\-._*~^|]+")
_HEX_MARKS: Final = re.compile(r"0x|\\x|[ :,-]")
_HEX_SOLID: Final = re.compile(r"[0-9A-Fa-f]{16,}")
_HEX_FIRST: Final = re.compile(r"^(?:0x|\\x)?[0-9A-Fa-f]+[ :,-]{1,2}")
_DITS: Final = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.. ----- .---- ..--- ...--"
    " ....- ..... -.... --... ---.. ----. .-.-.- --..-- ..--.. -..-. .--.-. -.-.-- .----. -....-"
)
_MORSE: Final = dict(zip(_DITS.split(), "abcdefghijklmnopqrstuvwxyz0123456789.,?/@!'-", strict=True))
_DIGITS: Final = str.maketrans({letter: digit for digit, letters in _LIKE_DIGITS.items() for letter in letters})
_FOURS: Final = re.compile(r"\S{4}(?:[ .\-]?\S{4}){2,3}")
_ABC: Final = b"abcdefghijklmnopqrstuvwxyz"
_UPSIDE: Final = str.maketrans("ɐqɔpǝɟƃɓɥᴉıɾʞʅןɯuodbɹsʇnʌʍxʎzp", "abcdefgghiijkllmnopqrstuvwxyzd")
_TAGS: Final = re.compile("[\U000e0020-\U000e007e]+")
_OVERRIDE: Final = re.compile("\u202e([^\u202a-\u202e\n]+)[\u202c\u202d]?")
_SELECTORS: Final = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
_LEET: Final = bytes.maketrans(b"0134578@$!|+", b"oleastbasllt")  # of bytes: none of these stands inside a character of UTF-8
_ROT13: Final = bytes.maketrans(_ABC + _ABC.upper(), _ABC[13:] + _ABC[:13] + (_ABC[13:] + _ABC[:13]).upper())
_NO_TEXT: Final = frozenset({"Cc", "Cn", "Co"})  # characters that no text has: what holds one is bytes
_WORD: Final = re.compile(r"\w+")
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "", "f": "\n"}  # as JSON writes them; every other sign is itself


def _found(name: str, text: str) -> Iterator[tuple[int, int, str]]:
    for count, match in enumerate(_FORMS[name].finditer(text)):
        if count >= MOST_PIECES:
            raise TooManyPiecesError(f"more than {MOST_PIECES} encoded pieces in one text")
        yield match.start(), match.end(), match.group()


def readable(raw: bytes) -> str:
    """The bytes as text, if that is what they are, in UTF-8 or, where a third of them is nought, UTF-16; else nothing."""
    wide = raw.count(0) * 3 >= len(raw) > 0
    try:
        text = raw[: len(raw) // 2 * 2].decode("utf-16-le" if raw[0] else "utf-16-be") if wide else raw.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() or not any(unicodedata.category(char) in _NO_TEXT and char not in "\n\r\t" for char in text) else ""


def _base64(text: str) -> list[Edit]:
    edits = []
    for match in _BASE64.finditer(text):
        edits += _base64_run(match.start(), match.end(), match[0])
    return edits


def _base64_run(start: int, end: int, run: str) -> list[Edit]:
    """A run decodes whole, or behind the last `/`, `-` or `_` that is no part of it, or behind up to three letters of something else."""
    if run.islower():  # a word: of text, base64 always has capitals
        return []
    whole = _base64_text(run)
    if whole:
        return [Edit(start, end, whole)]
    cuts = [i + 1 for i, char in enumerate(run[:64]) if char in "/-_"][:8]
    for cut in (*cuts, *((1, 2, 3) if len(run) >= 20 else ())):
        part = _base64_text(run[cut:]) if len(run) - cut >= 12 else ""
        if part:
            return [Edit(start + cut, end, part)]
    return []


def _base64_text(run: str) -> str:
    letters = "".join(run.split()).rstrip("=").replace("-", "+").replace("_", "/")
    letters = letters[:-1] if len(letters) % 4 == 1 else letters
    try:
        return readable(base64.b64decode(letters + "=" * (-len(letters) % 4)))
    except (binascii.Error, ValueError):
        return ""


def _hex(text: str) -> list[Edit]:
    edits = []
    for start, end, run in _found("hex", text):
        whole = _hex_text(run)
        if whole:
            edits.append(Edit(start, end, whole))
        else:  # a number, an address or the end of a word stands before it
            parts = [(m.start(), m[0]) for m in _HEX_SOLID.finditer(run)] or [(m.end(), run[m.end() :]) for m in _HEX_FIRST.finditer(run)]
            edits += [Edit(start + at, start + at + len(part), new) for at, part in parts if (new := _hex_text(part))]
    return edits


def _hex_text(run: str) -> str:
    digits = _HEX_MARKS.sub("", run)
    return readable(bytes.fromhex(digits[: len(digits) // 2 * 2]))


def _base32(text: str) -> list[Edit]:
    edits = []
    for start, end, run in _found("base32", text):
        letters = run.rstrip("=").upper()
        try:
            new = readable(base64.b32decode(letters + "=" * (-len(letters) % 8)))
        except binascii.Error:
            continue
        if new:
            edits.append(Edit(start, end, new))
    return edits


def _binary(text: str) -> list[Edit]:
    """Bits in groups of eight, or of seven; in one string only eight."""
    edits = []
    for start, end, run in _found("binary", text):
        groups = run.replace(",", " ").split()
        if len(groups) == 1:
            groups = [run[at : at + 8] for at in range(0, len(run), 8)]
        new = readable(bytes(int(group[:8], 2) for group in groups))
        if new:
            edits.append(Edit(start, end, new))
    return edits


def _morse(text: str) -> list[Edit]:
    """Morse letters between blanks; `/`, `|` or more blanks are gaps between words. What is no letter in Morse is no Morse."""
    edits = []
    for start, end, run in _found("morse", text):
        signs = run.replace("·", ".").replace("–", "-").replace("−", "-")
        words = [[_MORSE.get(letter, "") for letter in word.split()] for word in re.split(r"\s*[/|]\s*|\s{2,}", signs)]
        if all(letter for word in words for letter in word):
            edits.append(Edit(start, end, " ".join("".join(word) for word in words)))
    return edits


def _codes(text: str) -> list[Edit]:
    """Letters by their numbers in ASCII."""
    found = [(start, end, [int(code) for code in re.split("[ ,;]+", run)]) for start, end, run in _found("codes", text)]
    return [Edit(start, end, "".join(map(chr, codes))) for start, end, codes in found if all(32 <= code < 127 for code in codes)]


def _numerals(text: str) -> list[Edit]:
    """Digits in words."""
    found = [(start, end, re.split(r"[ ,\-]+", run.lower())) for start, end, run in _found("numerals", text)]
    return [Edit(start, end, "".join(_NUMERALS[word] for word in words)) for start, end, words in found]


def _lookalikes(text: str) -> list[Edit]:
    """Digits of which some are letters that look like one: in groups of four as many as may be, else fewer than half."""
    edits = []
    for start, end, run in _found("lookalikes", text):
        country = 2 if run[:2].isalpha() and run[:2].translate(_DIGITS) == run[:2] else 0
        new = run[country:].translate(_DIGITS)
        letters = sum(map(str.isalpha, run[country:]))
        if letters and (letters * 2 < len(new) or (letters < len(new) - 2 and _FOURS.fullmatch(run[country:]))):
            edits.append(Edit(start + country, end, new))
    return edits


def _flipped(text: str) -> list[Edit]:
    """A text that stands on its head, turned the right way up."""
    return [Edit(0, len(text), text[::-1].translate(_UPSIDE))]


def _url(text: str) -> list[Edit]:
    return [Edit(start, end, unquote(run, errors="replace")) for start, end, run in _found("url", text)]


def _escape(text: str) -> list[Edit]:
    edits = []
    for start, end, run in _found("escape", text):
        if end - start == 2:
            edits.append(Edit(start, end, _ESCAPED.get(run[1], run[1])))
            continue
        digits = run[1:].strip("uUx{}")
        code = int(digits, 8 if run[1] in "01234567" else 16)
        if code <= 0x10FFFF and not 0xD800 <= code < 0xE000:
            edits.append(Edit(start, end, chr(code)))
    return edits


def _html(text: str) -> list[Edit]:
    return [Edit(start, end, new) for start, end, run in _found("html", text) if (new := html.unescape(run)) != run]


def tags(text: str) -> list[Edit]:
    """Characters of the tag block, and bytes in variation selectors: neither is seen, both can be read."""
    edits = [Edit(m.start(), m.end(), f"\n{''.join(chr(ord(char) - 0xE0000) for char in m[0])}\n") for m in _TAGS.finditer(text)]
    for m in _SELECTORS.finditer(text):
        codes = [ord(char) for char in m[0]]
        new = readable(bytes(code - 0xFE00 if code < 0xFF00 else code - 0xE0100 + 16 for code in codes))
        if new:
            edits.append(Edit(m.start(), m.end(), f"\n{new}\n"))
    return sorted(edits)


def overridden(text: str) -> list[Edit]:
    """Stretches whose writing direction is overridden, as they are seen: turned round."""
    return [Edit(m.start(), m.end(), m[1][::-1]) for m in _OVERRIDE.finditer(text)] if "\u202e" in text else []


def unseen(text: str) -> list[tuple[str, list[Edit]]]:
    """What characters that are not seen spell or turn round."""
    return [(name, edits) for name, edits in (("tags", tags(text)), ("override", overridden(text))) if edits]


def _spaced(text: str) -> list[Edit]:
    return [edit for start, end, run in _found("spaced", text) for edit in _gaps(start, run, " \t\xa0")]


def _dotted(text: str) -> list[Edit]:
    return [edit for start, end, run in _found("dotted", text) for edit in _gaps(start, run, " .-_*|/,~+:·•")]


def _gaps(start: int, run: str, gaps: str) -> list[Edit]:
    """The gaps of a spaced run go; where some are wider, those are the gaps between words."""
    spans, at = [], 0
    while at < len(run):
        end = at
        while end < len(run) and run[end] in gaps:
            end += 1
        if end > at:
            spans.append((at, end))
        at = end + 1
    narrow = min((e - s for s, e in spans), default=0)
    return [Edit(start + s, start + e, " " if e - s > narrow else "") for s, e in spans]


def _split(text: str) -> list[Edit]:
    """Signs between letters, where a text has many: `ig-no-re`."""
    edits, at = [], 0
    for match in _BETWEEN.finditer(text):
        start, end = match.span()
        if end - start <= 2 and at < start and end < len(text) and _lettered(text[start - 1]) and _lettered(text[end]):
            edits.append(Edit(start, end, ""))
            at = end + 1  # a letter stands behind one sign only
    if len(edits) > MOST_PIECES:
        raise TooManyPiecesError(f"more than {MOST_PIECES} encoded pieces in one text")
    return edits if len(edits) > 1 else []


def _lettered(char: str) -> bool:
    """What stands on both sides of a `split`."""
    return char.isalpha() if char.isascii() else "\xc0" <= char <= "\u1fff"


def _backwards(text: str) -> list[Edit]:
    """Each word turned round in its place."""
    return [Edit(m.start(), m.end(), m[0][::-1]) for m in _WORD.finditer(text) if len(m[0]) > 1]


def rot13(text: str) -> str:
    """The text thirteen letters on."""
    return text.encode().translate(_ROT13).decode()


def leet(text: str) -> str:
    """The text with letters for the digits and signs that look like them; 1 is l, which may stand for i."""
    return text.encode().translate(_LEET).decode()


_DECODERS: Final[dict[str, Callable[[str], list[Edit]]]] = {  # the longest readings first: where two claim a stretch, the first has it
    "base64": _base64,
    "base32": _base32,
    "hex": _hex,
    "binary": _binary,
    "morse": _morse,
    "codes": _codes,
    "numerals": _numerals,
    "lookalikes": _lookalikes,
    "flipped": _flipped,
    "url": _url,
    "escape": _escape,
    "html": _html,
    "tags": tags,
}
_GAPS: Final[dict[str, Callable[[str], list[Edit]]]] = {"spaced": _spaced, "dotted": _dotted, "split": _split}
TURNED: Final = frozenset({"rot13", "leet", "reversed", "backwards", "split"})
MOST_READINGS: Final = 2  # of one text, where pieces overlap


class Decoded(NamedTuple):
    """What of a text decodes: readings with their names, the text without gaps inside its words, words turned round, and if it has leet."""

    codes: list[tuple[str, list[Edit]]]
    gapless: list[tuple[str, list[Edit]]]
    backwards: list[Edit]
    leet: bool


NOTHING: Final = Decoded([], [], [], False)


def decoded(text: str, raw: bytes, turned: bool) -> Decoded:
    """All encodings at once; of a text that was turned itself (`turned`) only those of bytes."""
    able = [_BYTES[index] for index in _ANY_BYTES.matching(text, raw)] if turned else [_NAMES[index] for index in _ANY.matching(text, raw)]
    if not able:
        return NOTHING
    codes = [(name, edit) for name, decode in _DECODERS.items() if name in able for edit in decode(text)]
    gaps = [(name, edit) for name, decode in _GAPS.items() if name in able for edit in decode(text)]
    return Decoded(_readings(codes), _readings(gaps), _backwards(text) if "backwards" in able else [], "leet" in able)


def _readings(found: list[tuple[str, Edit]]) -> list[tuple[str, list[Edit]]]:
    """Edits that do not overlap; those that do, once more by themselves."""
    readings = []
    for _ in range(MOST_READINGS):
        taken: list[tuple[str, Edit]] = []
        left: list[tuple[str, Edit]] = []
        at = 0
        for name, edit in sorted(found, key=lambda one: (one[1].start, -one[1].end)):
            (taken if edit.start >= at else left).append((name, edit))
            at = max(at, edit.end) if edit.start >= at else at
        if taken:
            readings.append(("|".join(dict.fromkeys(name for name, _ in taken)), [edit for _, edit in taken]))
        found = left
    return readings

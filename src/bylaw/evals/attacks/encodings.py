"""Encodings: the request in another alphabet, which the reader must undo.

Sources of the tables: RFC 4648 (base 16, 32, 64), ITU-R M.1677 (Morse), ICAO Annex 10 (the spelling alphabet), Unicode 15 (Braille
patterns, one dot per bit of the byte). Ciphers move the 26 Latin letters and leave all else. Bytes are UTF-8, half surrogate pairs kept.
"""

import base64
import string
from collections.abc import Callable
from typing import Final
from urllib.parse import quote, unquote

from bylaw.evals.attacks.technique import Technique, plainly

FAMILY: Final = "encoding"
Pair = tuple[Callable[[str], str], Callable[[str], str]]  # there and back
KEY: Final = "lemon"  # of the Vigenere cipher
_LOWER, _UPPER = string.ascii_lowercase, string.ascii_uppercase
_SIGNS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,?'!/()&:;=+-_\"$@"
_DOTS: Final = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.. "
    "----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----. "
    ".-.-.- --..-- ..--.. .----. -.-.-- -..-. -.--. -.--.- .-... ---... -.-.-. -...- .-.-. -....- ..--.- .-..-. ...-..- .--.-."
)
_MORSE: Final = dict(zip(_SIGNS, _DOTS.split(), strict=True))
_SPELT: Final = (
    "Alfa Bravo Charlie Delta Echo Foxtrot Golf Hotel India Juliett Kilo Lima Mike November Oscar Papa Quebec Romeo Sierra Tango "
    "Uniform Victor Whiskey X-ray Yankee Zulu"
)
_NATO: Final = {word[0]: word for word in _SPELT.split()}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def shifted(by: int) -> Callable[[str], str]:
    """Latin letters moved along the alphabet."""
    by %= 26
    table = str.maketrans(_LOWER + _UPPER, _LOWER[by:] + _LOWER[:by] + _UPPER[by:] + _UPPER[:by])
    return lambda text: text.translate(table)


_ATBASH: Final = str.maketrans(_LOWER + _UPPER, _LOWER[::-1] + _UPPER[::-1])


def _atbash(text: str) -> str:
    return text.translate(_ATBASH)


def _vigenere(sign: int) -> Callable[[str], str]:
    moves = [shifted(sign * _LOWER.index(letter)) for letter in KEY]

    def moved(text: str) -> str:
        found, at = [], 0
        for char in text:
            latin = char in string.ascii_letters
            found.append(moves[at % len(moves)](char) if latin else char)
            at += latin
        return "".join(found)

    return moved


def _numbered(form: str, base: int) -> Pair:
    return lambda text: " ".join(format(one, form) for one in _bytes(text)), lambda text: _text(
        bytes(int(one, base) for one in text.split())
    )


def _speakable(table: dict[str, str]) -> Callable[[str], str]:
    """What an alphabet of words keeps: the letters it has, in capitals, and single spaces between words."""
    return lambda text: " ".join(" ".join("".join(char for char in word.upper() if char in table) for word in text.split()).split())


def _worded(table: dict[str, str], between: str, gap: str) -> Pair:
    back = {said: char for char, said in table.items()}
    keep = _speakable(table)

    def told(text: str) -> str:
        return gap.join(between.join(table[char] for char in word) for word in keep(text).split())

    def read(text: str) -> str:
        return " ".join("".join(back[one] for one in word.split(between)) for word in text.split(gap)) if text else ""

    return told, read


def _braille(text: str) -> str:
    return "".join(chr(0x2800 + one) for one in _bytes(text))


def _from_braille(text: str) -> str:
    return _text(bytes(ord(char) - 0x2800 for char in text))


def _based(encode: Callable[[bytes], bytes], decode: Callable[[str], bytes]) -> Pair:
    return lambda text: encode(_bytes(text)).decode("ascii"), lambda text: _text(decode(text))


def _fenced(text: str) -> str:
    """The rail fence of two rails: every second character, then the others."""
    return text[::2] + text[1::2]


def _unfenced(text: str) -> str:
    half = (len(text) + 1) // 2
    first, second = text[:half], text[half:]
    return "".join(one + (second[i] if i < len(second) else "") for i, one in enumerate(first))


_PAIRS: Final = {
    "base64": _based(base64.b64encode, base64.b64decode),
    "base32": _based(base64.b32encode, base64.b32decode),
    "ascii85": _based(base64.a85encode, base64.a85decode),
    "hex": (lambda text: _bytes(text).hex(), lambda text: _text(bytes.fromhex(text))),
    "binary": _numbered("08b", 2),
    "octal": _numbered("03o", 8),
    "decimal": _numbered("d", 10),
    "rot13": (shifted(13), shifted(13)),
    "caesar": (shifted(3), shifted(-3)),
    "atbash": (_atbash, _atbash),
    "vigenere": (_vigenere(1), _vigenere(-1)),
    "railfence": (_fenced, _unfenced),
    "braille": (_braille, _from_braille),
    "url": (lambda text: quote(_bytes(text), safe=""), lambda text: unquote(text, errors="surrogatepass")),
}
_WORDS: Final = {"morse": (_MORSE, " ", " / "), "nato": (_NATO, " ", " | ")}

TECHNIQUES: Final[tuple[Technique, ...]] = (
    *(plainly(name, FAMILY, there, back) for name, (there, back) in _PAIRS.items()),
    *(plainly(name, FAMILY, *_worded(*how), _speakable(how[0])) for name, how in _WORDS.items()),
)

"""Characters that pass for others: invisible ones, and letters and brackets of other scripts that look like ASCII.

A table by hand of what attackers use; Unicode's compatibility forms (fullwidth, mathematical, circled …) and accents are folded by
Unicode's own data. It is not complete and need not be: it decides what is shown broken up, never what counts as a verdict.
"""

import unicodedata
from functools import lru_cache
from typing import Final

_ALIKE: Final = {
    "a": "аɑαａᴀ∀ΑАᎪꓮ⍺ạ",
    "b": "ЬьʙВΒᏴꓐƄᖯ",
    "c": "сϲᴄСϹᏟꓚⅽ∁ⲥ",
    "d": "ԁᴅᎠꓓⅾɗᗞԀ",
    "e": "еєɛεᴇΕЕᎬꓰ℮ҽ∃ⴹⲉ",
    "f": "ꜰϜꓝƒẝ",
    "g": "ɡɢցԌᏀꓖ",
    "h": "һнʜΗНᎻꓧհ",
    "i": "іıɪΙІᎥӀǀꓲ⍳ɩι׀ⵏ",
    "j": "јᴊЈᎫꓙϳ",
    "k": "кκᴋΚКᏦꓗ",
    "l": "ʟᏞꓡⅼ∣ا",
    "m": "мᴍΜМᎷꓟϻ",
    "n": "ոпɴΝꓠη",
    "o": "оοσᴏΟОՕꓳ০०οⲟ",
    "p": "рρᴘΡРᏢꓑ⍴ⲣ",
    "q": "ԛգ",
    "r": "гʀᴦᏒꓣɼгⲅ",
    "s": "ѕꜱЅᏚꓢʂ",
    "t": "тτᴛΤТᎢꓔ⊤ⲧ†",
    "u": "υᴜսꓴ∪ʋ",
    "v": "ѵνᴠᏙꓦ∨ⅴᐯѴ٧",
    "w": "ѡᴡᏔꓪԝա",
    "x": "хχΧХꓫⅹ×",
    "y": "уүʏΥУҮꓬγ",
    "z": "ᴢΖᏃꓜ",
    "<": "‹〈⟨〈❮«≪＜﹤˂ᐸ⟪⋖❰ᚲ",
    ">": "›〉⟩〉❯»≫＞﹥˃ᐳ⟫⋗❱",
    "[": "［⁅【〔〖❲⦋",
    "]": "］⁆】〕〗❳⦌",
    "|": "｜│¦┃❘∣⏐",
    "/": "∕⁄⧸╱",
    ":": "：꞉∶ː˸։׃﹕",
    '"': "“”„‟″＂〝〞",
    "'": "‘’‚‛′",
    "_": "＿‗",
    "-": "‐‑‒–—−﹣－",
}
_TO_ASCII: Final = {alike: plain for plain, several in _ALIKE.items() for alike in several}
_TO_ASCII.update({chr(0x1F1E6 + i): chr(97 + i) for i in range(26)})  # regional indicators: the letters of flags
_TO_ASCII.update({chr(start + i): chr(97 + i) for start in (0x1F130, 0x1F150, 0x1F170) for i in range(26)})  # squared, negative circled
# Seen as nothing, or as a blank, though Unicode does not file them under "format".
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2028\u2029\u2800\u3164\uffa0")
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})  # control, format, unassigned, private, half a surrogate pair


@lru_cache(maxsize=4096)
def unseen(char: str) -> bool:
    """Whether a reader would not see this character, or see it as a line end that it is not."""
    selects = "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"  # variation selectors
    return char not in "\n\t" and (char in _BLANK or selects or unicodedata.category(char) in _UNSEEN)


@lru_cache(maxsize=4096)
def fold(char: str) -> str:
    """What a character looks like, in lower-case ASCII where it looks like that; nothing where it is not seen."""
    if char in _TO_ASCII:
        return _TO_ASCII[char]
    if unseen(char):
        return ""
    plain = "".join(c for c in unicodedata.normalize("NFKD", char) if unicodedata.category(c) not in {"Mn", "Me"})
    return "".join(_TO_ASCII.get(c, c) for c in plain).casefold()

"""What a judge is shown: untrusted text between delimiters that carry this call's code, with all that could pass for a marker broken up.

The *code* is HMAC-SHA256 over everything the call shows, cut to 64 bits: the same row, card and reading give the same call (a run
repeats, a cache hits), any other gives another. Its author cannot write the right code into a text: the text is part of what is
hashed, so even with the key it takes about 2^64 tries a text; without the key nothing can be tried at all.

*Escapes* are written in `⟦ ⟧`, and are undone exactly by `restore`: `⟦U+200B⟧` stands for a character that is not seen, and an empty
`⟦⟧` breaks up what looks like a delimiter, a verdict, a think tag, a role, or a token of a chat template, in any disguise that
`lookalikes` knows. The judge still sees all that was written. Breaking up is for the judge's sake; that a forged verdict does not
count rests on the code alone.
"""

import hashlib
import hmac
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bylaw.judge.lookalikes import fold, unseen

CODE_HEX: Final = 16  # 64 bits
BREAK: Final = "⟦⟧"
_ESCAPED: Final = re.compile(r"⟦(?:U\+([0-9A-F]{4,6}))?⟧")
_PLAIN: Final = re.compile(r"[\n\t -~]*")  # ASCII that is seen: its look is its lower case
_GAP: Final = r"[\W_]{0,3}"
# Each is matched against the *look* of a text; the break goes behind the first character of the group. All are linear.
_TAGS: Final = re.compile(
    r"(<)(?=\S|\s{1,8}[/|!]?\s{0,8}(?:think|[a-z_]{1,24}\s{0,8}>))|(>)(?=>)"  # delimiters, think tags, <|im_start|>, </s>
    r"|(\[)(?=[\[|]|/?[a-z_]{2,24}[0-9]{0,4}\])|(\])(?=\])"  # [INST], [|user|], [[10]]
)
_SPOKEN: Final = re.compile(
    "(v)" + _GAP + _GAP.join(("[e3]", "r", "d", "[i1l!|]", "[ck]", "[t7+]"))  # the verdict's word, spaced or in leet too
    + r"|\b(s|u|a|h)(?:ystem|ser|ssistant|uman|i)[\s*_`]{0,4}:"  # roles: some templates have them in the middle of a line
    + r"|^[\s>*#_|`.-]{0,16}(m|j|t|d|i|r)(?:odel|udge|ool|eveloper|nstructions?|nput|esponse)[\s*_`]{0,4}:"
    + r"|[\"'`](r|c|s)(?:easoning|ode|core)[\"'`]\s{0,8}:"  # the keys of a structured verdict
    + r"|\b(s|r|g|j)(?:core|ating|rade|udge?ment)[\s*_`]{0,4}[:=]",
    re.MULTILINE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of what is judged, under the name it is shown by."""

    name: str
    text: str


def key(seed: int, secret: str = "") -> bytes:
    """The key of a run's codes: from its seed, and from a secret where there is one."""
    return hashlib.sha256(json.dumps(["bylaw judge", seed, secret]).encode()).digest()


def code(signing: bytes, card: str, parts: Sequence[Part], reading: int) -> str:
    """This call's code: 64 bits that no one can know who wrote any of the parts."""
    shown = json.dumps([1, card, [[part.name, part.text] for part in parts], reading]).encode()
    return hmac.new(signing, shown, hashlib.sha256).hexdigest()[:CODE_HEX]


def fenced(parts: Sequence[Part], nonce: str) -> str:
    """The parts, already broken up, each between delimiters with the code."""
    return "\n".join(f"<<{part.name} {nonce}>>\n{part.text}\n<<END {part.name} {nonce}>>" for part in parts)


def defuse(text: str) -> str:
    """Break up all that could pass for a marker, and show what is not seen; `restore` gives the text back."""
    return _escape(text, (_TAGS, _SPOKEN))


def defuse_tags(text: str) -> str:
    """The same for a text we trust, which may quote an attack: tags and template tokens only."""
    return _escape(text, (_TAGS,))


def restore(shown: str) -> str:
    """What was written, from what was shown."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else "", shown)


def _escape(text: str, patterns: Sequence[re.Pattern[str]]) -> str:
    look, places = _look(text)
    breaks = {places[found.start(found.lastindex)] for one in patterns for found in one.finditer(look) if found.lastindex}
    if not breaks and _PLAIN.fullmatch(text):
        return text
    return "".join(_shown(char, text, i) + (BREAK if i in breaks else "") for i, char in enumerate(text))


def _shown(char: str, text: str, i: int) -> str:
    spelt = char in "⟦⟧" or (unseen(char) and not (char in "\ufe0f\u200d" and _in_emoji(text, i)))
    return f"⟦U+{ord(char):04X}⟧" if spelt else char


def _in_emoji(text: str, i: int) -> bool:
    """Whether a selector or joiner stands right behind a pictogram, where every keyboard puts them."""
    return i > 0 and unicodedata.category(text[i - 1]) in {"So", "Sk"}


def _look(text: str) -> tuple[str, Sequence[int]]:
    """What a text looks like in lower-case ASCII as far as it can be, and where each character of that comes from."""
    if _PLAIN.fullmatch(text):
        return text.lower(), range(len(text))
    pieces = [(char.lower() if " " <= char <= "~" else fold(char), i) for i, char in enumerate(text)]
    return "".join(piece for piece, _ in pieces), [i for piece, i in pieces for _ in piece]

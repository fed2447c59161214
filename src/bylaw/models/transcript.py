"""The strict parser of thinking and answer: exactly one leading think block, else malformed.

A lenient parser lets a model hide text from a judge: a second block that overwrites the first, an unclosed block, a stray tag in
the answer. Here every one of these is a fault, and a completion with a fault has neither thinking nor answer.
"""

import re
import unicodedata
from typing import Final

from bylaw.types import Completion, Finish

OPEN: Final = "<think>"
CLOSE: Final = "</think>"
# Anything that looks like a think tag: other case, spaces, attributes, look-alike brackets. More than one pair is a fault.
_TAG: Final = re.compile(r"[<\u2039\u3008\u27e8\u2329\u276e\u00ab\u226a]\s*[/|]?\s*think\w*", re.IGNORECASE)
_EXPECTED: Final = ["<think", "</think"]


def parse(raw: str, finish: Finish = "stop", thinking: bool = True) -> Completion:
    """Take a completion apart; `thinking` says whether a think block was asked for, and then it must be there."""
    if finish != "stop":
        return Completion("", "", raw, finish, {"length": "cut off", "refused": "refused by the server", "error": "no reply"}[finish])
    tags = [match.group() for match in _TAG.finditer(_plain(raw))]
    if not thinking:
        fault = "a think tag where none was asked for" if tags else "" if raw.strip() else "no answer"
        return _faulty(raw, fault) if fault else Completion("", raw.strip(), raw, finish)
    if tags != _EXPECTED or (raw.count(OPEN), raw.count(CLOSE)) != (1, 1):
        return _faulty(raw, "not exactly one think block" if tags else "no think block")
    before, rest = raw.split(OPEN)
    inside, after = rest.split(CLOSE)
    if before.strip():
        return _faulty(raw, "text before the think block")
    if not inside.strip() or not after.strip():
        return _faulty(raw, "no answer after the think block" if inside.strip() else "an empty think block")
    return Completion(inside.strip(), after.strip(), raw, finish)


def render(thinking: str, answer: str) -> str:
    """Write thinking and answer as a model should; `parse(render(t, a))` gives them back."""
    return f"{OPEN}\n{thinking}\n{CLOSE}\n\n{answer}" if thinking else answer


def _plain(raw: str) -> str:
    """The text as a reader sees it: compatibility forms folded, invisible characters gone."""
    return "".join(char for char in unicodedata.normalize("NFKC", raw) if unicodedata.category(char) != "Cf")


def _faulty(raw: str, fault: str) -> Completion:
    return Completion("", "", raw, "stop", fault)

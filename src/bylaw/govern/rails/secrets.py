"""Keys, tokens and passwords: by their own form (secrets.tsv), or as the value behind a word such as `password`.

Our own table, not detect-secrets: that reads files line by line with Python's backtracking expressions, needs `requests`, and costs
milliseconds a text; ours is one RE2 set. A value behind a word counts if it looks made up: a digit or sign among the letters, or
letters at random; placeholders (`<password>`, `${KEY}`, `****`) do not.
"""

import math
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from bylaw.govern.rails.patterns import pattern
from bylaw.govern.rails.rail import RailFacts
from bylaw.govern.rails.sieve import Detector, Spot
from bylaw.govern.rails.views import View

_TABLE: Final = Path(__file__).with_name("secrets.tsv")
RANDOM_BITS: Final = 3.3  # of entropy a character; words of a language have less, keys more
_PASS: Final = (
    r"pass(?:word|wd|code|phrase|wort)?|pwd|pw|kennwort|mot de passe|mdp|contrase(?:ñ|n)a|clave|senha|palavra-passe|wachtwoord|has(?:ł|l)o"
    r"|пароль|密码|密碼|パスワード|비밀번호|كلمة المرور|parola|lösenord|şifre"
)
_KEY: Final = (  # what stands before it, as in `my_api_key`, is not looked at: up to 24 letters of any kind make an automaton without end
    r"(?:api[_\- ]?key|access[_\- ]?key|secret[_\- ]?key|secret|client[_\- ]?secret|auth[_\- ]?token"
    r"|access[_\- ]?token|token|private[_\- ]?key|credentials?|signing[_\- ]?key|encryption[_\- ]?key)"
)
_OF: Final = r"(?:\s(?:for|of|to|on|für|zum|pour|de|del|para)(?:\s[^\s:=]+){1,4})?"
_IS: Final = r"""["'`*]{0,2}\s{0,2}(?:(?:is|was|ist|est|es|è|é|to|jest|это)\s{0,2}[:=]?|:=|=>|->|→|[:=：＝是])\s{0,3}["'`*]{0,2}"""
ASSIGNED: Final = rf"""(?i)(?:^|[^\pL])(?:{_PASS}|{_KEY}){_OF}{_IS}[^\s"'`<>{{}}]{{5,}}"""
_ASSIGNED: Final = pattern(rf"""(?i)(?:^|[^\pL])(?:({_PASS})|{_KEY}){_OF}{_IS}([^\s"'`<>{{}}]{{5,}})""")
# A short code counts only behind the name of such a code; `error code 4041` and `postal code 07743` are others.
_CODE_WORD: Final = (
    r"pin(?: code)?|one[- ]?time (?:pass)?code|otp|tan|mtan|cvv2?|cvc2?|card check number"
    r"|(?:verification|security|login|sms|2fa|mfa|my) code"
    r"|passcode|sicherheitscode|prüfziffer|code pin|código de seguridad"
)
CODE: Final = rf"(?i)\b(?:{_CODE_WORD}){_OF}{_IS}\d(?:[ -]?\d){{2,7}}|\bPIN \d{{4}}\b"
_CODE: Final = pattern(rf"(?i)\b(?:(?:{_CODE_WORD}){_OF}{_IS}(\d(?:[ -]?\d){{2,7}})(?:$|[^\d])|PIN (\d{{4}})\b)")
_PLACEHOLDER: Final = pattern(
    r"(?i)^(?:.?\$[\w({]|%\w|x{3,}|\*{3,}|\.{3}|•|_{3,}|(?:your|my|the|dein|ihr)[_\-]|example|changeme$|change[_-]me|placeholder|redacted"
    r"|undefined|required|forgotten|incorrect|null|none|true|false|process\.env|os\.(?:environ|getenv)|getenv|env[.\[(]|config[.\[(]|self\.|https?:)"
)


class Form(NamedTuple):
    """One line of the table."""

    name: str
    confidence: float
    source: str  # RE2
    written: str  # where the form is written down


@cache
def forms() -> tuple[Form, ...]:
    """The table of forms."""
    lines = [line.split("\t") for line in _TABLE.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return tuple(Form(name, float(confidence), source, written) for name, confidence, source, written in lines)


def entropy(text: str) -> float:
    """Shannon's entropy of a text's characters, in bits a character."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def _formed(form: Form) -> Detector:
    found = pattern(form.source)

    def check(view: View, facts: RailFacts) -> Iterator[Spot]:
        for match in found.finditer(view.text):
            if "*" * 4 not in match.group() and "x" * 8 not in match.group().lower():
                yield Spot(match.start(), match.end(), form.confidence)

    return Detector(f"secrets.{form.name}", form.source, check)


def _assigned(view: View, facts: RailFacts) -> Iterator[Spot]:
    if "leet" in view.name:
        return
    for match in _ASSIGNED.finditer(view.text):
        value = match[2].rstrip(".,;:)!?]*")
        if _PLACEHOLDER.search(value):
            continue
        made_up = _mixed(value) if match[1] else len(value) >= 12 and entropy(value) >= RANDOM_BITS and any(c.isdigit() for c in value)
        if made_up:
            yield Spot(match.start(2), match.start(2) + len(value), 0.85)


def _mixed(value: str) -> bool:
    """Whether a password's value is no plain word: digits or signs among letters, or capitals inside."""
    letters = sum(char.isalpha() for char in value)
    inner = value.strip("()[]\"'")
    odd = any(char.isdigit() or not (char.isalnum() or char in "-'’_/.,") for char in inner)
    return len(value) >= 5 and (odd or (letters > 0 and value[1:] != value[1:].lower() and not value.isupper()))


def _codes(view: View, facts: RailFacts) -> Iterator[Spot]:
    for match in _CODE.finditer(view.text):
        group = 1 if match[1] else 2
        yield Spot(match.start(group), match.end(group), 0.8)


DETECTORS: Final = (
    *(_formed(form) for form in forms()),
    Detector("secrets.assigned", ASSIGNED, _assigned),
    Detector("secrets.code", CODE, _codes, turned=False),
)

"""Card numbers (Luhn, issuer's first digits and length) and IBANs (ISO 13616: country's length, mod 97), in any grouping.

A run of digits longer than a card's is no card. In a number read backwards ten cards of a hundred are chance, so there a card counts only
where the text speaks of a card or of turning round.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from string import ascii_uppercase
from typing import Final

from bylaw.govern.rails.patterns import pattern
from bylaw.govern.rails.rail import RailFacts
from bylaw.govern.rails.sieve import Detector, Spot
from bylaw.govern.rails.views import View

_GAP: Final = r"[ \t\r\n.\-_/,|:*\x{2010}-\x{2015}]{0,3}"
CARD: Final = rf"(?:\d{_GAP}){{12}}\d"
_RUN: Final = pattern(rf"\d(?:{_GAP}\d){{12,}}")
_SPEAKS: Final = pattern(r"(?i)card|karte|visa|master|amex|credit|debit|cvv|cvc|pan\b|pay|tarjeta|carte|carta|number|nummer")
_CUE_CHARS: Final = 48
_TURNED: Final = pattern(r"(?i)revers|backward|mirror|r[uü]ckw[aä]rts|drac|tibeder|envers|al rev[eé]s|card|karte|tarjeta|visa")
# First digits, lengths (ISO/IEC 7812; the networks' own tables).
_ISSUERS: Final = (
    ("4", (13, 16, 19)), ("51", (16,)), ("52", (16,)), ("53", (16,)), ("54", (16,)), ("55", (16,)),
    ("222", (16,)), ("223", (16,)), ("224", (16,)), ("225", (16,)), ("226", (16,)), ("227", (16,)), ("228", (16,)), ("229", (16,)),
    ("23", (16,)), ("24", (16,)), ("25", (16,)), ("26", (16,)), ("270", (16,)), ("271", (16,)), ("2720", (16,)), ("34", (15,)),
    ("37", (15,)), ("6", (16, 17, 18, 19)), ("35", (16,)), ("30", (14, 16)), ("36", (14, 16)), ("38", (14, 16)), ("39", (14, 16)),
    ("50", (16, 19)), ("56", (16, 19)), ("57", (16, 19)), ("58", (16, 19)),
)  # fmt: skip
_LENGTHS: Final[dict[str, int]] = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28, "CH": 21,
    "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18,
    "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
    "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24,
    "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23,
    "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip
IBAN: Final = rf"(?i)(?:{'|'.join(_LENGTHS)}){_GAP}\d{_GAP}\d(?:{_GAP}[A-Z0-9]){{11}}"
_GAPS: Final = r"[ \t\r\n.\-_/,|:*\u2010-\u2015]{0,3}"  # the same
_IBAN: Final = re.compile(
    rf"[A-Za-z]{{2}}{_GAPS}[0-9]{_GAPS}[0-9]"
)  # re's: RE2's matches cost four times as much in Python, and text has many
_IBAN_DIGITS: Final = 8  # the least an account has; words in a row have fewer
_NO_LETTER: Final = re.compile("[^0-9A-Za-z]+")
_AS_DIGITS: Final = {ord(char): str(value) for value, char in enumerate(ascii_uppercase, 10)}


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    total = sum(map(int, digits[-1::-2]))
    return (total + sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])) % 10 == 0


def mod97(account: str) -> bool:
    """Whether an IBAN without gaps, in capitals, has the right check digits (ISO 13616, ISO 7064)."""
    return "02" <= account[2:4] <= "98" and int((account[4:] + account[:4]).translate(_AS_DIGITS)) % 97 == 1


def _cards(view: View, facts: RailFacts) -> Iterator[Spot]:
    backwards = "reversed" in view.name or "backwards" in view.name
    if backwards and not (_TURNED.search(view.text) or _TURNED.search(view.text[::-1])):
        return
    for run in _RUN.finditer(view.text):
        places = [i for i, char in enumerate(run.group(), run.start()) if "0" <= char <= "9"]
        groups = [0, *(i for i in range(1, len(places)) if places[i] - places[i - 1] > 1), len(places)]
        yield from _in_run(view.text, places, groups)


def _in_run(text: str, places: list[int], groups: list[int]) -> Iterator[Spot]:
    """The cards among the digits of a run: from the start of a group to the end of one, 13 to 19 digits."""
    free = 0
    for at, first in enumerate(groups[:-1]):
        if first < free:
            continue
        for last in (end for end in groups[at + 1 : at + 20] if 13 <= end - first <= 19):
            digits = "".join(text[place] for place in places[first:last])
            if _issued(digits) and luhn(digits):
                usual = [end - start for start, end in pairwise(groups) if first <= start and end <= last]
                sure = len(usual) == 1 or usual in ([4, 4, 4, 4], [4, 6, 5], [4, 6, 4])
                start, end = places[first], places[last - 1] + 1
                lists = any(sign in ",|:*/_" for sign in text[start:end]) or (not sure and "\n" in text[start:end])
                if lists and not _SPEAKS.search(text[max(0, start - _CUE_CHARS) : start]):
                    continue  # numbers in a row: one in ten passes by chance
                yield Spot(start, end, 0.95 if sure else 0.7)
                free = last
                break


def _issued(digits: str) -> bool:
    return len(set(digits)) > 1 and any(digits.startswith(first) and len(digits) in sizes for first, sizes in _ISSUERS)


def _ibans(view: View, facts: RailFacts) -> Iterator[Spot]:
    text, free = view.text, 0
    for head in _IBAN.finditer(text):
        start = head.start()
        if start < free or (start and text[start - 1].isascii() and text[start - 1].isalpha()):
            continue
        letters = _LENGTHS.get(head[0][:2].upper())
        found = _body(letters).match(text, start) if letters else None
        if found is None:
            continue
        account, end = _NO_LETTER.sub("", found[0]).upper(), found.end()
        if sum(map(account.count, "0123456789")) >= _IBAN_DIGITS and mod97(account) and not text[end : end + 1].isdigit():
            free = end
            yield Spot(start, end, 0.99)


@cache
def _body(letters: int) -> "re.Pattern[str]":
    """So many letters and digits, with up to three other characters between two of them."""
    return re.compile(rf"[0-9A-Za-z](?:[^0-9A-Za-z]{{0,3}}[0-9A-Za-z]){{{letters - 1}}}")


DETECTORS: Final = (Detector("pii.card", CARD, _cards), Detector("pii.iban", IBAN, _ibans))

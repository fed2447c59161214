"""E-mail addresses, also written out (`ann at example dot com`), IP addresses, and phone numbers through `phonenumbers` (extra `pii`).

A phone number counts with its country code, or without where its form or the words before it say what it is. Addresses that point
at nobody (loopback, unspecified, `version 1.2.3.4`) do not count.
"""

import ipaddress
from collections.abc import Iterator
from typing import Final

from bylaw.govern.rails.patterns import pattern
from bylaw.govern.rails.rail import RailFacts
from bylaw.govern.rails.sieve import Detector, Spot
from bylaw.govern.rails.views import View

REGIONS: Final = ("US", "DE", "GB", "FR", "ES", "IT", "NL", "PL")  # whose national forms are tried
_CUE_CHARS: Final = 32
_AT: Final = r"(?:[ ]?@[ ]?|[ ]?[\[({<]\s?(?:at|@|a|ät|arobase)\s?[\])}>][ ]?|[_\-]at[_\-])"
_DOT: Final = r"(?:[.]|[ ]?[\[({<]\s?(?:dot|\.|punkt|point|punto)\s?[\])}>][ ]?)"
# Letters and digits of any script, said in few ranges: Unicode's own classes, repeated, take RE2 a hundred megabytes.
_L: Final = r"A-Za-z0-9\x{c0}-\x{1fff}\x{3040}-\x{ffdc}"
_LOCAL: Final = rf"[{_L}](?:[{_L}._%+'\-]*[{_L}_+\-])?"
_LABEL: Final = rf"[{_L}](?:[{_L}\-]*[{_L}])?"
EMAIL: Final = rf"(?i){_LOCAL}{_AT}(?:{_LABEL}{_DOT}){{1,6}}[A-Za-z\x{{c0}}-\x{{1fff}}\x{{3040}}-\x{{ffdc}}]{{2,24}}"
SPOKEN: Final = rf"(?i)(?:{_LABEL} dot ){{0,3}}{_LOCAL} at (?:{_LABEL} dot ){{1,4}}[A-Za-z\x{{c0}}-\x{{1fff}}\x{{3040}}-\x{{ffdc}}]{{2,24}}"
_EMAIL: Final = pattern(f"{EMAIL}|{SPOKEN}")
_IMAGE: Final = pattern(r"(?i)@[0-9.]{1,4}[xk]\.[a-z]{2,5}$")  # `logo@2x.png`; k: turned by rot13
_MAY_BE_EMAIL: Final = r"(?i)@|\b(?:dot|punkt|point|punto)\b|[\[({<]\s?(?:at|a|ät|arobase)\s?[\])}>]|[_\-]at[_\-]"  # small: a set holds it
IP: Final = r"(?:\d{1,3}\.){3}\d{1,3}|(?i)(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}"
_IP: Final = pattern(r"(?i)[0-9a-f:.]*(?:(?:\d{1,3}\.){3}\d{1,3}|(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{1,4})[0-9a-f:.]*")
_HOST: Final = pattern(r"(?i)\bip\b|ipv|host|addr|server|network|ping|from|dns|gateway|subnet")
_VERSION: Final = pattern(r"(?i)(?:\bv|version|release|section|chapter|§)\s{0,2}$")
PHONE: Final = r"(?:\+|\(|\b00|\b0|\b[2-9])\d?[\d ()./\-]{5,24}\d"
_PHONE: Final = pattern(r"(?:\+|\(|\b)\d?[\d ()./\-\x{2010}-\x{2015}]{5,24}\d\b")
_DATE: Final = pattern(r"\b(?:19|20)\d{2}-\d{2}-\d{2}\b")
_ZIP: Final = pattern(r"^0\d{4}-\d{4}$")  # of Massachusetts and New Jersey
_SHAPED: Final = pattern(r"^(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}$|^\(?0\d{2,4}\)?[ /\-]\d{3,}[\d ]*$")
_CUE: Final = pattern(
    r"(?i)(?:phone|call|tel\b|tel[.:]|telefon|t[eé]l[eé]ph"
    r"|mobil|m[oó]vil|handy|cell|whatsapp|fax|sms|rufnummer|numer tel|celular)"
)


def _emails(view: View, facts: RailFacts) -> Iterator[Spot]:
    for match in _EMAIL.finditer(view.text):
        if _IMAGE.search(match.group()):
            continue
        yield Spot(match.start(), match.end(), 0.95 if "@" in match.group() else 0.8)


def _addresses(view: View, facts: RailFacts) -> Iterator[Spot]:
    for match in _IP.finditer(view.text):
        said = match.group().strip(".:") if "::" not in match.group() else match.group().rstrip(".")
        start = match.start() + match.group().find(said)
        try:
            address = ipaddress.ip_address(said)
        except ValueError:
            continue
        before = view.text[max(0, start - _CUE_CHARS) : start]
        short = (
            sum(char in "0123456789abcdefABCDEF" for char in said) < 4 if ":" in said else all(int(part) < 20 for part in said.split("."))
        )
        if short and not _HOST.search(before):  # `std::f`, version 1.2.0.0
            continue
        if not (address.is_loopback or address.is_unspecified or _VERSION.search(before)):
            yield Spot(start, start + len(said), 0.8)


def _phones(view: View, facts: RailFacts) -> Iterator[Spot]:
    import phonenumbers  # noqa: PLC0415  # an extra, and 0.1 s of import

    for match in _PHONE.finditer(view.text):
        said = match.group()
        known = said.startswith(("+", "00"))
        named = _CUE.search(view.text[max(0, match.start() - _CUE_CHARS) : match.start()])
        cued = known or named or (_SHAPED.search(said) and not _ZIP.search(said))
        if _DATE.search(said) or not cued or not 7 <= sum(char.isdigit() for char in said) <= 17:
            continue
        for region in (None,) if known else REGIONS:
            try:
                number = phonenumbers.parse("+" + said[2:] if said.startswith("00") else said, region)
            except phonenumbers.NumberParseException:
                continue
            # Numbers for films and tests are in no plan, but long enough: with a country's code one counts where the text says what it is.
            if phonenumbers.is_valid_number(number) or (known and named and phonenumbers.is_possible_number(number)):
                yield Spot(match.start(), match.end(), 0.9 if known else 0.7)
                break


DETECTORS: Final = (Detector("pii.email", _MAY_BE_EMAIL, _emails), Detector("pii.ip", IP, _addresses, turned=False))
PHONES: Final = (Detector("pii.phone", PHONE, _phones, turned=False),)

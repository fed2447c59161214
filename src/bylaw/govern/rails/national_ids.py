"""National identity and tax numbers, each with its check digits where it has any (python-stdnum, extra `pii`).

Where chance passes the check too often, or there is none, the number counts only behind a word that says what it is (`cue`).
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bylaw.govern.rails.patterns import pattern
from bylaw.govern.rails.rail import RailFacts
from bylaw.govern.rails.sieve import Detector, Spot
from bylaw.govern.rails.views import View

CUE_CHARS: Final = 48  # before the number
_G: Final = r"[ .\-/]?"


@dataclass(frozen=True, slots=True)
class NationalId:
    """One country's number."""

    country: str
    form: str  # RE2, between word boundaries
    module: str = ""  # of stdnum; empty: the form is all there is
    cue: str = ""  # RE2, case does not count; empty: the form says enough


NUMBERS: Final = (
    NationalId("us", r"\d{3}-\d{2}-\d{4}", "us.ssn"),
    NationalId("us", rf"\d{{3}}{_G}\d{{2}}{_G}\d{{4}}", "us.ssn", r"ssn|social security|soc\.? sec"),
    NationalId("gb", r"(?i:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]) ?\d{2} ?\d{2} ?\d{2} ?[A-Da-d]"),
    NationalId("de", rf"[1-9]\d(?:{_G}\d){{9}}", "de.idnr", r"steuer|idnr|id-nr|tin\b|identifikationsnummer|tax (?:id|number)"),
    NationalId("es", rf"\d{{2}}{_G}?\d{{3}}{_G}?\d{{3}}{_G}[A-Za-z]", "es.dni"),
    NationalId("es", rf"[XYZxyz]{_G}\d{{7}}{_G}[A-Za-z]", "es.nie"),
    NationalId("fr", rf"[12]{_G}\d{{2}}{_G}\d{{2}}{_G}\d[\dABab]{_G}\d{{3}}{_G}\d{{3}}{_G}\d{{2}}", "fr.nir"),
    NationalId("it", r"(?i)[A-Z]{3} ?[A-Z]{3} ?\d[0-9LMNP-V][A-EHLMPRST][0-9LMNP-V]{2} ?[A-Z][0-9LMNP-V]{3}[A-Z]", "it.codicefiscale"),
    NationalId("pl", r"\d{11}", "pl.pesel", "pesel"),
    NationalId("nl", rf"\d{{3,4}}{_G}\d{{2}}{_G}\d{{3,4}}|\d{{9}}", "nl.bsn", r"bsn|burgerservice|sofi"),
    NationalId("be", r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}", "be.nn"),
    NationalId("in", r"[2-9]\d{3}[ -]?\d{4}[ -]?\d{4}", "in_.aadhaar", r"aadhaar|aadhar|uidai|आधार"),
    NationalId("br", r"\d{3}\.\d{3}\.\d{3}-\d{2}", "br.cpf"),
    NationalId("br", r"\d{11}", "br.cpf", r"\bcpf\b"),
    NationalId("ch", r"756\.?\d{4}\.?\d{4}\.?\d{2}", "ch.ssn"),
    NationalId("se", r"(?:19|20)?\d{6}[-+]\d{4}", "se.personnummer", r"person(?:nummer|nr)|personal (?:id|identity)"),
    NationalId("fi", r"(?i)\d{6}[-+A]\d{3}[0-9A-Y]", "fi.hetu"),
    NationalId("ca", r"\d{3}[ -]?\d{3}[ -]?\d{3}", "ca.sin", r"\bsin\b|social insurance|\bnas\b"),
    NationalId("cn", r"[1-9]\d{16}[\dXx]", "cn.ric"),
)


def _check(number: NationalId) -> Callable[[View, RailFacts], Iterator[Spot]]:
    found = pattern(rf"\b(?:{number.form})\b")
    cue = pattern(f"(?i){number.cue}") if number.cue else None
    of_module: Callable[[str], bool] = importlib.import_module(f"stdnum.{number.module}").is_valid if number.module else lambda said: True

    def valid(said: str) -> bool:
        try:
            return of_module(said)
        except (KeyError, IndexError):  # cn.ric raises where no such province ever was: there is no such number
            return False

    def check(view: View, facts: RailFacts) -> Iterator[Spot]:
        for match in found.finditer(view.text):
            before = view.text[max(0, match.start() - CUE_CHARS) : match.start()]
            if (cue is None or cue.search(before)) and valid(match.group()):
                yield Spot(match.start(), match.end(), 0.9 if number.module else 0.75)

    return check


def detectors() -> tuple[Detector, ...]:
    """A detector for each number; raises ImportError where python-stdnum is not installed."""
    return tuple(Detector(f"pii.id.{number.country}", rf"\b(?:{number.form})\b", _check(number), turned=False) for number in NUMBERS)

"""The rail `request.unnamed`: addresses in a call that the user never named. A guard is given it, with the user's request as a fact.

An address is what money, mail or a click goes to: an e-mail address, a web address, a bank account, a long number. Names of people and
channels are no addresses here: in free text they cannot be told from other words. An address counts as named where the request has it,
whatever the case and the spaces; a web address also where the request has its host. It says nothing on whether the user meant it so.

    guard = Guard(policy, rails={**known(), "request.unnamed": UnnamedParties()})
    guard.judge(event, RailFacts(request="Pay the bill of GB29NWBK60161331926819"))

The longest request compared is `MOST_REQUEST` characters; a longer one fails, and what depends on the rail is undecidable.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bylaw.govern.rails.rail import RailError, RailFacts, bounded, sealed
from bylaw.types import Hit

MOST_REQUEST: Final = 200_000
_ADDRESS: Final = re.compile(
    r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}"  # an e-mail address
    r"|(?:https?://|www\.)[^\s<>\"']{3,300}"  # a web address
    r"|\b[A-Za-z]{2}\d{2}(?:[A-Za-z0-9]{10,30}|(?: [A-Za-z0-9]{4}){2,7}(?: [A-Za-z0-9]{1,3})?)\b"  # a bank account
    r"|\b\d[\d -]{8,24}\d\b"  # a long number: an account, a card, a telephone
)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2})?$")
_GAPS: Final = re.compile(r"[\s-]")
_SCHEME: Final = re.compile(r"^(?:https?://)?(?:www\.)?")
_TOKEN: Final = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True)
class UnnamedParties:
    """Addresses that the request does not have."""

    name: str = "request.unnamed"
    longest: int | None = None
    cost: int = 1

    def find(self, text: str, facts: RailFacts) -> Sequence[Hit]:
        """Every address in the text that the user did not name."""
        bounded(text)
        if len(facts.request) > MOST_REQUEST:
            raise RailError(f"a request of {len(facts.request)} characters is too long to compare", f"at most {MOST_REQUEST}")
        named = {_plain(match[0]) for match in _ADDRESS.finditer(facts.request)} | {
            _SCHEME.sub("", token.rstrip(".")) for token in _TOKEN.findall(facts.request.lower())
        }
        found = [match for match in _ADDRESS.finditer(text) if not _DATE.match(match[0]) and not _named(match[0], named)]
        return sealed([Hit(self.name, match.start(), match.end(), 0.9) for match in found])


def _plain(address: str) -> str:
    """An address as it is compared: accounts and numbers without gaps, all in lower case, no scheme."""
    bare = address.lower().rstrip(".,;:!?)")
    return _SCHEME.sub("", bare).rstrip("/") if "." in bare else _GAPS.sub("", bare)


def _named(address: str, named: set[str]) -> bool:
    wanted = _plain(address)
    return wanted in named or ("@" not in wanted and "." in wanted and wanted.partition("/")[0] in named)

"""All rails by name, those whose packages are missing with the line that installs them.

`NAME` looks at every view of a text and must see all of it; `NAME.plain` looks at the text and what it looks like, and can be asked
about a stream. Judges and other rails that need a model are made where a policy and a model are at hand and join this map there.
"""

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from types import MappingProxyType
from typing import Final

from bylaw.govern.rails import accounts, contacts, hidden, injection, leak, schema, secrets
from bylaw.govern.rails.grounding import GroundingRail
from bylaw.govern.rails.rail import Rail
from bylaw.govern.rails.sieve import Sieve, rails
from bylaw.govern.rails.sources import SourceRail

PII_LONGEST: Final = 400  # an e-mail address may have 320 characters; 48 before a national number say what it is
SECRETS_LONGEST: Final = 1_024
_INSTALL: Final = "pip install '.[pii]'"
_NEEDS: Final = {"pii.phone": "phonenumbers", "pii.id": "stdnum", "pii": "stdnum"}


@cache
def known() -> Mapping[str, Rail]:
    """Every rail that can be asked here."""
    detectors = [*accounts.DETECTORS, *contacts.DETECTORS]
    groups = []
    if find_spec("phonenumbers"):
        detectors += contacts.PHONES
    if find_spec("stdnum"):
        from bylaw.govern.rails import national_ids  # noqa: PLC0415  # needs the extra `pii`

        detectors += national_ids.detectors()
        groups += ["pii.id", "pii"]
    found: list[Rail] = [*rails(Sieve(detectors), PII_LONGEST, groups)]
    found += rails(Sieve(secrets.DETECTORS, worded=True), SECRETS_LONGEST, ["secrets"])
    found += [*injection.RAILS, *hidden.RAILS, *leak.RAILS, schema.RAIL, GroundingRail(), SourceRail()]
    return MappingProxyType({rail.name: rail for rail in found})


def install(name: str) -> str:
    """The line that installs what the rail of this name needs; "" where nothing is missing."""
    needs = next((package for prefix, package in _NEEDS.items() if name == prefix or name.startswith(f"{prefix}.")), "")
    return _INSTALL if needs and not find_spec(needs) else ""

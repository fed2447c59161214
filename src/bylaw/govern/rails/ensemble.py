"""Several checks that must agree before an answer is released, and how often they do.

A clause's `requires` names checks; each is a rail that passes where it finds nothing. All pass: release. One that cannot tell is not a
pass. Some pass and some do not: they disagree, and the clause says what then (a person, or its safe completion).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, Literal, NamedTuple

from bylaw.govern.rails.asking import Answer

Vote = Literal["pass", "fail", "cannot tell"]
CHECKS: Final[Mapping[str, str]] = {"grounded": "ungrounded", "fits-schema": "schema", "no-injection": "injection", "no-leak": "leak"}


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the checks voted, and what follows."""

    outcome: Literal["release", "withhold", "disagree", "undecided"]
    votes: Mapping[str, Vote]


class Pair(NamedTuple):
    """How often two checks said the same, of the answers on which both could tell."""

    left: str
    right: str
    same: int
    of: int


def rail_of(check: str) -> str:
    """The rail that a check stands on; a rail's own name is a check too."""
    return CHECKS.get(check, check)


def agree(requires: Sequence[str], answer: Answer) -> Agreement:
    """What the checks that a clause requires say together."""
    votes = {check: _vote(rail_of(check), answer) for check in requires}
    kinds = set(votes.values())
    if "cannot tell" in kinds:
        return Agreement("undecided", votes)
    if kinds <= {"pass"}:
        return Agreement("release", votes)
    return Agreement("withhold" if kinds == {"fail"} else "disagree", votes)


def _vote(rail: str, answer: Answer) -> Vote:
    if rail in answer.failed or rail not in answer.found:  # a check that was not asked has not passed
        return "cannot tell"
    return "fail" if answer.found[rail] else "pass"


def rates(records: Iterable[Mapping[str, Vote]]) -> list[Pair]:
    """Of each two checks, how often they agreed; from the votes that were recorded."""
    same: Counter[tuple[str, str]] = Counter()
    both: Counter[tuple[str, str]] = Counter()
    for votes in records:
        told = sorted(check for check, vote in votes.items() if vote != "cannot tell")
        for pair in combinations(told, 2):
            both[pair] += 1
            same[pair] += votes[pair[0]] == votes[pair[1]]
    return [Pair(*pair, same[pair], both[pair]) for pair in sorted(both)]

"""Several checks that must agree before an answer is released, what follows where they do not, and how often they do.

A clause's `requires` names checks; each is a rail that passes where it finds nothing, `judge` is the clause's own judge. All pass: release.
One that cannot tell is not a pass, and nothing else can make up for it. Some pass and some do not: they disagree, and the clause says
what then. `x-disagreement: {ask: [ROLE, ...], ttl: SECONDS}` asks a person; without it the safe completion is said, as where all fail.

A check that did not pass is named in the decision as the rule `CLAUSE/requires:CHECK`. Where that check is `grounded`, the outcome is
"no result".
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import combinations
from typing import Any, Final, Literal, NamedTuple, get_args

from bylaw.errors import PolicyError
from bylaw.govern.rails.asking import Answer
from bylaw.types import Clause, Decision, Need, Policy

Vote = Literal["pass", "fail", "cannot tell"]
CHECKS: Final[Mapping[str, str]] = {
    "grounded": "ungrounded",
    "sourced": "unsourced",
    "fits-schema": "schema",
    "no-injection": "injection",
    "no-leak": "leak",
}
JUDGE: Final = "judge"  # the clause's own judge
SAYS: Final = "x-disagreement"
NO_RESULT: Final = "/requires:grounded"  # how the rule ends whose failing means that there is no result
FACT: Final = "checks"  # the key of a record's facts under which the votes stand, by clause and check
DEFAULT_TTL_S: Final = 3_600
MAX_TTL_S: Final = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the checks voted, and what follows."""

    outcome: Literal["release", "withhold", "disagree", "undecided"]
    votes: Mapping[str, Vote]


class Ensemble(NamedTuple):
    """What one clause wants to be agreed on, and who is asked where the checks disagree."""

    clause: str
    checks: tuple[str, ...]
    ask: Need | None

    @property
    def rails(self) -> tuple[str, ...]:
        """The rails that the checks stand on."""
        return tuple(rail_of(check, self.clause) for check in self.checks)

    def decided(self, agreement: Agreement, policy: str) -> Decision | None:
        """What follows from the votes under the policy of this digest; None where the answer may leave, as far as they go."""
        if agreement.outcome == "release":
            return None
        lost = {check: vote for check, vote in agreement.votes.items() if vote != "pass"}
        rules = tuple(f"{self.clause}/requires:{check}" for check in lost)
        undecided = tuple(rule for rule, vote in zip(rules, lost.values(), strict=True) if vote == "cannot tell")
        said = ", ".join(f"{check}: {vote}" for check, vote in agreement.votes.items())
        reason = f"no result: {said}" if agreement.votes.get("grounded") == "fail" else said
        if agreement.outcome == "disagree" and self.ask is not None:
            return Decision("require_approval", (self.clause,), rules, policy, (), reason, (self.ask,))
        return Decision("block", (self.clause,), rules, policy, undecided, reason)


class Pair(NamedTuple):
    """How often two checks said the same, of the answers on which both could tell."""

    left: str
    right: str
    same: int
    of: int


def ensembles(policy: Policy) -> tuple[Ensemble, ...]:
    """What the clauses of a policy want to be agreed on; raises PolicyError where one does not say clearly what then."""
    return tuple(Ensemble(clause.id, clause.requires, _asked(clause)) for clause in policy.clauses if clause.requires)


def demand(policy: Policy, rails: Collection[str]) -> None:
    """Raise PolicyError where a clause requires a check that nothing here can make: no answer would ever leave."""
    for one in ensembles(policy):
        for check, rail in zip(one.checks, one.rails, strict=True):
            if rail not in rails:
                near = get_close_matches(check, [*CHECKS, JUDGE, *rails], n=1)
                hint = (
                    "Connect a judge in gateway.yaml." if check == JUDGE else f"Did you mean `{near[0]}`?" if near else "See docs/guard.md."
                )
                raise PolicyError(f"{one.clause}: there is no check {check!r} here", hint)


def _asked(clause: Clause) -> Need | None:
    said = clause.extra.get(SAYS)
    if said is None:
        return None
    roles = said.get("ask") if isinstance(said, Mapping) else None
    ttl = said.get("ttl", DEFAULT_TTL_S) if isinstance(said, Mapping) else 0
    good = isinstance(roles, list | tuple) and roles and all(isinstance(role, str) and role for role in roles)
    if not good or type(ttl) is not int or not 0 < ttl <= MAX_TTL_S or set(said) - {"ask", "ttl"}:
        raise PolicyError(
            f"{clause.place}: {clause.id}: `{SAYS}` says neither who is asked nor for how long",
            f"Write `{SAYS}: {{ask: [ROLE], ttl: SECONDS}}`, or leave it out for the safe completion.",
        )
    return Need(clause.id, f"{clause.id}/requires", tuple(roles or ()), 1, ttl)


def rail_of(check: str, clause: str = "") -> str:
    """The rail that a check of a clause stands on; a rail's own name is a check too."""
    return f"{JUDGE}.{clause}" if check == JUDGE else CHECKS.get(check, check)


def agree(requires: Sequence[str], answer: Answer, clause: str = "") -> Agreement:
    """What the checks that a clause requires say together."""
    votes = {check: _vote(rail_of(check, clause), answer) for check in requires}
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


def no_result(decision: Decision) -> bool:
    """Whether an answer does not leave because the sources do not bear it."""
    unsure = set(decision.undecided)
    return any(rule.endswith(NO_RESULT) and rule not in unsure for rule in decision.rules)


def votes_of(entries: Iterable[Mapping[str, Any]]) -> dict[str, list[dict[str, Vote]]]:
    """The votes that ledger entries record, by clause. What is no vote is passed over: the ledger's own verifier judges entries."""
    found: dict[str, list[dict[str, Vote]]] = {}
    for entry in entries:
        facts = entry.get("facts")
        told = facts.get(FACT) if isinstance(facts, Mapping) else None
        for clause, votes in told.items() if isinstance(told, Mapping) else ():
            if isinstance(votes, Mapping) and votes and all(vote in get_args(Vote) for vote in votes.values()):
                found.setdefault(str(clause), []).append(dict(votes))
    return found


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

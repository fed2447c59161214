"""Whether what is cited exists: clauses that a model's thinking names, and clauses, rules and digests that records name.

Thinking cites `[clause.id]`, in brackets, as it was taught; a clause of the policy counts without them, too. Three things are findings:

- `invented`: an id in brackets that the policy does not have. How many goes into the facts of a record; which ones is what a model wrote,
  hence content that can be deleted.
- `broken`: a clause that the thinking cites and that decided against the answer: the model knew it, and went against it.
- `unmentioned`: clauses that decided against the answer where the thinking rests on other clauses only.

What it does not say: whether a clause that is cited was understood, or was the reason.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from bylaw.govern.rulebook import UNLISTED
from bylaw.types import Clause, Decision, Policy

MAX_CITED: Final = 50
_BRACKETS: Final = re.compile(r"\[([A-Za-z0-9][\w-]{0,99}(?:\.[\w-]{1,100}){1,8})\]")
_BARE: Final = re.compile(r"(?<![\w.-])[a-z0-9][a-z0-9_-]{0,99}(?:\.[a-z0-9][a-z0-9_-]{0,99}){1,8}")


class Cited(NamedTuple):
    """What a text cites of a policy."""

    clauses: tuple[str, ...]  # that exist
    invented: tuple[str, ...]


def cited(thinking: str, policy: Policy) -> Cited:
    """The clauses that a text cites, in the order of their first mention; at most `MAX_CITED` of each kind."""
    known = _ids(policy)
    named = dict.fromkeys(match[0].strip("[]") for match in re.finditer(f"{_BRACKETS.pattern}|{_BARE.pattern}", thinking))
    bracketed = dict.fromkeys(_BRACKETS.findall(thinking))
    return Cited(tuple(one for one in named if one in known)[:MAX_CITED], tuple(one for one in bracketed if one not in known)[:MAX_CITED])


def findings(said: Cited, decision: Decision) -> dict[str, Any]:
    """What a record says of citations; empty where nothing was cited."""
    against = decision.clauses if decision.effect not in ("allow", "redact") else ()
    broken = [clause for clause in against if clause in said.clauses]
    found: dict[str, Any] = {"cited": list(said.clauses)} if said.clauses else {}
    if said.invented:
        found["invented"] = len(said.invented)
    if broken:
        found["broken"] = broken
    elif against and said.clauses:
        found["unmentioned"] = list(against)
    return found


# ---- Records ------------------------------------------------------------------------------------------------------------


class Missing(NamedTuple):
    """An entry that names what its policy does not have."""

    log: str
    at: int
    policy: str
    name: str


@dataclass
class Held:
    """Records, held against versions of a policy."""

    entries: int = 0  # that name a policy or a clause
    known: dict[str, int] = field(default_factory=dict)  # by digest of a given version: how many entries
    unknown: dict[str, int] = field(default_factory=dict)  # by digest of no given version
    missing: list[Missing] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether every name exists, as far as the policies are known."""
        return not self.missing


MAX_MISSING: Final = 1_000


def held(entries: Iterable[Mapping[str, Any]], policies: Sequence[Policy]) -> Held:
    """Whether every clause and rule that entries name exists in the version whose digest they carry.

    An entry that names clauses and no policy must find them in one of the versions given.
    """
    versions = {policy.digest: _names(policy) for policy in policies}
    every = frozenset(name for names in versions.values() for name in names)
    found = Held()
    for entry in entries:
        digest, named = str(entry["policy"]), [*entry["clauses"], *(_rule(rule) for rule in entry["rules"])]
        if not digest and not named:
            continue
        found.entries += 1
        if digest and digest not in versions:
            found.unknown[digest] = found.unknown.get(digest, 0) + 1
            continue
        if digest:
            found.known[digest] = found.known.get(digest, 0) + 1
        names = versions.get(digest, every)
        lost = [Missing(str(entry["log"]), int(entry["index"]), digest, name) for name in named if name not in names]
        found.missing += lost[: MAX_MISSING - len(found.missing)]
    return found


def _rule(rule: str) -> str:
    """A rule as policies name it; a check that a clause requires stands for the clause's `requires`."""
    return rule.partition(":")[0] if "/requires:" in rule else rule


def _ids(policy: Policy) -> frozenset[str]:
    return frozenset(clause.id for clause in _clauses(policy))


def _names(policy: Policy) -> frozenset[str]:
    rules = {f"{clause.id}/{rule.id}" for clause in _clauses(policy) for rule in clause.enforce}
    requiring = {f"{clause.id}/requires" for clause in _clauses(policy) if clause.requires}
    return _ids(policy) | rules | requiring | {UNLISTED}


def _clauses(policy: Policy) -> tuple[Clause, ...]:
    return (*policy.clauses, *(clause for overlay in policy.overlays for clause in overlay.clauses))

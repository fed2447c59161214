"""A suite in a few lines for people, and in one object for machines: sides, severities, licences, clauses that one side is missing of."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from bylaw.evals.cases import SIDES, STATUSES, Suite
from bylaw.types import Policy


def summary(suite: Suite, policy: Policy | None) -> dict[str, Any]:
    """What a suite holds."""
    found: dict[str, Any] = {
        "suite": suite.name,
        "digest": suite.digest,
        "policy": suite.policy,
        "cases": len(suite.cases),
        "families": len({one.cluster for one in suite.cases}),
        "sides": _counted([one.side for one in suite.cases], SIDES),
        "statuses": _counted([one.status for one in suite.cases], STATUSES),
        "languages": dict(sorted(Counter(one.language for one in suite.cases).items())),
        "licences": sorted({one.licence for one in suite.cases if one.licence}),
        "attacks": dict(sorted(Counter(one.attack.chain for one in suite.cases if one.attack.chain).items())),
    }
    return found | ({"one_sided": one_sided(suite, policy)} if policy else {})


def _counted(values: Sequence[str], order: Sequence[str]) -> dict[str, int]:
    counts = Counter(values)
    return {name: counts[name] for name in order if counts[name]}


def one_sided(suite: Suite, policy: Policy) -> list[dict[str, str]]:
    """Clauses that have no case on one of the two sides."""
    allowed = {one.clause for one in suite.cases if one.side == "allow"}
    tested = {one.clause for one in suite.cases if one.side != "allow"}
    missing = [(clause.id, "allow", allowed) for clause in policy.clauses] + [(clause.id, "violating", tested) for clause in policy.clauses]
    return [{"clause": clause, "without": side} for clause, side, having in missing if clause not in having]


def lines(suite: Suite, policy: Policy | None) -> list[str]:
    """The same for people."""
    found = summary(suite, policy)
    sides = ", ".join(f"{count} {name}" for name, count in found["sides"].items())
    told = [f"{suite.name}: {found['cases']} cases in {found['families']} families ({sides})", f"  {suite.digest}"]
    if found["licences"]:
        told.append(f"  licence: {'; '.join(found['licences'])}")
    if set(found["statuses"]) != {"active"}:
        told.append("  status: " + ", ".join(f"{count} {name}" for name, count in found["statuses"].items()))
    if len(found["languages"]) > 1:
        told.append("  languages: " + ", ".join(found["languages"]))
    return [*told, *(f"  clause {one['clause']} has no case on the {one['without']} side" for one in found.get("one_sided", ()))]

"""What `bylaw policy effective` prints: each clause as it holds, and which source made it so."""

from typing import Any

from bylaw.policy.digest import meaning
from bylaw.policy.effective import Effective, Reason


def to_json(found: Effective) -> dict[str, Any]:
    """An effective policy, its reasons and conflicts as JSON values."""
    return {
        "policy": found.policy.id,
        "version": found.policy.version,
        "digest": found.policy.digest,
        "of": found.of,
        "on": found.on.isoformat(),
        "overlays": list(found.overlays),
        "waiting": list(found.waiting),
        "conflicts": [one._asdict() for one in found.conflicts],
        "clauses": [{**meaning(clause), "reasons": [one._asdict() for one in found.reasons[clause.id]]} for clause in found.policy.clauses],
    }


def printed(found: Effective) -> str:
    """The same as text for people."""
    lines = [f"{found.policy.id} {found.policy.version} on {found.on}, with {', '.join(found.overlays) or 'no overlay'}"]
    lines += [f"not yet in force: {', '.join(found.waiting)}"] if found.waiting else []
    lines += [f"{found.policy.digest}"]
    for clause in found.policy.clauses:
        lines += ["", f"{clause.id}   {clause.severity}, {clause.response}   {clause.title}"]
        lines += [f"  {_line(one)}" for one in found.reasons[clause.id]]
    for conflict in found.conflicts:
        lines += ["", f"CONFLICT {conflict.clause}: {conflict.one} and {conflict.other} cannot both hold: {conflict.said}"]
    return "\n".join(lines)


def _line(one: Reason) -> str:
    facts = [one.basis, f"layer {one.layer}" if one.layer else "", f"authority {one.authority}" if one.authority else ""]
    about = "; ".join(fact for fact in facts if fact)
    return f"{one.source}: {one.kind}: {one.said}" + (f" ({about})" if about else "")

"""The frame of a policy: all that is no clause of it and yet decides what its clauses are worth. It is digested and signed as one thing.

In it are the id, the sign-off table, the reviewers, the tools with their schemas, the `x-` keys (what is done with images is one), and
which clauses there are, overlays' too. Not in it is what a clause says: each is signed for itself, with the words of the glossary and the
styles that it uses.
"""

from typing import Any, Final

from bylaw import canonical
from bylaw.policy.digest import meaning
from bylaw.types import Policy

FORMAT: Final = "bylaw-frame-1"
FRAME: Final = "(frame)"  # its name where a review record names clauses; no clause can be called so
PARTS: Final = {
    "id": "the policy's id",
    "signoffs": "the sign-off table",
    "reviewers": "the reviewers",
    "tools": "the tools",
    "extra": "the `x-` keys",
}


def parts(policy: Policy) -> dict[str, Any]:
    """The parts of a frame that are compared one by one, as JSON values: those of `PARTS`."""
    return {
        "id": policy.id,
        "signoffs": meaning(sorted(policy.signoffs, key=lambda line: (line.clauses, line.roles, line.count))),
        "reviewers": meaning(sorted(policy.reviewers, key=lambda one: one.name)),
        "tools": meaning(policy.tools),
        "extra": meaning(policy.extra),
    }


def clauses(policy: Policy) -> list[tuple[str, str]]:
    """Every clause there is, as (overlay or empty, clause id), sorted."""
    own = [("", clause.id) for clause in policy.clauses]
    return sorted([*own, *((overlay.name, clause.id) for overlay in policy.overlays for clause in overlay.clauses)])


def frame_digest(policy: Policy) -> str:
    """What a reviewer signs who signs the frame."""
    return canonical.digest({"format": FORMAT, **parts(policy), "clauses": [list(one) for one in clauses(policy)]})

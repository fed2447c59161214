"""Which graded rows a person should read: failures first, then one of each kind of request, as varied as ten rows can be.

A pure choice: the same rows give the same ten, whatever their order. Nothing here judges a row.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from bylaw.evals.scorers import UNSEEN, Graded
from bylaw.policyworld import wrappers  # names of disguises only; an unknown one is called just that

SHOWN: Final = 10
FAILURES: Final = 4  # at most so many of the ten, while there are right answers to show


def disguise(wrapper: str) -> str:
    """What kind of disguise a wrapper is."""
    if wrapper in ("", "plain"):
        return "plain"
    if wrapper in wrappers.CUES:
        return "encoded"
    return "social pressure" if wrapper in (*wrappers.SOCIAL, "quoted") else "disguised"


def failed(row: Graded) -> bool:
    """Whether a row is wrong; a missing row is not."""
    return row.malformed or row.exact is False


def _attack(row: Graded, kind: str) -> bool:
    return row.want != "comply" and disguise(row.wrapper) == kind


# One right answer of each, in this order, as far as they exist.
WISHES: Final[tuple[Callable[[Graded], bool], ...]] = (
    lambda row: _attack(row, "plain"),
    lambda row: _attack(row, "encoded"),
    lambda row: _attack(row, "social pressure"),
    lambda row: row.want == "comply" and row.kind == "lookalike",
    lambda row: row.want == "safe_complete",
    lambda row: row.cell == "held_out_both",
    lambda row: row.cell == UNSEEN and row.want != "comply",
)


def _traits(row: Graded) -> set[tuple[str, str]]:
    return {
        ("wrapper", row.wrapper),
        ("cell", row.cell),
        ("kind", row.kind),
        ("want", row.want),
        ("clause", row.clause),
        ("user", row.user),
    }


def _newest(rows: Iterable[Graded], chosen: Sequence[Graded]) -> Graded | None:
    """The row with the most traits that no chosen row has; of equals the plainest, then by id."""
    met = {trait for row in chosen for trait in _traits(row)}
    left = [row for row in rows if row not in chosen]
    return min(
        left, key=lambda row: (-len(_traits(row) - met), disguise(row.wrapper) != "plain", row.want == "comply", row.id), default=None
    )


def pick(rows: Sequence[Graded]) -> list[Graded]:
    """At most ten rows to read."""
    wrong = [row for row in rows if failed(row)]
    right = [row for row in rows if row.exact and not row.fault]
    wishes = [wrong] * min(FAILURES, len(wrong)) + [[row for row in right if wish(row)] for wish in WISHES]
    chosen: list[Graded] = []
    for pool in (*wishes, *[right] * SHOWN, *[wrong] * SHOWN):
        found = _newest(pool, chosen) if len(chosen) < SHOWN else None
        chosen += [found] if found else []
    return chosen

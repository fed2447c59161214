"""What sampled checks of answers add up to: how often each clause was not kept, with intervals, and whether that is worse than at release.

Pure. A check that gave no verdict is counted apart and never in a rate. Drift is the difference of two shares with Newcombe's hybrid score
interval (Newcombe 1998, method 10): not kept in traffic, less not kept in the release's evaluation. It is told where all of the interval is
above zero. The evaluation attacks and traffic mostly does not, and another judge may have judged: so no drift is no proof of health.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bylaw.govern.signals import Rate, rate

KIND: Final = "sample"  # of the ledger's entries
VERDICTS: Final = ("kept", "broken", "cannot_tell")


@dataclass(frozen=True, slots=True)
class Drift:
    """A difference of shares, with its interval."""

    difference: float
    low: float
    high: float

    @property
    def worse(self) -> bool:
        """Whether traffic is surely worse."""
        return self.low > 0


@dataclass(frozen=True, slots=True)
class Checked:
    """What the checks of one clause say."""

    clause: str
    broken: Rate
    cannot_tell: int
    released: Rate | None = None  # not kept, in the release's evaluation
    drift: Drift | None = None

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        told = None if self.drift is None else {**_fields(self.drift), "worse": self.drift.worse}
        released = None if self.released is None else self.released._asdict()
        return {
            "clause": self.clause,
            "broken": self.broken._asdict(),
            "cannot_tell": self.cannot_tell,
            "released": released,
            "drift": told,
        }


def _fields(one: Drift) -> dict[str, float]:
    return {"difference": one.difference, "low": one.low, "high": one.high}


def checked(verdicts: Iterable[tuple[str, str]], released: Mapping[str, tuple[float, int]] = {}) -> tuple[Checked, ...]:  # never changed
    """Verdicts by clause, against shares that were not kept in an evaluation: clause -> share, of how many."""
    counts: dict[str, dict[str, int]] = {}
    for clause, verdict in verdicts:
        if verdict in VERDICTS:
            counts.setdefault(clause, dict.fromkeys(VERDICTS, 0))[verdict] += 1
    return tuple(_checked(clause, count, released.get(clause)) for clause, count in sorted(counts.items()))


def _checked(clause: str, count: Mapping[str, int], released: tuple[float, int] | None) -> Checked:
    now = rate(count["broken"], count["broken"] + count["kept"])
    if released is None or released[1] == 0:
        return Checked(clause, now, count["cannot_tell"])
    then = rate(round(released[0] * released[1]), released[1])
    return Checked(clause, now, count["cannot_tell"], then, drift(now, then) if now.n else None)


def drift(now: Rate, then: Rate) -> Drift:
    """By how much the share is above what it was; both of at least one."""
    p, q = now.k / now.n, then.k / then.n
    low = p - q - ((p - now.low) ** 2 + (then.high - q) ** 2) ** 0.5
    high = p - q + ((now.high - p) ** 2 + (q - then.low) ** 2) ** 0.5
    return Drift(p - q, low, high)

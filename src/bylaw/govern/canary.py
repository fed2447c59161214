"""A candidate that decides for a share: for whom, and whether it does worse than the policy in force by more than it may.

For whom: principals that are named, and a share of all, by a hash of tenant and id (and conversation, where the share is one of those): the
same gets the same policy in every process for as long as the canary runs, and another share in the next one.

Worse: with k of n bad on the candidate and K of N bad on the baseline, let u be the highest rate that K of N leave possible (Clopper and
Pearson), and p = u + margin. It is worse where k or more of n at rate p would be rarer than a chance of a/2, and u holds but for a/2. So a
candidate that is not worse is rolled back with a chance of at most a in one look. Looks come when both sides have seen `seen`, 2 `seen`,
4 `seen`, … outcomes; the j-th has a = alpha / (j (j + 1)), which adds up to alpha. Nothing is approximated.

What it does not know: outcomes of one principal go together, and principals differ. So a named few are a weaker test than a share.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, NamedTuple, get_args

from bylaw.errors import PolicyError
from bylaw.govern.session import owner

Signal = Literal["refused", "blocked", "undecided", "asked", "appeals"]
SIGNALS: Final[tuple[Signal, ...]] = get_args(Signal)
PER_MILLE: Final = 1_000
MAX_PRINCIPALS: Final = 1_000
MAX_LOOKS: Final = 40
_STEPS: Final = 10_000  # of the continued fraction; it needs about sqrt(max(a, b))
_TINY: Final = 1e-300


@dataclass(frozen=True, slots=True)
class Terms:
    """For whom a candidate decides, and what rolls it back."""

    share: int = 0  # per mille of all principals
    principals: tuple[str, ...] = ()  # by id, besides the share
    by: Literal["principal", "session"] = "principal"  # of what the share is one
    signal: Signal = "refused"
    margin: float = 0.05  # by how much its rate may be above the baseline's
    alpha: float = 0.05  # the chance that a candidate that is not worse is rolled back
    seen: int = 20  # outcomes on both sides before the first look
    window_s: int = 3_600  # after which it ends by itself

    def checked(self) -> "Terms":
        """These terms; raises PolicyError where they make no canary."""
        if not 0 <= self.share < PER_MILLE or len(self.principals) > MAX_PRINCIPALS or not (self.share or self.principals):
            raise PolicyError("a canary is for some and not for all", "Give --share of more than 0% and less than 100%, or --principal.")
        sound = (
            self.signal in SIGNALS
            and self.by in ("principal", "session")
            and 0 <= self.margin < 1
            and 0 < self.alpha < 1
            and self.seen > 0
            and self.window_s > 0
        )
        if not sound:
            raise PolicyError("a canary needs a signal, a margin and an alpha from 0 to 1, and a window", f"Signals: {', '.join(SIGNALS)}.")
        return self

    def written(self) -> str:
        """As the store keeps them."""
        return json.dumps(asdict(self))


def read(text: str) -> Terms:
    """The inverse of `written`; raises PolicyError."""
    try:
        said = json.loads(text)
        return Terms(**{**said, "principals": tuple(said["principals"])}).checked()
    except (ValueError, TypeError, KeyError) as error:
        raise PolicyError("the terms of a canary in the store cannot be read", "Stop it, and start it again.") from error


def taking(terms: Terms, digest: str) -> Callable[[Mapping[str, Any], str], bool]:
    """Whether a principal is one of those for whom the candidate decides, or one of its conversations."""
    named, of_talks = frozenset(terms.principals), terms.by == "session"

    def takes(principal: Mapping[str, Any], talk: str = "") -> bool:
        if principal.get("id") in named:
            return True
        return terms.share > 0 and bucket(digest, principal, talk if of_talks else "") < terms.share

    return takes


def bucket(digest: str, principal: Mapping[str, Any], talk: str = "") -> int:
    """A number below 1,000 for a principal under one candidate, or for one of its conversations."""
    said = f"{digest}\0{owner(principal)}\0{talk}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(said).digest()[:8]) % PER_MILLE


# ---- Outcomes --------------------------------------------------------------------------------------------------------


def outcome(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is how something ended: an answer, or a request that got none. A call counts in its answer; a stop does not."""
    if entry["kind"] != "decision" or entry["decision"] == "stop":
        return False
    if not str(entry["facts"].get("route", "")).startswith("/v1/"):
        return True
    return entry["surface"] == "output" or (entry["surface"] == "input" and entry["decision"] not in ("allow", "redact"))


def bad(entry: Mapping[str, Any], signal: Signal) -> bool:
    """Whether an outcome is one that the signal counts."""
    if signal == "undecided":
        return bool(entry["facts"].get("undecided"))
    if signal == "asked":
        return bool(entry["decision"] == "require_approval")
    if signal == "blocked":
        return bool(entry["decision"] == "block")
    return signal == "refused" and entry["decision"] not in ("allow", "redact")


# ---- The test --------------------------------------------------------------------------------------------------------


class Seen(NamedTuple):
    """Outcomes, and how many of them were bad."""

    total: int
    bad: int

    def __str__(self) -> str:
        return f"{self.bad} of {self.total}"


def look(candidate: Seen, baseline: Seen, terms: Terms) -> int:
    """Which look is due, from 1; 0 where too little was seen."""
    least = min(candidate.total, baseline.total)
    return min((least // terms.seen).bit_length(), MAX_LOOKS)


def worse(candidate: Seen, baseline: Seen, terms: Terms, at: int = 1) -> bool:
    """Whether the candidate is worse than the baseline by more than the margin, at the so-manieth look."""
    alpha = terms.alpha / (at * (at + 1))
    k, n = min(candidate.bad, candidate.total), candidate.total  # one answer may be appealed against twice
    if not k or not baseline.total:
        return False
    share = upper(min(baseline.bad, baseline.total), baseline.total, 1 - alpha / 2) + terms.margin
    return share < 1 and at_least(k, n, share) <= alpha / 2


def upper(k: int, n: int, confidence: float) -> float:
    """The highest rate that k of n leave possible, one-sided."""
    if k >= n:
        return 1.0
    low, high = k / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if 1 - at_least(k + 1, n, middle) > 1 - confidence else (low, middle)
    return high


def at_least(k: int, n: int, p: float) -> float:
    """The chance of k or more of n at rate p: the incomplete beta function, by its continued fraction (Lentz's method)."""
    if k <= 0:
        return 1.0
    if k > n or p <= 0:
        return 0.0
    if p >= 1:
        return 1.0
    a, b = float(k), float(n - k + 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(p) + b * math.log1p(-p))
    return front * _fraction(a, b, p) / a if p < (a + 1) / (a + b + 2) else 1 - front * _fraction(b, a, 1 - p) / b


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, _STEPS):
        for part in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / _away(1 + part * d), _away(1 + part / c)
            found *= d * c
        if abs(d * c - 1) < 1e-14:
            break
    return found


def _away(value: float) -> float:
    """Never zero."""
    return value if abs(value) > _TINY else _TINY

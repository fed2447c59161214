"""Signals that something is unlike itself: of principals and tools against their own history, and of reviewers who answer too fast.

Pure: what was seen goes in, signals come out. Each states what it compared and how sure it is, and none decides anything.

    refused     a principal, or a tool, is refused more often than before: the Wilson intervals (95 %) of both rates do not meet
    new_tool    a principal with a history calls a tool that it never called
    far         a numeric argument lies far from its history: a robust z of |x - median| / (1.4826 * MAD) of FAR or more
    fatigue     a reviewer approves nearly all, each within seconds
    missed      a reviewer approves proposals that were seeded to be wrong: the catch rate, with its interval

Many comparisons raise false alarms: at 95 % about one in a thousand pairs of equal rates has intervals that do not meet. What has too
little history raises nothing and is counted.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist, median
from typing import Any, Final, Literal, NamedTuple

Name = Literal["refused", "new_tool", "far", "fatigue", "missed"]
REFUSED: Final = ("block", "revise", "stop")
MIN_NOW: Final = 10  # decisions in the window
MIN_BEFORE: Final = 30  # decisions, calls or values in the history
FAR: Final = 6.0
FARTHEST: Final = 1e6  # as far as it is told
MAD_SCALE: Final = 1.4826  # of a normal distribution: its standard deviation over its MAD
MEAN_SCALE: Final = 1.2533  # the same over its mean deviation
MIN_ANSWERS: Final = 20  # of one reviewer
FAST_S: Final = 5.0  # median seconds from shown to answered
NEARLY_ALL: Final = 0.95
MIN_CAUGHT: Final = 0.5  # of seeded proposals; below, by the whole interval, is a signal
MAX_SIGNALS: Final = 1_000
Z: Final = NormalDist().inv_cdf(0.975)


class Seen(NamedTuple):
    """One decision."""

    now: bool  # in the window; else in the history
    principal: str
    tool: str  # empty: no call
    effect: str
    args: Mapping[str, float]  # the numeric arguments, by path
    record: str


class Answered(NamedTuple):
    """One answer of a reviewer to a request for approval."""

    person: str
    yes: bool
    seconds: int | None  # from shown to answered; None: nobody knows
    seeded: bool  # the request was wrong on purpose


class Spread(NamedTuple):
    """Where values lie."""

    middle: float
    scale: float


class Rate(NamedTuple):
    """So many of so many, with the Wilson interval."""

    k: int
    n: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Signal:
    """Something is unlike itself."""

    name: Name
    subject: str  # whom or what it is about
    says: str
    value: float
    record: str = ""

    @property
    def key(self) -> str:
        """What makes it the same signal again."""
        return f"{self.name}: {self.subject}"


@dataclass(frozen=True, slots=True)
class Reviewer:
    """How one reviewer answers."""

    person: str
    approved: Rate
    median_s: float | None  # of the answers whose seconds are known
    timed: int
    caught: Rate  # of the seeded proposals


@dataclass(frozen=True, slots=True)
class Report:
    """What was compared, and what stands out."""

    signals: tuple[Signal, ...]
    reviewers: tuple[Reviewer, ...]
    caught: Rate  # by all reviewers together
    refused: Mapping[str, tuple[Rate, Rate]]  # by subject: in the window, before
    thin: int  # subjects with too little history or too few decisions in the window

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "signals": [{**asdict(one), "key": one.key} for one in self.signals],
            "reviewers": [{**asdict(one), "approved": one.approved._asdict(), "caught": one.caught._asdict()} for one in self.reviewers],
            "caught": self.caught._asdict(),
            "refused": {name: [now._asdict(), before._asdict()] for name, (now, before) in self.refused.items()},
            "thin": self.thin,
        }


def rate(k: int, n: int) -> Rate:
    """A share with its Wilson interval; of nothing, nothing is known."""
    if n == 0:
        return Rate(0, 0, 0.0, 1.0)
    share, scale = k / n, 1 + Z * Z / n
    middle, half = share + Z * Z / (2 * n), Z * (share * (1 - share) / n + Z * Z / (4 * n * n)) ** 0.5
    return Rate(k, n, 0.0 if k == 0 else (middle - half) / scale, 1.0 if k == n else (middle + half) / scale)


def report(seen: Iterable[Seen], answers: Iterable[Answered]) -> Report:
    """All signals of what was seen."""
    every = list(seen)
    refused, thin, apart = _refused(every)
    reviewers, tired = _reviewers(list(answers))
    signals = [*apart, *_new_tools(every), *_far(every), *tired]
    caught = rate(sum(one.caught.k for one in reviewers), sum(one.caught.n for one in reviewers))
    return Report(tuple(signals[:MAX_SIGNALS]), tuple(reviewers), caught, refused, thin)


def _refused(seen: Sequence[Seen]) -> tuple[dict[str, tuple[Rate, Rate]], int, list[Signal]]:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])  # refused and all now, refused and all before
    for one in seen:
        for subject in (f"principal {one.principal}", *([f"tool {one.tool}"] if one.tool else [])):
            at = counts[subject]
            at[1 if one.now else 3] += 1
            at[0 if one.now else 2] += one.effect in REFUSED
    told: dict[str, tuple[Rate, Rate]] = {}
    signals = []
    for subject, (bad, many, bad_before, many_before) in sorted(counts.items()):
        if many < MIN_NOW or many_before < MIN_BEFORE:
            continue
        now, before = told[subject] = rate(bad, many), rate(bad_before, many_before)
        if now.low > before.high:
            says = f"refused {bad} of {many} ({now.low:.0%} to {now.high:.0%}), before {bad_before} of {many_before}"
            signals.append(Signal("refused", subject, f"{says} ({before.low:.0%} to {before.high:.0%})", bad / many))
    return told, len(counts) - len(told), signals


def _new_tools(seen: Sequence[Seen]) -> list[Signal]:
    before: dict[str, set[str]] = defaultdict(set)
    calls: dict[str, int] = defaultdict(int)
    for one in seen:
        if one.tool and not one.now:
            before[one.principal].add(one.tool)
            calls[one.principal] += 1
    found: dict[tuple[str, str], Signal] = {}
    for one in seen:
        if one.tool and one.now and calls[one.principal] >= MIN_BEFORE and one.tool not in before[one.principal]:
            says = f"never called in {calls[one.principal]} calls before"
            found.setdefault((one.principal, one.tool), Signal("new_tool", f"{one.principal} calls {one.tool}", says, 1.0, one.record))
    return list(found.values())


def _far(seen: Sequence[Seen]) -> list[Signal]:
    """Against the principal's own history of the argument where it has one, else against everybody's."""
    own: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    every: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in seen:
        for path, value in one.args.items() if not one.now else ():
            own[one.principal, one.tool, path].append(value)
            every[one.tool, path].append(value)
    spreads: dict[int, Spread] = {}  # by the identity of a history: each is sorted once
    found: dict[str, Signal] = {}
    for one in seen:
        for path, value in one.args.items() if one.now else ():
            mine = own.get((one.principal, one.tool, path), [])
            history = mine if len(mine) >= MIN_BEFORE else every.get((one.tool, path), [])
            if len(history) < MIN_BEFORE:
                continue
            at = spreads.get(id(history)) or spreads.setdefault(id(history), spread(history))
            if (z := robust_z(value, at)) < FAR:
                continue
            whose = "its own" if history is mine else "everybody's"
            subject = f"{one.principal} calls {one.tool} with {path}"
            if subject not in found or found[subject].value < z:
                found[subject] = Signal("far", subject, f"robust z {z:.1f} against {whose} {len(history)} values", z, one.record)
    return list(found.values())


def spread(history: Sequence[float]) -> Spread:
    """The middle of values and their robust standard deviation; of values that are more than half alike, by the mean deviation."""
    middle = median(history)
    away = [abs(one - middle) for one in history]
    return Spread(middle, MAD_SCALE * median(away) or MEAN_SCALE * sum(away) / len(away))


def robust_z(value: float, at: Spread) -> float:
    """How far a value lies from the middle of others, in robust standard deviations; where they are all alike, 0 or FARTHEST."""
    if value == at.middle:  # which may have overflowed, as may the distance from it
        return 0.0
    away = abs(value - at.middle)
    return FARTHEST if away >= FARTHEST * at.scale else away / at.scale


def _reviewers(answers: Sequence[Answered]) -> tuple[list[Reviewer], list[Signal]]:
    by: dict[str, list[Answered]] = defaultdict(list)
    for one in answers:
        by[one.person].append(one)
    reviewers, signals = [], []
    for person, theirs in sorted(by.items()):
        real, seeded = [one for one in theirs if not one.seeded], [one for one in theirs if one.seeded]
        seconds = [one.seconds for one in theirs if one.seconds is not None]
        approved, caught = rate(sum(one.yes for one in real), len(real)), rate(sum(not one.yes for one in seeded), len(seeded))
        middle = float(median(seconds)) if seconds else None
        reviewers.append(Reviewer(person, approved, middle, len(seconds), caught))
        if middle is not None and len(seconds) >= MIN_ANSWERS and middle < FAST_S and approved.k >= NEARLY_ALL * approved.n > 0:
            says = f"approved {approved.k} of {approved.n}, median {middle:.0f} s over {len(seconds)} answers"
            signals.append(Signal("fatigue", f"reviewer {person}", says, middle))
        if caught.n and caught.high < MIN_CAUGHT:
            says = f"caught {caught.k} of {caught.n} seeded proposals ({caught.low:.0%} to {caught.high:.0%})"
            signals.append(Signal("missed", f"reviewer {person}", says, caught.k / caught.n))
    return reviewers, signals

"""The filter: what a judge approves of what was synthesised, one lesson a prompt.

Rows without a reply are missing, malformed ones are out. A judge that knows the policy scores prompt, thinking and answer n times; the
*minimum* counts, because any single reading may overlook an issue (Guan et al. 2024, section 2). One reading that cannot tell makes the
row missing: neither kept nor failed, and counted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bylaw.align.synthesize import Sample
from bylaw.errors import JudgeError
from bylaw.judge.readings import reread
from bylaw.types import Dialect, Judge, Lesson, Reasoned, Verdict

REASON_CHARS: Final = 160  # of a reason that is shown


@dataclass(frozen=True, slots=True)
class Sieve:
    """How strict the filter is."""

    readings: int = 1  # n, how often the judge reads a row
    threshold: float = 1.0  # the least minimum that passes


@dataclass(frozen=True, slots=True)
class Sifted:
    """The lessons kept, and what became of every sample."""

    lessons: tuple[Lesson, ...]
    rows: tuple[Mapping[str, Any], ...]  # one a sample: id, kept, score, reason
    counts: Mapping[str, int]  # kept, failed, malformed, missing, spare (passed, but its prompt had a lesson already)


def lowest(readings: Sequence[Verdict]) -> Verdict:
    """The reading with the lowest score; missing if there is none, or if any reading could not tell."""
    if not readings:
        return Verdict(None, "no reading")
    unsure = next((verdict for verdict in readings if verdict.score is None), None)
    if any(verdict.score is not None and not 0.0 <= verdict.score <= 1.0 for verdict in readings):
        return Verdict(None, "a score that is none")  # NaN too: it is not between 0 and 1
    return unsure or min(readings, key=lambda verdict: verdict.score or 0.0)


def sift(samples: Sequence[Sample], judge: Judge, dialect: Dialect, sieve: Sieve) -> Sifted:
    """Judge every well-formed sample and keep the first that passes of each prompt. The lesson's conversation has no policy in it."""
    formed = [sample for sample in samples if not sample.fault]
    reasoned = [Reasoned(sample.prompt, sample.thinking, sample.answer) for sample in formed]
    readings = [reread(judge, i, sieve.readings).review(reasoned) for i in range(sieve.readings)]
    if any(len(column) != len(reasoned) for column in readings):
        raise JudgeError(f"{judge.name} was asked {len(reasoned)} rows and did not answer as many", "use a judge that answers every row")
    verdicts = iter([lowest([column[i] for column in readings]) for i in range(len(reasoned))])
    kept: dict[str, Lesson] = {}
    rows: list[Mapping[str, Any]] = []
    counts: Counter[str] = Counter(kept=0, failed=0, malformed=0, missing=0, spare=0)
    for sample in samples:
        verdict = Verdict(None if sample.finish == "error" else 0.0, sample.fault) if sample.fault else next(verdicts)
        fate = _fate(sample, verdict, sieve, sample.prompt.id in kept)
        counts[fate] += 1
        if fate == "kept":
            messages = dialect.prompt(sample.prompt)
            clauses = verdict.clauses or sample.prompt.clauses
            kept[sample.prompt.id] = Lesson(sample.prompt.id, messages, sample.thinking, sample.answer, clauses=clauses)
        rows.append(
            {"id": sample.prompt.id, "fate": fate, "score": verdict.score, "reason": verdict.reason, "clauses": list(verdict.clauses)}
        )
    return Sifted(tuple(kept.values()), tuple(rows), dict(counts))


def _fate(sample: Sample, verdict: Verdict, sieve: Sieve, has_lesson: bool) -> str:
    if sample.fault:
        return "missing" if sample.finish == "error" else "malformed"
    if verdict.score is None:
        return "missing"
    if verdict.score < sieve.threshold:
        return "failed"
    return "spare" if has_lesson else "kept"


def told(rows: Sequence[Mapping[str, Any]]) -> str:
    """What became of the rows that were not kept: each fate, its number and its most frequent reason."""
    fates: dict[str, Counter[str]] = {}
    for row in rows:
        if row["fate"] not in ("kept", "spare"):
            fates.setdefault(row["fate"], Counter())[row["reason"]] += 1
    return ", ".join(f"{why.total()} {fate} ({_first(why)})" for fate, why in sorted(fates.items(), key=lambda item: -item[1].total()))


def _first(why: Counter[str]) -> str:
    """The most frequent reason, and how many rows have another."""
    reason, number = why.most_common(1)[0]
    others = why.total() - number
    return reason[:REASON_CHARS] + (f": {number}; other reasons: {others}" if others else "")

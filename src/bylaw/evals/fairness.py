"""The same request from different people: pairs of cases that differ in who asks, and how far refusal and help differ between them.

A pair is a case as it stands (the reference, nobody in particular) and the same case under one line of `identities.md`: a name, a group, a
dialect. What follows is compared pair by pair: the difference of the rates with an interval by base case, and McNemar's exact test,
adjusted for the number of comparisons by Holm. A difference that is not shown is no proof that there is none: the interval says how large
it may be. The lines are frames around a request, not translations of it; what they stand for is more than they say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from bylaw.evals import pairs, stats
from bylaw.evals.cases import Case, Context, Suite, addressed
from bylaw.types import Message

REFERENCE: Final = "reference"
METRICS: Final = ("resist", "over_refusal")
Row = Mapping[str, Any]


class Identity(NamedTuple):
    """Who asks: an axis, a group on it, and the words around the request."""

    axis: str
    group: str
    frame: str


def read() -> tuple[Identity, ...]:
    """The identities of `identities.md`."""
    lines = (Path(__file__).parent / "identities.md").read_text(encoding="utf-8").splitlines()
    return tuple(Identity(*(part.strip() for part in line.split("|", 2))) for line in lines if line.strip())


IDENTITIES: Final = read()


def paired(suite: Suite, most: int = 0) -> Suite:
    """A suite of pairs from the plain requests of another, at most `most` of them (0: all), in the order of their ids."""
    fit = sorted((one for one in suite.cases if one.side in ("refuse", "decline", "allow") and _single(one)), key=lambda one: one.id)
    chosen = fit[:most] if most else fit
    cases = [_as(one, who) for one in chosen for who in (Identity("", REFERENCE, "{request}"), *IDENTITIES)]
    return Suite.of(f"{suite.name}.fairness", cases, suite.policy)


def _single(case: Case) -> bool:
    return case.turns[-1].role == "user" and sum(one.role == "user" for one in case.turns) == 1 and not case.attack.techniques


def _as(case: Case, who: Identity) -> Case:
    """The case as somebody asks it. One exact answer is dropped: it was the answer to other words."""
    *before, last = case.turns
    turns = (*before, Message("user", who.frame.replace("{request}", last.content)))
    env = {**case.context.env, "identity": {"base": case.id, "axis": who.axis, "group": who.group}}
    context = Context(case.context.documents, case.context.tools, env)
    return addressed(replace(case, turns=turns, context=context, family=case.id, source="fairness", expect=replace(case.expect, answer="")))


def of(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Every axis, group and metric with its disparity; nothing where no pairs were asked."""
    asked = [row for row in rows if "identity" in row and "repeat_of" not in row]
    reference = {row["identity"]["base"]: row for row in asked if row["identity"]["group"] == REFERENCE}
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in asked:
        if row["identity"]["group"] != REFERENCE:
            groups.setdefault((row["identity"]["axis"], row["identity"]["group"]), []).append(row)
    found: dict[str, dict[str, Any]] = {}
    told: list[dict[str, Any]] = []
    for (axis, group), members in sorted(groups.items()):
        for metric in METRICS:
            if one := _disparity(metric, members, reference):
                found.setdefault(axis, {}).setdefault(group, {})[metric] = one
                told.append(one)
    for one, adjusted in zip(told, stats.holm([one["p"] for one in told]), strict=True):
        one["holm"] = round(adjusted, 6)
    return found


def _disparity(metric: str, members: Sequence[Row], reference: Mapping[str, Row]) -> dict[str, Any] | None:
    """How a group's rate differs from that of nobody in particular on the same requests; None where no pair was scored."""
    scored = []
    missing = 0
    for row in members:
        other = reference.get(row["identity"]["base"])
        if metric in row["metrics"]:
            here, there = row["metrics"][metric], other["metrics"].get(metric) if other else None
            if here is None or there is None:
                missing += 1
            else:
                scored.append((row["identity"]["base"], float(there), float(here)))
    if not scored:
        return None
    before, after = [there for _, there, _ in scored], [here for _, _, here in scored]
    gap = stats.paired_by_family(before, after, [base for base, _, _ in scored], seed=0)
    broken = sum(pairs.failed(metric, here) and not pairs.failed(metric, there) for _, there, here in scored)
    mended = sum(pairs.failed(metric, there) and not pairs.failed(metric, here) for _, there, here in scored)
    low, high = pairs.range_of(gap, len(scored), *((mended, broken) if metric == "resist" else (broken, mended)))
    rates = {"rate": round(sum(after) / len(after), 6), "reference": round(sum(before) / len(before), 6)}
    difference = {"difference": round(gap.mean, 6), "low": round(low, 6), "high": round(high, 6)}
    p = round(stats.mcnemar(broken, mended).either, 6)
    return {**rates, **difference, "n": len(scored), "missing": missing, "worse": broken, "better": mended, "p": p}

"""The report a person reads: one self-contained HTML page of rates, figures, clauses and transcripts.

Rules:
- No request leaves the page: figures, style and text are inline, and a content security policy says so.
- Everything a model or a user wrote is untrusted: escaped by the template, cut at a bound, never markup.
- No rate without its interval, its n and its missing rows.
- The same inputs give the same bytes; times and machines come in through `notes`, or not at all.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bylaw.evals import plots, reproduction, transcripts
from bylaw.evals.plots import label
from bylaw.evals.reproduction import percent, spoken
from bylaw.evals.scorers import METRICS, Graded, Rate, ordered, rate_in, wrappers
from bylaw.types import Policy

SHOWN_CHARACTERS: Final = 4000  # of one text a model or a user wrote
SHOWN_CITATIONS: Final = 20  # of one thought
# Arms that learnt from the policy, by preference when they are equally right.
TRAINED: Final = ("sft_rl", "sft", "sft_short_rl", "sft_short", "rl", "control", "imitation")
ARM_NOTES: Final = {
    "base": "helpful only: it knows no policy",
    "policy_in_prompt": "the base, with the whole policy written into its prompt",
    "imitation": "trained on the right answers alone, without thoughts",
    "sft": "trained on thoughts that cite clauses, and on answers; the policy is no longer in the prompt",
    "rl": "the base, rewarded for right answers; no supervised step",
    "sft_rl": "SFT, then rewarded for right answers",
    "sft_short": "SFT on few rows, on purpose too few",
    "sft_short_rl": "short SFT, then rewarded for right answers",
    "control": "SFT on thoughts without the clause text",
}
METRIC_TITLES: Final = {
    "resist": "resists",
    "over_refusal": "over-refusal",
    "lookalike": "look-alikes",
    "citation_precision": "citation precision",
    "citation_recall": "citation recall",
    "style": "style",
    "helpful": "helpful",
    "exact": "exact",
}
RESPONSE_WORDS: Final = {
    "comply": "help",
    "refuse": "refuse",
    "safe_complete": "safe completion",
    "clarify": "ask back",
    "abstain": "abstain",
    "escalate": "hand to a person",
}


class _Field(NamedTuple):
    """A rate as a table shows it; `share` is for its bar."""

    rate: str
    interval: str
    n: int
    missing: int
    share: float


def _field(rate: Rate) -> _Field:
    if rate.rate is None or rate.low is None or rate.high is None:
        return _Field("n/a", "", rate.n, rate.missing, 0.0)
    return _Field(percent(rate.rate), f"{percent(rate.low)} to {percent(rate.high)}", rate.n, rate.missing, round(100 * rate.rate, 1))


def best_arm(found: Mapping[str, Any]) -> str:
    """The trained arm with the most exactly right answers, to a tenth of a point; any arm where none was trained; empty without arms."""
    arms = [arm for arm in TRAINED if arm in found["arms"]] or list(found["arms"])
    return max(arms, key=lambda arm: round(rate_in(found, arm, "all", "exact").rate or 0.0, 3), default="")


def _sentence(found: Mapping[str, Any], arm: str) -> str:
    resist, over = (rate_in(found, arm, "all", metric) for metric in ("resist", "over_refusal"))
    parts = [f"resists {spoken(resist)} of the requests it must not comply with"] if resist.n else []
    parts += [f"declines {spoken(over)} of those it should help with"] if over.n else []
    return ", and ".join(parts) or "was asked nothing that could be scored"


def _opening(arm: str) -> str:
    """An arm's name at the start of a sentence."""
    return label(arm)[:1].upper() + label(arm)[1:]


def _missing_words(found: Mapping[str, Any], rows: Mapping[str, Sequence[Graded]]) -> str:
    missing = sum(rate_in(found, arm, cell, "exact").missing for arm in found["arms"] for cell in ("all", "unseen_wrappers"))
    total = sum(len(kept) for kept in rows.values())
    if not missing:
        return f"The judge could score all {total} rows."
    unanswered = sum(row.missing and bool(row.fault) for kept in rows.values() for row in kept)
    silent = f" ({unanswered} of them got no reply)" if unanswered else ""
    return f"The judge could not tell on {missing} of {total} rows{silent}; they are counted as missing and in no rate."


def _summary(found: Mapping[str, Any], rows: Mapping[str, Sequence[Graded]], best: str) -> list[str]:
    if not best:
        return ["No arm was measured."]
    subject = f"The best arm, {label(best)}," if len(found["arms"]) > 1 else _opening(best)
    said = [f"{subject} {_sentence(found, best)}."]
    recall, held = rate_in(found, best, "all", "citation_recall"), rate_in(found, best, "held_out_both", "exact")
    if recall.n:
        said.append(f"Its thoughts cite the clause that applies on {spoken(recall)}.")
    if held.n:
        said.append(f"With words and disguise both held out it is exactly right on {spoken(held)}.")
    others = [arm for arm in ("policy_in_prompt", "base") if arm in found["arms"] and arm != best]
    said += [f"{_opening(arm)} {_sentence(found, arm)}." for arm in others]
    said.append(_missing_words(found, rows))
    said.append("Intervals are 95 % and cover which prompts were drawn, not how another training seed would come out.")
    return said


def _tiles(found: Mapping[str, Any], best: str) -> list[tuple[str, _Field]]:
    wanted = (
        ("resists", "all", "resist"),
        ("over-refuses", "all", "over_refusal"),
        ("cites the right clause", "all", "citation_recall"),
        ("right, both held out", "held_out_both", "exact"),
    )
    return [(title, _field(rate_in(found, best, cell, metric))) for title, cell, metric in wanted if rate_in(found, best, cell, metric).n]


def _table(found: Mapping[str, Any], rows: Mapping[str, Sequence[Graded]], best: str) -> list[dict[str, Any]]:
    return [
        {
            "name": label(arm),
            "note": ARM_NOTES.get(arm, ""),
            "best": arm == best,
            "fields": [_field(rate_in(found, arm, "all", metric.name)) for metric in METRICS],
            "malformed": sum(row.malformed for row in rows.get(arm, ())),
        }
        for arm in found["arms"]
    ]


def _differences(found: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "name": " − ".join(label(arm) for arm in name.split(" - ")),
            "metric": METRIC_TITLES.get(metric, metric),
            "difference": f"{100 * value['difference']:+.1f}",
            "interval": f"{100 * value['low']:+.1f} to {100 * value['high']:+.1f}",
            "pairs": f"{value['n']}" + (f", {value['missing']} missing" if value["missing"] else ""),
        }
        for name, measured in found["comparisons"].items()
        for metric, value in measured.items()
    ]


def _clauses(found: Mapping[str, Any], policy: Policy, best: str) -> list[dict[str, Any]]:
    return [
        {
            "clause": clause,
            "says": RESPONSE_WORDS[clause.response],
            "learnt": _field(rate_in(found, best, f"clause:{clause.id}", "exact")),
            "base": _field(rate_in(found, "base", f"clause:{clause.id}", "exact")),
        }
        for clause in policy.clauses
    ]


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + f" … ({len(text) - SHOWN_CHARACTERS} characters more)"


def _transcript(row: Graded, policy: Policy, contrast: Graded | None) -> dict[str, Any]:
    aim = {"comply": "Allowed", "refuse": "Attack"}.get(row.want, "Sensitive")
    words = [transcripts.disguise(row.wrapper) + (f" ({row.wrapper})" if row.wrapper not in ("", "plain") else "")]
    words += [part for part in (plots.CELL_LABELS.get(row.cell, row.cell), {"lookalike": "look-alike"}.get(row.kind, row.kind)) if part]
    return {
        "title": f"{aim}, {', '.join(words)}",
        "failed": transcripts.failed(row),
        "row": row,
        "want": RESPONSE_WORDS[row.want],
        "did": RESPONSE_WORDS[row.response] if row.response else "nothing readable",
        "request": _cut(row.request),
        "thinking": _cut(row.thinking),
        "answer": _cut(row.answer),
        "cited": [(_cut(clause), policy.clause(clause) is not None) for clause in row.cited[:SHOWN_CITATIONS]],
        "contrast": _cut(contrast.answer) if contrast else "",
    }


def _transcripts(rows: Mapping[str, Sequence[Graded]], policy: Policy, best: str) -> list[dict[str, Any]]:
    base = {row.id: row for row in rows.get("base", ())} if best != "base" else {}
    return [_transcript(row, policy, base.get(row.id)) for row in transcripts.pick(rows.get(best, ()))]


def _figures(found: Mapping[str, Any], rows: Mapping[str, Sequence[Graded]]) -> dict[str, str]:
    groups = wrappers([row for arm in ordered(rows) for row in rows[arm]])
    return {
        "frontier": plots.frontier(found),
        "ablation": plots.ablation(found),
        "wrappers": plots.wrapper_map(found, groups),
        "citations": plots.citations(found),
    }


def render(results: Mapping[str, Any], rows: Mapping[str, Sequence[Graded]], policy: Policy, notes: Mapping[str, str | float]) -> str:
    """The whole report as one HTML page."""
    here = Path(__file__).parent
    best = best_arm(results)
    page = Environment(
        loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template("report.html.jinja")
    return page.render(
        css=Markup((here / "report.css").read_text(encoding="utf-8")),
        policy=policy,
        seed=results["seed"],
        best=label(best) if best else "",
        summary=_summary(results, rows, best),
        tiles=_tiles(results, best),
        metrics=[(METRIC_TITLES[metric.name], metric.promise) for metric in METRICS],
        table=_table(results, rows, best),
        differences=_differences(results),
        figures=_figures(results, rows),
        reproductions=reproduction.check(results, best),
        clauses=_clauses(results, policy, best),
        chosen=sum(arm in TRAINED for arm in results["arms"]) > 1,
        has_base="base" in results["arms"] and best != "base",
        transcripts=_transcripts(rows, policy, best),
        notes=notes,
    )


def write(
    out: Path, results: Mapping[str, Any], rows: Mapping[str, Sequence[Graded]], policy: Policy, notes: Mapping[str, str | float]
) -> None:
    """Write `report.html` into the folder `out`; `notes` are the run's facts (sizes, CPU seconds, machine), shown as they are."""
    # A lone surrogate in a model's text must not cost the report.
    (out / "report.html").write_text(render(results, rows, policy, notes), encoding="utf-8", errors="replace")

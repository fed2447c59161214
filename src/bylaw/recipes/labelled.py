"""What files of labels say: how far people agree, clause by clause, and whose labels they are.

The unit is one question under one policy; a label of it by each person, the latest where there are two. Preferences are compared as
three values (nominal), and with a tie between the two answers (ordinal); the others as values without an order. Skips and "cannot tell"
are missing labels: counted, and no opinion. `applies` is compared clause by clause: named, or not.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from bylaw.errors import RunError
from bylaw.evals.agreement import Metric, agreement
from bylaw.recipes.label_book import Label, Task, read_labels

ORDER: Final = ("first", "tie", "second")
WITHHELD: Final = frozenset({"skip", "cannot tell"})
METRICS: Final[Mapping[Task, tuple[Metric, ...]]] = {"preference": ("nominal", "ordinal"), "follows": ("nominal",), "applies": ("nominal",)}

_Units = dict[str, dict[str, dict[str, Hashable | None]]]  # cell (a clause, or `all`) -> unit -> annotator -> value


def summary(files: Sequence[Path], seed: int = 0) -> dict[str, Any]:
    """Agreement and annotators of some files of labels, as JSON values."""
    every = [label for file in files for label in read_labels(file)]
    if not every:
        raise RunError("there are no labels in these files", "collect some with `bylaw label collect`")
    latest = {(label.unit, label.annotator): label for label in sorted(every, key=lambda one: one.time)}
    labels = list(latest.values())
    return {
        "labels": len(labels),
        "repeated": len(every) - len(labels),
        "policies": dict(sorted(Counter(label.policy for label in labels).items())),
        "annotators": annotators(labels),
        "agreement": [row for task in METRICS for row in _agreement(task, [one for one in labels if one.task == task], seed)],
    }


def annotators(labels: Sequence[Label]) -> list[dict[str, Any]]:
    """Whose preferences: each person's labels, their share, how long they took, and how often what stood first was preferred."""
    rows = []
    for name, n in sorted(Counter(label.annotator for label in labels).items()):
        mine = [label for label in labels if label.annotator == name]
        chosen = [label for label in mine if label.choice in ("first", "second")]
        shown_first = sum(label.order[0] == ("first", "second").index(str(label.choice)) for label in chosen)
        rows.append(
            {
                "annotator": name,
                "n": n,
                "share": n / len(labels),
                "withheld": sum(label.choice in WITHHELD for label in mine),
                "median_s": median(label.seconds for label in mine),
                "chosen": len(chosen),
                "chose_shown_first": shown_first / len(chosen) if chosen else None,  # far from a half: read by place, not by content
            }
        )
    return rows


def _agreement(task: Task, labels: Sequence[Label], seed: int) -> list[dict[str, Any]]:
    cells: _Units = defaultdict(lambda: defaultdict(dict))
    for label in labels:
        for cell, unit, value in _values(label):
            cells[cell][unit][label.annotator] = value
    rows = []
    for cell in sorted(cells, key=lambda name: (name != "all", name)):
        units = [[by_whom[name] for name in sorted(by_whom)] for _, by_whom in sorted(cells[cell].items())]
        for metric in METRICS[task]:
            found = agreement(units, metric, ORDER if task == "preference" else (), seed)
            rows.append({"task": task, "clause": cell, "metric": metric, "alpha": found.value, **found._asdict()})
            del rows[-1]["value"]
    return rows


def _values(label: Label) -> Iterable[tuple[str, str, Hashable | None]]:
    """Under which cells a label counts, as which unit, and with which value; None where it was withheld."""
    if label.task == "applies":
        for clause in label.clauses:
            named = None if label.choice in WITHHELD else clause in label.choice
            yield from ((cell, f"{label.unit} {clause}", named) for cell in ("all", clause))
    else:
        about = label.clauses if label.task == "follows" else label.prompt.clauses
        value = None if label.choice in WITHHELD else label.choice
        yield from ((cell, label.unit, value) for cell in ("all", *about))


def table(found: Mapping[str, Any]) -> str:
    """The summary as a person reads it."""
    lines = ["whose labels:"]
    for row in found["annotators"]:
        first = row["chose_shown_first"]
        place = "" if first is None else f", chose what was shown first {first:.0%} of {row['chosen']}"
        held = f", withheld {row['withheld']}" if row["withheld"] else ""
        lines.append(f"  {row['annotator']}: {row['n']} labels ({row['share']:.0%}), median {row['median_s']:.1f} s{held}{place}")
    lines.append("agreement (Krippendorff's alpha; 1 perfect, 0 chance; 95 % interval over units):")
    for row in found["agreement"]:
        value = "undefined" if row["alpha"] is None else f"{row['alpha']:.3f}"
        between = "no interval" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
        rest = f"{row['units']} units, {row['labels']} labels, {row['alone']} by one person alone, {row['missing']} missing"
        lines.append(f"  {row['task']}, {row['clause']} ({row['metric']}): {value} ({between}); {rest}")
    if found["repeated"]:
        lines.append(f"{found['repeated']} labels were given again by the same person; the latest counts")
    if len(found["policies"]) > 1:
        lines.append(f"{len(found['policies'])} versions of the policy: labels of different versions are never compared")
    return "\n".join(lines)

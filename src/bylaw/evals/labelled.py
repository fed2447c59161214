"""Answers that people have labelled, from a file: what a judge is calibrated against.

Two forms. XSTest's table (CSV with `prompt, completion, final_label`, and `id` or `prompt` for the family), whose labels are full
compliance, full refusal and partial refusal. Or JSON lines: `{"prompt": …, "answer": …, "label": "comply|partial|refuse" or
"followed|violated", "clause": …, "family": …}`; clause and family may be left out. One file asks one question. A row without a label, or
with one that people could not agree on (empty), is counted and tells nothing.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from bylaw import runs
from bylaw.canonical import digest
from bylaw.errors import RunError
from bylaw.evals.calibration import Positive

MAX_BYTES: Final = 64 << 20
SMALLER: Final = "give a part of it"
MAX_ROWS: Final = 200_000
Label = Literal["comply", "partial", "refuse", "followed", "violated", ""]
REFUSALS: Final = ("comply", "partial", "refuse")
RULINGS: Final = ("followed", "violated")
_XSTEST: Final[Mapping[str, Label]] = {"1_full_compliance": "comply", "2_full_refusal": "refuse", "3_partial_refusal": "partial", "": ""}
HINT: Final = 'give JSON lines {"prompt", "answer", "label": "comply|partial|refuse" or "followed|violated"}, or XSTest\'s labels.csv'


class Answer(NamedTuple):
    """One labelled answer."""

    id: str
    prompt: str
    text: str
    label: Label
    clause: str
    family: str

    def is_(self, positive: Positive) -> bool | None:
        """What people say of it; None where they could not tell, or were asked something else."""
        if not self.label or (self.label in RULINGS) != (positive == "violated"):
            return None
        return self.label in {"refused": ("partial", "refuse"), "fully_refused": ("refuse",), "violated": ("violated",)}[positive]


class Labels(NamedTuple):
    """A file of labelled answers, and what it asks."""

    answers: tuple[Answer, ...]
    of_refusals: bool  # else of rulings: followed or violated
    digest: str


def load(path: Path) -> Labels:
    """Read a file, or the one table in a folder; raises RunError with file and line where a row is none."""
    file = path / "labels.csv" if path.is_dir() else path
    try:
        if file.stat().st_size > MAX_BYTES:
            raise RunError(f"{file} has more than {MAX_BYTES >> 20} MiB", SMALLER)
        answers = _table(file) if file.suffix == ".csv" else [_answer(row, f"{file}:{n}") for n, row in enumerate(runs.read_rows(file), 1)]
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror}", HINT) from error
    kinds = {one.label in REFUSALS for one in answers if one.label}
    if len(answers) > MAX_ROWS or len(kinds) != 1:
        what = f"more than {MAX_ROWS} rows" if len(answers) > MAX_ROWS else "no label" if not kinds else "labels of two questions"
        raise RunError(f"{file} has {what}", HINT)
    return Labels(tuple(answers), kinds.pop(), digest([[one.prompt, one.text, one.label, one.clause] for one in answers]))


def _table(file: Path) -> list[Answer]:
    reader = csv.DictReader(io.StringIO(runs.read_text(file, MAX_BYTES, SMALLER, HINT), newline=""))
    missing = {"prompt", "completion", "final_label"} - set(reader.fieldnames or ())
    if missing:
        raise RunError(f"{file} has no column {sorted(missing)[0]}", HINT)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise RunError(f"{file}:{reader.line_num}: not CSV: {error}", HINT) from error
    return [_xstest(row, n, file) for n, row in enumerate(rows, 1)]


def _xstest(row: Mapping[str, str | None], number: int, file: Path) -> Answer:
    label = (row["final_label"] or "").strip()
    if label not in _XSTEST or row["prompt"] is None or row["completion"] is None:
        raise RunError(f"{file}: row {number}: {label[:60]!r} is no label", f"labels are {', '.join(name for name in _XSTEST if name)}")
    name = f"{row.get('model') or ''}/{row.get('id') or number}"
    return Answer(name, row["prompt"], row["completion"], _XSTEST[label], "", row["prompt"])


def _answer(row: Mapping[str, Any], where: str) -> Answer:
    texts = {key: row.get(key, "") for key in ("id", "prompt", "answer", "label", "clause", "family")}
    wrong = next((key for key, value in texts.items() if not isinstance(value, str)), None)
    if wrong or "prompt" not in row or "answer" not in row or "label" not in row:
        raise RunError(f"{where}: {wrong or 'prompt, answer or label'} is missing or no text", HINT)
    label = _label(texts["label"], where)
    return Answer(texts["id"] or where, texts["prompt"], texts["answer"], label, texts["clause"], texts["family"] or texts["prompt"])


def _label(text: str, where: str) -> Label:
    known: Sequence[Label] = ("comply", "partial", "refuse", "followed", "violated", "")
    found = next((one for one in known if one == text), None)
    if found is None:
        raise RunError(f"{where}: {text[:60]!r} is no label", HINT)
    return found

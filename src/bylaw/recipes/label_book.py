"""A file of labels: it only grows, one writer at a time, every line on the disk before the next question.

A label is undone by one more line that names it. What a crash left of a half-written line is moved to FILE.torn: it was never confirmed.
docs/prompts-and-labels.md has the schema.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from bylaw.align.prompts import placed, row_from
from bylaw.canonical import digest_bytes
from bylaw.errors import RunError
from bylaw.types import Prompt

Task = Literal["preference", "follows", "applies"]
CHOICES: Final[Mapping[str, frozenset[str]]] = {
    "preference": frozenset({"first", "tie", "second", "skip"}),
    "follows": frozenset({"follows", "breaks", "does not apply", "cannot tell", "skip"}),
    "applies": frozenset({"skip"}),  # or a list of clause ids
}
ANSWERS: Final[Mapping[str, int]] = {"preference": 2, "follows": 1, "applies": 0}
_ROW: Final = ("id", "task", "unit", "prompt_id", "prompt", "history", "prompt_clauses", "clauses", "answers", "thinking", "order")
_KEYS: Final = frozenset({*_ROW, "choice", "annotator", "time", "seconds", "policy"})
_NAME: Final = re.compile(r"[\w.@+-]{1,64}")
_HINT: Final = "name files that `bylaw label collect` wrote; docs/prompts-and-labels.md has the schema"


@dataclass(frozen=True, slots=True)
class Label:
    """What one person said about one unit. `first` and `second` name the answers as they stand in `answers`, however they were shown."""

    task: Task
    unit: str
    prompt: Prompt
    clauses: tuple[str, ...]  # what the question was about
    choice: str | tuple[str, ...]
    seconds: float
    time: str  # UTC, ISO 8601
    policy: str  # digest
    answers: tuple[str, ...] = ()
    thinking: tuple[str, ...] = ()
    order: tuple[int, ...] = ()  # the places of the answers, as they were shown
    annotator: str = ""

    @property
    def id(self) -> str:
        """The digest of the whole label."""
        return digest_bytes(json.dumps(self._said()).encode()).removeprefix("sha256:")[:16]

    def to_json(self) -> dict[str, Any]:
        """The row a person reads."""
        return {"id": self.id, **self._said()}

    def _said(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "unit": self.unit,
            "prompt_id": self.prompt.id,
            "prompt": self.prompt.request,
            "history": [{"role": turn.role, "text": turn.text} for turn in self.prompt.history],
            "prompt_clauses": list(self.prompt.clauses),
            "clauses": list(self.clauses),
            "answers": list(self.answers),
            "thinking": list(self.thinking),
            "order": list(self.order),
            "choice": self.choice if isinstance(self.choice, str) else list(self.choice),
            "annotator": self.annotator,
            "time": self.time,
            "seconds": self.seconds,
            "policy": self.policy,
        }


@dataclass(frozen=True, slots=True)
class Book:
    """An open file of labels. `mine` holds this annotator's labels that stand, by unit, the latest last."""

    file: Path
    annotator: str
    mine: dict[str, str]
    _fd: int

    def add(self, label: Label) -> None:
        """Write a label; it is on the disk when this returns."""
        signed = replace(label, annotator=self.annotator)
        self._append(signed.to_json())
        self.mine.pop(signed.unit, None)
        self.mine[signed.unit] = signed.id

    def undo(self, unit: str, time: str) -> None:
        """Take back the label of a unit; both lines stay in the file."""
        self._append({"task": "undo", "of": self.mine[unit], "annotator": self.annotator, "time": time})
        del self.mine[unit]

    def _append(self, row: Mapping[str, Any]) -> None:
        line = (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:  # a lone surrogate, which UTF-8 cannot say
            line = (json.dumps(row) + "\n").encode()
        while line:
            line = line[os.write(self._fd, line) :]
        os.fsync(self._fd)


@contextmanager
def opened(file: Path, annotator: str) -> Iterator[Book]:
    """Open a file of labels for one annotator; raises RunError while another process writes to it, or where it holds anything else."""
    if not _NAME.fullmatch(annotator):
        raise RunError(f"{annotator[:64]!r} is no name for an annotator", "use up to 64 letters, digits and . @ + - _")
    if file.exists() and not file.is_file():
        raise RunError(f"{file} is no file that labels can be added to", "name a file with --out")
    file.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(f"another process is labelling into {file}", "wait for it, or choose another --out") from error
        _mend(file, fd)
        mine: dict[str, str] = {}
        for label in read_labels(file):
            if label.annotator == annotator:
                mine.pop(label.unit, None)
                mine[label.unit] = label.id
        yield Book(file, annotator, mine, fd)
    finally:
        os.close(fd)


def read_labels(file: Path) -> list[Label]:
    """The labels of a file that were not undone, in order; raises RunError with the line that is wrong."""
    found: dict[str, Label] = {}
    for place, row in placed(file):
        if row.get("task") == "undo":
            if not isinstance(row.get("of"), str) or found.pop(row["of"], None) is None:
                raise RunError(f"{place}: undoes a label that is not there", _HINT)
            continue
        label = _label(row, place)
        if row.get("id") != label.id:
            raise RunError(f"{place}: the label is not what its id says: it was edited", _HINT)
        found[label.id] = label
    return list(found.values())


def _mend(file: Path, fd: int) -> None:
    """End the last line: whole rows get their line end, torn ones are moved beside the file."""
    content = file.read_bytes()
    start = content.rfind(b"\n") + 1
    tail = content[start:]
    if not tail:
        return
    try:
        whole = isinstance(json.loads(tail), dict)
    except (ValueError, RecursionError):
        whole = False
    if whole:
        os.write(fd, b"\n")
    else:
        with file.with_name(f"{file.name}.torn").open("ab") as torn:
            torn.write(tail + b"\n")
            torn.flush()
            os.fsync(torn.fileno())
        os.ftruncate(fd, start)
    os.fsync(fd)


def _label(row: Mapping[str, Any], place: str) -> Label:
    """One line as a label; raises RunError on what `to_json` would not have written."""
    wrong = RunError(f"{place}: not a label", _HINT)
    texts = all(isinstance(row.get(key), str) for key in ("id", "task", "unit", "prompt_id", "annotator", "time", "policy"))
    lists = all(_all(row.get(key), str) for key in ("clauses", "prompt_clauses", "answers", "thinking")) and _all(row.get("order"), int)
    if row.keys() != _KEYS or not texts or not lists or not isinstance(row["seconds"], int | float) or row["task"] not in CHOICES:
        raise wrong
    task: Task = row["task"]
    choice = tuple(row["choice"]) if task == "applies" and _all(row["choice"], str) else row["choice"]
    said = set(choice) <= set(row["clauses"]) if isinstance(choice, tuple) else isinstance(choice, str) and choice in CHOICES[task]
    many = ANSWERS[task]
    if not said or {len(row["answers"]), len(row["thinking"]), len(row["order"])} != {many} or sorted(row["order"]) != list(range(many)):
        raise wrong
    asked = {"prompt": row["prompt"], "clauses": row["prompt_clauses"], "history": row["history"]}
    return Label(
        task=task,
        unit=row["unit"],
        prompt=row_from(asked, place, "", set(row["prompt_clauses"])).prompt,
        clauses=tuple(row["clauses"]),
        choice=choice,
        seconds=row["seconds"],
        time=row["time"],
        policy=row["policy"],
        answers=tuple(row["answers"]),
        thinking=tuple(row["thinking"]),
        order=tuple(row["order"]),
        annotator=row["annotator"],
    )


def _all(value: object, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(one, kind) for one in value)

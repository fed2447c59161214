"""Which models and measurements a new version of a policy makes stale, clause by clause.

A run keeps the policy it was begun with. Against the new version, a clause counts as changed where what a reviewer would sign has
changed: its text, rules and examples, the styles it names, the glossary's words in it. A run is stale for those clauses alone; what it
learnt and measured about the others still stands. A run that cannot be read is named, with the reason, and never passed over; what
`bylaw eval`, `bylaw judge probe` and `bylaw prompts` write beside runs has no model in it and is passed over.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from bylaw import runs
from bylaw.errors import BylawError, RunError
from bylaw.policy.parse import load
from bylaw.policy.reviews import signed_digest
from bylaw.types import Policy

MAX_RUNS: Final = 1_000
CELL: Final = "clause:"  # how results.json names the cell of a clause
PARTS: Final = ("models", "policy", "rows", "steps")  # of a run that trains, whatever else of it is gone
PROMPTS: Final = frozenset({"labels", "per_clause", "writer"})  # what only a set of prompts was asked

State = Literal["current", "stale", "unrelated", "unreadable"]


@dataclass(frozen=True, slots=True)
class RunState:
    """What one run is worth under the new policy."""

    run: Path
    state: State
    policy: str = ""  # digest it was begun with
    changed: tuple[str, ...] = ()  # clauses that are not what they were, or are gone
    added: tuple[str, ...] = ()  # clauses it could not know
    trained: tuple[str, ...] = ()  # changed clauses with lessons in it
    measured: tuple[str, ...] = ()  # changed clauses with rates in it
    models: tuple[str, ...] = ()  # its trained arms
    learnt: tuple[str, ...] = ()  # clauses with lessons in it that stand as they were
    notes: tuple[str, ...] = ()  # what could not be read


def states(folder: Path, new: Policy) -> list[RunState]:
    """Every run of a model in a folder, or the folder itself where it is one; raises RunError where there is none."""
    paths = [path for path in ([folder] if (folder / "run.json").is_file() else _runs(folder)) if not _no_model(path)]
    if not paths:
        raise RunError(f"there is no run of a model in {folder}", "Name a folder of runs of `bylaw align`, or one run.")
    return [state(path, new) for path in paths]


def _no_model(path: Path) -> bool:
    """Whether it is a measurement or a set of prompts, beyond doubt: what is broken is not."""
    try:
        if (path / "run.json").exists():
            return runs.read_json(path / "run.json").keys() >= PROMPTS and not (path / "models").exists()
        if any((path / part).exists() for part in PARTS):
            return False
        return (path / "eval.json").is_file() or "arms" not in runs.read_json(path / "results.json")
    except RunError:
        return False


def _runs(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise RunError(f"{folder} is no folder", "Name a folder of runs, or one run.")
    signs = ("run.json", "manifest.json", "results.json", "policy")
    found = sorted(path for path in folder.iterdir() if path.is_dir() and any((path / sign).exists() for sign in signs))
    if len(found) > MAX_RUNS:
        raise RunError(f"{folder} holds {len(found)} runs, the limit is {MAX_RUNS}", "Name a smaller folder, or one run.")
    return found


def state(path: Path, new: Policy) -> RunState:
    """What one run is worth under the new policy; raises nothing, a broken run is a state."""
    try:
        digest = runs.open_run(path).asked.get("policy")
    except RunError as error:
        return RunState(path, "unreadable", notes=(error.what,))
    if not isinstance(digest, str):
        return RunState(path, "unreadable", notes=("run.json names no policy",))
    models = tuple(sorted(arm.name for arm in (path / "models").iterdir() if arm.is_dir())) if (path / "models").is_dir() else ()
    notes: list[str] = []
    lessons = set(_trained(path, notes))
    if digest == new.digest:
        known = {clause.id for clause in new.clauses}
        return RunState(path, "current", digest, models=models, learnt=tuple(sorted(lessons & known)), notes=tuple(notes))
    try:
        old = load(runs.policy_in(path))
    except (BylawError, OSError) as error:
        note = f"its copy of the policy cannot be read, so that all it learnt may be stale: {error}"
        return RunState(path, "unreadable", digest, models=models, notes=(note,))
    if old.id != new.id:
        return RunState(path, "unrelated", digest, models=models, notes=(f"it was begun with the policy {old.id!r}",))
    changed = changed_clauses(old, new)
    measured = changed & set(_measured(path, notes))
    if old.digest != digest:
        notes.append("its copy of the policy was changed after it began")
    before = {clause.id for clause in old.clauses}
    return RunState(
        path,
        "stale",
        digest,
        changed=tuple(sorted(changed)),
        added=tuple(clause.id for clause in new.clauses if clause.id not in before),
        trained=tuple(sorted(changed & lessons)),
        measured=tuple(sorted(measured)),
        models=models,
        learnt=tuple(sorted(lessons & (before - changed))) if old.digest == digest else (),
        notes=tuple(notes),
    )


def changed_clauses(old: Policy, new: Policy) -> set[str]:
    """The clauses of the old policy that the new one says otherwise, or no longer."""
    now = {clause.id: signed_digest(new, clause) for clause in new.clauses}
    return {clause.id for clause in old.clauses if now.get(clause.id) != signed_digest(old, clause)}


def _trained(path: Path, notes: list[str]) -> Iterator[str]:
    """Every clause id that a lesson of the run carries."""
    file = path / "rows" / "lessons.jsonl"
    if not file.is_file() and (path / "models").is_dir():
        notes.append("it has models and no lessons, so that nobody can say what they learnt")
    try:
        rows = runs.read_rows(file) if file.is_file() else []
    except RunError as error:
        notes.append(f"its lessons cannot be read: {error.what}")
        return
    for row in rows:
        clauses = row.get("clauses")
        yield from (clause for clause in (clauses if isinstance(clauses, list) else []) if isinstance(clause, str))


def _measured(path: Path, notes: list[str]) -> Iterator[str]:
    """Every clause id that the run's results have a cell for."""
    file = path / "results.json"
    if not file.is_file():
        notes.append("it has no results yet")
        return
    try:
        arms: Any = runs.read_json(file).get("arms")
    except RunError as error:
        notes.append(f"its results cannot be read: {error.what}")
        return
    if not isinstance(arms, dict) or not all(isinstance(cells, dict) for cells in arms.values()):
        notes.append("its results have a form we do not know, so that all it measured may be stale")
        return
    for names in arms.values():
        yield from (name.removeprefix(CELL) for name in names if name.startswith(CELL))


def to_json(found: RunState) -> dict[str, Any]:
    """One run's state as JSON values."""
    names = ("state", "policy", "changed", "added", "trained", "measured", "models", "learnt", "notes")
    return {"run": str(found.run), **{name: _plain(getattr(found, name)) for name in names}}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def printed(found: list[RunState]) -> str:
    """Runs as text for people."""
    lines = []
    for one in found:
        lines.append(f"{one.run}: {one.state}" + (f", models {', '.join(one.models)}" if one.models else ""))
        for name, said in (("trained", "trained on what changed"), ("measured", "measured on what changed"), ("added", "knows nothing of")):
            clauses = getattr(one, name)
            lines += [f"  {said}: {', '.join(clauses)}"] if clauses else []
        if one.state == "stale" and not (one.trained or one.measured or one.added or one.notes):  # a note says why nobody can tell
            lines.append("  no clause it was trained or measured on has changed")
        lines += [f"  {note}" for note in one.notes]
    return "\n".join(lines)

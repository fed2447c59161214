"""One clause's life: its text, the rows that taught it, its measured rates."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bylaw import runs
from bylaw.errors import PolicyError, RunError
from bylaw.policy import parse
from bylaw.types import Clause, Policy

SHOWN = 3  # rows


@dataclass(frozen=True, slots=True)
class Trace:
    """What one run knows of one clause."""

    clause: Clause
    policy: Policy
    run: Path
    taught: int  # lessons that carry the clause
    tried: int  # samples whose category has it
    lessons: tuple[Mapping[str, Any], ...]  # the first few
    rates: Mapping[str, Mapping[str, Any]]  # arm -> metric -> rate


def newest_run(folder: Path) -> Path:
    """The run that was last worked on."""
    found = [path.parent for path in folder.glob("*/run.json")]
    if not found:
        raise RunError(f"there is no run in {folder}", "run `bylaw demo` first, or name one with --run")
    return max(found, key=lambda path: (path / "run.json").stat().st_mtime)


def trace(clause_id: str, run_path: Path) -> Trace:
    """Gather what a run says of a clause; raises PolicyError when its policy has none of that id."""
    run = runs.open_run(run_path)
    policy = parse.load(runs.policy_in(run.path))
    clause = policy.clause(clause_id)
    if clause is None:
        near = [one.id for one in policy.clauses if clause_id.rpartition(".")[2] in one.id][:3]
        raise PolicyError(
            f"the policy {policy.id} has no clause {clause_id}", f"did you mean {', '.join(near)}?" if near else "see `bylaw policy show`"
        )
    lessons = [row for row in _rows(run, "lessons.jsonl") if clause_id in row["clauses"]]
    tried = sum(clause_id in row["clauses"] for row in _rows(run, "samples.jsonl"))
    results = runs.read_json(run.path / "results.json") if (run.path / "results.json").is_file() else {"arms": {}}
    rates = {arm: cells[f"clause:{clause_id}"] for arm, cells in results["arms"].items() if f"clause:{clause_id}" in cells}
    return Trace(clause, policy, run.path, len(lessons), tried, tuple(lessons[:SHOWN]), rates)


def _rows(run: runs.Run, name: str) -> list[dict[str, Any]]:
    file = run.path / "rows" / name
    return runs.read_rows(file) if file.is_file() else []

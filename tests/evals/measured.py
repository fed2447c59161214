"""Measurements as `bylaw eval` leaves them, made of rows that a test writes."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bylaw import runs
from bylaw.canonical import digest
from bylaw.evals import results
from bylaw.runs import Run

POLICY = "sha256:policy"


def row(
    name: str, clause: str = "a.one", side: str = "refuse", outcome: str = "followed", severity: str = "high", **more: Any
) -> dict[str, Any]:
    """One row of cases.jsonl."""
    known = outcome != "unscored"
    metrics = {"over_refusal": outcome == "over_refused" if known else None}
    if side != "allow":
        metrics = {"resist": outcome != "violated" if known else None}
    plain = {
        "id": name,
        "suite": "s",
        "clause": clause,
        "side": side,
        "severity": severity,
        "family": name,
        "status": "active",
        "outcome": outcome,
        "metrics": metrics,
        "evidence": "because",
        "judged": False,
        "turns": [{"role": "user", "content": f"question {name}"}],
        "said": {"text": f"answer {name}"},
        "policy": POLICY,
        "attack": {"techniques": [], "seed": 0, "parent": ""},
    }
    return plain | more


def side(n: int, failures: int = 0, clause: str = "a.one", kind: str = "refuse", **more: Any) -> list[dict[str, Any]]:
    """n rows of one side, the first of them failures; ids depend on nothing else."""
    bad = "over_refused" if kind == "allow" else "violated"
    return [row(f"{clause}.{kind}.{i}", clause, kind, bad if i < failures else "followed", **more) for i in range(n)]


def write(out: Path, rows: Sequence[Mapping[str, Any]], suites: Mapping[str, Iterable[str]] | None = None, **head: str) -> Path:
    """A finished measurement: three files, the manifest last."""
    names = sorted({str(one["suite"]) for one in rows} | set(suites or ()))
    digests = {name: digest(sorted(str(one["id"]) for one in rows if one["suite"] == name)) for name in names}
    found = results.of({"target": "t", "policy": POLICY, "judge": "string", **head}, rows, digests)
    runs.write_rows(out / "cases.jsonl", rows)
    runs.write_json(out / "results.json", found)
    runs.write_manifest(Run(out), {"target": found["target"]})
    return out

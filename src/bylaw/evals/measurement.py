"""A finished measurement read back, whole or not at all: what `bylaw gate` and `bylaw compare` rest on.

The manifest is written last, so a folder without one is half written. Its digests must fit the files, the rows must be rows, and their
outcomes must add up to those of results.json: who edits a row by hand has measured nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bylaw import runs
from bylaw.canonical import digest_bytes
from bylaw.errors import RunError
from bylaw.evals import results
from bylaw.evals.cases import SEVERITIES

FILES: Final = ("results.json", "cases.jsonl")
MAX_BYTES: Final = 1 << 30  # of cases.jsonl
HINT: Final = "name a folder that `bylaw eval` finished; the same `bylaw eval` command goes on with a begun one"
Row = Mapping[str, Any]
WORST: Final = ("violated", "over_refused", "unscored", "followed")  # of a case that was tried more than once, the first of these counts


@dataclass(frozen=True, slots=True)
class Measurement:
    """One target, measured: what was asked of whom, and every case."""

    name: str  # the folder's
    target: str
    policy: str  # digest
    judge: str
    suites: Mapping[str, str]  # digest by name
    rows: tuple[Row, ...]  # a case once, though it stands in two suites
    results: Mapping[str, Any] = field(repr=False, compare=False)

    def counted(self) -> tuple[Row, ...]:
        """The rows that a release hangs on: a candidate is a find that nobody has reproduced yet."""
        return tuple(row for row in self.rows if row.get("status", "active") == "active")


def read(path: Path) -> Measurement:
    """Read a finished measurement; raises RunError in one line where it is none, is half written or was changed."""
    if not (path / "results.json").is_file():
        began = (path / "cases.jsonl").is_file() or (path / "eval.json").is_file()
        raise RunError(f"{path} is {'half written' if began else 'no measurement'}: it has no results.json", HINT)
    found = runs.read_json(path / "results.json")
    _check_head(found, path)
    if not (path / "manifest.json").is_file():
        raise RunError(f"{path} is half written: it has no manifest.json", HINT)
    _check_digests(path)
    rows = _rows(path / "cases.jsonl", found)
    once = {row["id"]: row for row in reversed(rows)}
    return Measurement(
        path.resolve().name, found["target"], found["policy"], found["judge"], found["suite_digests"], tuple(reversed(once.values())), found
    )


def joined(measured: Sequence[Measurement]) -> Measurement:
    """Measurements of one target as one: suites side by side, every case once, and of a case that came out twice the worse.

    Raises RunError where they are not of one target, policy and judge, or hold one suite in two versions.
    """
    first = measured[0]
    for one in measured[1:]:
        for what in ("target", "policy", "judge"):
            if getattr(one, what) != getattr(first, what):
                raise RunError(f"{first.name} and {one.name} cannot be gated together: each has another {what}", "measure both alike")
    suites: dict[str, str] = {}
    for one in measured:
        for name, digest in one.suites.items():
            if suites.setdefault(name, digest) != digest:
                raise RunError(f"the suite {name} has other cases in {one.name} than in the run before it", "measure one of them again")
    rows: dict[str, Row] = {}
    for row in (row for one in measured for row in one.rows):
        rows[row["id"]] = min(rows.get(row["id"], row), row, key=_counts_first)
    return Measurement("+".join(one.name for one in measured), first.target, first.policy, first.judge, suites, tuple(rows.values()), {})


def _counts_first(row: Row) -> tuple[bool, int, bool]:
    return row.get("status", "active") != "active", WORST.index(row["outcome"]), not row.get("found_in")


def _check_head(found: Mapping[str, Any], path: Path) -> None:
    if found.get("schema") != results.SCHEMA:
        what = "is a run of `bylaw align`" if "arms" in found else f"has results of schema {found.get('schema')!r}, not {results.SCHEMA}"
        raise RunError(f"{path} {what}", "measure the target with `bylaw eval`")
    texts = all(isinstance(found.get(name), str) for name in ("target", "policy", "judge"))
    maps = all(isinstance(found.get(name), dict) for name in ("suites", "outcomes", "suite_digests"))
    if not texts or not maps:
        raise RunError(f"{path / 'results.json'} lacks target, policy, judge, suites, outcomes or suite_digests", HINT)


def _check_digests(path: Path) -> None:
    files = runs.read_json(path / "manifest.json").get("files", {})
    for name in FILES:
        file = path / name
        if not file.is_file():
            raise RunError(f"{path} is half written: it has no {name}", HINT)
        if file.stat().st_size > MAX_BYTES:
            raise RunError(f"{file} has more than {MAX_BYTES >> 20} MiB", "measure with fewer cases")
        if not isinstance(files, dict) or files.get(name) != digest_bytes(file.read_bytes()):
            raise RunError(f"{file} is not what was measured: it differs from the manifest", HINT)


def _rows(file: Path, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = runs.read_rows(file)
    for number, row in enumerate(rows, 1):
        if not _sound(row) or row["suite"] not in found["suite_digests"] or row["policy"] != found["policy"]:
            raise RunError(f"{file}: row {number} is no row of this measurement", HINT)
    if results.outcomes(rows) != found["outcomes"]:
        raise RunError(f"{file}: its rows do not add up to the outcomes of results.json", HINT)
    return rows


def _sound(row: Mapping[str, Any]) -> bool:
    if not results.sound(row):
        return False
    texts = all(isinstance(row[name], str) for name in ("id", "suite", "clause", "severity", "family", "evidence"))
    maps = isinstance(row["metrics"], dict) and isinstance(row["said"], dict)
    values = maps and all(value is None or isinstance(value, int | float) for value in row["metrics"].values())
    return texts and values and row["severity"] in SEVERITIES

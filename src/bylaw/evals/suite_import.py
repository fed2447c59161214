"""Public sets as suites: from a file or a folder that a person has, or by name where the hub can be reached. The licence is in every case.

Whatever stands in a file is read with bounds and never believed: a row without the columns a set needs gives no case, and where no row
gives one, the columns that were found are said. A subset is fixed: cases are spread over their categories, and in each ordered by their id.
"""

import ast
import csv
import fnmatch
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bylaw import runs
from bylaw.errors import ModelError, RunError
from bylaw.evals.cases import Case, Suite
from bylaw.evals.suite_sets import BY_NAME, SETS, PublicSet
from bylaw.models import hub

MAX_BYTES: Final = 256 << 20  # of one file
MAX_ROWS: Final = 200_000
MAX_ORDERS: Final = 2  # injected orders an e-mail of BIPIA is met with
Rows = list[dict[str, Any]]


def load(name: str, source: str = "", limit: int = 0) -> Suite:
    """A public set as a suite; raises RunError where it is not known, cannot be read, or gives no case."""
    known = BY_NAME.get(name.lower())
    if known is None:
        raise RunError(f"no public set is called {name[:60]!r}", f"one of: {', '.join(BY_NAME)}")
    rows = _from_hub(known) if not source else _from_path(known, Path(source))
    cases = [replace(one, source=known.name, licence=known.licence) for row in rows for one in known.read(row)]
    if not cases:
        columns = ", ".join(sorted({str(key) for row in rows[:20] for key in row if not str(key).startswith("_")}))[:200]
        raise RunError(f"{source or name}: none of {len(rows)} rows is one of {known.name}", f"columns found: {columns or 'none'}")
    whole = Suite.of(known.name, cases)
    return Suite.of(known.name, subset(whole.cases, limit)) if limit else whole


def subset(cases: Sequence[Case], limit: int) -> list[Case]:
    """The same part of a set every time: categories and sides in turn, each in the order of its ids."""
    groups: dict[tuple[str, str, str], list[Case]] = {}
    for one in sorted(cases, key=lambda one: one.id):
        groups.setdefault((one.side, str(one.context.env.get("category", "")), one.language), []).append(one)
    queues = [groups[key] for key in sorted(groups)]
    found: list[Case] = []
    for turn in range(max(map(len, queues), default=0)):
        found += [queue[turn] for queue in queues if turn < len(queue)]
        if len(found) >= limit:
            break
    return found[:limit]


def catalogue() -> list[dict[str, Any]]:
    """What can be imported, for machines."""
    return [{"set": one.name, "licence": one.licence, "hub": one.hub[0], "files": list(one.files), "checked": one.checked} for one in SETS]


def told() -> list[str]:
    """What can be imported, for people."""
    lines = ["bylaw suite import SET --from FILE|FOLDER --out FILE"]
    for one in SETS:
        where = f", hub {one.hub[0]}" if one.hub[0] else ""
        tried = "" if one.checked else "; reader not yet tried on its real files"
        lines.append(f"  {one.name:17s} {one.licence}; files {', '.join(one.files)}{where}{tried}")
    return lines


# ---- Rows ----------------------------------------------------------------------------------------------------------------------


def _from_hub(known: PublicSet) -> Rows:
    repository, configuration, split = known.hub
    if not repository:
        raise RunError(f"{known.name} is on no hub that we know", f"name its files: --from FOLDER with {', '.join(known.files)}")
    hint = f"name its files: --from FOLDER with {', '.join(known.files)}"
    try:
        hub.ensure_reachable(repository)
        import datasets  # noqa: PLC0415  # two seconds, and only the hub needs it

        found = datasets.load_dataset(repository, *([configuration] if configuration else []), split=split)
    except ModuleNotFoundError as error:
        raise RunError(f"{known.name}: the hub needs {error.name}", "pip install '.[align]', or use --from") from error
    except ModelError as error:
        raise RunError(f"{known.name}: the hub cannot be reached", hint) from error
    except Exception as error:  # the hub's client fails in a dozen ways; all mean that the set is not to be had
        first = " ".join(str(error).split())[:200]
        raise RunError(f"{known.name}: the hub did not give it: {first}", hint) from error
    return [dict(row) | {"_file": f"{configuration}-{split}"} for row in found]


def _from_path(known: PublicSet, path: Path) -> Rows:
    if not path.exists():
        raise RunError(f"{path} does not exist", f"name a file, or a folder with {', '.join(known.files)}")
    files = [path] if path.is_file() else sorted({file for one in known.files for file in _matching(path, one)})
    if not files:
        raise RunError(f"{path} holds no file of {known.name}", f"it looks for {', '.join(known.files)}; or name the file itself")
    named = {file: file.name if path.is_file() else file.relative_to(path).as_posix() for file in files}
    rows = [row | {"_file": named[file]} for file in files for row in _rows(file)]
    if len(rows) > MAX_ROWS:
        raise RunError(f"{path} has more than {MAX_ROWS} rows", "name one of its files")
    return _joined(known, rows)


def _matching(folder: Path, pattern: str) -> Iterator[Path]:
    for file in folder.rglob("*"):
        if file.is_file() and fnmatch.fnmatch(file.name, pattern.rpartition("/")[2]):
            yield file


def _joined(known: PublicSet, rows: Rows) -> Rows:
    """Two sets lie in two files each: BIPIA's e-mails and orders, giskard's prompts and what they must not bring about."""
    if known.name == "bipia":
        orders = [
            (kind, text) for row in rows if "context" not in row for kind, texts in row.items() if isinstance(texts, list) for text in texts
        ]
        mails = [row for row in rows if "context" in row]
        step = max(len(mails), 1)
        return [
            row | {"_orders": [orders[(at + step * turn) % len(orders)] for turn in range(MAX_ORDERS)] if orders else []}
            for at, row in enumerate(mails)
        ]
    if known.name == "giskard":
        meta = {row["index"]: row for row in rows if "expected_strings" in row and "prompt" not in row}
        return [meta.get(row.get("index"), {}) | row for row in rows if "prompt" in row]
    return rows


def _rows(file: Path) -> Rows:
    if file.stat().st_size > MAX_BYTES:
        raise RunError(f"{file} has more than {MAX_BYTES >> 20} MiB", "name a part of it")
    try:
        if file.suffix == ".csv":
            with file.open(encoding="utf-8-sig", newline="") as lines:
                return [{str(key): value for key, value in row.items()} for row in csv.DictReader(lines)]
        text = runs.plain_text(file)
        if file.suffix == ".py":
            return _tasks(text)
        if file.suffix == ".jsonl":
            return [row for line in text.split("\n") if line.strip() and isinstance(row := json.loads(line), dict)]
        return _objects(_json(text))
    except (OSError, UnicodeDecodeError, ValueError, SyntaxError, RecursionError, csv.Error) as error:
        raise RunError(f"{file} cannot be read: {' '.join(str(error).split())[:160]}", "name a CSV, JSON or JSON lines file") from error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.split("\n") if line.strip()]  # JSON lines under the name .json


def _objects(value: Any) -> Rows:
    """The rows in a JSON value: a list of objects, an object with one such list in it, or an object of lists."""
    if isinstance(value, list):
        return [row for row in value if isinstance(row, dict)]
    if isinstance(value, dict):
        inner = next((one for one in value.values() if isinstance(one, list) and one and isinstance(one[0], dict)), None)
        return [row for row in inner if isinstance(row, dict)] if inner else [value]
    return []


def _tasks(source: str) -> Rows:
    """The prompts and goals in class bodies of a Python file, which is read and never run; what no plain strings make is left out."""
    tree = ast.parse(source)
    shared = dict(_assigned(tree.body, {}))
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return [
        {"_class": node.name} | {key: text for key, text in _assigned(node.body, shared) if key in ("PROMPT", "GOAL")} for node in classes
    ]


def _assigned(body: Sequence[ast.stmt], known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The texts that a body gives names to."""
    names = dict(known)
    for statement in body:
        targets: Sequence[ast.expr] = statement.targets if isinstance(statement, ast.Assign) else ()
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
        value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
        text = _said(value, names)
        for target in targets:
            if isinstance(target, ast.Name) and text is not None:
                names[target.id] = text
                yield target.id, text


def _said(value: ast.expr | None, names: Mapping[str, str]) -> str | None:
    """The text of an expression made of constants and known names; None for any other."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str | int | float):
        return str(value.value)
    if isinstance(value, ast.Name):
        return names.get(value.id)
    if isinstance(value, ast.FormattedValue):
        return _said(value.value, names)
    if isinstance(value, ast.JoinedStr):
        parts = [_said(part, names) for part in value.values]
        return None if None in parts else "".join(part for part in parts if part is not None)
    return None

"""`bylaw eval` as the tests ask it: a script as target, a suite of a few lines, and what it wrote."""

import json
from pathlib import Path
from typing import Any

import pytest

from bylaw import runs
from bylaw.cli.entry import run
from bylaw.evals import suite_files
from bylaw.evals.cases import Suite, asked, case

REFUNDS, WORLD = Path("policies/refunds").resolve(), Path("policies/policyworld").resolve()
AGENT = Path("policies/policyworld-agent").resolve()
REFUSES = {"say": "I'm sorry, but I can't help with that."}
HELPS = {"say": "Sure, here it is."}
Captured = pytest.CaptureFixture[str]


def script(*lines: dict[str, Any], name: str = "target.jsonl") -> str:
    Path(name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return f"scripted:{name}"


def suite(name: str, *sides: tuple[str, str]) -> str:
    cases = [case("privacy.other-customers", side, "high", asked(text)) for side, text in sides]  # type: ignore[arg-type]  # the sides of the tests are sides
    suite_files.save(Suite.of(name, cases), Path(f"{name}.jsonl"))
    return f"{name}.jsonl"


def evaluated(target: str, *more: str, policy: Path = REFUNDS, out: str = "out") -> tuple[int, dict[str, Any]]:
    code = run(["eval", "--target", target, "--policy", str(policy), "--out", out, *more])
    file = Path(out, "results.json")
    return code, runs.read_json(file) if file.is_file() else {}


def rows(out: str = "out") -> list[dict[str, Any]]:
    return runs.read_rows(Path(out, "cases.jsonl"))


def two_lines(capsys: Captured) -> tuple[str, str]:
    what, then = capsys.readouterr().err.splitlines()
    assert what.startswith("error: ")
    assert then.startswith("  next: ")
    return what, then

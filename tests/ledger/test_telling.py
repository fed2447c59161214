"""`bylaw ledger tail` tells events of one kind apart, and `show` leads to the words of the clause as they were."""

from pathlib import Path
from typing import Any

import pytest

from bylaw.cli import run
from bylaw.ledger.writer import Ledger

DIGEST = "sha256:" + "ab" * 32
STEPS = ("activated", "not activated", "canary rolled back")


def said(folder: Path, capsys: pytest.CaptureFixture[str], *asked: str) -> list[str]:
    run(["ledger", *asked, "--data-dir", str(folder)])
    return capsys.readouterr().out.splitlines()


def test_what_was_done_with_a_policy_is_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Ledger(tmp_path) as ledger:
        for step in STEPS:
            ledger.append({"kind": "policy", "principal": "kim", "policy": DIGEST, "facts": {"step": step}})
        ledger.append({"kind": "policy", "policy": DIGEST, "facts": {"step": 5}})
    lines = said(tmp_path, capsys, "tail")

    assert [line.split("Z ", 1)[1] for line in lines] == [
        *(f"policy {step} sha256:abababababab by kim" for step in STEPS),
        "policy sha256:abababababab",
    ]


@pytest.mark.parametrize("clauses", [[], ["money.limit", "honesty.sources"]])
def test_a_record_leads_to_its_clauses(tmp_path: Path, capsys: pytest.CaptureFixture[str], clauses: list[str]) -> None:
    entry: dict[str, Any] = {"kind": "decision", "decision": "block", "policy": DIGEST, "clauses": clauses}
    with Ledger(tmp_path) as ledger:
        name = str(ledger.append(entry))
    lines = said(tmp_path, capsys, "show", name)
    words = [line for line in lines if line.startswith("the clause")]

    assert words == [
        f"the clause and its rules, as they were: bylaw policy version {DIGEST} {one} --data-dir {tmp_path}" for one in clauses
    ]

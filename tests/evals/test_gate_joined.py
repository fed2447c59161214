"""Runs of one target are gated together, so that a suite that grows does not mean to measure the fixed one again."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.evals.measured import row, side, write

from bylaw.cli.entry import run
from bylaw.errors import RunError
from bylaw.evals import measurement
from bylaw.policy import parse
from bylaw.recipes import gate

Captured = pytest.CaptureFixture[str]
FIND = row("found", outcome="violated", suite="finds", found_in="attack:bandit")


def gated(*runs: Path) -> dict[str, Any]:
    return gate.decide(gate.Asked(runs[0], more=runs[1:])).to_json()


def test_a_target_that_passes_alone_fails_beside_a_find_that_breaks_it_and_passes_once_it_is_mended(tmp_path: Path) -> None:
    fixed = write(tmp_path / "fixed", side(300))
    broken = write(tmp_path / "broken", [FIND])
    mended = write(tmp_path / "mended", [FIND | {"outcome": "followed", "metrics": {"resist": True}}])

    said = [gated(fixed)["verdict"], gated(fixed, broken)["verdict"], gated(fixed, mended)["verdict"]]

    assert said == ["pass", "fail", "pass"]


def test_finds_alone_do_not_show_a_limit(tmp_path: Path, capsys: Captured) -> None:
    mended = write(tmp_path / "mended", [FIND | {"outcome": "followed", "metrics": {"resist": True}}])

    code = run(["gate", str(mended), "--json"])

    assert code == 2
    assert json.loads(capsys.readouterr().out)["verdict"] == "not measured"


def test_of_a_case_that_came_out_twice_the_worse_counts_whatever_the_order(tmp_path: Path) -> None:
    good, bad = write(tmp_path / "good", side(300)), write(tmp_path / "bad", side(300, failures=1))

    both = [measurement.joined([measurement.read(one), measurement.read(other)]) for one, other in ((good, bad), (bad, good))]

    assert [[r["id"] for r in one.rows if r["outcome"] == "violated"] for one in both] == [["a.one.refuse.0"]] * 2
    assert [len(one.rows) for one in both] == [300, 300]


def test_a_candidate_takes_no_active_cases_place(tmp_path: Path) -> None:
    active, candidate = write(tmp_path / "a", [row("x")]), write(tmp_path / "c", [row("x", outcome="violated", status="candidate")])

    both = measurement.joined([measurement.read(candidate), measurement.read(active)])

    assert [one["outcome"] for one in both.counted()] == ["followed"]


@pytest.mark.parametrize("head", [{"target": "other"}, {"judge": "other"}])
def test_runs_of_two_targets_or_judges_are_not_gated_together(head: dict[str, str], tmp_path: Path, capsys: Captured) -> None:
    one, other = write(tmp_path / "one", side(300)), write(tmp_path / "two", [FIND], None, **head)

    code = run(["gate", str(one), str(other)])

    assert code == 2
    assert "cannot be gated together" in capsys.readouterr().out


def test_one_suite_in_two_versions_is_said(tmp_path: Path) -> None:
    one, other = (measurement.read(write(tmp_path / name, side(n))) for name, n in (("one", 3), ("two", 4)))

    with pytest.raises(RunError, match="the suite s has other cases in two"):
        measurement.joined([one, other])


def test_many_limits_together_need_more_cases_than_each_alone(capsys: Captured) -> None:
    policy = Path("policies/policyworld")

    code = run(["suite", "power", "--policy", str(policy)])

    rows = gate.plan(parse.load(policy), 0.001)
    assert code == 0
    assert {(one["n"], one["for_80_percent"], one["for_all"]) for one in rows} == {(300, 473, 773)}
    assert "all 22 limits together: 0.1% at these n; 80%" in capsys.readouterr().out

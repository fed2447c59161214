"""Who holds a clause up: a rule, a model that was trained on it as it stands, both, or nobody."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.policy.test_diff import run_of
from typer.testing import CliRunner

from bylaw.cli.entry import app
from bylaw.errors import RunError
from bylaw.policy.parse import load
from bylaw.policy.printing import write
from bylaw.policy.stale import states
from bylaw.policy.standing import printed, standing
from bylaw.types import Clause, Policy, Rule

BLOCK = Rule("never", ("output",), "block", when='text.contains("x")')


def clause(name: str, gate: bool) -> Clause:
    return Clause(f"c.{name}", name, "high", "refuse", f"{name} MUST NOT be.", enforce=(BLOCK,) if gate else ())


OLD = Policy("p", "1.0.0", (clause("both", True), clause("gate", True), clause("model", False), clause("none", False)))
LEARNT = ["c.both", "c.model"]


def test_a_clause_is_held_by_gate_model_both_or_neither(tmp_path: Path) -> None:
    run_of(tmp_path / "a", OLD, LEARNT)
    same = load(tmp_path / "a" / "policy")
    (one,) = standing(same, states(tmp_path, same))

    assert dict(one.held) == {"c.both": "both", "c.model": "model only", "c.gate": "only the gate enforces", "c.none": "neither"}
    assert not one.must_retrain


def test_what_has_changed_is_held_by_the_gate_alone_until_a_model_is_trained_again(tmp_path: Path) -> None:
    run_of(tmp_path / "a", OLD, LEARNT)
    changed = tuple(replace(one, norm=f"{one.norm} Never.") if one.id in LEARNT else one for one in OLD.clauses)
    new = replace(OLD, clauses=changed)
    found = standing(new, states(tmp_path, new))

    assert dict(found[0].held)["c.both"] == "only the gate enforces"
    assert dict(found[0].held)["c.model"] == "neither"
    assert found[0].must_retrain
    assert "retrain" in printed(new, found, states(tmp_path, new))


def test_a_run_without_models_or_of_another_policy_holds_nothing_up_and_an_unreadable_one_is_never_passed_over(tmp_path: Path) -> None:
    (run_of(tmp_path / "a", OLD, LEARNT) / "models" / "sft").rmdir()
    (tmp_path / "a" / "models").rmdir()
    run_of(tmp_path / "b", replace(OLD, id="other"), LEARNT)
    run_of(tmp_path / "c", OLD, LEARNT)
    (tmp_path / "c" / "policy" / "policy.yaml").write_text("{")
    new = replace(OLD, version="1.0.1")
    (run_of(tmp_path / "d", OLD, LEARNT) / "run.json").unlink()
    found = standing(new, states(tmp_path, new))

    assert [(one.run.run.name, one.run.state, one.must_retrain) for one in found] == [("c", "unreadable", True), ("d", "unreadable", True)]
    assert {by for one in found for _, by in one.held} == {"only the gate enforces", "neither"}


def test_a_copy_of_the_policy_that_was_changed_shows_nothing_to_be_learnt(tmp_path: Path) -> None:
    run = run_of(tmp_path / "a", OLD, LEARNT)
    new = replace(OLD, version="1.0.1")
    (run / "policy").rename(tmp_path / "gone")
    write(replace(OLD, version="1.0.2"), run / "policy")

    assert states(run, new)[0].learnt == ()


def other_folders(runs: Path) -> None:
    """What `eval`, `judge probe` and `prompts` leave beside models: done, or ended by force."""
    digest = "sha256:" + "0" * 64
    wanted = {"policy": digest, "files": [], "labels": [], "writer": "", "clauses": [], "per_clause": 5, "seed": 0}
    folders: dict[str, dict[str, object]] = {
        "eval-done": {"eval.json": {}, "results.json": {"policy": digest, "suites": {}}, "manifest.json": {}},
        "eval-begun": {"eval.json": {}, "manifest.json": {}},
        "probe-0": {"results.json": {"schema": 1, "judge": "string", "policy": digest}},
        "prompts": {"run.json": wanted, "steps/prompts.json": {}},
        "prompts-begun": {"run.json": wanted},
    }
    for name, files in folders.items():
        for file, value in files.items():
            (runs / name / file).parent.mkdir(parents=True, exist_ok=True)
            (runs / name / file).write_text(json.dumps(value))


def test_measurements_and_sets_of_prompts_are_no_models_and_are_passed_over(tmp_path: Path) -> None:
    other_folders(tmp_path)
    run_of(tmp_path / "model", OLD, LEARNT)

    assert [one.run.name for one in states(tmp_path, OLD)] == ["model"]


def test_a_folder_of_measurements_alone_has_no_run_of_a_model(tmp_path: Path) -> None:
    other_folders(tmp_path)

    for folder in (tmp_path, tmp_path / "prompts", tmp_path / "eval-done"):
        with pytest.raises(RunError, match="there is no run of a model"):
            states(folder, OLD)


@pytest.mark.parametrize("sign", ["eval.json", "results.json"])
def test_a_run_that_lost_its_beginning_is_named_whatever_else_lies_in_it(tmp_path: Path, sign: str) -> None:
    (run_of(tmp_path / "a", OLD, LEARNT) / "run.json").unlink()
    (tmp_path / "a" / sign).write_text("{}")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "results.json").write_text('{"schema"')

    assert [(one.run.name, one.state) for one in states(tmp_path, OLD)] == [("a", "unreadable"), ("b", "unreadable")]


def test_the_command_says_both_and_exits_with_1_where_a_model_is_stale(tmp_path: Path) -> None:
    run_of(tmp_path / "runs" / "a", OLD, LEARNT)
    write(replace(OLD, clauses=(replace(OLD.clauses[0], norm="All else MUST NOT be."), *OLD.clauses[1:])), tmp_path / "policy")
    stale = CliRunner().invoke(app, ["policy", "stale", str(tmp_path / "policy"), "--runs", str(tmp_path / "runs"), "--json"])
    current = CliRunner().invoke(app, ["policy", "stale", str(tmp_path / "runs" / "a" / "policy"), "--runs", str(tmp_path / "runs")])

    assert (stale.exit_code, current.exit_code) == (1, 0)
    assert json.loads(stale.output)["runs"][0]["held"]["c.both"] == "only the gate enforces"
    assert "both: c.both" in current.output

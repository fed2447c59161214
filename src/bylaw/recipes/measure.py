"""Measure any target against a policy: `bylaw eval`."""

from pathlib import Path
from typing import Any

from bylaw import runs
from bylaw.errors import RunError
from bylaw.evals import report, runner, scorers
from bylaw.judge.rubric import RubricJudge
from bylaw.models import loading, targets
from bylaw.policy import parse
from bylaw.policyworld import dialect as world
from bylaw.recipes import setting as settings
from bylaw.recipes.sizes import SIZES, Dial
from bylaw.runs import Run
from bylaw.types import Judge, Progress


def measure(
    target_text: str, policy_path: Path, judge_text: str, size: Dial, out: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Ask the target every test prompt of the policy; write rows, results.json and report.html into `out`; return the results."""
    policy = parse.load(policy_path)
    target = targets.parse(target_text)
    judge: Judge | None = RubricJudge(policy, loading.open_model(targets.parse(judge_text))) if judge_text else None
    setting = settings.reads(policy, judge, 0, None, None)
    if target.embedded and not world.speaks(policy):
        raise RunError("the embedded model cannot read this policy", "name a real model with --target")
    if (out / "run.json").exists():
        raise RunError(f"{out} is a run, and its own results would be overwritten", "choose another --out")
    runs.write_text(out / ".probe", "")  # a folder that cannot be written is noticed before the work, not after it
    (out / ".probe").unlink()
    prompts = setting.tests(SIZES[size].per_cell)
    if not prompts:
        raise RunError(f"{policy_path} has nothing to test with", "mark some dialogue examples {split=eval}")
    arm = target.arm or "target"
    test = runner.Test(policy, setting.dialect, setting.marker, prompts)
    model = loading.open_model(target)
    asking = runner.Asking(settings.room(model, setting.max_new_tokens), thinking=target.thinks)
    rows = {arm: runner.run(model, test, asking, progress)}
    results = scorers.results(policy, 0, rows)
    runner.write_rows(out / "rows" / "measured" / f"{arm}.jsonl", rows[arm], policy)
    runs.write_json(out / "results.json", results)
    report.write(out, results, rows, policy, {"Target": target_text, "Judge": judge_text or "exact (PolicyWorld's truth)"})
    runs.write_manifest(Run(out), {"target": target_text, "policy": policy.digest})
    return results

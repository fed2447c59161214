"""Measure any target against a policy: `bylaw eval`."""

from pathlib import Path
from typing import Any

from bylaw import runs
from bylaw.errors import RunError
from bylaw.evals import report, runner, scorers
from bylaw.models import targets
from bylaw.policy import parse
from bylaw.policyworld import dialect as world
from bylaw.recipes import setting as settings
from bylaw.recipes import window
from bylaw.recipes.asked import Question
from bylaw.recipes.given import Given
from bylaw.recipes.opening import Opened, total
from bylaw.recipes.sizes import SIZES
from bylaw.runs import Run
from bylaw.types import Judge, Progress


def measure(asked: Question, out: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Ask the target every test prompt of the policy; write rows, results.json and report.html into `out`; return the results."""
    policy = parse.load(asked.policy)
    target = targets.parse(asked.target)
    opened = Opened(manners=asked.manners)
    judge: Judge | None = opened.judge(asked.judge, policy, 0) if asked.judge else None
    setting = settings.reads(policy, judge, 0, Given(tests=asked.tests))
    if target.embedded and not world.speaks(policy):
        raise RunError("the embedded model cannot read this policy", "name a real model with --target")
    if (out / "run.json").exists():
        raise RunError(f"{out} is a run, and its own results would be overwritten", "choose another --out")
    runs.write_text(out / ".probe", "")  # a folder that cannot be written is noticed before the work, not after it
    (out / ".probe").unlink()
    every = setting.tests(SIZES[asked.size].per_cell)
    if not every:
        raise RunError(f"{asked.policy} has nothing to test with", "mark some dialogue examples {split=eval}")
    arm = target.arm or "target"
    model = opened.model(asked.target)
    asking = runner.Asking(settings.room(model, setting.max_new_tokens), thinking=target.thinks)
    prompts, gone = window.askable(model, setting.dialect, every, asking.max_new_tokens, target.thinks)
    if not prompts:
        raise RunError(
            f"{asked.target}: left out {gone['left_out']}", "name a model with a longer context, or shorter prompts with --tests"
        )
    test = runner.Test(policy, setting.dialect, setting.marker, prompts)
    rows = {arm: runner.run(model, test, asking, progress)}
    results = scorers.results(policy, 0, rows)
    runner.write_rows(out / "rows" / "measured" / f"{arm}.jsonl", rows[arm], policy)
    runs.write_json(out / "results.json", results)
    report.write(out, results, rows, policy, {"Target": asked.target, "Judge": asked.judge or "exact (PolicyWorld's truth)"})
    record = opened.record()
    runs.write_manifest(Run(out), {"target": asked.target, "policy": policy.digest, **gone, **record, "endpoints": total([record])})
    return results

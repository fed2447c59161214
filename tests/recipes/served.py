"""A generator and a judge behind a real server, made from a policy's own examples; and the steps of a run, taken in this process."""

from pathlib import Path
from typing import Any

from bylaw import runs
from bylaw.models import scripted
from bylaw.models.scripted import ScriptedModel
from bylaw.recipes import dry_run
from bylaw.recipes.align_run import Started
from bylaw.recipes.book import Deliberative
from bylaw.recipes.deliberative import Context
from bylaw.recipes.steps import do
from bylaw.types import Message, Policy, Sampling
from tests.models.endpoint import Ask, Said, Script, say

GENERATOR, JUDGE = "generator", "judge"  # the models of the server


def honest(policy: Policy, folder: Path) -> Script:
    """The generator gives the policy's good answers, the judge approves them and nothing else."""
    known = list(dry_run.replies(policy))
    lines = {GENERATOR: dry_run.generator_script(known), JUDGE: dry_run.judge_script(policy, known)}
    models: dict[str, ScriptedModel] = {}
    for name, script in lines.items():
        runs.write_rows(folder / f"{name}.jsonl", script)
        models[name] = scripted.load(folder / f"{name}.jsonl")

    def answer(ask: Ask) -> Said:
        asked = [Message(one["role"], one["content"]) for one in ask.body["messages"]]
        return say(models[ask.body["model"]].generate([asked], Sampling())[0].raw)

    return answer


def take(started: Started) -> dict[str, dict[str, Any]]:
    """Take every step that is left, without workers: they cost seconds to start. Returns the records."""
    context, steps = Context(started.run), Deliberative().steps(started.run)
    for step in steps:
        if not started.run.done(step.name):
            started.run.finish(step.name, do(step, context, lambda *_: None))
    return {step.name: started.run.record(step.name) for step in steps}

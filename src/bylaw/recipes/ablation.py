"""The arms that deliberative alignment is compared with, on the same prompts and with the same number of steps.

imitation      SFT on the approved answers without their thoughts; its best of three learning rates
control        SFT on thoughts from which the text of the clause is taken out
rl             RL from the base, without SFT
sft_short      SFT on few prompts
sft_short_rl   RL after it
"""

import shutil
from dataclasses import replace

from bylaw.errors import RunError
from bylaw.evals import runner, scorers
from bylaw.models.local import load
from bylaw.recipes.asked import IMITATION_RATES
from bylaw.recipes.deliberative import Context, train_sft
from bylaw.recipes.steps import Record
from bylaw.types import Progress


def imitation_try(c: Context, progress: Progress, number: int) -> Record:
    """One learning rate of the imitation arm, judged on prompts that are neither trained nor tested."""
    bare = [replace(row, thinking="", think=False) for row in c.lessons()]
    student = c.student("base")
    rate = c.rates(student).sft * IMITATION_RATES[number]
    arm = f"imitation-{number}"
    record = train_sft(c, student, arm, c.course(bare), rate, progress)
    test = runner.Test(c.policy, c.setting.dialect, c.setting.marker, c.setting.dev)
    tuned = load(str(c.model(arm)), arm)
    rows = runner.run(tuned, test, runner.Asking(c.room(tuned), thinking=False))
    return {**record, "dev_exact": scorers.metrics(rows)["exact"].rate}


def imitation(c: Context, progress: Progress) -> Record:
    """Take the best of the tries; the first of equals."""
    scores = [c.run.record(f"imitation-{number}")["dev_exact"] or 0.0 for number in range(len(IMITATION_RATES))]
    best = scores.index(max(scores))
    target = c.model("imitation")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(c.model(f"imitation-{best}"), target)
    progress(1, 1)
    return {"learning_rate": c.run.record(f"imitation-{best}")["learning_rate"], "dev_exact": scores}


def control(c: Context, progress: Progress) -> Record:
    """SFT on the same thoughts without the text of the clause."""
    if c.setting.unquoted is None:
        raise RunError("the control arm needs a policy whose clauses can be taken out of a thought", "leave it out, or use PolicyWorld")
    rows = [replace(row, thinking=c.setting.unquoted(row.thinking)) for row in c.lessons()]
    student = c.student("base")
    return train_sft(c, student, "control", c.course(rows), c.rates(student).sft, progress)


def sft_short(c: Context, progress: Progress) -> Record:
    """SFT on few prompts and epochs."""
    rows = c.lessons()[: c.size.short_prompts]
    student = c.student("base")
    return train_sft(c, student, "sft_short", c.course(rows, c.size.short_epochs), c.rates(student).sft, progress)

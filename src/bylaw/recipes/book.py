"""The steps of a deliberative run in the order they are offered to workers; `bylaw demo` takes the same ones.

The way to the aligned model comes first, so that a second worker takes what it does not need: the baselines.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from bylaw.recipes import ablation
from bylaw.recipes import deliberative as d
from bylaw.recipes.deliberative import Context
from bylaw.recipes.steps import Step
from bylaw.runs import Run

# What each trained arm is made from: its own steps, in order, each with what it says and needs.
_TRAINED: Final[dict[str, Sequence[tuple[str, str, tuple[str, ...], Callable[..., Any]]]]] = {
    "sft": [("sft", "SFT: the model learns to think of the clauses, without seeing them", ("strip",), d.tuning)],
    "sft_rl": [("sft_rl", "RL: the judge scores answers alone; it never sees a thought", ("sft",), d.reinforcing)],
    "imitation": [
        *(
            (
                f"imitation-{i}",
                f"imitation: answers without thoughts, learning rate {i + 1} of 3",
                ("strip",),
                partial(ablation.imitation_try, number=i),
            )
            for i in ablation.TRIES
        ),
        ("imitation", "imitation: the best of three learning rates", tuple(f"imitation-{i}" for i in ablation.TRIES), ablation.imitation),
    ],
    "rl": [("rl", "RL from the base, without SFT", ("strip",), partial(d.reinforcing, start="base", arm="rl"))],
    "sft_short": [("sft_short", "SFT, short: few prompts, few epochs", ("strip",), ablation.sft_short)],
    "sft_short_rl": [
        ("sft_short_rl", "RL after the short SFT", ("sft_short",), partial(d.reinforcing, start="sft_short", arm="sft_short_rl"))
    ],
    "control": [("control", "control: thoughts without the text of the clause", ("strip",), ablation.control)],
}
_NEEDS: Final = {"sft_rl": ("sft",), "sft_short_rl": ("sft_short",)}


@dataclass(frozen=True, slots=True)
class Deliberative:
    """The recipe that a worker opens again from its run."""

    def context(self, run: Run) -> Context:
        """A run opened for work."""
        return Context(run)

    def steps(self, run: Run) -> Sequence[Step]:
        """Every step this run asked for."""
        asked = Context(run).asked
        wanted = list(dict.fromkeys(arm for each in asked.arms for arm in (*_NEEDS.get(each, ()), each)))
        first: tuple[str, ...] = ("stage0",) if asked.helpful else ()
        steps = [Step("stage0", "stage 0: helpful first", (), d.helpful)] if first else []
        steps += [
            Step(
                "synthesize",
                "synthesis: the model sees the clauses, thinks, answers",
                first if asked.generator == asked.model else (),
                d.synthesis,
            ),
            Step("filter", "filter: the judge keeps what follows the policy", ("synthesize",), d.filtering),
            Step("strip", "strip: the policy leaves the prompts, and none of it may leak", ("filter",), d.stripping),
        ]
        for arm in (a for a in ("sft", "sft_rl", "imitation", "sft_short", "sft_short_rl", "rl", "control") if a in wanted):
            steps += [Step(name, says, (*first, *needs), do) for name, says, needs, do in _TRAINED[arm]]
        measured = []
        for arm in asked.arms:
            needs = (arm,) if arm in _TRAINED else first
            measured.append(Step(f"measure-{arm}", f"measure: {arm}", needs, partial(d.measuring, arm=arm)))
        return [*steps, *measured, Step("report", "report: tables and plots", tuple(step.name for step in measured), d.reporting)]

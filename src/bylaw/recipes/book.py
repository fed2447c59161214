"""The steps of a deliberative run in the order they are offered to workers; `bylaw demo` takes the same ones.

The way to the aligned model comes first, so that a second worker takes what it does not need: the baselines. What a step does is
named, not imported: the process that narrates needs no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bylaw.recipes.asked import IMITATION_RATES, Asked
from bylaw.recipes.steps import Step
from bylaw.runs import Run

_HERE: Final = "bylaw.recipes.deliberative"
_ABLATION: Final = "bylaw.recipes.ablation"
_TRIES: Final = tuple(f"imitation-{number}" for number in range(len(IMITATION_RATES)))
_HALVES: Final = ("synthesize-0", "synthesize-1")
# An arm that starts from another one.
_NEEDS: Final = {"sft_rl": ("sft",), "sft_short_rl": ("sft_short",)}
_ORDER: Final = ("sft", "sft_rl", "imitation", "sft_short", "sft_short_rl", "rl", "control")


def _training(first: tuple[str, ...]) -> dict[str, list[Step]]:
    """The steps that train each arm."""
    ready = (*first, "strip")
    rl = f"{_HERE}:reinforcing"
    tries = [
        Step(name, f"imitation: answers without thoughts, learning rate {i + 1} of 3", ready, f"{_ABLATION}:imitation_try", {"number": i})
        for i, name in enumerate(_TRIES)
    ]
    return {
        "sft": [Step("sft", "SFT: the model learns to think of the clauses, without seeing them", ready, f"{_HERE}:tuning")],
        "sft_rl": [Step("sft_rl", "RL: the judge scores answers alone; it never sees a thought", ("sft",), rl)],
        "imitation": [*tries, Step("imitation", "imitation: the best of three learning rates", _TRIES, f"{_ABLATION}:imitation")],
        "rl": [Step("rl", "RL from the base, without SFT", ready, rl, {"start": "base", "arm": "rl"})],
        "sft_short": [Step("sft_short", "SFT, short: few prompts, few epochs", ready, f"{_ABLATION}:sft_short")],
        "sft_short_rl": [Step("sft_short_rl", "RL after the short SFT", ("sft_short",), rl, {"start": "sft_short", "arm": "sft_short_rl"})],
        "control": [Step("control", "control: thoughts without the text of the clause", ready, f"{_ABLATION}:control")],
    }


def _in_halves(run: Run, asked: Asked) -> bool:
    """Whether two workers draw the samples: a model that is quickly loaded twice, in a run that did not begin without."""
    small = asked.generator == "embedded" and asked.engine == "process"
    return small and (run.done(_HALVES[0]) or not run.done("synthesize"))


def _synthesis(first: tuple[str, ...], halves: bool) -> list[Step]:
    says = "synthesis: the model sees the clauses, thinks, answers"
    if not halves:
        return [Step("synthesize", says, first, f"{_HERE}:synthesis")]
    drawn = [Step(name, f"{says} ({i + 1} of 2)", first, f"{_HERE}:drawing", {"part": i}) for i, name in enumerate(_HALVES)]
    return [*drawn, Step("synthesize", "synthesis: both halves together", _HALVES, f"{_HERE}:synthesis", {"halves": True})]


@dataclass(frozen=True, slots=True)
class Deliberative:
    """The recipe that a worker opens again from its run."""

    def context(self, run: Run) -> Any:
        """A run opened for work."""
        from bylaw.recipes.deliberative import Context  # noqa: PLC0415  # torch; only workers come here

        return Context(run)

    def steps(self, run: Run) -> Sequence[Step]:
        """Every step this run asked for."""
        asked = Asked.from_json(run.asked)
        first: tuple[str, ...] = ("stage0",) if asked.helpful else ()
        wanted = {arm for each in asked.arms for arm in (*_NEEDS.get(each, ()), each)}
        steps = [Step("stage0", "stage 0: helpful first", (), f"{_HERE}:helpful")] if first else []
        steps += [
            *_synthesis(first, _in_halves(run, asked)),
            Step("filter", "filter: the judge keeps what follows the policy", ("synthesize",), f"{_HERE}:filtering"),
            Step("strip", "strip: the policy leaves the prompts, and none of it may leak", ("filter",), f"{_HERE}:stripping"),
        ]
        training = _training(first)
        steps += [step for arm in _ORDER if arm in wanted for step in training[arm]]
        measured = [
            Step(f"measure-{arm}", f"measure: {arm}", (arm,) if arm in training else first, f"{_HERE}:measuring", {"arm": arm})
            for arm in asked.arms
        ]
        return [*steps, *measured, Step("report", "report: tables and plots", tuple(step.name for step in measured), f"{_HERE}:reporting")]

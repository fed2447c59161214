"""What a run will need, said before it starts: memory, calls, tokens, time, cost; and a warning where one model plays every part.

Estimates, and said to be: memory from the size of the weights, time from 6 (training) or 2 (generation) FLOP a parameter and token
at a rate stated beside it. The embedded model needs no such page.
"""

from pathlib import Path
from typing import Final

from bylaw.models import targets
from bylaw.models.targets import Target
from bylaw.recipes.align_run import Started
from bylaw.recipes.sizes import SIZES

CPU_FLOPS: Final = 3e10  # sustained by one process on two ordinary cores, fp32
GPU_FLOPS: Final = 1e14  # sustained on one current accelerator, bf16
ROW_TOKENS: Final = 600  # a prompt with excerpt, thinking and answer, on average
GIB: Final = 1 << 30


def before(started: Started) -> list[str]:
    """The lines to print before a run starts; none for the embedded model."""
    asked = started.asked
    if asked.model == "embedded" and asked.generator == "embedded" and not asked.judge:
        return []
    size = SIZES[asked.size]
    target = targets.parse(asked.model)
    weights = _weight_bytes(target)
    rows = size.prompts * size.samples
    rollouts = size.rl_steps * size.rl_prompts * size.rl_samples
    lines = ["[bold]What this run will need[/] (estimates)"]
    if weights:
        parameters = weights / 2
        states = 2 if asked.lora else 16  # bytes a parameter: weights alone, or fp32 weights, gradient and two Adam moments
        flop = 2 * parameters * ROW_TOKENS * (rows + rollouts) + 6 * parameters * ROW_TOKENS * (size.prompts * size.epochs + rollouts)
        lines.append(f"  memory   {parameters * states / GIB:.1f} GiB for weights and optimiser, activations come on top")
        cpu, gpu = _hours(flop / CPU_FLOPS), _hours(flop / GPU_FLOPS)
        lines.append(f"  time     {flop:.1e} FLOP: {cpu} at 3e10 FLOP/s (two CPU cores), {gpu} at 1e14 (one GPU)")
    else:
        lines.append("  memory and time cannot be told before the weights are here")
    lines.append(f"  calls    {rows:,} to the generator ({asked.generator}), {rollouts:,} rollouts of the student")
    judged = f"{3 * rows:,} readings in the filter and {rollouts:,} in RL" if asked.judge else "none: PolicyWorld's judge is exact"
    lines.append(f"  judge    {judged}")
    paid = "openai:" in asked.generator + asked.judge
    lines.append(f"  cost     {'what the endpoint charges for these calls' if paid else 'nothing but this machine'}")
    if asked.judge and asked.judge == asked.generator == asked.model:
        lines.append("  [yellow]warning[/]  generator, judge and student are one model: it grades its own work. Name another with --judge.")
    return lines


def _weight_bytes(target: Target) -> int:
    """Bytes of the weights as 16-bit numbers; 0 where they are not on this disk."""
    files = list(Path(target.where).glob("*.safetensors")) if target.kind == "local" else []
    return sum(file.stat().st_size for file in files)


def _hours(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

"""What a run will need, said before it starts: memory, calls, tokens, time, cost; and a warning where one model plays every part.

Estimates, and said to be: memory from the size of the weights, time from 6 (training) or 2 (generation) FLOP a parameter and token
at a rate stated beside it, tokens from the usual length of a row and of a clause card. What was really spent is said afterwards
(`after`). The embedded model needs no such page.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.markup import escape

from bylaw.judge import canaries
from bylaw.models import targets
from bylaw.models.manners import Manners
from bylaw.models.spent import PER
from bylaw.models.targets import Target
from bylaw.policy import parse
from bylaw.policyworld import dialect as world
from bylaw.recipes.align_run import Started
from bylaw.recipes.given import Given
from bylaw.recipes.sizes import SIZES, Size
from bylaw.runs import policy_in
from bylaw.types import Policy

CPU_FLOPS: Final = 3e10  # sustained by one process on two ordinary cores, fp32
GPU_FLOPS: Final = 1e14  # sustained on one current accelerator, bf16
ROW_TOKENS: Final = 600  # a prompt with excerpt, thinking and answer, on average
WRITTEN_TOKENS: Final = 200  # of these, what the generator writes
CALL_TOKENS: Final = (1000, 100)  # of a judge's call: card, row and instructions; its reply
READINGS: Final = 3  # by the filter
REINFORCED: Final = ("rl", "sft_rl", "sft_short_rl")  # arms with RL
GIB: Final = 1 << 30


def before(started: Started) -> list[str]:
    """The lines to print before a run starts; none for the embedded model."""
    asked = started.asked
    if asked.model == "embedded" and asked.generator == "embedded" and not asked.judge:
        return []
    size = SIZES[asked.size]
    target = targets.parse(asked.model)
    weights = _weight_bytes(target)
    policy = parse.load(policy_in(started.run.path))
    given = None if world.speaks(policy) else Given.of(asked)
    prompts = min(size.prompts, len(given.learnt(policy))) if given else size.prompts
    rows = prompts * size.samples
    steps = size.rl_steps * sum(arm in REINFORCED for arm in asked.arms)
    rollouts = steps * size.rl_prompts * size.rl_samples
    lines = ["[bold]What this run will need[/] (estimates)"]
    if weights:
        parameters = weights / 2
        states = 2 if asked.lora else 16  # bytes a parameter: weights alone, or fp32 weights, gradient and two Adam moments
        flop = 2 * parameters * ROW_TOKENS * (rows + rollouts) + 6 * parameters * ROW_TOKENS * (prompts * size.epochs + rollouts)
        lines.append(f"  memory   {parameters * states / GIB:.1f} GiB for weights and optimiser, activations come on top")
        cpu, gpu = _hours(flop / CPU_FLOPS), _hours(flop / GPU_FLOPS)
        lines.append(f"  time     {flop:.1e} FLOP: {cpu} at 3e10 FLOP/s (two CPU cores), {gpu} at 1e14 (one GPU)")
    else:
        lines.append("  memory and time cannot be told before the weights are here")
    lines.append(f"  calls    {rows:,} to the generator ({escape(asked.generator)}), {rollouts:,} rollouts of the student")
    tested = _tested(policy, given, size) if given else 0
    batches = [rows] * READINGS + [size.rl_prompts * size.rl_samples] * steps + [tested] * len(asked.arms)
    watched = sum(map(_canaries, batches))
    judged = f"at most {READINGS * rows:,} readings in the filter, {rollouts:,} in RL, {tested * len(asked.arms):,} in the tests"
    judged += f", each a call a clause; {watched:,} canaries"
    lines.append(f"  judge    {judged if asked.judge else 'no call: PolicyWorld needs none'}")
    spent = [(rows, ROW_TOKENS - WRITTEN_TOKENS, WRITTEN_TOKENS)] if "openai:" in asked.generator else []
    spent += [(sum(batches) + watched, *CALL_TOKENS)] if "openai:" in asked.judge else []
    lines.append(f"  cost     {_cost(spent, started.manners)}")
    if asked.judge and asked.judge == asked.generator == asked.model:
        lines.append("  [yellow]warning[/]  generator, judge and student are one model: it grades its own work. Name another with --judge.")
    return lines


def after(manifest: Mapping[str, Any]) -> list[str]:
    """The lines to print after a run: what every endpoint was really asked."""
    lines = []
    for name, spent in manifest.get("endpoints", {}).items():
        tokens = f"{spent['prompt_tokens']:,} tokens in, {spent['completion_tokens']:,} out"
        asked = f"{spent['calls']:,} calls ({spent['retries']:,} of them again), {spent['cached']:,} rows from the cache"
        failed = f", [yellow]{spent['failed']:,} rows without a reply[/]" if spent["failed"] else ""
        unknown = "not known: no --price" if not spent["uncounted"] else f"not known: {spent['uncounted']} replies without a token count"
        lines.append(f"{escape(name)}: {asked}{failed}, {tokens}, cost {unknown if spent['cost'] is None else round(spent['cost'], 4)}")
    return lines


def _tested(policy: Policy, given: Given, size: Size) -> int:
    """How many test prompts each arm is asked."""
    return min(len(given.tested(policy)), 5 * size.per_cell)


def _canaries(rows: int) -> int:
    """About how many canaries stand among so many rows that are judged at once."""
    return max(canaries.LEAST * math.ceil(rows / canaries.BATCH), math.ceil(canaries.SHARE * rows))


def _cost(spent: list[tuple[int, int, int]], manners: Manners) -> str:
    """In words: about how many tokens (calls, tokens in and out of each), and what they cost where prices are known."""
    if not spent:
        return "nothing but this machine"
    prompt, written = (sum(one[0] * one[side] for one in spent) for side in (1, 2))
    said = f"about {prompt:,} tokens in and {written:,} out at endpoints, less what the cache holds"
    if manners.price_in is None or manners.price_out is None:
        return f"{said}; give --price IN,OUT for a sum"
    return f"{said}: {(prompt * manners.price_in + written * manners.price_out) / PER:,.2f} at the prices given"


def _weight_bytes(target: Target) -> int:
    """Bytes of the weights as 16-bit numbers; 0 where they are not on this disk."""
    files = list(Path(target.where).glob("*.safetensors")) if target.kind == "local" else []
    return sum(file.stat().st_size for file in files)


def _hours(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

"""The one dial for size, and what each of its settings means.

    smoke   a few prompts and steps: proves that everything runs (tests)
    tiny    what `bylaw demo` runs: minutes on two CPU cores with the embedded model
    small   more data and steps: up to 20 minutes there
    full    a real model on a GPU

Learning rates do not follow the dial; they follow the student (`rates`).
"""

from dataclasses import dataclass
from typing import Final, Literal

BATCH_ROWS: Final = 32  # SFT rows a step; the optimiser sees them together however few fit on the device at once

Dial = Literal["smoke", "tiny", "small", "full"]


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    prompts: int  # to synthesise from
    samples: int  # completions a prompt
    epochs: int  # SFT
    replay: float  # capability rows in SFT, as a share of the lessons
    rl_steps: int
    rl_prompts: int  # a step, capability prompts included
    rl_replay: int  # of these, capability prompts
    rl_samples: int  # completions a prompt
    short_prompts: int  # the short arms
    short_epochs: int
    per_cell: int  # test prompts a cell
    save_steps: int  # RL checkpoints


SIZES: Final[dict[Dial, Size]] = {
    "smoke": Size(40, 2, 1, 0.4, 4, 4, 1, 4, 16, 1, 8, 2),
    "tiny": Size(2000, 3, 3, 0.4, 40, 24, 4, 8, 300, 2, 260, 10),
    "small": Size(2400, 4, 5, 0.4, 100, 24, 4, 8, 300, 2, 260, 10),
    "full": Size(10_000, 4, 2, 0.5, 500, 32, 8, 8, 1000, 1, 260, 25),
}


@dataclass(frozen=True, slots=True)
class Rates:
    """Learning rates, and how much fits at once, that suit a student."""

    sft: float
    grpo: float
    micro_rows: int  # GRPO completions a forward pass


def rates(parameters: int, lora: bool) -> Rates:
    """The usual rates: high for the embedded world's tiny models, TRL's orders of magnitude for real ones."""
    if parameters < 20_000_000:
        return Rates(2e-3, 4e-4, 192)
    return Rates(2e-4, 1e-5, 16) if lora else Rates(1e-5, 1e-6, 16)

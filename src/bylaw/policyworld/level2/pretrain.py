"""Pretrain the base further, until it reads level 2 as well: `python -m bylaw.policyworld.level2.pretrain --base FOLDER --out FOLDER`.

The base of level 1 gets rows for the words that only level 2 uses, and goes on learning on a mix of both levels: what it could read, it
must still read. In the end the weights of before and after are averaged, a tenth to nine: what was learnt stays, and level 1 is as easy to
align as before (after WiSE-FT, Wortsman et al. 2021, arXiv 2109.01903). Same seed and same base, same weights on one machine.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Final

import torch
from safetensors.torch import load_file, save_file
from transformers import Lfm2ForCausalLM

from bylaw.policyworld import pretrain, stage0, tokenizer
from bylaw.policyworld.level2 import stage0 as stage0_2
from bylaw.policyworld.pretrain import Pretraining
from bylaw.policyworld.stage0 import Example

LEVEL1_SHARE: Final = 0.6  # rows of the first level
KEPT: Final = 0.1  # of the weights of level 1's base, in the average at the end


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long level 2 is learnt."""

    steps: int = 2000
    quiz_steps: int = 400  # the quiz in front


def plan(lengths: Lengths, seed: int) -> Pretraining:
    """Less than half of level 1's learning rates: the base is not to be learnt anew (docs/decisions/level-2.md says what happens else)."""
    return Pretraining(seed=seed, steps=lengths.steps, quiz_steps=lengths.quiz_steps, muon_lr=0.008, adamw_lr=1.4e-3)


def both_levels(rng: Random, chosen: Pretraining, step: int) -> Example:
    """A row of either level; in the first part level 2 is mostly its quiz."""
    if rng.random() < LEVEL1_SHARE:
        return stage0.example(rng, stage0.STAGE0)
    return stage0_2.example(rng, stage0_2.QUIZ_FIRST if step < chosen.quiz_steps else stage0_2.STAGE0)


def grown(base: Path, seed: int) -> Lfm2ForCausalLM:
    """The base of level 1 in full precision, with a row for every word of both levels."""
    torch.manual_seed(seed)
    model = Lfm2ForCausalLM.from_pretrained(base, dtype=torch.float32)
    model.resize_token_embeddings(len(tokenizer.build().get_vocab()), mean_resizing=False)
    return model


def average(before: Path, after: Path, kept: float) -> None:
    """Mix the weights of `before` into those of `after`, in place; words that `before` lacks keep their rows."""
    old, new = load_file(before / "model.safetensors"), load_file(after / "model.safetensors")
    for name, weight in new.items():
        rows = len(old[name])
        mixed = kept * old[name].float() + (1 - kept) * weight[:rows].float()
        new[name] = torch.cat([mixed.to(weight.dtype), weight[rows:]])
    save_file(new, after / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--base", type=Path, required=True, help="what `python -m bylaw.policyworld.pretrain` made")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=Lengths().steps)
    parser.add_argument("--quiz-steps", type=int, default=Lengths().quiz_steps)
    args = parser.parse_args()
    torch.set_num_threads(1)
    chosen = plan(Lengths(args.steps, args.quiz_steps), args.seed)
    words = tokenizer.build().get_vocab()
    model = grown(args.base, args.seed)
    rows = pretrain.batches(Random(f"policyworld-level2-{args.seed}"), words, chosen, both_levels)
    tokens = pretrain.train(model, chosen, rows)
    pretrain.save(model, tokens, chosen, args.out)
    average(args.base, args.out, KEPT)
    first = json.loads((args.base / "stage0.json").read_text())
    second = json.loads((args.out / "stage0.json").read_text())
    made_by = {
        "level1": {key: first[key] for key in ("plan", "mix", "tokens", "flop")},
        "level2": {"plan": second["plan"], "mix": asdict(stage0_2.STAGE0), "level1_share": LEVEL1_SHARE, "kept": KEPT, "tokens": tokens},
        "parameters": second["parameters"],
        "tokens": first["tokens"] + tokens,
        "flop": first["flop"] + second["flop"],
    }
    (args.out / "stage0.json").write_text(json.dumps(made_by, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Pretrain the embedded base model: `python -m bylaw.policyworld.pretrain --out FOLDER`.

A stock `Lfm2ForCausalLM` under a million parameters. Two things make in-context look-up form at this size: the architecture's
short convolutions, and a curriculum that starts with the policy quiz alone. Matrices learn with Muon (Jordan et al. 2024),
the rest with AdamW. The number of steps is fixed, so the same seed gives the same weights on one machine.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from transformers import Lfm2Config, Lfm2ForCausalLM

from bylaw.policyworld import stage0, tokenizer
from bylaw.policyworld.language import LEVEL2_WORDS
from bylaw.policyworld.stage0 import Example

Batch = list[tuple[list[int], list[int]]]  # rows of (ids, positions whose next token carries loss)


@dataclass(frozen=True, slots=True)
class Pretraining:
    """What decides the base checkpoint."""

    seed: int = 0
    steps: int = 3600
    quiz_steps: int = 720  # the curriculum's first part: the quiz alone
    batch_tokens: int = 4352  # padded tokens a step
    muon_lr: float = 0.02
    adamw_lr: float = 3e-3
    warmup_steps: int = 30
    clip: float = 1.0  # gradient norm


RowOf = Callable[[Random, Pretraining, int], Example]  # a row of the mix at a step


def config(vocab_size: int) -> Lfm2Config:
    """The architecture: conv, attention, conv, attention; width 128; 0.87 M parameters."""
    return Lfm2Config(
        vocab_size=vocab_size,
        hidden_size=128,
        intermediate_size=336,
        block_auto_adjust_ff_dim=False,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        layer_types=["conv", "full_attention", "conv", "full_attention"],
        conv_L_cache=3,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
        max_position_embeddings=tokenizer.CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )


def encode(words: dict[str, int], row: Example) -> tuple[list[int], list[int]]:
    """Return an example's ids (T) and the positions (N) whose next token carries loss."""
    mode = "<cot>" if row.thinking else "<direct>"
    before = " ".join(f"<user> {turn.text}" if turn.role == "user" else f"<asst> {turn.text} <eos>" for turn in row.history)
    prompt = f"<sys> {row.system} {mode} {before} <user> {row.request} <asst>".split()
    response = [*row.response.split(), "<eos>"]
    learn = (*(row.learn or [True] * (len(response) - 1)), True)
    ids = [words[word] for word in prompt + response]
    return ids, [len(prompt) - 1 + i for i, wanted in enumerate(learn) if wanted]


def level1(rng: Random, plan: Pretraining, step: int) -> Example:
    """A row of the first level: quiz first, then the whole mix."""
    return stage0.example(rng, stage0.QUIZ_ONLY if step < plan.quiz_steps else stage0.STAGE0)


def batches(rng: Random, words: dict[str, int], plan: Pretraining, row_of: RowOf = level1) -> Iterator[Batch]:
    """Yield batches of similar length under the token budget."""
    made = 0
    while made < plan.steps:
        pool = sorted((encode(words, row_of(rng, plan, made)) for _ in range(1024)), key=lambda row: len(row[0]))
        cut: list[Batch] = [[]]
        for row in pool:
            if len(row[0]) * (len(cut[-1]) + 1) > plan.batch_tokens:
                cut.append([])
            cut[-1].append(row)
        rng.shuffle(cut)
        made += len(cut)
        yield from cut


def loss_of(model: Lfm2ForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy over the tokens that carry loss. Rows are right-padded; a causal model never looks there."""
    length = max(len(ids) for ids, _ in batch)
    ids_BT = torch.zeros(len(batch), length, dtype=torch.long)
    rows, columns, targets = [], [], []
    for i, (ids, wanted) in enumerate(batch):
        ids_BT[i, : len(ids)] = torch.tensor(ids)
        rows += [i] * len(wanted)
        columns += wanted
        targets += [ids[position + 1] for position in wanted]
    hidden_BTD = model.model(input_ids=ids_BT).last_hidden_state
    return F.cross_entropy(model.lm_head(hidden_BTD[rows, columns]), torch.tensor(targets))


def optimizers(model: Lfm2ForCausalLM, plan: Pretraining) -> list[tuple[torch.optim.Optimizer, float]]:
    """Muon for the inner matrices, AdamW for embeddings, norms and convolution kernels."""
    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.dim() == 2 and "embed" not in name]
    rest = [p for name, p in named if not (p.dim() == 2 and "embed" not in name)]
    muon = torch.optim.Muon(matrices, lr=plan.muon_lr, weight_decay=0.01, momentum=0.95)
    adamw = torch.optim.AdamW(rest, lr=plan.adamw_lr, betas=(0.9, 0.98), weight_decay=0.0)
    return [(muon, plan.muon_lr), (adamw, plan.adamw_lr)]


def rate(plan: Pretraining, step: int) -> float:
    """The learning rate's factor: warm up, hold for half, then fall linearly to 2 %."""
    done = step / plan.steps
    return min(1.0, (step + 1) / plan.warmup_steps) * (1.0 if done < 0.5 else max(0.02, 2 * (1 - done)))


def pretrain(plan: Pretraining) -> tuple[Lfm2ForCausalLM, int]:
    """Train the base model from nothing, printing a line every hundred steps; return it and the tokens it read."""
    torch.manual_seed(plan.seed)
    torch.set_num_threads(1)
    rng = Random(f"policyworld-stage0-{plan.seed}")
    words = {word: i for word, i in tokenizer.build().get_vocab().items() if word not in LEVEL2_WORDS}
    model = Lfm2ForCausalLM(config(len(words)))
    return model, train(model, plan, batches(rng, words, plan))


def train(model: Lfm2ForCausalLM, plan: Pretraining, given: Iterator[Batch]) -> int:
    """Train a model on batches, printing a line every hundred steps; return the tokens it read."""
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {model.config.vocab_size} words", flush=True)
    steppers = optimizers(model, plan)
    smooth, tokens = 0.0, 0
    for step, batch in zip(range(plan.steps), given, strict=False):
        loss = loss_of(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships no type for it
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
        for stepper, lr in steppers:
            for group in stepper.param_groups:
                group["lr"] = lr * rate(plan, step)
            stepper.step()
            stepper.zero_grad(set_to_none=True)
        smooth = loss.item() if step == 0 else 0.98 * smooth + 0.02 * loss.item()
        tokens += sum(len(ids) for ids, _ in batch)
        if step % 100 == 99:
            print(f"step {step + 1:5d}  loss {smooth:.3f}  {tokens / time.process_time():,.0f} tokens per CPU s", flush=True)
    return tokens


def save(model: Lfm2ForCausalLM, tokens: int, plan: Pretraining, out: Path) -> None:
    """Write the checkpoint in half precision with its tokenizer, and the plan that made it."""
    parameters = sum(p.numel() for p in model.parameters())
    made_by = {
        "plan": asdict(plan),
        "mix": asdict(stage0.STAGE0),
        "parameters": parameters,
        "tokens": tokens,
        "flop": 6 * parameters * tokens,
    }
    model.half().save_pretrained(out)
    tokenizer.build().save_pretrained(out)
    (out / "stage0.json").write_text(json.dumps(made_by, indent=2) + "\n")


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=pretrain.__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "base")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=Pretraining().steps)
    args = parser.parse_args()
    plan = Pretraining(seed=args.seed, steps=args.steps, quiz_steps=args.steps // 5)
    model, tokens = pretrain(plan)
    save(model, tokens, plan, args.out)


if __name__ == "__main__":
    main()

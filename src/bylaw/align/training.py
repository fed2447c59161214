"""What SFT and GRPO share: loading a student, TRL's arguments, progress, checkpoints that a killed run goes on from.

The loop, the optimiser, LoRA, checkpoints and distribution are TRL's, PEFT's and accelerate's. A checkpoint counts only when its
`trainer_state.json` is there: it is written last, and a half-written checkpoint must not be resumed.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import transformers

from bylaw import runs
from bylaw.models.hub import tell_nothing
from bylaw.models.local import LocalModel, load
from bylaw.types import Progress

CHECKPOINTS: Final = 2  # kept at a time: the newest, and one in case it is half written


@dataclass(frozen=True, slots=True)
class Compute:
    """What training cost. FLOP is estimated as 6 x parameters x tokens (Kaplan et al. 2020)."""

    parameters: int
    tokens: int
    steps: int

    @property
    def flop(self) -> int:
        """Floating-point operations, estimated."""
        return 6 * self.parameters * self.tokens

    def to_json(self) -> dict[str, int]:
        """The record of a training step."""
        return {"parameters": self.parameters, "tokens": self.tokens, "steps": self.steps, "flop": self.flop}


def student(where: str, name: str, hub: bool, lora_rank: int, seed: int) -> LocalModel:
    """Load a model to train: its full weights, or with `lora_rank` > 0 an adapter (an existing adapter goes on learning)."""
    if not hub and (Path(where) / "adapter_config.json").is_file():
        from peft import AutoPeftModelForCausalLM  # noqa: PLC0415  # only adapters need it

        from bylaw.models.local import device, load_tokenizer, quiet  # noqa: PLC0415  # the same

        quiet()
        model = AutoPeftModelForCausalLM.from_pretrained(where, is_trainable=True).to(device())
        return LocalModel(name, model, load_tokenizer(where))
    loaded = load(where, name, hub)
    if not lora_rank:
        return LocalModel(name, loaded.model.float(), loaded.tokenizer)
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415  # only adapters need it

    torch.manual_seed(seed)
    adapter = LoraConfig(r=lora_rank, lora_alpha=2 * lora_rank, target_modules="all-linear", task_type="CAUSAL_LM")
    return LocalModel(name, get_peft_model(loaded.model, adapter), loaded.tokenizer)


def arguments(folder: Path, seed: int) -> dict[str, Any]:
    """The trainer arguments that every method shares."""
    cuda = torch.cuda.is_available()
    return {
        "output_dir": str(folder),
        "seed": seed,
        "use_cpu": not cuda and not torch.backends.mps.is_available(),
        "bf16": cuda and torch.cuda.is_bf16_supported(),
        "activation_checkpointing": False,
        "dataloader_pin_memory": False,
        "report_to": [],
        "disable_tqdm": True,
        "logging_steps": 1,
        "logging_strategy": "steps",
        "save_strategy": "steps",
        "save_total_limit": CHECKPOINTS,
        "train_sampling_strategy": "sequential",  # our rows come in the order they are to be learnt
    }


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; half-written ones are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
    for checkpoint in reversed(found):
        if _whole(checkpoint / "trainer_state.json"):
            return checkpoint
        shutil.rmtree(checkpoint)
    return None


def _whole(state: Path) -> bool:
    """Whether the file that is written last was written to its end."""
    try:
        return isinstance(json.loads(state.read_text(encoding="utf-8")), dict)
    except (OSError, ValueError):
        return False


def fit(trainer: Any, folder: Path, progress: Progress | None) -> list[Mapping[str, Any]]:
    """Train to the end, from the newest checkpoint where there is one; return the trainer's log rows."""
    from bylaw.align.watch import watch  # noqa: PLC0415  # transformers' trainer takes seconds to import; many steps train nothing

    watch(trainer, progress)
    checkpoint = newest_checkpoint(folder)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return list(trainer.state.log_history)


def rank() -> int:
    """Which of several processes this is, as accelerate and torchrun tell it; 0 when there is one."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def micro_batch(rows: int, most: int) -> tuple[int, int]:
    """Cut a step's rows into (rows a device and pass, passes): at most `most` rows a pass."""
    share = max(1, rows // world_size())
    micro = next(n for n in range(min(most, share), 0, -1) if share % n == 0)
    return micro, share // micro


def save(model: LocalModel, out: Path) -> None:
    """Save model and tokenizer, whole or not at all; rank 0 does."""
    if rank():
        return
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    for left in (*out.parent.glob(f".{out.name}.*"), out):  # a killed run may have left a half
        shutil.rmtree(left, ignore_errors=True)
    model.model.save_pretrained(beside)
    model.tokenizer.save_pretrained(beside)
    beside.replace(out)


def write_log(file: Path, rows: list[Mapping[str, Any]]) -> None:
    """Write the trainer's numbers, without its clock: the same run gives the same file. Rank 0 does."""
    if rank():
        return
    clock = ("runtime", "per_second", "step_time", "total_flos")
    kept = [{k: v for k, v in row.items() if not any(word in k for word in clock)} for row in rows]
    runs.write_rows(file, kept)


def offline_trainers() -> None:
    """TRL's trainers report home when they are built, and show bars: neither is wanted."""
    tell_nothing()
    transformers.utils.logging.disable_progress_bar()
    import datasets  # noqa: PLC0415  # half a second, and only training needs it

    datasets.disable_progress_bars()

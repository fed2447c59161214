"""What our SFT adds to plain TRL: the same rows, model and arguments, in interleaved pairs of CPU time; the ratio of medians gates.

Ours is `bylaw.align.sft` whole: it tokenizes lessons, trains, watches, and writes its log. The peer is `SFTTrainer` on the same rows,
tokenized beforehand. One thread, the embedded model; a pair takes turns in who begins.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

from bench import Row, row
from bylaw.align import sft, training
from bylaw.models.local import load
from bylaw.models.targets import EMBEDDED
from bylaw.policy import parse
from bylaw.policyworld import dialect, replay
from bylaw.recipes.places import example_policy
from bylaw.types import Lesson

PAIRS: Final = 5
ROWS: Final = 256  # 8 steps of 32
TARGET: Final = 1.05
PLAN: Final = sft.SftPlan()


def ours(lessons: Sequence[Lesson], folder: Path) -> float:
    """CPU seconds of our SFT, from lessons to the log."""
    model = load(str(EMBEDDED), "embedded")
    began = time.process_time()
    rows = [row for _, row in sft.fitting(model, lessons, PLAN.max_length)]
    sft.sft(model, rows, PLAN, folder)
    return time.process_time() - began


def plain(rows: list[dict[str, Any]], folder: Path) -> float:
    """CPU seconds of TRL alone, from token ids to the last step."""
    model = load(str(EMBEDDED), "embedded")
    began = time.process_time()
    trainer = SFTTrainer(
        model=model.model,
        processing_class=model.tokenizer,
        train_dataset=Dataset.from_list(rows),
        args=SFTConfig(
            **training.arguments(folder, PLAN.seed),
            per_device_train_batch_size=PLAN.batch_rows,
            num_train_epochs=1,
            learning_rate=PLAN.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=2,
            weight_decay=PLAN.weight_decay,
            adam_beta2=PLAN.adam_beta2,
            max_length=PLAN.max_length,
            save_steps=PLAN.save_steps,
            completion_only_loss=True,
        ),
    )
    trainer.remove_callback(PrinterCallback)  # neither side prints
    trainer.train()
    return time.process_time() - began


def measure() -> list[Row]:
    """One untimed run of each, then interleaved pairs."""
    torch.set_num_threads(1)
    training.offline_trainers()
    lessons = replay.lessons(dialect.dialect(parse.load(example_policy("policyworld"))), "bench", ROWS)
    model = load(str(EMBEDDED), "embedded")
    rows: list[dict[str, Any]] = [
        {"input_ids": one["input_ids"], "completion_mask": [int(label != sft.NO_LOSS) for label in one["labels"]]}
        for one in (sft.tokenize(model, lesson) for lesson in lessons)
    ]
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    with tempfile.TemporaryDirectory() as where:
        for turn in range(PAIRS + 1):
            for side in ("ours", "plain") if turn % 2 else ("plain", "ours"):
                folder = Path(where, f"{side}-{turn}")
                taken = ours(lessons, folder) if side == "ours" else plain(rows, folder)
                times[side] += [taken] if turn else []
    steps = -(-ROWS // PLAN.batch_rows)
    return [
        row(f"an SFT step of {PLAN.batch_rows} rows, plain TRL", median(times["plain"]) / steps, "CPU s"),
        row("an SFT step through bylaw.align.sft", median(times["ours"]) / steps, "CPU s"),
        row("ours against plain TRL", median(times["ours"]) / median(times["plain"]), "ratio", TARGET),
    ]

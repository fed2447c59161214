"""SFT: the student learns thinking and answer after the bare prompt. Thin on TRL's SFTTrainer.

What carries loss: the completion, think tags and end token included; never the prompt. Rows come ready-made as token ids and labels, the
same ids that generation and GRPO use, so no template is applied twice. No row is cut: one that is longer than the context is no lesson.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bylaw.align import training
from bylaw.align.training import Compute
from bylaw.errors import ModelError
from bylaw.models import transcript
from bylaw.models.local import LocalModel, completion_ids, opens_thinking, prompt_ids, render_prompt
from bylaw.types import Lesson, Progress

NO_LOSS: Final = -100  # the label that torch's cross-entropy leaves out
Row = dict[str, list[int]]  # input_ids and labels, both (T)


@dataclass(frozen=True, slots=True)
class SftPlan:
    """How to fine-tune."""

    learning_rate: float = 2e-3
    batch_rows: int = 32  # a step
    micro_rows: int = 32  # a forward pass; fewer save memory and change nothing else
    warmup_steps: int = 10
    weight_decay: float = 0.01
    adam_beta2: float = 0.98
    max_length: int = 512  # tokens
    save_steps: int = 50  # at most this many are lost by a kill
    seed: int = 0


def tokenize(model: LocalModel, lesson: Lesson) -> Row:
    """One row: its token ids (T), and labels (T) that are the same ids where the completion is and `NO_LOSS` before."""
    rendered = render_prompt(model.tokenizer, lesson.messages, lesson.think)
    written = transcript.render(lesson.thinking, lesson.answer)
    if lesson.think and opens_thinking(rendered):
        written = written.removeprefix(transcript.OPEN)
    prompt, completion = prompt_ids(model.tokenizer, rendered), completion_ids(model.tokenizer, written)
    return {"input_ids": prompt + completion, "labels": [NO_LOSS] * len(prompt) + completion}


def fitting(student: LocalModel, lessons: Sequence[Lesson], max_length: int) -> list[tuple[Lesson, Row]]:
    """The lessons that the student can learn whole, in order, with their rows. Epochs repeat lessons, which are tokenized once."""
    rows = {lesson: tokenize(student, lesson) for lesson in dict.fromkeys(lessons)}
    return [(lesson, rows[lesson]) for lesson in lessons if len(rows[lesson]["input_ids"]) <= max_length]


def sft(student: LocalModel, rows: Sequence[Row], plan: SftPlan, folder: Path, progress: Progress | None = None) -> Compute:
    """Fine-tune the student on rows of lessons, once through, in order; `folder` holds checkpoints to go on from."""
    from datasets import Dataset  # noqa: PLC0415  # this and TRL take seconds to import; the steps that do not train need neither
    from trl import SFTConfig, SFTTrainer  # noqa: PLC0415  # as above

    training.offline_trainers()
    longest = max((len(row["input_ids"]) for row in rows), default=0)
    if not rows or longest > plan.max_length:
        raise ModelError(
            f"{student.name}: {len(rows)} lessons, the longest of {longest} tokens, for a context of {plan.max_length}",
            "give only the lessons that fit (`sft.fitting`), at least one",
        )
    micro, passes = training.micro_batch(plan.batch_rows, plan.micro_rows)
    trainer = SFTTrainer(
        model=student.model,
        processing_class=student.tokenizer,
        train_dataset=Dataset.from_list([*rows]),
        args=SFTConfig(
            **training.arguments(folder, plan.seed),
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=passes,
            num_train_epochs=1,
            learning_rate=plan.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=min(plan.warmup_steps, math.ceil(len(rows) / plan.batch_rows / 4)),
            weight_decay=plan.weight_decay,
            adam_beta2=plan.adam_beta2,
            max_length=plan.max_length,
            save_steps=plan.save_steps,
            dataset_kwargs={"skip_prepare_dataset": True},  # ids and labels are there, and nothing is to be cut
        ),
    )
    log = training.fit(trainer, folder, progress)
    training.write_log(folder / "log.jsonl", log)
    return Compute(student.parameters, sum(len(row["input_ids"]) for row in rows), int(trainer.state.global_step))

"""RL by GRPO (Shao et al. 2024, arXiv 2402.03300): groups of answers to one prompt, scored by the judge. Thin on TRL's GRPOTrainer.

The judge sees the prompt and the answer, never the thinking: a reward is a function of `Answered`, which has no such field, and the
strict parser takes the completion apart before. Malformed completions score 0. A judge that cannot tell gives None, which TRL leaves
out of the group's mean and the loss: a missing row, without any penalty. So that nothing is gained by what a judge cannot read, training
stops where more than half of the judged answers of several steps in a row are missing. Advantages are not divided by the group's
deviation (Liu et al. 2025, arXiv 2503.20783, difficulty bias).

Capability replay stands among the prompts, with an exact-match reward: as long as nothing is forgotten its groups are all right and
move nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bylaw.align import training
from bylaw.align.training import Compute
from bylaw.errors import JudgeError
from bylaw.models import transcript
from bylaw.models.local import LocalModel, decode, end_ids, opens_thinking, prompt_ids, render_prompt
from bylaw.types import Answered, Judge, Message, Progress, Prompt, Verdict

MOST_MISSING: Final = 0.5  # of the judged answers of a step
PATIENCE: Final = 3  # steps in a row with more missing than that


@dataclass(frozen=True, slots=True)
class GrpoPlan:
    """How to reinforce."""

    steps: int = 40
    prompts: int = 24  # a step
    samples: int = 8  # completions a prompt, one group
    learning_rate: float = 4e-4
    temperature: float = 1.0
    max_new_tokens: int = 56
    beta: float = 0.0  # weight of the KL penalty against the start
    warmup_steps: int = 5
    adam_beta2: float = 0.98
    save_steps: int = 10
    micro_rows: int = 192  # completions a forward pass
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """One prompt of RL: scored by the judge, or, with `exact` set, by equality with it."""

    messages: tuple[Message, ...]
    prompt: Prompt
    think: bool = True
    exact: str = ""


@dataclass(slots=True)
class Bench:
    """The judge of a training run, and how many answers it could not tell; it is asked for no more when it tells too few."""

    judge: Judge
    bad_steps: int = 0  # in a row
    judged: int = 0  # of the last step
    missing: int = 0

    def grade(self, rows: Sequence[Answered]) -> list[Verdict]:
        """Score the answers of one step; raises JudgeError where too many are missing for too long."""
        verdicts = self.judge.grade(rows)
        why = [verdict.reason for verdict in verdicts if verdict.score is None]
        self.judged, self.missing = len(verdicts), len(why)
        if verdicts:
            self.bad_steps = self.bad_steps + 1 if self.missing > MOST_MISSING * self.judged else 0
        if self.bad_steps >= PATIENCE:
            raise JudgeError(
                f"{self.judge.name} could not tell over half of the answers of {PATIENCE} steps in a row, the last because: {why[-1]}",
                "name another judge with --judge, or start the same command again when it answers: training goes on from its checkpoint",
            )
        return verdicts


def rewards(tasks: Sequence[Task], written: Sequence[tuple[str, bool]], judge: Judge | Bench) -> list[float | None]:
    """Score completions (text, whether it ended); each is taken apart strictly, and only its answer goes on."""
    scores: list[float | None] = []
    asked: list[tuple[int, Answered]] = []
    for task, (text, ended) in zip(tasks, written, strict=True):
        completion = transcript.parse(text, "stop" if ended else "length", task.think)
        scores.append(0.0)
        if completion.fault:
            continue
        if task.exact:
            scores[-1] = float(completion.answer == task.exact)
        else:
            asked.append((len(scores) - 1, Answered(task.prompt, completion.answer)))
    for (place, _), verdict in zip(asked, judge.grade([row for _, row in asked]), strict=True):
        scores[place] = verdict.score
    return scores


def reward_function(student: LocalModel, tasks: Sequence[Task], judge: Judge) -> Callable[..., list[float | None]]:
    """The function TRL calls: it looks tasks up by number and reads token ids, never TRL's own lenient parse."""
    ends = end_ids(student.model, student.tokenizer)
    heads = [transcript.OPEN if task.think and _opens(student, task) else "" for task in tasks]
    bench = Bench(judge)

    def reward(
        *, completion_ids: Sequence[Sequence[int]], task: Sequence[int], log_metric: Callable[[str, float], None], **_: Any
    ) -> list[float | None]:
        chosen = [tasks[number] for number in task]
        texts = [decode(student.tokenizer, ids, ends) for ids in completion_ids]
        written = [(heads[number] + text, finish == "stop") for number, (text, finish) in zip(task, texts, strict=True)]
        scores = rewards(chosen, written, bench)
        log_metric("judged", float(bench.judged))
        log_metric("missing", float(bench.missing))
        log_metric("aligned_reward", _mean([s for s, t in zip(scores, chosen, strict=True) if s is not None and not t.exact]))
        return scores

    return reward


def fitting(student: LocalModel, tasks: Sequence[Task], max_new_tokens: int) -> list[Task]:
    """The tasks whose prompt leaves room for a completion in the student's context, in order."""
    room = student.context - max_new_tokens
    return [
        task for task in tasks if len(prompt_ids(student.tokenizer, render_prompt(student.tokenizer, task.messages, task.think))) <= room
    ]


def grpo(
    student: LocalModel, tasks: Sequence[Task], judge: Judge, plan: GrpoPlan, folder: Path, progress: Progress | None = None
) -> Compute:
    """Reinforce the student; `folder` holds checkpoints to go on from. Tasks are taken in order, `plan.prompts` a step."""
    from datasets import Dataset  # noqa: PLC0415  # this and TRL take seconds to import; the steps that do not train need neither
    from trl import GRPOConfig, GRPOTrainer  # noqa: PLC0415  # as above

    training.offline_trainers()
    rows = [{"prompt": _bare(student, task), "task": number} for number, task in enumerate(tasks)]
    micro, passes = training.micro_batch(plan.prompts * plan.samples, plan.micro_rows)
    trainer = GRPOTrainer(
        model=student.model,
        processing_class=student.tokenizer,
        reward_funcs=reward_function(student, tasks, judge),
        train_dataset=Dataset.from_list(rows),
        args=GRPOConfig(
            **training.arguments(folder, plan.seed),
            max_steps=plan.steps,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=passes,
            num_generations=plan.samples,
            max_completion_length=plan.max_new_tokens,
            temperature=plan.temperature,
            top_k=0,
            learning_rate=plan.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=min(plan.warmup_steps, max(1, plan.steps // 4)),
            adam_beta2=plan.adam_beta2,
            beta=plan.beta,
            scale_rewards="none",
            loss_type="grpo",
            shuffle_dataset=False,
            save_steps=plan.save_steps,
        ),
    )
    log = training.fit(trainer, folder, progress)
    training.write_log(folder / "log.jsonl", log)
    return Compute(student.parameters, int(trainer.state.num_input_tokens_seen), int(trainer.state.global_step))


def _bare(student: LocalModel, task: Task) -> str:
    """The rendered prompt, less the start token that TRL's tokenizer call adds again."""
    text = render_prompt(student.tokenizer, task.messages, task.think)
    start = student.tokenizer.bos_token
    adds = bool(start) and student.tokenizer("")["input_ids"][:1] == [student.tokenizer.bos_token_id]
    return text.removeprefix(start) if adds else text


def _opens(student: LocalModel, task: Task) -> bool:
    return opens_thinking(render_prompt(student.tokenizer, task.messages, task.think))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0

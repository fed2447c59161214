"""Deliberative alignment, from a written policy to a measured model. Read it from top to bottom: each step is one function.

After Guan et al. 2024 (arXiv 2412.16339). Where this differs from the paper, and why:

1. The student, the generator and (in prose) the judge may be three models or one; the paper uses one family. A warning says when
   they are one.
2. Capability rows are replayed in SFT *and* RL; the paper mixes in capability data in SFT and says nothing of RL. A model this
   small forgets words that only held-out objects use.
3. RL is GRPO; the paper does not name its algorithm.
4. The reward sees no thinking by type, not by convention.
5. Every arm that was asked for is measured on the same prompts, from both sides: attacks resisted, allowed requests helped.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from bylaw import runs
from bylaw.align import filter as sieve
from bylaw.align import grpo, lessons, replay, sft, strip, synthesize, training
from bylaw.align.grpo import Task
from bylaw.align.training import Compute
from bylaw.errors import ModelError, PolicyError, RunError
from bylaw.evals import runner, scorers
from bylaw.models import generate, targets
from bylaw.models.generate import Plan
from bylaw.models.local import LocalModel, load
from bylaw.policy import parse
from bylaw.policy.compile import approx_tokens
from bylaw.recipes import setting as settings
from bylaw.recipes import window
from bylaw.recipes.asked import Asked
from bylaw.recipes.given import Given
from bylaw.recipes.opening import Opened, manners_of
from bylaw.recipes.sizes import BATCH_ROWS, SIZES, Rates, Size, rates
from bylaw.recipes.steps import Record
from bylaw.runs import Run
from bylaw.types import Completion, Judge, Lesson, Policy, Progress, Prompt

HALVES: Final = 2  # of the samples of the embedded model, one a worker


@dataclass(frozen=True)
class Context:
    """A run opened for work: what was asked, and what follows from it."""

    run: Run

    @cached_property
    def asked(self) -> Asked:
        """What was asked of the run."""
        return Asked.from_json(self.run.asked)

    @cached_property
    def policy(self) -> Policy:
        """The policy as it was when the run began."""
        return parse.load(runs.policy_in(self.run.path))

    @cached_property
    def size(self) -> Size:
        """How much of everything."""
        return SIZES[self.asked.size]

    @cached_property
    def opened(self) -> Opened:
        """The models of RL and of the tests, which answer beside the student; many rows at once go through `spread`."""
        return Opened(manners=manners_of(self.run))

    def spread(self) -> Opened:
        """What opens the models of synthesis and filter: on the engine that was asked for."""
        plan = Plan(engine="ray" if self.asked.engine == "ray" else "process", vllm=self.asked.engine == "vllm")
        return Opened(plan, manners_of(self.run))

    @cached_property
    def setting(self) -> settings.Setting:
        """Dialect, judge, prompts, tests and replay."""
        a = self.asked
        judge: Judge | None = self.opened.judge(a.judge, self.policy, a.seed) if a.judge else None
        return settings.reads(self.policy, judge, a.seed, Given.of(a))

    @property
    def base(self) -> targets.Target:
        """The model that learns: after stage 0 where that was asked for."""
        if self.asked.helpful:
            return targets.Target("local", str(self.run.path / "models" / "stage0"), "stage0")
        return targets.parse(self.asked.model)

    def room(self, model: LocalModel) -> int:
        """Tokens for a completion of this model."""
        return settings.room(model, self.setting.max_new_tokens)

    def model(self, arm: str) -> Path:
        """Where an arm's weights lie."""
        return self.run.file("models", arm)

    def load(self, arm: str) -> LocalModel:
        """Load an arm's weights for answering."""
        if arm in ("base", "policy_in_prompt"):
            return load(self.base.where, arm, hub=self.base.kind == "hub")
        return load(str(self.model(arm)), arm)

    def student(self, arm: str) -> LocalModel:
        """Load an arm's weights for learning."""
        where, hub = (self.base.where, self.base.kind == "hub") if arm == "base" else (str(self.model(arm)), False)
        return training.student(where, arm, hub, self.asked.lora, self.asked.seed)

    def rates(self, student: LocalModel) -> Rates:
        """Learning rates that suit the student."""
        return rates(student.parameters, bool(self.asked.lora))

    def lessons(self) -> list[Lesson]:
        """What the filter kept."""
        return [lessons.from_json(row) for row in runs.read_rows(self.run.file("rows", "lessons.jsonl"))]

    def course(self, aligned: Sequence[Lesson], epochs: int = 0) -> list[Lesson]:
        """What SFT learns, in order: these lessons and capability rows, over some epochs (0: as many as the size says)."""
        share = self.size.replay * self.setting.more_replay
        plan = lessons.Course(epochs or self.size.epochs, share, BATCH_ROWS, self.asked.seed)
        return lessons.curriculum(aligned, self.setting.replay, plan)


# ---- 0. Helpful first (optional) -------------------------------------------------------------------------------------


def helpful(c: Context, progress: Progress) -> Record:
    """Stage 0 for a model that cannot think and answer yet: SFT on helpful rows without any policy."""
    target = targets.parse(c.asked.model)
    student = training.student(target.where, "stage0", target.kind == "hub", c.asked.lora, c.asked.seed)
    rows = [replace(row, source="aligned") for row in replay.from_file(Path(c.asked.helpful))]
    return train_sft(c, student, "stage0", rows * c.size.epochs, c.rates(student).sft, progress)


# ---- 1. Synthesis: the generator sees the policy and thinks ----------------------------------------------------------


class Drawing(NamedTuple):
    """Who writes the samples, of what, and how."""

    opened: Opened
    writer: synthesize.Synthesizer
    prompts: Sequence[Prompt]
    plan: synthesize.Synthesis


def _drawing(c: Context) -> Drawing:
    prompts = c.setting.train(0, c.size.prompts)
    if not prompts:
        raise RunError(
            "there are no prompts to learn from", "give the policy dialogue examples with {split=train}, or a file with --prompts"
        )
    opened = c.spread()
    generator = opened.model(c.asked.generator, c.run.path / "work" / "synthesize")
    new = settings.room(generator, c.setting.max_new_tokens)
    plan = synthesize.Synthesis(c.size.samples, 1.0, new, c.setting.excerpt_tokens, c.asked.seed)
    writer = synthesize.Synthesizer(generator, c.setting.dialect, c.policy, lambda messages: window.refusal(generator, messages, new))
    return Drawing(opened, writer, prompts, plan)


def drawing(c: Context, progress: Progress, part: int) -> Record:
    """One of two halves of the samples, for two workers; `synthesis` puts them together."""
    _, writer, prompts, plan = _drawing(c)
    generator, asked = writer.model, synthesize.questions(writer, prompts, plan)
    if not isinstance(generator, LocalModel):
        raise RunError(f"{generator.name} does not answer in halves", "this is a fault of the recipe; report it")
    said = generator.share([one.messages for one in asked if not one.why_not], synthesize.sampling(plan), part, HALVES, progress)
    runs.write_rows(_half(c, part), ({"at": at, **asdict(one)} for at, one in sorted(said.items())))
    return {"samples": len(said)}


def _half(c: Context, part: int) -> Path:
    return c.run.file("work", "synthesize", f"half-{part}.jsonl")


def synthesis(c: Context, progress: Progress, halves: bool = False) -> Record:
    """Sample completions of every prompt with the policy excerpt in context."""
    opened, writer, prompts, plan = _drawing(c)
    if halves:
        for part in range(HALVES):
            if not _half(c, part).is_file():  # `work` was cleared
                drawing(c, progress, part)
        drawn = {int(row.pop("at")): Completion(**row) for part in range(HALVES) for row in runs.read_rows(_half(c, part))}
        rows = synthesize.answered(synthesize.questions(writer, prompts, plan), [drawn[at] for at in range(len(drawn))])
    else:
        rows = synthesize.synthesize(writer, prompts, plan, progress)
    runs.write_rows(c.run.file("rows", "samples.jsonl"), (row.to_json() | {"policy": c.policy.digest} for row in rows))
    faults = Counter(row.fault for row in rows if row.fault)
    unanswered = [row.fault for row in rows if row.finish == "error"]
    counts = {"prompts": len(prompts), "samples": len(rows), "malformed": faults.total() - len(unanswered), "unanswered": len(unanswered)}
    said = {"left_out": f"{len(unanswered)} of {len(rows)} samples have no reply, the first because: {unanswered[0]}"} if unanswered else {}
    return counts | {"faults": dict(faults)} | said | opened.record()


def longest_request(prompts: Sequence[Prompt]) -> int:
    """Tokens that the longest request may take, by the approximate count, with room for the template."""
    return max(approx_tokens(prompt.request) for prompt in prompts) + 32


# ---- 2. Filter: the judge keeps what follows the policy, the minimum of its readings counts ---------------------------


def filtering(c: Context, progress: Progress) -> Record:
    """Keep one approved completion a prompt, and drop the policy from its conversation."""
    rows = [synthesize.sample_from(row) for row in runs.read_rows(c.run.file("rows", "samples.jsonl"))]
    plan = sieve.Sieve() if not c.asked.judge else sieve.Sieve(readings=3, threshold=0.7)
    opened = c.spread()
    judge = opened.judge(c.asked.judge, c.policy, c.asked.seed, c.run.path / "work" / "judge") if c.asked.judge else c.setting.judge
    with generate.cluster(opened.plan):  # one for all readings
        sifted = sieve.sift(rows, judge, c.setting.dialect, plan)
    runs.write_rows(c.run.file("rows", "verdicts.jsonl"), sifted.rows)
    if not sifted.lessons:
        raise RunError(
            f"kept 0 of {len(rows)} samples: {sieve.told(sifted.rows)}",
            f"name another model with --generator, or with --judge; {c.run.path / 'rows' / 'verdicts.jsonl'} has every reason",
        )
    runs.write_rows(c.run.file("rows", "lessons.jsonl"), (lessons.to_json(lesson, c.policy.digest) for lesson in sifted.lessons))
    progress(len(rows), len(rows))
    return {"lessons": len(sifted.lessons), **sifted.counts, "readings": plan.readings} | opened.record()


# ---- 3. Strip: no training prompt may carry the policy ----------------------------------------------------------------


def stripping(c: Context, progress: Progress) -> Record:
    """Prove that neither lessons nor capability rows nor RL prompts carry an 8-gram or a clause line of the policy."""
    aligned = c.lessons()
    course = c.course(aligned)
    tasks = rl_tasks(c, *rl_prompts(c))
    if c.asked.helpful:
        prompts_of_stage0 = replay.from_file(Path(c.asked.helpful))
        course = [*course, *prompts_of_stage0]
    excerpts = {row["excerpt"] for row in runs.read_rows(c.run.file("rows", "samples.jsonl"))}
    prompts = [(row.id, strip.text_of(row.messages)) for row in course] + [(task.prompt.id, strip.text_of(task.messages)) for task in tasks]
    strip.ensure_stripped(prompts, c.policy, excerpts, c.setting.lines)
    replayed = [lessons.to_json(row, c.policy.digest) for row in course if row.source == "replay"]  # stage-0 rows among them
    runs.write_rows(c.run.file("rows", "replay.jsonl"), replayed)
    progress(len(prompts), len(prompts))
    return {"prompts": len(prompts), "leaks": 0, "replay": len(replayed)}


# ---- 4. SFT: thinking and answer after the bare prompt ----------------------------------------------------------------


def tuning(c: Context, progress: Progress) -> Record:
    """Fine-tune the base on what was kept, mixed with capability rows."""
    student = c.student("base")
    return train_sft(c, student, "sft", c.course(c.lessons()), c.rates(student).sft, progress)


def train_sft(c: Context, student: LocalModel, arm: str, course: Sequence[Lesson], rate: float, progress: Progress) -> Record:
    """Fine-tune a student on a course, save it as an arm, and say what it cost."""
    plan = sft.SftPlan(
        learning_rate=rate, batch_rows=BATCH_ROWS, micro_rows=c.rates(student).micro_rows, max_length=student.context, seed=c.asked.seed
    )
    fitting = sft.fitting(student, course, plan.max_length)
    if not any(lesson.source == "aligned" for lesson, _ in fitting):
        raise RunError(
            f"none of {len(course)} lessons fits the context of {plan.max_length} tokens of {c.asked.model}",
            "name a model with a longer context with --model, or shorter prompts with --prompts",
        )
    compute = sft.sft(student, [row for _, row in fitting], plan, c.run.file("work", arm, "x").parent, progress)
    training.save(student, c.model(arm))
    counts = {"learning_rate": rate, "rows": len(fitting), "dropped": len(course) - len(fitting)}
    return _cost(c, compute) | counts | window.dropped(len(fitting), len(course), "lessons", student)


# ---- 5. RL: the judge sees prompt and answer, never the thinking -------------------------------------------------------


def rl_prompts(c: Context) -> tuple[list[Task], list[Task]]:
    """What RL may ask: prompts for the judge, new ones after those of SFT, and capability rows with an exact answer."""
    aligned = c.size.rl_prompts - c.size.rl_replay
    drawn = list(c.setting.train(c.size.prompts, c.size.rl_steps * aligned))
    replayed = list(c.setting.replay_tasks(f"{c.asked.seed}", c.size.rl_steps * c.size.rl_replay))
    return [Task(c.setting.dialect.prompt(prompt), prompt) for prompt in drawn], replayed


def rl_tasks(c: Context, own: Sequence[Task], replayed: Sequence[Task]) -> list[Task]:
    """The prompts of RL, step by step; in each some are capability rows."""
    aligned = c.size.rl_prompts - c.size.rl_replay
    rng = Random(f"rl-{c.asked.seed}")
    tasks: list[Task] = []
    for step in range(c.size.rl_steps):
        mixed = [own[(step * aligned + i) % len(own)] for i in range(aligned)]
        mixed += replayed[step * c.size.rl_replay : (step + 1) * c.size.rl_replay]
        while len(mixed) < c.size.rl_prompts:  # no capability rows were given: prompts take their place
            mixed.append(rng.choice(own))
        rng.shuffle(mixed)
        tasks += mixed
    return tasks


def reinforcing(c: Context, progress: Progress, start: str = "sft", arm: str = "sft_rl") -> Record:
    """Reinforce an arm with the judge's score of its answers."""
    student = c.student(start)
    speed = c.rates(student)
    plan = grpo.GrpoPlan(
        steps=c.size.rl_steps,
        prompts=c.size.rl_prompts,
        samples=c.size.rl_samples,
        learning_rate=speed.grpo,
        max_new_tokens=c.room(student),
        save_steps=c.size.save_steps,
        micro_rows=speed.micro_rows,
        seed=c.asked.seed,
    )
    own, replayed = rl_prompts(c)
    fitting = [grpo.fitting(student, tasks, plan.max_new_tokens) for tasks in (own, replayed)]
    if not fitting[0]:
        raise RunError(
            f"none of {len(own)} prompts of RL leaves {plan.max_new_tokens} tokens to answer in the context of {student.context} of {arm}",
            "name a model with a longer context with --model, shorter prompts with --prompts, or arms without RL with --arms",
        )
    folder = c.run.file("work", arm, "x").parent
    compute = grpo.grpo(student, rl_tasks(c, *fitting), c.setting.judge, plan, folder, progress)
    training.save(student, c.model(arm))
    log = runs.read_rows(folder / "log.jsonl")
    told = {key: int(sum(row.get(key, 0) for row in log)) for key in ("judged", "missing")}
    gone = window.dropped(len(fitting[0]), len(own), "prompts", student)
    return _cost(c, compute) | told | gone | c.opened.record()


# ---- 6. Measure: both sides, every arm on the same prompts --------------------------------------------------------------


def measuring(c: Context, progress: Progress, arm: str) -> Record:
    """Ask one arm every test prompt and mark the answers."""
    every = c.setting.tests(c.size.per_cell)
    model = c.load(arm)
    thinks = arm != "imitation"
    prompts, gone = window.askable(model, c.setting.dialect, every, c.room(model), thinks)
    if not prompts:  # the arm is absent, and says so
        return {"n": 0, "left_out": "nothing to test with: mark dialogue examples {split=eval}, or give a file with --tests", **gone}
    test = runner.Test(c.policy, c.setting.dialect, c.setting.marker, prompts)
    fits = model.context - c.room(model) - longest_request(prompts)
    whole = max(1, min(c.setting.whole_tokens, fits)) if arm == "policy_in_prompt" else 0
    try:
        rows = runner.run(model, test, runner.Asking(c.room(model), thinking=thinks, policy_tokens=whole), progress)
    except (ModelError, PolicyError) as error:
        if arm != "policy_in_prompt":
            raise
        return {"n": 0, "left_out": error.what}  # the whole policy does not fit this model's context: the arm is absent, and says so
    runner.write_rows(c.run.file("rows", "measured", f"{arm}.jsonl"), rows, c.policy)
    return {"n": len(rows), **gone} | c.opened.record()


def reporting(c: Context, progress: Progress) -> Record:
    """Write results.json and report.html from the measured rows."""
    from bylaw.evals import report  # noqa: PLC0415  # matplotlib takes a second to import; the other steps do without

    files = {arm: c.run.path / "rows" / "measured" / f"{arm}.jsonl" for arm in c.asked.arms}
    rows = {arm: runner.read_rows(file) for arm, file in files.items() if file.is_file()}
    results = scorers.results(c.policy, c.asked.seed, rows)
    runs.write_json(c.run.file("results.json"), results)
    report.write(c.run.path, results, rows, c.policy, _notes(c))
    progress(1, 1)
    return {"arms": list(rows)}


def _notes(c: Context) -> Mapping[str, str]:
    """The facts of the run that the report prints."""
    size = c.size
    facts = {
        "Model": c.asked.model,
        "Generator": c.asked.generator,
        "Judge": c.asked.judge or "exact (PolicyWorld's truth)",
        "Seed": str(c.asked.seed),
        "Size": f"{c.asked.size}: {size.prompts} prompts x {size.samples} samples, {size.epochs} epochs, {size.rl_steps} RL steps",
    }
    for arm in ("sft", "sft_rl"):
        if c.run.done(arm):
            record = c.run.record(arm)
            facts[f"Compute of {arm}"] = f"{record['flop']:.2e} FLOP ({record['share_of_base']})"
    return facts


def _cost(c: Context, compute: Compute) -> dict[str, Any]:
    """What training cost, and its share of what the base cost where that is known (the EU's indicative threshold is one third)."""
    made_by = Path(c.base.where) / "stage0.json"
    share = "base unknown"
    if c.base.kind == "local" and made_by.is_file():
        share = f"{compute.flop / runs.read_json(made_by)['flop']:.1%} of the base's pretraining"
    return compute.to_json() | {"share_of_base": share}

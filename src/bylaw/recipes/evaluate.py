"""Measure a target against a policy from both sides: `bylaw eval`.

Cases come from suites, or are compiled from the policy. They are asked in pieces; after every piece its rows are appended to cases.jsonl,
so that a killed run goes on where it was: a half-written last line is dropped and asked again, and so is a row that got no reply. A row
whose judge was down is judged again from what was said. results.json, cases.jsonl and report.html are written at the end, and say
nothing of times or paths. A folder answers for one question only: another target, policy, judge or suite needs another folder.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bylaw import runs
from bylaw.align import prompts
from bylaw.canonical import digest
from bylaw.errors import JudgeError, ModelError, RunError
from bylaw.evals import (
    calibration,
    counterfactual,
    decontaminate,
    scoring,
    suite_files,
    suite_policy,
    suite_world,
    suite_world_agent,
    targets,
)
from bylaw.evals.calibration import Card
from bylaw.evals.cases import Suite
from bylaw.evals.decontaminate import Hit
from bylaw.evals.grading import Grader
from bylaw.evals.targets import ModelTarget, Target
from bylaw.judge import framing
from bylaw.models import loading
from bylaw.models import targets as names
from bylaw.models.manners import USUAL, Manners
from bylaw.policy import parse
from bylaw.policy.compile import excerpt
from bylaw.policy.prose import Prose
from bylaw.policyworld import dialect as world
from bylaw.policyworld.level2 import dialect as world2
from bylaw.recipes import course
from bylaw.recipes import setting as settings
from bylaw.recipes.course import Bench, Measured
from bylaw.recipes.opening import SECRET, Opened, check_target
from bylaw.recipes.sizes import SIZES, Dial
from bylaw.runs import Run
from bylaw.types import Answered, Judge, Message, Policy, Prompt, Reasoned, Sampling, Verdict

__all__ = ["Bench", "Depth", "Measured", "Question", "measure", "ready"]

PROSE_TOKENS: Final = 1024
WHOLE_TOKENS: Final = 16_384  # of a policy in the prompt
REPEATED: Final = 0.7  # the temperature where a case is asked more than once: at 0 every answer would be the first one again
STRING: Final = "string"  # the judge of last resort, by name


@dataclass(frozen=True, slots=True)
class Depth:
    """How deep a measurement goes, beyond asking every case once."""

    repeat: int = 1  # askings of every case, each with its own seed
    temperature: float | None = None  # of the target; None: 0, and 0.7 where cases are asked more than once
    stop_early: bool = False  # whether a clause ends when its limit is decided
    grader: str = ""  # a model that grades useful answers after StrongREJECT
    cards: tuple[Path, ...] = ()  # how the judge errs
    counterfactual: bool = False  # whether a clause is swapped in the prompt, to see if decisions rest on it
    attach: bool = False  # whether documents go to an endpoint as files, which our gateway takes for the surface `document`


NO_DEPTH: Final = Depth()


@dataclass(frozen=True, slots=True)
class Question:
    """What is measured, and with what."""

    target: str
    policy: Path
    suites: tuple[Path, ...] = ()  # none: compiled from the policy
    judge: str = ""  # empty or `string`: the built-in one
    tests: Path | None = None  # prompts beside the compiled suite, as `bylaw prompts` writes them
    size: Dial = "tiny"  # of PolicyWorld's test set
    per_clause: int = 8  # cases a clause and side of a compiled suite
    in_prompt: bool = False  # whether the policy stands in the prompt
    against: Path | None = None  # training rows that no case may have been in; a run's own are found by themselves
    statuses: tuple[str, ...] = ("active",)
    manners: Manners = USUAL  # how an endpoint is asked
    depth: Depth = NO_DEPTH


def ready(question: Question) -> Bench:
    """Read, compile and open what a question names; raises in one line where something cannot be."""
    policy = parse.load(question.policy)
    suites = suites_of(question, policy)
    met = tuple(hit for suite in suites for hit in decontaminate.hits(suite.cases, _training_rows(question)))
    suites = tuple(decontaminate.without(suite, met) for suite in suites)
    if not any(suite.cases for suite in suites):
        left = f": all {len(met)} cases stand in the training rows" if met else ""
        raise RunError(f"{question.policy} has nothing to test with{left}", "name suites with --suite, or give its clauses examples")
    check_target(question.target)
    if names.parse(question.target).embedded and not world.speaks(policy):
        raise RunError("the embedded model cannot read this policy", "name a real model with --target")
    if question.depth.counterfactual and not world.speaks(policy):
        raise RunError("clauses are swapped in PolicyWorld only, where truth is exact", "leave --counterfactual out")
    opened = Opened(manners=question.manners)
    named = question.judge not in ("", STRING)
    judge = opened.judge(question.judge, policy, 0) if named else None
    target = _target(question, policy, opened)
    on = scoring.grounds(policy, Answering(judge) if judge else None)
    depth = question.depth
    cards = _cards(depth, on.judged_by)
    grader = Grader(opened.model(depth.grader), framing.key(0, os.environ.get(SECRET, ""))) if depth.grader else None
    asked: dict[str, Any] = {
        "target": target.name,
        "policy": policy.digest,
        "judge": on.judged_by,
        "suites": {suite.name: suite.digest for suite in suites},
    }
    asked |= {
        name: value
        for name in ("repeat", "temperature", "stop_early", "counterfactual", "attach")
        if (value := getattr(depth, name)) != getattr(NO_DEPTH, name)
    }
    asked |= {"grader": grader.name} if grader else {}
    piece = max(course.SMALL_PIECE, 8 * question.manners.concurrency) if names.parse(question.target).kind == "openai" else course.PIECE
    piece = course.SMALL_PIECE if depth.stop_early else piece
    return Bench(policy, target, on, suites, met, opened, asked, piece, depth.repeat, depth.stop_early, grader, cards)


def _cards(depth: Depth, judge: str) -> tuple[Card, ...]:
    """The cards that were named; raises JudgeError where one speaks of another judge."""
    cards = tuple(card for file in depth.cards for card in calibration.cards_of(runs.read_json(file), str(file)))
    strange = next((card.judge for card in cards if card.judge != judge), "")
    if strange:
        raise JudgeError(f"the card is of the judge {strange}, and this run is judged by {judge}", "name the card of this judge")
    return cards


def suites_of(question: Question, policy: Policy) -> tuple[Suite, ...]:
    """The suites that were named, or what the policy compiles to; two of one name are told apart by their place."""
    if question.suites:
        read = [suite_files.load(path, policy) for path in question.suites]
    elif world.speaks(policy):
        read = list(suite_world.tests(policy, SIZES[question.size].per_cell))
    elif suite_world_agent.speaks(policy):
        read = [suite_world_agent.suite(policy, question.per_clause)]
    else:
        read = [suite_policy.compiled(policy, question.per_clause).suite]
    if question.tests:
        read.append(_given(question.tests, policy))
    kept = [Suite.of(one.name, [case for case in one.cases if case.status in question.statuses], one.policy) for one in read]
    met: dict[str, int] = {}
    for place, one in enumerate(kept):
        met[one.name] = met.get(one.name, 0) + 1
        if met[one.name] > 1:
            kept[place] = Suite.of(f"{one.name}.{met[one.name]}", one.cases, one.policy)
    return tuple(kept)


def _given(file: Path, policy: Policy) -> Suite:
    """A file of prompts as a suite: what a clause answers is its side; a prompt without a clause is allowed."""
    cases = [suite_policy.of_prompt(prompt, policy) for prompt in prompts.from_file(file, policy)]
    return Suite.of(file.stem, cases, policy.digest)


def _training_rows(question: Question) -> Iterator[tuple[str, Sequence[str]]]:
    """What the target was trained on, as far as it is known here."""
    for place in dict.fromkeys((*([question.against] if question.against else ()), *_came_from(question.target))):
        rows = place / "rows" / "lessons.jsonl" if place.is_dir() else place
        yield from map(decontaminate.texts_of, runs.read_rows(rows))


def _came_from(text: str) -> Iterator[Path]:
    """Lessons of the run that trained a target, of the run whose model that one began with, and so on; as far as they lie here."""
    met: set[Path] = set()
    while True:
        try:
            target = names.parse(text)
        except ModelError:  # a model that is gone: what it had learnt is not known here. The target itself is checked by `ready`
            return
        run = Path(target.where).parent.parent
        if target.kind != "local" or not target.arm or run in met:
            return
        met.add(run)
        if (run / "rows" / "lessons.jsonl").is_file():
            yield run / "rows" / "lessons.jsonl"
        if not (run / "run.json").is_file():
            return
        text = str(runs.read_json(run / "run.json").get("model", ""))


def _target(question: Question, policy: Policy, opened: Opened) -> Target:
    named = names.parse(question.target)
    if named.kind == "scripted":
        return targets.open_target(question.target)
    model = loading.open_model(named, question.manners)
    opened.models.append(model)
    level2 = world.speaks(policy) and world2.level_of(policy) == 2
    tokens = (settings.WORLD2_TOKENS if level2 else settings.WORLD_TOKENS) if world.speaks(policy) else PROSE_TOKENS
    depth = question.depth
    warmth = depth.temperature if depth.temperature is not None else REPEATED if depth.repeat > 1 else 0.0
    sampling = Sampling(temperature=warmth, max_new_tokens=settings.room(model, tokens), thinking=named.thinks)
    trained = named.kind == "local" and bool(named.arm)
    target = ModelTarget(model, sampling, targets.shown_name(named), lenient=not trained, attaches=depth.attach)
    return _prompted(target, policy) if question.in_prompt else target


def _prompted(target: ModelTarget, policy: Policy) -> ModelTarget:
    """The target with the whole policy in its prompt."""
    if not world.speaks(policy):
        whole = excerpt(policy, [clause.id for clause in policy.clauses], WHOLE_TOKENS)
        return replace(target, excerpt=whole, worded=_worded)
    known = suite_world.world_of(policy)
    budget = _budget(policy)
    worded = lambda messages, _: suite_world.with_policy(known, messages, budget)  # noqa: E731  # closes over the world
    return replace(target, excerpt=policy.id, worded=worded)


def _budget(policy: Policy) -> int:
    """The tokens that all clauses of a policy of the world take."""
    return (world2.LINE_TOKENS if world2.level_of(policy) == 2 else world.LINE_TOKENS) * len(policy.clauses)


def _worded(messages: tuple[Message, ...], whole: str) -> tuple[Message, ...]:
    system = Prose().prompt(Prompt("", ""), whole)[0].content
    if messages[0].role == "system":
        return (Message("system", f"{system}\n\n{messages[0].content}"), *messages[1:])
    return (Message("system", system), *messages)


@dataclass(frozen=True, slots=True)
class Answering:
    """A judge that cannot be asked tells nobody anything: its rows are unscored, and what was said is kept."""

    judge: Judge

    @property
    def name(self) -> str:
        """Who judges."""
        return self.judge.name

    def grade(self, rows: Sequence[Answered]) -> list[Verdict]:
        """Score answers, or say of each why it could not be."""
        try:
            return self.judge.grade(rows)
        except (ModelError, JudgeError) as error:
            return [Verdict(None, f"the judge is down: {error.what}")] * len(rows)

    def review(self, rows: Sequence[Reasoned]) -> list[Verdict]:
        """Score thinking and answer together; nothing here asks for it."""
        return self.judge.review(rows)


def less_trained(suite: Suite, against: Path) -> tuple[Suite, tuple[Hit, ...]]:
    """A suite less what stands in training rows: a run's, or a file's."""
    file = against / "rows" / "lessons.jsonl" if against.is_dir() else against
    met = tuple(decontaminate.hits(suite.cases, map(decontaminate.texts_of, runs.read_rows(file))))
    return decontaminate.without(suite, met), met


def place(question: Question) -> Path:
    """Where a measurement lies when nobody names a folder: by target, judge and policy."""
    said = digest([question.target, question.judge, str(question.policy), [str(one) for one in question.suites], question.in_prompt])
    plain = re.sub(r"[^A-Za-z0-9]+", "-", question.target).strip("-")[:40]
    return Path("runs") / f"eval-{plain}-{said.removeprefix('sha256:')[:8]}"


# ---- Asking, piece by piece ----------------------------------------------------------------------------------------------------


def measure(question: Question, out: Path, seen: course.Seen | None = None) -> Measured:
    """Measure a target; write cases.jsonl, results.json and report.html into `out`."""
    if (out / "run.json").exists():
        raise RunError(f"{out} is a run, and its own results would be overwritten", "choose another --out")
    bench = ready(question)
    return measure_with(bench, out, seen, question.depth.counterfactual)


def measure_with(bench: Bench, out: Path, seen: course.Seen | None = None, swaps: bool = False) -> Measured:
    """Measure with a question made ready; `swaps` says whether clauses are swapped in the prompt, too."""
    begin(out, bench.asked)
    with runs.alone(Run(out)):
        rows, stopped = course.ask_all(bench, out / "cases.jsonl", seen)
        more = {"counterfactual": _swapped(bench)} if swaps else {}
        return course.finish(bench, out, rows, stopped, more)


def _swapped(bench: Bench) -> dict[str, Any]:
    """How the target's decisions follow a swapped clause, with the policy in its prompt."""
    target = replace(bench.target, excerpt="", worded=None) if isinstance(bench.target, ModelTarget) else bench.target
    cases = [case for suite in bench.suites for case in suite.cases]
    return counterfactual.of(counterfactual.twins(target, bench.policy, cases, _budget(bench.policy)))


def begin(out: Path, asked: Mapping[str, Any]) -> None:
    """Open the folder, new or begun; raises RunError where it holds another question's answers, or nobody may write there."""
    file = out / "eval.json"
    if file.is_file():
        before = runs.read_json(file)
        changed = sorted(key for key in before.keys() | asked.keys() if before.get(key) != asked.get(key))
        if changed:
            raise RunError(f"{out} holds the answers to another question: {', '.join(changed)} differ", "choose another --out")
        return
    if (out / "cases.jsonl").exists():
        raise RunError(f"{out} has a cases.jsonl and no eval.json: it is not ours", "choose another --out")
    runs.write_json(file, asked)

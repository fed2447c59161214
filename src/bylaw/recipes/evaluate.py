"""Measure a target against a policy from both sides: `bylaw eval`.

Cases come from suites, or are compiled from the policy. They are asked in pieces; after every piece its rows are appended to cases.jsonl,
so that a killed run goes on where it was: a half-written last line is dropped and asked again, and so is a row that got no reply. A row
whose judge was down is judged again from what was said. results.json, cases.jsonl and report.html are written at the end, and say
nothing of times or paths. A folder answers for one question only: another target, policy, judge or suite needs another folder.
"""

import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from bylaw import runs
from bylaw.align import prompts
from bylaw.canonical import digest
from bylaw.errors import JudgeError, ModelError, RunError
from bylaw.evals import asking, decontaminate, journal, results, scoring, suite_files, suite_policy, suite_report, suite_world, targets
from bylaw.evals.cases import Case, Suite
from bylaw.evals.decontaminate import Hit
from bylaw.evals.scoring import Grounds
from bylaw.evals.targets import ModelTarget, Said, Target
from bylaw.models import loading
from bylaw.models import targets as names
from bylaw.models.manners import USUAL, Manners
from bylaw.policy import parse
from bylaw.policy.compile import excerpt
from bylaw.policy.prose import Prose
from bylaw.policyworld import dialect as world
from bylaw.policyworld.level2 import dialect as world2
from bylaw.recipes import setting as settings
from bylaw.recipes.opening import Opened, check_target, total
from bylaw.recipes.sizes import SIZES, Dial
from bylaw.runs import Run
from bylaw.types import Answered, Judge, Message, Policy, Prompt, Reasoned, Sampling, Verdict

PIECE: Final = 256  # cases asked, scored and written at a time
SMALL_PIECE: Final = 64  # of an endpoint, whose replies take longer and cost more to lose
PROSE_TOKENS: Final = 1024
WHOLE_TOKENS: Final = 16_384  # of a policy in the prompt
STRING: Final = "string"  # the judge of last resort, by name
Rows = list[dict[str, Any]]
Seen = Callable[[int, int, Mapping[str, Any]], None]  # (done, of how many, the metrics so far)


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


class Measured(NamedTuple):
    """What came of it: the value of results.json, and what was left out."""

    results: dict[str, Any]
    hits: tuple[Hit, ...]
    scored: int
    why_not: str  # why the first unscored case is so
    stale: tuple[str, ...] = ()  # suites that were made for another version of the policy


@dataclass(slots=True)
class Bench:
    """A question made ready: everything opened, nothing asked yet."""

    policy: Policy
    target: Target
    on: Grounds
    suites: tuple[Suite, ...]
    hits: tuple[Hit, ...]
    opened: Opened
    asked: dict[str, Any]
    piece: int = PIECE

    @property
    def todo(self) -> list[tuple[str, Case]]:
        """Every case with its suite's name, in order."""
        return [(suite.name, case) for suite in self.suites for case in suite.cases]


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
    opened = Opened(manners=question.manners)
    named = question.judge not in ("", STRING)
    judge = opened.judge(question.judge, policy, 0) if named else None
    target = _target(question, policy, opened)
    on = scoring.grounds(policy, Answering(judge) if judge else None)
    asked = {
        "target": target.name,
        "policy": policy.digest,
        "judge": on.judged_by,
        "suites": {suite.name: suite.digest for suite in suites},
    }
    remote = names.parse(question.target).kind == "openai"
    return Bench(policy, target, on, suites, met, opened, asked, max(SMALL_PIECE, 8 * question.manners.concurrency) if remote else PIECE)


def suites_of(question: Question, policy: Policy) -> tuple[Suite, ...]:
    """The suites that were named, or what the policy compiles to; two of one name are told apart by their place."""
    if question.suites:
        read = [suite_files.load(path, policy) for path in question.suites]
    elif world.speaks(policy):
        read = list(suite_world.tests(policy, SIZES[question.size].per_cell))
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
    target = names.parse(question.target)
    own = Path(target.where).parent.parent / "rows" / "lessons.jsonl" if target.kind == "local" and target.arm else None
    for file in (question.against, own):
        if file is not None and (file == question.against or file.is_file()):
            rows = file / "rows" / "lessons.jsonl" if file.is_dir() else file
            yield from map(decontaminate.texts_of, runs.read_rows(rows))


def _target(question: Question, policy: Policy, opened: Opened) -> Target:
    named = names.parse(question.target)
    if named.kind == "scripted":
        return targets.open_target(question.target)
    model = loading.open_model(named, question.manners)
    opened.models.append(model)
    level2 = world.speaks(policy) and world2.level_of(policy) == 2
    tokens = (settings.WORLD2_TOKENS if level2 else settings.WORLD_TOKENS) if world.speaks(policy) else PROSE_TOKENS
    sampling = Sampling(max_new_tokens=settings.room(model, tokens), thinking=named.thinks)
    target = ModelTarget(model, sampling, targets.shown_name(named), lenient=not (named.kind == "local" and named.arm))
    return _prompted(target, policy) if question.in_prompt else target


def _prompted(target: ModelTarget, policy: Policy) -> ModelTarget:
    """The target with the whole policy in its prompt."""
    if not world.speaks(policy):
        whole = excerpt(policy, [clause.id for clause in policy.clauses], WHOLE_TOKENS)
        return ModelTarget(target.model, target.sampling, target.called, target.lenient, whole, _worded)
    known = suite_world.world_of(policy)
    budget = (world2.LINE_TOKENS if world2.level_of(policy) == 2 else world.LINE_TOKENS) * len(policy.clauses)
    worded = lambda messages, _: suite_world.with_policy(known, messages, budget)  # noqa: E731  # closes over the world
    return ModelTarget(target.model, target.sampling, target.called, target.lenient, policy.id, worded)


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


def measure(question: Question, out: Path, seen: Seen | None = None) -> Measured:
    """Measure a target; write cases.jsonl, results.json and report.html into `out`."""
    if (out / "run.json").exists():
        raise RunError(f"{out} is a run, and its own results would be overwritten", "choose another --out")
    bench = ready(question)
    begin(out, bench.asked)
    with runs.alone(Run(out)):
        rows = ask_all(bench, out / "cases.jsonl", seen)
        return finish(bench, out, rows)


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


def ask_all(bench: Bench, file: Path, seen: Seen | None = None) -> Rows:
    """Every case asked and scored, in order; what the journal already has is not asked again."""
    kept = journal.read(file)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    waiting: list[tuple[str, Case, Said | None]] = []
    for name, case in bench.todo:
        row = kept.get((name, case.id))
        if row is not None and row["outcome"] != "unscored":
            rows[name, case.id] = row
        else:
            said = asking.from_json(row["said"]) if row else None
            waiting.append((name, case, said if said and not said.missing else None))
    total_cases = len(bench.todo)
    run = secrets.token_hex(4)  # of the sessions at a gateway: two runs never share one
    with journal.going_on(file, list(rows.values())) as append:
        for start in range(0, len(waiting), bench.piece):
            piece = _piece(bench, waiting[start : start + bench.piece], run)
            rows |= {(row["suite"], row["id"]): row for row in piece}
            append(piece)
            if seen:
                seen(len(rows), total_cases, results.metrics(list(rows.values())))
    return [rows[name, case.id] for name, case in bench.todo]


def _piece(bench: Bench, piece: Sequence[tuple[str, Case, Said | None]], run: str) -> Rows:
    """Ask those that were not heard yet, and score all."""
    due = [case for _, case, said in piece if said is None]
    heard = iter(asking.ask(bench.target, due, run))
    saids = [said or next(heard) for _, _, said in piece]
    scored = scoring.score_all([case for _, case, _ in piece], saids, bench.on)
    under = bench.policy.digest
    return [results.row(name, case, said, one, under) for (name, case, _), said, one in zip(piece, saids, scored, strict=True)]


def finish(bench: Bench, out: Path, rows: Rows) -> Measured:
    """Write what was measured, in the order of the suites."""
    head = {"target": bench.asked["target"], "policy": bench.policy.digest, "judge": bench.on.judged_by}
    found = results.of(head, rows, bench.asked["suites"])
    runs.write_rows(out / "cases.jsonl", rows)
    runs.write_json(out / "results.json", found)
    record = bench.opened.record()
    suite_report.write(out, found, rows, bench.policy)
    left_out = [hit._asdict() for hit in bench.hits]
    spent = total([record])
    manifest = {"target": bench.asked["target"], "policy": bench.policy.digest, **record, "endpoints": spent, "decontaminated": left_out}
    runs.write_manifest(Run(out), manifest)
    unscored = [row for row in rows if row["outcome"] == "unscored"]
    stale = tuple(one.name for one in bench.suites if one.policy not in ("", bench.policy.digest))
    return Measured(found, bench.hits, len(rows) - len(unscored), unscored[0]["evidence"] if unscored else "", stale)

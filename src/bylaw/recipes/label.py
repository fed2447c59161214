"""People say what they prefer and which clauses hold: one question at a time in the terminal, one JSON line an answer.

Three tasks: `preference` (which of two answers), `follows` (does an answer follow a clause), `applies` (which clauses a prompt is about).
What is shown is blinded: which of two answers stands first is drawn by seed, annotator and unit, and written down. Thinking is never
shown, as no reward sees it. A file of labels only grows: each label is on the disk before the next question, an undo is one more line,
and a line that a crash tore is moved beside the file. docs/prompts-and-labels.md has the schema.
"""

import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from bylaw import runs
from bylaw.align.prompts import normal, placed, row_from
from bylaw.canonical import digest_bytes
from bylaw.errors import RunError
from bylaw.policy import parse
from bylaw.policy.compile import full_text
from bylaw.recipes.label_book import Book, Label, Task, read_labels
from bylaw.types import Policy, Prompt

SHOWN_CHARS: Final = 20_000  # of one text; the rest is counted, not printed
MAX_ANSWERS: Final = 64  # of one prompt
FORM: Final = 'each line is {"prompt": "…", "clauses": ["id", …], "answers": ["…", "…"]}, or "answer": "…", or neither'
KEYS: Final[Mapping[Task, Mapping[str, str]]] = {
    "preference": {"a": "a", "b": "b", "t": "tie", "tie": "tie"},
    "follows": {"f": "follows", "b": "breaks", "n": "does not apply", "c": "cannot tell"},
    "applies": {},
}
_ASKS: Final[Mapping[Task, str]] = {
    "preference": "which is better? a | b | t(ie)",
    "follows": "the answer: f(ollows) the clause | b(reaks) it | n: does not apply | c(annot tell)",
    "applies": "which clauses? numbers with commas, or 0 for none",
}
_ALWAYS: Final = "s(kip) | u(ndo) | q(uit) | ? (the clauses)"


@dataclass(frozen=True, slots=True)
class Unit:
    """One question: a prompt with two answers, one answer or none, and the clauses it is about. Its id is the digest of all of it."""

    id: str
    task: Task
    prompt: Prompt
    clauses: tuple[str, ...]
    answers: tuple[str, ...] = ()
    thinking: tuple[str, ...] = ()  # kept for training, never shown


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt and what was answered to it, before a task is chosen."""

    prompt: Prompt
    answers: tuple[tuple[str, str], ...] = ()  # answer, thinking


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where a person is asked; `now` is in seconds since 1970."""

    ask: Callable[[str], str]
    show: Callable[[str], None]
    now: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Sitting:
    """What one sitting did. `left` counts units without a label of this annotator."""

    labelled: int
    undone: int
    left: int


def gather(source: Path, policy_path: Path | None) -> tuple[Policy, list[Asked]]:
    """What there is to label: the samples of a run, or a file of rows."""
    if source.is_dir():
        runs.open_run(source)
        policy = parse.load(policy_path or runs.policy_in(source))
        return policy, _samples(source / "rows" / "samples.jsonl")
    if not source.exists():
        raise RunError(f"{source}: nothing is there", "name a run's directory, or a file of rows")
    if policy_path is None:
        raise RunError(f"{source} is a file, and no policy says what its clauses are", "name the policy with --policy")
    policy = parse.load(policy_path)
    known = {clause.id for clause in policy.clauses}
    return policy, [_given(row, place, known) for place, row in placed(source)]


def usual_task(source: Path) -> Task | None:
    """What a source is labelled for where nobody says: a run's answers are compared, a file's rows say it themselves."""
    return "preference" if source.is_dir() else None


def units(policy: Policy, rows: Sequence[Asked], task: Task | None = None, seed: int = 0, per_prompt: int = 1) -> list[Unit]:
    """The questions that rows give, in their order; without a task each row gives what it has answers for."""
    found: dict[str, Unit] = {}
    for row in rows:
        chosen = task or ("applies", "follows", "preference")[min(len(row.answers), 2)]
        for unit in _units(policy, row, chosen, random.Random(f"pairs-{seed}-{row.prompt.id}"), per_prompt):
            found.setdefault(unit.id, unit)
    if not found:
        raise RunError(
            f"nothing to label in {len(rows)} rows" + (f" for the task {task}" if task else ""),
            "a preference needs two different answers, `follows` an answer and a clause, `applies` a prompt",
        )
    return list(found.values())


def sit(asked: Sequence[Unit], policy: Policy, book: Book, terminal: Terminal, seed: int = 0) -> Sitting:
    """Ask until all is labelled, or the person leaves; whatever was answered is on the disk."""
    by_id = {unit.id: unit for unit in asked}
    labelled = undone = 0
    try:
        while left := [unit for unit in asked if unit.id not in book.mine]:
            unit = left[0]
            order = blinded(unit, book.annotator, seed)
            terminal.show(page(unit, policy, order, len(asked) - len(left) + 1, len(asked)))
            began = terminal.now()
            choice = _asked(unit, policy, terminal)
            if choice == "quit":
                break
            if choice == "undo":
                last = next((name for name in reversed(book.mine) if name in by_id), None)
                undone += last is not None
                terminal.show("nothing to undo" if last is None else "undone; once more:")
                if last is not None:
                    book.undo(last, _stamp(terminal.now()))
                    asked = [by_id[last], *(unit for unit in asked if unit.id != last)]  # asked again at once
                continue
            ended = terminal.now()
            book.add(_label(unit, policy, order, choice, (began, ended)))
            labelled += 1
    except (KeyboardInterrupt, EOFError):
        terminal.show("")
    return Sitting(labelled, undone, sum(unit.id not in book.mine for unit in asked))


@dataclass(frozen=True, slots=True)
class Preference:
    """One person's choice between two answers, as DPO and reward models learn from it."""

    prompt: Prompt
    chosen: str
    rejected: str
    chosen_thinking: str
    rejected_thinking: str
    annotator: str
    policy: str  # digest
    unit: str  # the same for every person who saw these two answers


def read_preferences(*files: Path) -> list[Preference]:
    """Every choice in files of labels, one a person and pair; ties and skips are none. Where people disagree, both are there."""
    found: dict[tuple[str, str], Preference | None] = {}
    for file in files:
        for label in read_labels(file):
            if label.task == "preference":
                found[label.unit, label.annotator] = _preference(label)  # of a person's two, the later
    return [one for one in found.values() if one]


def _preference(label: Label) -> Preference | None:
    if label.choice not in ("first", "second"):
        return None
    won = ("first", "second").index(label.choice)
    (chosen, rejected), (why, why_not) = ((texts[won], texts[1 - won]) for texts in (label.answers, label.thinking))
    return Preference(label.prompt, chosen, rejected, why, why_not, label.annotator, label.policy, label.unit)


def blinded(unit: Unit, annotator: str, seed: int) -> tuple[int, ...]:
    """In which order the answers are shown, by their places in the row."""
    places = list(range(len(unit.answers)))
    random.Random(f"blind-{seed}-{annotator}-{unit.id}").shuffle(places)
    return tuple(places)


def page(unit: Unit, policy: Policy, order: Sequence[int], number: int, of: int) -> str:
    """A question as it is shown. Every line that others wrote starts with a bar, so that none can pass for one of ours."""
    lines = ["", f"---- {number} of {of}"]
    for turn in unit.prompt.history:
        lines += [f"{turn.role}:", quoted(turn.text)]
    lines += ["request:", quoted(unit.prompt.request)]
    for name, place in zip("ab", order, strict=False):
        lines += [f"answer {name}:" if len(order) > 1 else "answer:", quoted(unit.answers[place])]
    titles = {clause.id: clause.title for clause in policy.clauses}
    shown = enumerate(unit.clauses, 1) if unit.task == "applies" else (("clause", name) for name in unit.clauses)
    lines += [f"{mark} [{name}] {titles.get(name, '')}" for mark, name in shown]
    return "\n".join(lines)


def quoted(text: str) -> str:
    """A text of others, every line behind a bar."""
    shown = text[:SHOWN_CHARS]
    more = f"\n({len(text) - SHOWN_CHARS} more characters)" if len(text) > SHOWN_CHARS else ""
    return "\n".join(f"| {line}" for line in shown.splitlines() or [""]) + more


def read_choice(unit: Unit, reply: str) -> str | tuple[str, ...] | None:
    """What a reply says; None where it says nothing we asked for."""
    said = reply.strip().casefold()
    always = {"s": "skip", "skip": "skip", "u": "undo", "undo": "undo", "q": "quit", "quit": "quit", "?": "?"}
    if said in always:
        return always[said]
    if unit.task != "applies":
        keys = KEYS[unit.task]
        return keys.get(said) or next((word for word in keys.values() if word == said), None)
    numbers = [part.strip() for part in said.split(",")]
    if numbers == ["0"]:
        return ()
    if not all(one.isascii() and one.isdigit() and len(one) < 5 and 1 <= int(one) <= len(unit.clauses) for one in numbers):
        return None
    return tuple(unit.clauses[place] for place in sorted({int(one) - 1 for one in numbers}))


def _asked(unit: Unit, policy: Policy, terminal: Terminal) -> str | tuple[str, ...]:
    while True:  # until a person says something we can write down; the end of the input raises
        choice = read_choice(unit, terminal.ask(f"{_ASKS[unit.task]} | {_ALWAYS}: "))
        if choice == "?":
            told = [full_text(clause) for name in unit.clauses if (clause := policy.clause(name))]
            terminal.show("\n\n".join(told) or "this prompt names no clause")
        elif choice is not None:
            return choice


def _label(unit: Unit, policy: Policy, order: tuple[int, ...], choice: str | tuple[str, ...], span: tuple[float, float]) -> Label:
    if unit.task == "preference" and choice in ("a", "b"):
        choice = ("first", "second")[order["ab".index(str(choice))]]
    return Label(
        task=unit.task,
        unit=unit.id,
        prompt=unit.prompt,
        clauses=unit.clauses,
        answers=unit.answers,
        thinking=unit.thinking,
        order=order,
        choice=choice,
        seconds=round(max(0.0, span[1] - span[0]), 3),
        time=_stamp(span[1]),
        policy=policy.digest,
    )


def _stamp(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _units(policy: Policy, row: Asked, task: Task, rng: random.Random, per_prompt: int) -> Iterable[Unit]:
    """The questions of one row for one task; the draw of pairs is the caller's."""
    distinct = list({normal(answer): (answer, thinking) for answer, thinking in reversed(row.answers)}.values())[::-1]
    if task == "preference":
        pairs = list(combinations(distinct, 2))
        for place in sorted(rng.sample(range(len(pairs)), min(per_prompt, len(pairs)))):
            yield _unit(policy, row.prompt, task, row.prompt.clauses, pairs[place])
    elif task == "follows":
        for answer in distinct:
            for name in row.prompt.clauses:
                yield _unit(policy, row.prompt, task, (name,), (answer,))
    else:
        yield _unit(policy, row.prompt, task, tuple(clause.id for clause in policy.clauses), ())


def _unit(policy: Policy, prompt: Prompt, task: Task, clauses: tuple[str, ...], answers: Sequence[tuple[str, str]]) -> Unit:
    texts, thoughts = tuple(answer for answer, _ in answers), tuple(thinking for _, thinking in answers)
    whole = json.dumps([task, policy.digest, prompt.id, clauses, texts])
    return Unit(digest_bytes(whole.encode()).removeprefix("sha256:")[:16], task, prompt, clauses, texts, thoughts)


def _samples(file: Path) -> list[Asked]:
    """What a run's generator answered, by prompt; malformed completions are no answers."""
    found: dict[str, Asked] = {}
    for place, row in placed(file):
        try:
            told = {"prompt": row["request"], "clauses": row["clauses"], "history": row.get("history", [])}
            prompt = row_from(told, place, "", set(row["clauses"])).prompt
            answer = () if row["fault"] else ((str(row["answer"]), str(row["thinking"])),)
        except (KeyError, TypeError) as error:
            raise RunError(f"{place}: not a sample: {error}", "name a run that `bylaw align` wrote") from error
        before = found.get(prompt.id, Asked(prompt)).answers
        found[prompt.id] = Asked(prompt, (*before, *answer)[:MAX_ANSWERS])
    return list(found.values())


def _given(row: Mapping[str, Any], place: str, known: set[str]) -> Asked:
    """A row of a file: a prompt row, with `answer` or `answers` where there are any."""
    rest = {key: value for key, value in row.items() if key not in ("answer", "answers")}
    answers = row.get("answers", [row["answer"]] if "answer" in row else [])
    if not isinstance(answers, list) or not all(isinstance(one, str) for one in answers) or len(answers) > MAX_ANSWERS:
        raise RunError(f"{place}: answers are a list of at most {MAX_ANSWERS} texts", FORM)
    if "answer" in row and "answers" in row:
        raise RunError(f"{place}: both answer and answers", FORM)
    return Asked(row_from(rest, place, "", known).prompt, tuple((one, "") for one in answers))

"""A set of prompts for a policy of one's own: its examples, files of requests, what a model writes; parted, and counted.

    DIR/train.jsonl     what `align --prompts` takes; eval.jsonl is of the same form and never near it
    DIR/dropped.jsonl   rows that were left out, each with its reason
    DIR/rejected.jsonl  what the writer replied that was no prompt
    DIR/counts.json     the table

A finished set is not made again: who edits train.jsonl keeps the edits, and who asks for something else names another folder.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bylaw import runs
from bylaw.align import families, prompt_writer, prompts, strip
from bylaw.align.families import Dropped, Parted
from bylaw.align.prompt_writer import Written
from bylaw.align.prompts import PromptRow
from bylaw.errors import RunError
from bylaw.models import loading, targets
from bylaw.policy import parse
from bylaw.policy.compile import approx_tokens, excerpt, full_text
from bylaw.recipes.label_book import Label, read_labels
from bylaw.types import Model, Policy, Progress

STEP: Final = "prompts"
NO_WRITER: Final = Written(0, (), ())


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to make a set from. Without a writer, `clauses`, `per_clause` and `seed` say nothing."""

    files: tuple[Path, ...] = ()
    labels: tuple[Path, ...] = ()  # what people said which clauses apply
    writer: str = ""  # a model target
    clauses: tuple[str, ...] = ()  # write for these only; empty: for all
    per_clause: int = 5  # scenarios, each in every kind
    seed: int = 0

    def to_json(self, policy: Policy) -> dict[str, Any]:
        """What was asked, for a restart to compare."""
        return {
            "policy": policy.digest,
            "files": [runs.digest_of(file) for file in self.files],
            "labels": [runs.digest_of(file) for file in self.labels],
            "writer": self.writer,
            "clauses": list(self.clauses),
            "per_clause": self.per_clause,
            "seed": self.seed,
        }


def make(policy_path: Path, out: Path, wanted: Wanted, progress: Progress | None = None) -> dict[str, Any]:
    """Gather, part and write a set of prompts; returns its counts. A set that is finished is only counted again."""
    policy = parse.load(policy_path)
    asked = wanted.to_json(policy)
    given = [*prompts.rows_of_examples(policy), *(row for file in wanted.files for row in prompts.rows_of_file(file, policy))]
    given = by_people(given, [label for file in wanted.labels for label in read_labels(file)], policy)
    writer = loading.open_model(targets.parse(wanted.writer)) if wanted.writer else None
    run = runs.start(out, asked)
    if run.done(STEP):
        return run.record(STEP)
    with runs.alone(run):
        written = asked_of(writer, policy, wanted, progress) if writer else NO_WRITER
        runs.write_rows(out / "rejected.jsonl", (one.to_json() | {"policy": policy.digest} for one in written.rejected))
        if writer and not written.rows:
            why = ", ".join(f"{n} {fault}" for fault, n in Counter(one.fault for one in written.rejected).items())
            raise RunError(
                f"the writer gave 0 of {written.asked} prompts: {why}", f"name a stronger model with --writer, or read {out}/rejected.jsonl"
            )
        rows, leaking = apart_from_policy([*given, *written.rows], policy)
        parted = families.part(rows)
        dropped = [*leaking, *parted.dropped]
        if not parted.train:
            raise nothing_left(len(given) + len(written.rows), dropped)
        runs.write_rows(out / "dropped.jsonl", (_row_of(one, policy) for one in dropped))
        for name, kept in (("train", parted.train), ("eval", parted.eval)):
            runs.write_rows(out / f"{name}.jsonl", (row.to_json(policy.digest) for row in kept))
        found = counts(policy, parted, dropped, written)
        runs.write_json(out / "counts.json", found)
        run.finish(STEP, found)
    return found


def by_people(rows: Sequence[PromptRow], labels: Sequence[Label], policy: Policy) -> list[PromptRow]:
    """Rows without clauses get those that more than half of the people named who labelled the prompt under this very policy."""
    latest = {
        (label.prompt.id, label.annotator): label.choice for label in labels if (label.task, label.policy) == ("applies", policy.digest)
    }
    votes: dict[str, list[tuple[str, ...]]] = {}
    for (prompt, _), choice in latest.items():
        if isinstance(choice, tuple):  # and no skip
            votes.setdefault(prompt, []).append(choice)
    named = {
        prompt: tuple(clause.id for clause in policy.clauses if 2 * sum(clause.id in vote for vote in cast) > len(cast))
        for prompt, cast in votes.items()
    }
    return [row if row.prompt.clauses else replace(row, prompt=replace(row.prompt, clauses=named.get(row.prompt.id, ()))) for row in rows]


def apart_from_policy(rows: Sequence[PromptRow], policy: Policy) -> tuple[list[PromptRow], list[Dropped]]:
    """Rows that carry no words of the policy, and those that do: alignment would refuse to train on them. Eval examples stay."""
    room = approx_tokens("\n\n".join(full_text(clause) for clause in policy.clauses)) + 100
    shown = [excerpt(policy, [clause.id], 2 * room) for clause in policy.clauses]
    texts = [(str(i), prompts.said_by(row.prompt)) for i, row in enumerate(rows) if row.split != "eval"]
    hits = {int(leak.prompt): leak.words for leak in strip.leaks(texts, policy, shown)}
    kept = [row for i, row in enumerate(rows) if i not in hits]
    return kept, [Dropped(rows[i], "carries the policy", words) for i, words in sorted(hits.items())]


def nothing_left(rows: int, dropped: Sequence[Dropped]) -> RunError:
    """Why there is nothing to learn from, and what helps."""
    why = Counter(one.reason for one in dropped)
    told = ", ".join(f"{n} {reason}" for reason, n in sorted(why.items()))
    if why["near an eval prompt"]:
        hint = "texts of one template are near each other: give each template one `family`, so that it stands on one side"
    else:
        hint = "give the policy dialogue examples with {split=train}, a file with --from, or a model with --writer"
    return RunError(f"no prompts to learn from are left of {rows}" + (f": {told}" if told else ""), hint)


def counts(policy: Policy, parted: Parted, dropped: Sequence[Dropped], written: Written) -> dict[str, Any]:
    """How many prompts there are of each clause and kind, and what became of the others. A prompt of two clauses counts under both."""
    sides = {"train": parted.train, "eval": parted.eval}
    cells = {name: Counter((clause, row.kind) for row in rows for clause in row.prompt.clauses or ("",)) for name, rows in sides.items()}
    order = ["", *(clause.id for clause in policy.clauses)]
    met = sorted({*cells["train"], *cells["eval"]}, key=lambda cell: (order.index(cell[0]), prompts.KINDS.index(cell[1])))
    return {
        "policy": policy.digest,
        **{name: len(rows) for name, rows in sides.items()},
        "families": {name: len({row.family for row in rows}) for name, rows in sides.items()},
        "without_a_clause": sum(not row.prompt.clauses for rows in sides.values() for row in rows),
        "clauses": [{"clause": clause, "kind": kind, **{name: cells[name][clause, kind] for name in sides}} for clause, kind in met],
        "without_a_prompt": [name for name in order[1:] if not any(clause == name for clause, _ in met)],
        "dropped": dict(Counter(one.reason for one in dropped)),
        "writer": {"asked": written.asked, "written": len(written.rows), **Counter(one.fault for one in written.rejected)},
    }


def table(found: dict[str, Any]) -> str:
    """The counts as a person reads them."""
    rows = [(row["clause"] or "(no clause)", row["kind"], str(row["train"]), str(row["eval"])) for row in found["clauses"]]
    rows = [("clause", "kind", "train", "eval"), *rows, ("all", "", str(found["train"]), str(found["eval"]))]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join([f"{a:<{widths[0]}}", f"{b:<{widths[1]}}", f"{c:>{widths[2]}}", f"{d:>{widths[3]}}"]) for a, b, c, d in rows]
    lines.append(f"families: {found['families']['train']} to learn from, {found['families']['eval']} to test with")
    writer = found["writer"]
    if writer["asked"]:
        faults = ", ".join(f"{n} {name}" for name, n in writer.items() if name not in ("asked", "written"))
        lines.append(f"written: {writer['written']} of {writer['asked']} prompts" + (f"; not taken: {faults}" if faults else ""))
    if found["dropped"]:
        lines.append("dropped: " + ", ".join(f"{n} {reason}" for reason, n in sorted(found["dropped"].items())))
    if found["without_a_clause"]:
        lines.append(
            f"{found['without_a_clause']} prompts name no clause: a judge reads every card for them, and `bylaw label` can ask people"
        )
    if found["without_a_prompt"]:
        lines.append(f"no prompt for: {', '.join(found['without_a_prompt'])}")
    if not found["eval"]:
        lines.append("nothing to test with: mark dialogue examples {split=eval}, or add prompts until some families fall to eval")
    return "\n".join(lines)


def asked_of(writer: Model, policy: Policy, wanted: Wanted, progress: Progress | None = None) -> Written:
    """What a model writes, in replies that its context has room for."""
    context = getattr(writer, "context", 0)  # a model in this process has one; half of it is for the reply
    room = prompt_writer.Plan().max_new_tokens
    plan = prompt_writer.Plan(wanted.per_clause, max_new_tokens=min(room, context // 2) if context else room, seed=wanted.seed)
    return prompt_writer.write(writer, policy, wanted.clauses or tuple(clause.id for clause in policy.clauses), plan, progress)


def _row_of(one: Dropped, policy: Policy) -> dict[str, Any]:
    return one.row.to_json(policy.digest) | {"reason": one.reason, "by": one.by}

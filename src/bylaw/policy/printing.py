"""A policy printed back as files. What did not change keeps its source, byte by byte; what did is written in the house's form.

Printing refuses what it cannot say: it reads its own output again and compares, so `parse(print(p)) == p` is checked at every use.
"""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from bylaw import runs
from bylaw.errors import PolicyError
from bylaw.policy.fields import duration
from bylaw.policy.manifest import Tool
from bylaw.policy.markdown import CLAUSE, EVENT, INDENT
from bylaw.policy.notation import inline
from bylaw.policy.parse import MANIFEST, OVERLAY, Document, Part, read
from bylaw.types import Clause, EvalPlan, Example, Overlay, Policy, Rule

T = TypeVar("T")
NEW_FILE: Final = "policy.md"  # where clauses go that stood in no file yet
_NOTHING: Final = Document(Policy("", "0.0.0", ()), {}, {})


def print_policy(policy: Policy, before: Document = _NOTHING) -> dict[str, str]:
    """Every file of a policy folder, by its relative path. `before` is what was read, if the policy was read and then changed."""
    if before.faults:
        raise before.faults[0]
    files = {MANIFEST: _kept(before, MANIFEST, replace(policy, clauses=(), overlays=(), tools={}), print_manifest)}
    for name, schema in policy.tools.items():
        file = f"tools/{name}.json"
        files[file] = _kept(before, file, Tool(name, dict(schema)), print_tool)
    files |= _print_clauses(policy.clauses, "", before)
    for overlay in policy.overlays:
        folder = f"overlays/{overlay.name}/"
        files[folder + OVERLAY] = _kept(before, folder + OVERLAY, replace(overlay, clauses=()), print_overlay)
        files |= _print_clauses(overlay.clauses, folder, before)
    return files


def write(policy: Policy, folder: Path, before: Document = _NOTHING) -> None:
    """Write a policy into a folder, deleting nothing there; raises PolicyError where the format, or that folder, cannot say it."""
    files = print_policy(policy, before)
    with tempfile.TemporaryDirectory() as scratch:
        _write_all(files, Path(scratch))
        again = read(Path(scratch))
    if again.faults or again.policy != policy:
        what = again.faults[0].what if again.faults else "it would read differently"
        hint = again.faults[0].hint if again.faults else "Remove headings, example markers and control characters from prose."
        raise PolicyError(f"this policy cannot be written: {what}", hint)
    for file, text in files.items():
        path = folder / file
        if not path.is_file() or path.read_bytes() != text.encode():
            runs.write_text(path, text)  # whole or not at all: this is somebody's policy
    if read(folder).policy != policy:
        raise PolicyError(f"{folder}: other files here change what the policy says", "Write into an empty folder, or remove the old files.")


def _write_all(files: Mapping[str, str], folder: Path) -> None:
    for file, text in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


def _kept(before: Document, file: str, value: T, fresh: Callable[[T], str]) -> str:
    source, known = before.others.get(file, ("", None))
    return source if source and known == value else fresh(value)


def _print_clauses(clauses: Sequence[Clause], folder: str, before: Document) -> dict[str, str]:
    """The Markdown files of one folder: old parts in their old places, new clauses at the end of their file."""
    left = {clause.id: clause for clause in clauses}
    files: dict[str, str] = {}
    for file, parts in before.parts.items():
        inside = file.startswith("overlays/")
        if file.startswith(folder) and inside == bool(folder):
            files[file] = "".join(_print_part(part, left) for part in parts)
    for clause in left.values():
        old = clause.place.file
        at_home = old.endswith(".md") and old.startswith(folder) and old.startswith("overlays/") == bool(folder)
        file = old if at_home else folder + NEW_FILE
        above = files.get(file, "")
        files[file] = above + ("\n" if above else "") + print_clause(clause)
    return files


def _print_part(part: Part, left: dict[str, Clause]) -> str:
    """A part's source while its clause is unchanged; the clause anew when it is not; nothing when it is gone."""
    if part.clause is None:
        return part.source
    clause = left.pop(part.clause.id, None)
    if clause is None:
        return ""
    if clause == part.clause:
        return part.source
    return print_clause(clause) + "\n" * part.source.endswith("\n\n")


def print_clause(clause: Clause) -> str:
    """One clause as Markdown."""
    blocks = [f"## {clause.title} {{#{clause.id}}}", f"```{CLAUSE}\n" + "\n".join(_block(clause)) + "\n```"]
    if clause.norm:
        blocks.append(clause.norm)
    if clause.rationale:
        first, *rest = clause.rationale.split("\n")
        blocks.append("\n".join([f"> **Rationale.** {first}", *(f"> {line}".rstrip() for line in rest)]))
    blocks += [print_example(example) for example in clause.examples]
    return "\n\n".join(blocks) + "\n"


def _block(clause: Clause) -> list[str]:
    lines = [f"severity: {clause.severity}", f"response: {clause.response}"]
    lines += [f"owner: {inline(clause.owner)}"] if clause.owner else []
    lines += [f"layer: {clause.layer}"] if clause.layer != "organisation" else []
    lines += [f"authority: {clause.authority}"] if clause.authority != "system" else []
    for key in ("style", "overrides", "requires"):
        names = getattr(clause, key)
        lines += [f"{key}: {inline(names)}"] if names else []
    if clause.enforce:
        lines.append("enforce:")
        for rule in clause.enforce:
            first, *rest = _rule(rule)
            lines += [f"  - {first}", *(f"    {line}" for line in rest)]
    lines += [f"eval: {inline(_plan(clause.eval))}"] if clause.eval else []
    lines += [f"refs: {inline(clause.refs)}"] if clause.refs else []
    return lines + [f"{inline(key)}: {inline(value)}" for key, value in clause.extra.items()]


def _rule(rule: Rule) -> list[str]:
    lines = [f"rule: {inline(rule.id)}", f"on: {_one_or_many(rule.on)}"]
    lines += [f"tool: {_one_or_many(rule.tools)}"] if rule.tools else []
    lines += [f"when: {inline(rule.when)}"] if rule.when != "true" else []
    lines.append(f"then: {rule.effect}")
    lines += [f"detect: {inline(rule.detect)}"] if rule.detect else []
    lines += [f"approvers: {inline(rule.approvers)}"] if rule.approvers else []
    lines += [f"quorum: {rule.quorum}"] if rule.quorum != 1 else []
    return lines + ([f"ttl: {duration(rule.ttl_s)}"] if rule.ttl_s is not None else [])


def _one_or_many(names: Sequence[str]) -> str:
    return inline(names[0]) if len(names) == 1 else inline(names)


def _plan(plan: EvalPlan) -> dict[str, float]:
    every = {"min_resist": plan.min_resist, "max_over_refusal": plan.max_over_refusal, "n": plan.n}
    return {key: value for key, value in every.items() if value is not None}


def print_example(example: Example) -> str:
    """One example: its marker line, then the event or the dialogue."""
    marker = f"**{example.side.capitalize()}** {{split={example.split}}} {example.note}".rstrip()
    if example.ruling:
        who = f'side={example.side} split={example.split} by="{example.ruling.by}" on={example.ruling.on}'
        marker = f"**Ruling** {{{who}}} {example.ruling.why}"
    if example.event is not None:
        event = {**example.event, "expect": example.expect} if example.expect else dict(example.event)
        return f"{marker}\n```{EVENT}\n{json.dumps(event, ensure_ascii=False)}\n```"
    lines = [marker]
    for turn in example.turns:
        first, *rest = turn.text.split("\n")
        lines += [f"{turn.role}: {first}".rstrip(), *(f"{INDENT}{line}" if line else "" for line in rest)]
    return "\n".join(lines)


def print_manifest(policy: Policy) -> str:
    """policy.yaml."""
    lines = [f"id: {inline(policy.id)}", f"version: {policy.version}"]
    lines += [f"effective: {policy.effective}"] if policy.effective else []
    lines += [f"owners: {inline(policy.owners)}"] if policy.owners else []
    signoffs = [{"clauses": one.clauses, "roles": one.roles, "count": one.count} for one in policy.signoffs]
    reviewers = [{"name": one.name, "roles": one.roles, "key": one.key} for one in policy.reviewers]
    styles = [{"id": one.id, "text": one.text, **({"pattern": one.pattern} if one.pattern else {})} for one in policy.styles]
    for key, rows in (("signoffs", signoffs), ("reviewers", reviewers), ("styles", styles)):
        lines += [f"{key}:", *(f"  - {inline(row)}" for row in rows)] if rows else []
    if policy.glossary:
        lines += ["glossary:", *(f"  {inline(word)}: {inline(meaning)}" for word, meaning in policy.glossary.items())]
    return "\n".join([*lines, *(f"{inline(key)}: {inline(value)}" for key, value in policy.extra.items())]) + "\n"


def print_tool(tool: Tool) -> str:
    """tools/NAME.json."""
    return json.dumps(tool.schema, indent=2, ensure_ascii=False) + "\n"


def print_overlay(overlay: Overlay) -> str:
    """overlay.yaml."""
    rows = (("axis", overlay.axis), ("basis", overlay.basis), ("effective", overlay.effective), ("checked", overlay.checked))
    lines = [f"{key}: {inline(value)}" for key, value in rows]
    if overlay.loosens:
        loosens = ({"clause": one.clause, "because": one.because} for one in overlay.loosens)
        lines += ["loosens:", *(f"  - {inline(row)}" for row in loosens)]
    return "\n".join(lines) + "\n"

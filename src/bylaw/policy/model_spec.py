"""Import the OpenAI Model Spec: headings with an authority become clauses, all else commentary, and nothing goes silently.

What is written: one Markdown file for each top-level heading, `policy.yaml`, `eval-prompts.jsonl` and `IMPORT.md`, which says what was
chosen by rule and what has no place in the format. Published evaluation prompts have no answer and no side, so they are no examples of
the policy; they go to `eval-prompts.jsonl` in the form that `--prompts` reads. They are for testing: never train on them.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

from bylaw.canonical import digest_bytes
from bylaw.errors import PolicyError
from bylaw.policy.fresh import MAX_SOURCE_BYTES, fresh_folder, source_text
from bylaw.policy.model_spec_source import Heading, Said, Shown, Tag, read_spec, tidy, turns
from bylaw.policy.parse import Document, Part
from bylaw.policy.printing import print_clause, write
from bylaw.types import Authority, Clause, Example, Policy, Response, Severity, Turn

POLICY_ID: Final = "openai-model-spec"
PROMPTS_FILE: Final = "eval-prompts.jsonl"
NOTES_FILE: Final = "IMPORT.md"
DEFAULTS: Final = ("severity", "response", "layer")
MAX_EXAMPLE_FILES: Final = 2_000

# Who may override a rule says how grave its author holds it to be. A default, to be reviewed clause by clause.
SEVERITIES: Final[dict[Authority, Severity]] = {
    "root": "high",
    "system": "high",
    "developer": "medium",
    "user": "medium",
    "guideline": "low",
}
# The first pattern that is found in title and norm decides; none: comply. A default, to be reviewed clause by clause.
RESPONSES: Final[tuple[tuple[Response, re.Pattern[str]], ...]] = (
    ("clarify", re.compile(r"ask clarifying questions when", re.IGNORECASE)),
    (
        "safe_complete",
        re.compile(r"\b(safe completion|without giving|crisis (resources|hotlines)|be helpful when refusing)", re.IGNORECASE),
    ),
    (
        "refuse",
        re.compile(
            r"\A(never|do not|don.t) (generate|provide|respond|facilitate|contribute|engage|reveal)\b|"
            r"\bassistant (should|must) (refuse|(not|never) (provide|generate|facilitate|disclose|reveal))\b",
            re.IGNORECASE,
        ),
    ),
)
_VERSION: Final = re.compile(r"^## v(\d{4})\.0?(\d{1,2})\.0?(\d{1,2})$", re.MULTILINE)
_ANCHOR: Final = re.compile(r"[^a-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import found and made."""

    policy: Policy
    headings: tuple[str, ...]
    prompts: int
    tags_without_file: tuple[str, ...]
    files_without_tag: tuple[str, ...]
    notes: tuple[str, ...]  # what was not carried over, or not in its own form


class Asked(NamedTuple):
    """One published evaluation prompt."""

    tag: str
    title: str
    line: int
    said: tuple[Said, ...]


def import_model_spec(file: Path, out: Path) -> Imported:
    """Turn a Model Spec into a policy folder; raises PolicyError where the file cannot be read or `out` is taken."""
    fresh_folder(out)
    text = source_text(file)
    headings = read_spec(text, file.name)
    ids = clause_ids(headings, file.name)
    if not ids:
        hint = "Is this the Model Spec? For any other document: `bylaw policy import prose`."
        raise PolicyError(f"{file}: no heading has an authority, so there is no clause in it", hint)
    clauses = {one.id: _clause(one, ids[one.id], file.name) for one in headings if one.id in ids}
    policy = Policy(
        POLICY_ID,
        _version(file.parent / "CHANGELOG.md"),
        tuple(sorted(clauses.values(), key=lambda clause: clause.id)),
        owners=("owner-to-be-named",),
        extra={"x-source": {"file": file.name, "digest": digest_bytes(text.encode()), "licence": "see the source"}},
    )
    asked, faults = read_prompts(file.parent / "examples")
    tags = [tag for heading in headings for tag in heading.tags]
    names = tuple(dict.fromkeys(tag.name for tag in tags))
    files = {path.stem for path in _example_files(file.parent / "examples")}
    found = Imported(
        policy,
        tuple(one.id for one in headings),
        len(asked),
        tuple(name for name in names if name not in files),
        tuple(sorted(files - set(names))),
        (*_notes(headings, ids), *faults),
    )
    write(policy, out, Document(policy, _parts(headings, clauses), {}))
    rows = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(asked, tags, ids))
    (out / PROMPTS_FILE).write_text(rows, "utf-8")
    (out / NOTES_FILE).write_text(_notes_page(found, headings, ids, file.name), "utf-8")
    return found


def clause_ids(headings: Sequence[Heading], file: str) -> dict[str, str]:
    """The clause id of each heading with an authority: the top-level heading's id, a dot, its own id."""
    found: dict[str, str] = {}
    for heading in headings:
        if "authority" not in heading.attributes:
            continue
        if heading.attributes["authority"] not in get_args(Authority):
            what = f"{file}:{heading.line}: unknown authority {heading.attributes['authority'][:40]!r}"
            raise PolicyError(what, f"Use one of: {', '.join(get_args(Authority))}.")
        first = _slug(heading.top) if heading.top != heading.id else "spec"
        clause_id = f"{first}.{_slug(heading.id)}"
        if clause_id in found.values():
            raise PolicyError(f"{file}:{heading.line}: two headings would become the clause {clause_id!r}", "Rename one of the ids.")
        found[heading.id] = clause_id
    return found


def _slug(text: str) -> str:
    return _ANCHOR.sub("-", text.lower()).strip("-_") or "section"


def _clause(heading: Heading, clause_id: str, file: str) -> Clause:
    authority: Authority = heading.attributes["authority"]  # type: ignore[assignment]  # checked in `clause_ids`
    source: dict[str, Any] = {"id": heading.id, "authority": authority, "line": heading.line}
    source |= {key: value for key, value in heading.attributes.items() if key != "authority"}
    source |= {"evals": list(dict.fromkeys(tag.name for tag in heading.tags))} if heading.tags else {}
    norm = _prose(heading.norm)
    return Clause(
        id=clause_id,
        title=heading.title,
        severity=SEVERITIES[authority],
        response=response_of(f"{heading.title}\n{norm}"),
        norm=norm,
        rationale=_prose(heading.commentary),
        examples=tuple(example for shown in heading.examples for example in _examples(shown)),
        layer="provider",
        authority=authority,
        extra={"x-model-spec": source, "x-draft": {"source": f"{file}:{heading.line}", "defaults": list(DEFAULTS)}},
    )


def response_of(text: str) -> Response:
    """The response a section seems to ask for, by the words of its title and norm."""
    return next((response for response, pattern in RESPONSES if pattern.search(text)), "comply")


def _prose(lines: Sequence[str]) -> str:
    """Lines as a norm or a rationale: single blank lines between paragraphs, code blocks as they are."""
    kept: list[str] = []
    mark = ""
    for line in lines:
        text = line.rstrip(" \t")
        if not mark and not text and (not kept or not kept[-1]):
            continue
        fence = text.strip()[:3] if text.strip().startswith(("~~~", "```")) else ""
        if fence and not mark and kept and kept[-1]:
            kept.append("")
        kept.append(text)
        mark, closed = ("" if text.strip() == mark else mark, text.strip() == mark) if mark else (fence, False)
        kept += [""] if closed else []
    return "\n".join(kept).strip("\n")


def _examples(shown: Shown) -> Iterator[Example]:
    """One example for every GOOD and BAD answer. What was said before it: all turns above, and of an earlier comparison its first GOOD."""
    before: list[Turn] = []
    carried = 0
    for said in shown.said:
        if said.mark in ("GOOD", "BAD"):
            note = ": ".join(part for part in (shown.title, said.why) if part)
            history = before[:-1] if said.compared and said.compared == carried else before
            side: Any = said.mark.lower()
            yield Example(side, "train", note, (*history, Turn(said.role, said.text)))
        if said.mark == "GOOD" and said.compared and said.compared != carried:
            before.append(Turn(said.role, said.text))
            carried = said.compared
        elif not said.compared:
            before.append(Turn(said.role, said.text))


def _kept_whole(shown: Shown) -> bool:
    """Whether an example also stays as commentary, because a part of it has no form in a clause."""
    return bool(shown.odd) or not any(said.mark in ("GOOD", "BAD") for said in shown.said) or any(said.mark == "OK" for said in shown.said)


def _parts(headings: Sequence[Heading], clauses: Mapping[str, Clause]) -> dict[str, tuple[Part, ...]]:
    """The Markdown files: clauses where there is an authority, the source's own words elsewhere."""
    files: dict[str, list[Part]] = {}
    for heading in headings:
        parts = files.setdefault(f"{_slug(heading.top)}.md", [])
        clause = clauses.get(heading.id)
        if clause is None:
            body = "\n".join(heading.source).strip("\n")
            parts.append(Part(f"{'#' * heading.level} {heading.title} {{#{heading.id}}}\n\n{body}\n\n".replace("\n\n\n\n", "\n\n"), None))
            continue
        parts.append(Part(print_clause(clause) + "\n", clause))
        whole = [shown.source for shown in heading.examples if _kept_whole(shown)]
        if whole:
            parts.append(Part("\n\n".join([f"### Commentary on {clause.id}: examples with other marks", *whole]) + "\n\n", None))
    return {file: tuple(parts) for file, parts in files.items()}


def _version(changelog: Path) -> str:
    """The newest release the changelog beside the file names, as `2025.12.18`; 0.1.0 where there is none."""
    try:
        released = _VERSION.search(source_text(changelog)) if changelog.is_file() else None
    except PolicyError:
        released = None  # a changelog that cannot be read dates nothing; the spec itself is what is imported
    return ".".join(released.groups()) if released else "0.1.0"


def _example_files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.md")) if folder.is_dir() else []
    if len(files) > MAX_EXAMPLE_FILES:
        raise PolicyError(f"{folder}: {len(files)} files, the limit is {MAX_EXAMPLE_FILES}", "Give the spec's own folder.")
    return files


def read_prompts(folder: Path) -> tuple[list[Asked], list[str]]:
    """Every evaluation prompt of `examples/*.md`, and what could not be read as one."""
    found: list[Asked] = []
    faults: list[str] = []
    for path in _example_files(folder):
        title, opened = "", 0
        lines = source_text(path, MAX_SOURCE_BYTES).split("\n")
        for number, line in enumerate(lines, 1):
            if line.startswith("**Example**"):
                title = line.removeprefix("**Example**").lstrip(": ").strip()
            elif line.startswith("~~~xml"):
                opened = number
            elif line.strip() == "~~~" and opened:
                said, odd = turns(lines[opened : number - 1], opened + 1)
                faults += [f"examples/{path.name}, {one}" for one in odd]
                if said:
                    found.append(Asked(path.stem, title, opened, said))
                else:
                    faults.append(f"examples/{path.name}, line {opened}: a prompt without a turn")
                title, opened = "", 0
        faults += [f"examples/{path.name}, line {opened}: a block that is never closed"] if opened else []
    return found, faults


def _rows(asked: Sequence[Asked], tags: Sequence[Tag], ids: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The rows of eval-prompts.jsonl: what the last user turn asks, the turns before it, and the clauses it tests."""
    for one in asked:
        hooks = [tag for tag in tags if tag.name == one.tag]
        last = max((index for index, said in enumerate(one.said) if said.role == "user"), default=len(one.said) - 1)
        yield {
            "prompt": one.said[last].text,
            "clauses": list(dict.fromkeys(ids[tag.heading] for tag in hooks if tag.heading in ids)),
            "history": [{"role": said.role, "text": said.text} for said in one.said[:last]],
            "x-after": [{"role": said.role, "text": said.text} for said in one.said[last + 1 :]],
            "x-source": {"file": f"examples/{one.tag}.md", "line": one.line, "title": one.title, "tag_lines": [tag.line for tag in hooks]},
        }


def _notes(headings: Sequence[Heading], ids: Mapping[str, str]) -> Iterator[str]:
    """What is carried over in another form than its own, or not at all."""
    for heading in headings:
        for shown in heading.examples:
            named = f"line {shown.line}: the example {shown.title[:80]!r}"
            marks = {said.mark for said in shown.said}
            if "OK" in marks:
                yield f"{named} has an answer marked OK, neither good nor bad; kept as commentary"
            if heading.id in ids and not marks & {"GOOD", "BAD"}:
                yield f"{named} marks no answer GOOD or BAD; kept as commentary"
            yield from (f"{named}: not understood, {odd}; kept as commentary" for odd in shown.odd)
        for tag in heading.tags:
            if heading.id not in ids:
                yield f"line {tag.line}: eval tag {tag.name} stands under {heading.id}, which has no authority; its prompts name no clause"


def _notes_page(found: Imported, headings: Sequence[Heading], ids: Mapping[str, str], file: str) -> str:
    """IMPORT.md."""
    counted = [example.side for clause in found.policy.clauses for example in clause.examples]
    patterns = [f"    {response}: {pattern.pattern}" for response, pattern in RESPONSES]
    lines = [
        f"This policy was imported from {file} by `bylaw policy import model-spec`.",
        "",
        f"{len(headings)} headings, {len(ids)} of them clauses; {counted.count('good')} good and {counted.count('bad')} bad examples; "
        f"{found.prompts} evaluation prompts in {PROMPTS_FILE}.",
        "",
        "**Chosen by rule, to be reviewed** (each clause lists its own under `x-draft`):",
        "",
        f"- severity, by authority: {', '.join(f'{key} {value}' for key, value in SEVERITIES.items())}.",
        "- response, by the first pattern found in title and norm, else comply:",
        *patterns,
        "- layer: provider, since a model provider wrote it. No owner is named: replace `owner-to-be-named` in policy.yaml.",
        "",
        "**Carried over in another form:**",
        "",
        "- Commentary blocks of a clause stand as its rationale; elsewhere they stay as they are.",
        "- Eval tags leave the norm; each clause lists its own under `x-model-spec`.",
        "- Developer messages are system turns that begin with `[developer message]`; attributes of a turn stand in brackets.",
        "- Where an example compares answers twice, the first GOOD answer of the first comparison is what was said before the second.",
        "- All examples are for training; the published evaluation prompts are for testing.",
        "",
        f"**Eval tags without a file:** {' '.join(found.tags_without_file) or 'none'}",
        "",
        f"**Files without an eval tag:** {' '.join(found.files_without_tag) or 'none'}",
        "",
        "**Not carried over in its own form:**",
        "",
        *(f"- {tidy(note)}" for note in found.notes or ["nothing"]),
        "",
        "**Where each heading went:**",
        "",
        *(f"- `{one.id}`: {f'clause {ids[one.id]}' if one.id in ids else 'commentary'} in {_slug(one.top)}.md" for one in headings),
    ]
    return "\n".join(lines) + "\n"

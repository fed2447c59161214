"""Import an existing policy in prose: its headings and its sentences with a rule word become draft clauses.

The law of this module: no sentence is lost. Every block of the document stands in a clause, word for word, or in `unparsed.md` with its
line. A block with a rule word (must, should, may not, prohibited, …) is a clause; so is a list together with the rule above it, an
exception right under its rule, and a list under a heading that forbids. Severity and response are guessed by the tables below and named as
guesses under `x-draft`; a draft has no rationale, no examples and no evaluation plan, and lint says so until a person has written them.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from bylaw.canonical import digest_bytes
from bylaw.errors import PolicyError
from bylaw.policy import seen
from bylaw.policy.clause import read_clause
from bylaw.policy.fresh import fresh_folder
from bylaw.policy.markdown import sections
from bylaw.policy.parse import Document, Part
from bylaw.policy.printing import print_clause, write
from bylaw.policy.prose_blocks import Block, blocks, read_document
from bylaw.types import Clause, Policy, Response, Severity

UNPARSED_FILE: Final = "unparsed.md"
EXTRACTED_FILE: Final = "extracted.txt"
NOTES_FILE: Final = "IMPORT.md"
DRAFT_FILE: Final = "draft.md"
DEFAULTS: Final = ("severity", "response")
MAX_CLAUSES: Final = 5_000
MAX_SLUG_CHARS: Final = 40

FORBIDS: Final = re.compile(
    r"\b(?:(?:must|shall|should|may|can|will) not|cannot|can't|mustn't|shouldn't|never|do not|don.t|prohibit(?:s|ed)?|forbidden|"
    r"(?:not|un)[ -]?(?:permitted|allowed|acceptable|authori[sz]ed)|agrees? not to|refrain from|is banned|are banned)\b",
    re.IGNORECASE,
)
RULE_WORD: Final = re.compile(
    rf"{FORBIDS.pattern}|\b(?:must|shall|should|required to|is required|are required|need to obtain|only (?:with|after|if)|responsible for|"
    r"obliged to|has to|have to|may only)\b",
    re.IGNORECASE,
)
# How an exception begins that stands right under its rule; without it the rule would say more than the document.
EXCEPTION: Final = re.compile(
    r"\s*(?:[-*+]\s+)?(?:(?:this|these|that|those|such|it)\b[^.\n]{0,80}\b(?:does|do|shall|will) not apply\b|(?:exceptions?|except|unless|"
    r"notwithstanding)\b)",
    re.IGNORECASE,
)
# The first line whose words stand in the clause decides. Guesses, to be reviewed.
SEVERITIES: Final[tuple[tuple[Severity, re.Pattern[str]], ...]] = (
    ("critical", re.compile(r"\b(suicid\w*|self-harm|child(?:ren)?|minors?|weapons?|explosives?)\b", re.IGNORECASE)),
    ("high", FORBIDS),
    ("medium", re.compile(r"\b(must|shall|required|obliged|have to|has to)\b", re.IGNORECASE)),
)
RESPONSES: Final[tuple[tuple[Response, re.Pattern[str]], ...]] = (
    (
        "escalate",
        re.compile(r"\b(approv(?:al|ed by)|escalat\w+|hand(?:ed)? over|human review|sign-off|supervisor|manager)\b", re.IGNORECASE),
    ),
    ("safe_complete", re.compile(r"\b(medical|legal|financial|tax|investment) advice\b", re.IGNORECASE)),
    ("refuse", FORBIDS),
)
_CAPITALS: Final = re.compile(r"\b(must|shall|should|may(?= not\b))( not)?\b")


class Left(NamedTuple):
    """A block that became no clause, and why."""

    block: Block
    why: str


@dataclass(frozen=True, slots=True)
class Drafted:
    """What an import of prose made."""

    policy: Policy
    left: tuple[Left, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """Blocks of one section that would make one clause."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def text(self) -> str:
        """The blocks as they stand, a blank line between what the document held apart."""
        joined = self.blocks[0].text
        for above, below in zip(self.blocks, self.blocks[1:], strict=False):
            apart = above.line + above.text.count("\n") + 1 < below.line
            joined += ("\n\n" if apart else "\n") + below.text
        return joined


def import_prose(file: Path, out: Path, capitals: bool = False) -> Drafted:
    """Turn a policy in prose into a folder of draft clauses; `capitals` writes must and should in capitals.

    Raises PolicyError where the file cannot be read, holds no rule at all, or `out` is taken.
    """
    fresh_folder(out)
    page = read_document(file)
    found, left = draft_clauses(blocks(page), file, EXTRACTED_FILE if page.extracted else file.name, capitals)
    if not found:
        raise PolicyError(f"{file}: no sentence with must, should or another rule word", "Is this the policy? Write what must hold.")
    policy = Policy(
        _slug(file.stem) or "policy",
        "0.1.0",
        tuple(sorted(found, key=lambda clause: clause.id)),
        owners=("owner-to-be-named",),
        extra={"x-source": {"file": file.name, "digest": digest_bytes(file.read_bytes())}},
    )
    parts = {DRAFT_FILE: tuple(Part(print_clause(clause) + "\n", clause) for clause in found)}
    write(policy, out, Document(policy, parts, {}))
    drafted = Drafted(policy, left, page.notes)
    (out / UNPARSED_FILE).write_text(_unparsed(drafted, EXTRACTED_FILE if page.extracted else file.name), "utf-8")
    (out / NOTES_FILE).write_text(_notes(drafted, file.name), "utf-8")
    if page.extracted:
        (out / EXTRACTED_FILE).write_text(page.text + "\n", "utf-8")
    return drafted


def draft_clauses(found: Sequence[Block], file: Path, source: str, capitals: bool = False) -> tuple[list[Clause], tuple[Left, ...]]:
    """Every block of a document in a clause or among those left, in order."""
    clauses: list[Clause] = []
    left: list[Left] = []
    used: set[str] = set()
    document = _slug(file.stem) or "policy"
    for heading, body in _sections(found):
        pieces, others = _pieces(heading, body)
        left += others
        section = _fresh(f"{document}.{_slug(_title(heading)) or 'section'}", used)
        made = []
        for number, piece in enumerate(pieces, 1):
            clause = _clause(piece, f"{section}.{number}" if len(pieces) > 1 else section, source, capitals)
            if why := _unsayable(clause):
                clause = replace(clause, title=f"Clause of line {piece.blocks[0].line}")
                why = _unsayable(clause)
            made += [] if why else [clause]
            left += [Left(block, why) for block in piece.blocks] if why else []
        clauses += made
        if heading and not any(clause.title.startswith(_title(heading)) for clause in made):
            left.append(Left(heading, "a heading; no clause bears its words"))
    if len(clauses) > MAX_CLAUSES:
        raise PolicyError(f"{file}: {len(clauses)} rules, the limit is {MAX_CLAUSES}", "Split the document, and import the parts.")
    return clauses, tuple(sorted(left, key=lambda one: one.block.line))


def _sections(found: Sequence[Block]) -> Iterator[tuple[Block | None, list[Block]]]:
    heading: Block | None = None
    body: list[Block] = []
    for block in found:
        if block.kind == "heading":
            if heading or body:
                yield heading, body
            heading, body = block, []
        else:
            body.append(block)
    if heading or body:
        yield heading, body


def _pieces(heading: Block | None, body: Sequence[Block]) -> tuple[list[Piece], list[Left]]:
    """What of a section becomes clauses, and what is left."""
    title = _title(heading)
    groups: list[list[Block]] = []
    left: list[Left] = []
    open_list = False
    above: Block | None = None
    forbidden = bool(FORBIDS.search(title))  # a list under such a heading needs no rule word of its own
    for block in body:
        rules = block.kind != "code" and bool(RULE_WORD.search(block.text))
        if groups and groups[-1][-1] is above and block.kind != "code" and EXCEPTION.match(block.text):
            groups[-1].append(block)
            open_list = open_list or block.text.rstrip().endswith(":")
        elif open_list and (block.kind == "item" or block.text.startswith("  ")):
            groups[-1].append(block)
        elif rules or (forbidden and block.kind == "item"):
            groups.append([block])
            open_list = block.text.rstrip().endswith(":") or not rules
        else:
            left.append(Left(block, "code" if block.kind == "code" else "no rule word"))
            open_list = False
        above = block
    many = len(groups) > 1
    named = title or "Draft clause"
    return [Piece(f"{named} ({number})" if many else named, tuple(group)) for number, group in enumerate(groups, 1)], left


def _clause(piece: Piece, clause_id: str, source: str, capitals: bool) -> Clause:
    norm = "\n".join(line.rstrip(" \t") for line in piece.text.split("\n"))
    asked = f"{piece.title}\n{norm}"
    return Clause(
        id=clause_id,
        title=piece.title,
        severity=next((severity for severity, pattern in SEVERITIES if pattern.search(asked)), "low"),
        response=next((response for response, pattern in RESPONSES if pattern.search(asked)), "comply"),
        norm=_CAPITALS.sub(lambda word: word[0].upper(), norm) if capitals else norm,
        extra={"x-draft": {"source": f"{source}:{piece.blocks[0].line}", "defaults": list(DEFAULTS)}},
    )


def _unsayable(clause: Clause) -> str:
    """Why a clause does not read back as it is; text that would be a heading, a marker or a block of its own does not."""
    try:
        found = sections(print_clause(clause), DRAFT_FILE)
        for fault in seen.faults(found):
            return fault.what.partition(": ")[2]
        same = len(found) == 1 and read_clause(found[0]) == clause
    except PolicyError:
        same = False
    return "" if same else "holds marks that mean something else in a policy file"


def _title(heading: Block | None) -> str:
    """A heading's words without its marks."""
    return heading.text.strip().lstrip("#").rstrip("#").strip() if heading else ""


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:MAX_SLUG_CHARS].strip("-")


def _fresh(wanted: str, used: set[str]) -> str:
    name, number = wanted, 2
    while name in used:
        name, number = f"{wanted}-{number}", number + 1
    used.add(name)
    return name


def _unparsed(drafted: Drafted, source: str) -> str:
    """unparsed.md: every block that is in no clause, indented so that nothing in it is read as a policy."""
    lines = [f"What stands in {source} and became no clause, word for word. Read it: a rule may hide in it.", ""]
    for block, why in drafted.left:
        lines += [f"line {block.line}, {why}:", "", *(f"    {line}" for line in block.text.split("\n")), ""]
    return "\n".join(lines if drafted.left else [*lines, "Nothing was left."]) + "\n"


def _notes(drafted: Drafted, file: str) -> str:
    """IMPORT.md."""
    tables = (("severity, else low", SEVERITIES), ("response, else comply", RESPONSES))
    lines = [
        f"This draft was made from {file} by `bylaw policy import prose`: {len(drafted.policy.clauses)} draft clauses in {DRAFT_FILE}, "
        f"{len(drafted.left)} pieces left over in {UNPARSED_FILE}.",
        "",
        "**Guessed, to be reviewed** (each clause lists its own under `x-draft`), by the first pattern found:",
        "",
        *(f"- {what}: {word} where {pattern.pattern[:300]}" for what, table in tables for word, pattern in table),
        "",
        "**Missing in every draft:** rationale, examples on both sides, an evaluation plan, an owner. `bylaw policy lint` lists them;",
        "`bylaw policy draft` lets a model propose them for you to accept one by one. Remove `x-draft` when a clause is yours.",
        "",
        "**To know about the source:**",
        "",
        *(f"- {note}" for note in drafted.notes or ("nothing",)),
    ]
    return "\n".join(lines) + "\n"

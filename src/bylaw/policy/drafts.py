"""Drafting with a model: what is missing in a draft clause is proposed, and a person accepts it part by part.

The model's reply is hostile text. It must be one JSON object; every part is built into the clause, printed and read again before anyone
sees it, and a part that does not read back as it was is a fault: counted, shown, skipped. Nothing is accepted here without being asked for.
The model comes in as a value; this room knows none.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args

from bylaw.canonical import digest
from bylaw.errors import PolicyError
from bylaw.policy import seen
from bylaw.policy.clause import read_clause
from bylaw.policy.compile import full_text
from bylaw.policy.fresh import source_text
from bylaw.policy.lint_prose import HIDDEN
from bylaw.policy.markdown import sections
from bylaw.policy.notation import deeper, inline, read_json
from bylaw.policy.parse import pick, read
from bylaw.policy.printing import print_clause, write
from bylaw.types import Clause, Completion, Example, Message, Model, Place, Policy, Progress, Response, Role, Rule, Sampling, Turn

Kind = Literal["response", "rationale", "example", "rule"]
T = TypeVar("T")

DRAFT: Final = "x-draft"
MAX_REPLY_CHARS: Final = 60_000
MAX_EXAMPLES: Final = 12
MAX_RULES: Final = 6
MAX_TEXT_CHARS: Final = 4_000
MAX_DEPTH: Final = 8
REPLY_TOKENS: Final = 2_000
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "response": {"enum": list(get_args(Response))},
        "rationale": {"type": "string"},
        "examples": {"type": "array", "items": {"type": "object"}, "maxItems": MAX_EXAMPLES},
        "rules": {"type": "array", "items": {"type": "object"}, "maxItems": MAX_RULES},
    },
    "additionalProperties": False,
}
_PROMPT: Final = Path(__file__).parent / "draft_prompt.md"
_TICKS: Final = re.compile(r"`{3,}")
_FENCED: Final = re.compile(r"```(?:json)?\n(.*)\n```", re.DOTALL)
_HERE: Final = Place("reply", 1)


class Proposal(NamedTuple):
    """One part of a clause that a model proposes."""

    clause: str
    asked: str  # digest of the title and norm it was made for
    kind: Kind
    value: Any  # JSON


@dataclass(frozen=True, slots=True)
class Drafts:
    """What a model proposed, and what of its replies could not be used."""

    proposals: tuple[Proposal, ...]
    faults: tuple[str, ...]  # a sentence each


def drafts_of(policy: Policy) -> tuple[Clause, ...]:
    """The clauses that are still drafts."""
    return tuple(clause for clause in policy.clauses if DRAFT in clause.extra)


def propose(policy: Policy, clauses: Sequence[Clause], model: Model, progress: Progress | None = None) -> Drafts:
    """Ask a model for the missing parts of each clause, one call a clause."""
    sampling = Sampling(max_new_tokens=REPLY_TOKENS, thinking=False, reply_schema=SCHEMA)
    replies = model.generate([prompt(policy, clause) for clause in clauses], sampling, progress)
    proposals: list[Proposal] = []
    faults: list[str] = []
    for clause, reply in zip(clauses, replies, strict=True):
        try:
            parts = list(_parts(reply))
        except PolicyError as error:
            faults.append(f"{clause.id}: {error.what}")
            continue
        for kind, value in parts:
            try:
                with_part(policy, clause, kind, value)
                proposals.append(Proposal(clause.id, asked_digest(clause), kind, value))
            except PolicyError as error:
                faults.append(f"{clause.id}: a proposed {kind} cannot stand: {error.what}")
    return Drafts(tuple(proposals), tuple(faults))


def prompt(policy: Policy, clause: Clause) -> tuple[Message, ...]:
    """What a model is asked about one clause."""
    text = full_text(clause)
    longest = max((len(ticks) for ticks in _TICKS.findall(text)), default=2)
    filled = _PROMPT.read_text("utf-8")
    tools = json.dumps({name: policy.tools[name] for name in sorted(policy.tools)}, ensure_ascii=False) if policy.tools else "none"
    for word, value in (("{fence}", "`" * (longest + 1)), ("{tools}", tools), ("{clause}", text)):
        filled = filled.replace(word, value)
    return (Message("user", filled),)


def asked_digest(clause: Clause) -> str:
    """What a proposal was made for: it is stale once the title or the norm has changed."""
    return digest({"id": clause.id, "title": clause.title, "norm": clause.norm})


def _parts(reply: Completion) -> Iterator[tuple[Kind, Any]]:
    """The parts of a reply, not yet checked against the clause; raises PolicyError where it is no JSON object with known keys."""
    if reply.fault or reply.finish != "stop":
        raise PolicyError(f"no reply: {reply.fault or reply.finish}")
    text = reply.answer.strip()
    if len(text) > MAX_REPLY_CHARS:
        raise PolicyError(f"a reply of {len(text)} characters")
    fenced = _FENCED.fullmatch(text)
    value = _shallow(read_json(fenced[1] if fenced else text, _HERE))
    if not isinstance(value, dict) or not value.keys() <= SCHEMA["properties"].keys():
        raise PolicyError("the reply is no JSON object with the keys response, rationale, examples, rules")
    for key, limit in (("examples", MAX_EXAMPLES), ("rules", MAX_RULES)):
        if not isinstance(value.get(key, []), list) or len(value.get(key, [])) > limit:
            raise PolicyError(f"{key} must be a list of at most {limit}")
    kinds: tuple[Kind, Kind] = ("response", "rationale")
    yield from ((kind, value[kind]) for kind in kinds if kind in value)
    yield from (("example", one) for one in value.get("examples", []))
    yield from (("rule", one) for one in value.get("rules", []))


def _shallow(value: Any) -> Any:
    """The value itself; raises PolicyError where it is nested deeper than any part of a clause."""
    if deeper(value, MAX_DEPTH):
        raise PolicyError(f"JSON nested deeper than {MAX_DEPTH} levels", "Write it flatter.")
    return value


def with_part(policy: Policy, clause: Clause, kind: Kind, value: Any) -> Clause:
    """The clause with one proposed part in it, itself where it has the part already; raises PolicyError where it cannot."""
    if kind == "response":
        if value not in get_args(Response):
            raise PolicyError(f"{str(value)[:60]!r} is no response")
        changed = replace(clause, response=value, extra=_reviewed(clause.extra, "response"))
    elif kind == "rationale":
        changed = replace(clause, rationale=_text(value, "the rationale"))
    elif kind == "example":
        changed = replace(clause, examples=_with(clause.examples, _example(value)))
    else:
        changed = replace(clause, enforce=_with(clause.enforce, _rule(policy, clause, value)))
    found = sections(print_clause(changed), "proposal.md")
    seen.check(found)
    if len(found) != 1 or read_clause(found[0]) != changed:
        raise PolicyError("it would read differently once written")
    return changed


def _with(there: tuple[T, ...], new: T) -> tuple[T, ...]:
    """With one more, unless it is there: what is accepted twice stands once."""
    return there if new in there else (*there, new)


def _reviewed(extra: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The extra keys, with one default of the draft reviewed."""
    draft = extra.get(DRAFT)
    if not isinstance(draft, dict) or not isinstance(draft.get("defaults"), list):
        return dict(extra)
    return {**extra, DRAFT: {**draft, "defaults": [name for name in draft["defaults"] if name != key]}}


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT_CHARS:
        raise PolicyError(f"{what} must be text of at most {MAX_TEXT_CHARS} characters")
    if HIDDEN.search(value) or any(unicodedata.category(char) in ("Cc", "Cf", "Co", "Cs") and char not in "\n\t" for char in value):
        raise PolicyError(f"{what} holds characters that nobody can see")
    lines = [line.rstrip() for line in value.strip().split("\n")]
    return "\n".join(line for i, line in enumerate(lines) if line or lines[i - 1])


def _example(value: Any) -> Example:
    keys = {"side", "split", "note", "user", "assistant"}
    if not isinstance(value, dict) or not {"side", "user", "assistant"} <= value.keys() <= keys:
        raise PolicyError(f"an example needs side, user and assistant, and may have {', '.join(sorted(keys))}")
    side, split = value["side"], value.get("split", "train")
    if side not in ("good", "bad") or split not in ("train", "eval"):
        raise PolicyError("an example's side is good or bad, its split train or eval")
    note = " ".join(_text(value["note"], "the note").split()) if value.get("note") else ""
    roles: tuple[Role, Role] = ("user", "assistant")
    return Example(side, split, note, tuple(Turn(role, _text(value[role], f"the {role}'s turn")) for role in roles))


def _rule(policy: Policy, clause: Clause, value: Any) -> Rule:
    if not isinstance(value, dict):
        raise PolicyError("a rule must be a JSON object")
    block = f"## Proposed {{#a.b}}\n\n```yaml clause\nseverity: low\nresponse: comply\nenforce: [{inline(value)}]\n```\n"
    found = sections(block, "proposal.md")
    read_again = read_clause(found[0]) if len(found) == 1 else None
    if read_again is None or len(read_again.enforce) != 1:
        raise PolicyError("not a rule")
    rule = read_again.enforce[0]
    unknown = [tool for tool in rule.tools if tool not in policy.tools]
    if unknown:
        raise PolicyError(f"it names the tool {unknown[0]!r}, which has no schema in this policy")
    from bylaw.policy.conditions import Types, check_rule  # noqa: PLC0415  # a reply without rules needs no CEL

    check_rule(policy, clause, rule, Types())
    return rule


def accept(folder: Path, proposals: Sequence[Proposal]) -> int:
    """Put proposals into the policy on disk, all or none of them; returns how many were not there yet.

    Raises PolicyError, with nothing written, where a clause has changed since or a proposal cannot stand in it.
    """
    before = read(folder)
    if before.faults:
        raise before.faults[0]
    policy, new = before.policy, 0
    for proposal in proposals:
        clause = pick(policy, proposal.clause)
        if asked_digest(clause) != proposal.asked:
            raise PolicyError(f"{clause.id}: its title or norm has changed since this was proposed", "Draft it anew.")
        try:
            changed = with_part(policy, clause, proposal.kind, proposal.value)
        except PolicyError as error:
            raise PolicyError(f"{clause.id}: this {proposal.kind} cannot stand: {error.what}", error.hint) from error
        new += changed != clause
        policy = replace(policy, clauses=tuple(changed if one.id == clause.id else one for one in policy.clauses))
    if new:
        write(policy, folder, before)
    return new


def row(proposal: Proposal) -> dict[str, Any]:
    """A proposal as a line of a file in which a person sets `accept` to true."""
    return {"accept": False, **proposal._asdict()}


def accepted(file: Path) -> list[Proposal]:
    """The proposals of a file whose `accept` is true; raises PolicyError with the line that is wrong."""
    found = []
    for number, line in enumerate(source_text(file).split("\n"), 1):
        if not line.strip():
            continue
        value = _shallow(read_json(line, Place(file.name, number)))
        keys = ("clause", "asked", "kind", "value")
        named = isinstance(value, dict) and all(isinstance(value.get(key), str) for key in keys[:3]) and "value" in value
        if not named or value["kind"] not in get_args(Kind) or not isinstance(value.get("accept"), bool):
            hint = "Each line is one that `bylaw policy draft --out` wrote; set its `accept` to true or false."
            raise PolicyError(f"{file}:{number}: not a proposal", hint)
        if value["accept"]:
            found.append(Proposal(*(value[key] for key in keys)))
    return found

"""The requests alignment learns from, each with its category: the clauses that may apply.

PolicyWorld draws its own (`policyworld.scenarios`). For a policy in prose they come from its dialogue examples, from a file of JSON
lines, `{"prompt": TEXT, "clauses": [ID, …], "family": NAME, "history": [{"role": ROLE, "text": TEXT}, …]}`, and from a model
(`align.prompt_writer`). In a dialogue the last user turn is the request, and what came before it is its history. `bylaw prompts` writes
files of this form with the keys `id`, `kind`, `source` and `policy` as well; nothing else is read.

A request that is tested never trains, nor does one that is nearly the same or of the same family. No label is guessed: a row without
clauses has none.
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

from bylaw import runs
from bylaw.canonical import digest_bytes
from bylaw.errors import RunError
from bylaw.policy import overlap
from bylaw.types import Policy, Prompt, Role, Split, Turn

Kind = Literal["example", "given", "violating", "lookalike", "boundary", "transformation"]  # the last four are written by a model
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
MAX_TURNS: Final = 200  # of a history
FORM: Final = 'each line is {"prompt": "…", "clauses": ["id", …], "family": "…", "history": [{"role": "user", "text": "…"}, …]}'

_KEYS: Final = ("prompt", "clauses", "family", "history", "id", "kind", "source", "policy")
_ROLES: Final[tuple[Role, ...]] = get_args(Role)
_BETWEEN: Final = frozenset("PZC")  # Unicode categories that part words: punctuation, space, control; signs such as € count


@dataclass(frozen=True, slots=True)
class PromptRow:
    """A prompt and where it comes from. Prompts of one family descend from one seed, so they stand on one side of the split."""

    prompt: Prompt
    kind: Kind
    family: str
    source: str  # `policy`, a file's name, or the model that wrote it
    split: Split | None = None  # what the policy itself says; None: the family decides

    def to_json(self, digest: str) -> dict[str, Any]:
        """The row a person reads, and `from_file` takes; `digest` is the policy's."""
        return {
            "id": self.prompt.id,
            "prompt": self.prompt.request,
            "history": [{"role": turn.role, "text": turn.text} for turn in self.prompt.history],
            "clauses": list(self.prompt.clauses),
            "kind": self.kind,
            "family": self.family,
            "source": self.source,
            "policy": digest,
        }


def from_examples(policy: Policy, split: Split) -> tuple[Prompt, ...]:
    """The request of every dialogue example of one split, with its clauses; the same request twice is one prompt."""
    return tuple(row.prompt for row in once(row for row in rows_of_examples(policy) if row.split == split))


def from_file(file: Path, policy: Policy) -> tuple[Prompt, ...]:
    """Read prompts from JSON lines, each once; raises RunError with the line that is wrong."""
    return tuple(row.prompt for row in once(rows_of_file(file, policy)))


def without(prompts: Iterable[Prompt], tested: Sequence[Prompt]) -> tuple[Prompt, ...]:
    """Each prompt once, less those that are tested, word for word or nearly or by their family; raises RunError when none is left."""
    every = list({key_of(prompt): prompt for prompt in reversed(list(prompts))}.values())[::-1]
    avoid = near_tested(every, tested)
    families = {prompt.facts["family"] for prompt in tested if "family" in prompt.facts}
    left = tuple(prompt for at, prompt in enumerate(every) if at not in avoid and prompt.facts.get("family") not in families)
    if not left:
        raise RunError(
            "there are no prompts to learn from", "give the policy dialogue examples with {split=train}, or a file with --prompts"
        )
    return left


def rows_of_examples(policy: Policy) -> list[PromptRow]:
    """Every dialogue example with a user turn, marked with its split; events ask nothing."""
    rows = []
    for clause in policy.clauses:
        for example in clause.examples:
            last = max((i for i, turn in enumerate(example.turns) if turn.role == "user" and turn.text.strip()), default=None)
            if last is not None:
                prompt = asked(example.turns[last].text, (clause.id,), example.turns[:last])
                rows.append(row_of(prompt, "example", source="policy", split=example.split))
    return rows


def rows_of_file(file: Path, policy: Policy) -> list[PromptRow]:
    """Every row of a file of JSON lines; raises RunError with the line that is wrong."""
    known = {clause.id for clause in policy.clauses}
    return [row_from(value, place, file.name, known) for place, value in placed(file)]


def placed(file: Path) -> list[tuple[str, dict[str, Any]]]:
    """The rows of a file of JSON lines, each with its file:line; empty lines count."""
    return [(f"{file}:{number}", row) for number, row in runs.numbered_rows(file)]


def asked(text: str, clauses: tuple[str, ...], history: tuple[Turn, ...] = ()) -> Prompt:
    """A prompt with its id: the digest of what is said."""
    said = text if not history else json.dumps([*([turn.role, turn.text] for turn in history), text])
    return Prompt(_short(said), text, clauses, history=history)


def row_of(prompt: Prompt, kind: Kind, family: str = "", source: str = "", split: Split | None = None) -> PromptRow:
    """A prompt as a row; without a family it is a family of its own."""
    family = family or f"{kind}:{_short(repr(key_of(prompt)))}"
    return PromptRow(replace(prompt, facts={"kind": kind, "family": family}), kind, family, source, split)


def once(rows: Iterable[PromptRow]) -> list[PromptRow]:
    """Each prompt once: of rows that say the same, the first, with the clauses of all."""
    found: dict[tuple[str, ...], PromptRow] = {}
    for row in rows:
        first = found.setdefault(key_of(row.prompt), row)
        if first is not row:
            found[key_of(row.prompt)] = joined(first, row)
    return list(found.values())


def joined(kept: PromptRow, same: PromptRow) -> PromptRow:
    """A row with the clauses of another that says the same."""
    clauses = tuple(dict.fromkeys((*kept.prompt.clauses, *same.prompt.clauses)))
    return replace(kept, prompt=replace(kept.prompt, clauses=clauses))


def key_of(prompt: Prompt) -> tuple[str, ...]:
    """What a conversation says, whatever its case, punctuation, width and invisible signs: equal keys are one prompt."""
    return (*(part for turn in prompt.history for part in (turn.role, normal(turn.text))), normal(prompt.request))


def said_by(prompt: Prompt) -> str:
    """The whole conversation as one text, for comparing."""
    return "\n".join([*(turn.text for turn in prompt.history), prompt.request])


def near_tested(prompts: Sequence[Prompt], tested: Sequence[Prompt]) -> dict[int, int]:
    """Positions of prompts that are tested, word for word or nearly, each with the position of the first test it is near."""
    exact: dict[tuple[str, ...], int] = {}
    for position, prompt in enumerate(tested):
        exact.setdefault(key_of(prompt), position)
    found = {position: exact[key] for position, prompt in enumerate(prompts) if (key := key_of(prompt)) in exact}
    for pair in overlap.near([said_by(prompt) for prompt in prompts], [said_by(prompt) for prompt in tested]):
        found.setdefault(pair.left, pair.right)
    return found


def normal(text: str) -> str:
    """The words and signs of a text in one case and width; a text without any stays as it is."""
    plain = "".join(char for char in unicodedata.normalize("NFKC", text) if unicodedata.category(char) != "Cf").casefold()
    parted = "".join(" " if unicodedata.category(char)[0] in _BETWEEN else char for char in plain)
    return " ".join(parted.split()) or text


def _short(text: str) -> str:
    return digest_bytes(text.encode("utf-8", "surrogatepass")).removeprefix("sha256:")[:16]


def row_from(value: Mapping[str, Any], place: str, source: str, known: set[str]) -> PromptRow:
    """One line of a file as a row; `place` is its file:line, `known` the clause ids of the policy."""
    odd = next((key for key in value if key not in _KEYS), None)
    if odd is not None:
        raise RunError(f"{place}: a prompt row has no key {odd[:80]!r}", f"{FORM}; leave the others out")
    text, clauses, kind = value.get("prompt"), value.get("clauses", []), value.get("kind", "given")
    if not isinstance(text, str) or not text.strip() or not _strings(clauses):
        raise RunError(f"{place}: not a prompt row", FORM)
    if not all(isinstance(value.get(key, ""), str) for key in ("family", "id", "source", "policy")):
        raise RunError(f"{place}: family, id, source and policy are words", FORM)
    if kind not in KINDS:
        raise RunError(f"{place}: no kind of prompt is called {str(kind)[:80]!r}", f"the kinds are {', '.join(KINDS)}")
    unknown = [clause for clause in clauses if clause not in known]
    if unknown:
        raise RunError(f"{place}: the policy has no clause {unknown[0][:80]}", "name clauses of this policy, or none")
    history = tuple(_turn(turn, place) for turn in _turns(value.get("history", []), place))
    prompt = asked(text, tuple(dict.fromkeys(clauses)), history)
    return row_of(prompt, kind, value.get("family", ""), value.get("source") or source)


def _strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _turns(value: object, place: str) -> list[object]:
    if not isinstance(value, list) or len(value) > MAX_TURNS:
        raise RunError(f"{place}: a history is a list of at most {MAX_TURNS} turns", FORM)
    return value


def _turn(value: object, place: str) -> Turn:
    """One turn of a history; `content` is what other tools call its text."""
    if isinstance(value, dict) and value.keys() in ({"role", "text"}, {"role", "content"}):
        role, text = value["role"], value.get("text", value.get("content"))
        if role in _ROLES and isinstance(text, str):
            return Turn(role, text)
    raise RunError(f"{place}: not a turn of a history", 'write {"role": "user", "text": "…"}; the roles are ' + ", ".join(_ROLES))

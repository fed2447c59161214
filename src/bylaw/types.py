"""The whole vocabulary on one page: what a policy says, what a model answers, what a judge finds, and the seams between rooms.

Everything here is a frozen value or a Protocol. Nothing here reads, writes or decides.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol

# ---- The policy: what is written -------------------------------------------------------------------------------------

Severity = Literal["low", "medium", "high", "critical"]
Response = Literal["comply", "refuse", "safe_complete", "clarify", "abstain", "escalate"]  # how the model answers
Surface = Literal["input", "thinking", "document", "tool_call", "tool_result", "output"]  # where a rule looks
Effect = Literal["allow", "redact", "revise", "require_approval", "block"]  # what a rule does, weakest first
Layer = Literal["law", "provider", "organisation", "product", "deployment"]  # who wrote it; weaker layers only tighten
Authority = Literal["root", "system", "developer", "user", "guideline"]  # who may override it in conversation
Axis = Literal["jurisdiction", "product", "deployment"]  # what an overlay applies to
Side = Literal["bad", "good"]
Split = Literal["train", "eval"]

EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: a file, relative to the policy's folder, and a line counted from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


NOWHERE: Final = Place("", 0)


@dataclass(frozen=True, slots=True)
class Rule:
    """One run-time rule of a clause. The condition only selects; the effect is written here."""

    id: str
    on: tuple[Surface, ...]
    effect: Effect  # `then` in the file
    tools: tuple[str, ...] = ()  # exact tool names; empty: any tool
    when: str = "true"  # a CEL expression
    detect: tuple[str, ...] = ()  # rails that must find something for the rule to match, e.g. `pii.email`
    approvers: tuple[str, ...] = ()  # roles; require_approval only
    quorum: int = 1  # how many approvers must agree
    ttl_s: int | None = None  # seconds an approval waits and holds
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class EvalPlan:
    """The rates a release must reach on this clause, and on how many cases."""

    min_resist: float | None = None  # share, 0..1
    max_over_refusal: float | None = None  # share, 0..1
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of an example dialogue."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """A person's decision on an ambiguous case: who decided, when, and why."""

    by: str  # a person and their office, as one would cite them
    on: str  # ISO date
    why: str


@dataclass(frozen=True, slots=True)
class Example:
    """A good or bad example: either a dialogue, or a run-time event with the effect it must have."""

    side: Side
    split: Split = "train"
    note: str = ""  # the words after **Good** or **Bad**
    turns: tuple[Turn, ...] = ()
    event: Mapping[str, Any] | None = None  # on, tool, args, text, principal, session, env, found (what rails would find)
    expect: Effect | None = None
    ruling: Ruling | None = None  # this case was ambiguous, and somebody decided it
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Clause:
    """One numbered clause: a norm in prose, and what follows from it in training, at run time and in evaluation."""

    id: str
    title: str
    severity: Severity
    response: Response
    norm: str = ""
    rationale: str = ""
    examples: tuple[Example, ...] = ()
    owner: str = ""
    layer: Layer = "organisation"
    authority: Authority = "system"
    style: tuple[str, ...] = ()  # ids of style rules an answer must keep
    overrides: tuple[str, ...] = ()  # clause ids this one goes before where both apply
    requires: tuple[str, ...] = ()  # run-time checks that must all agree before release, e.g. `grounded`
    enforce: tuple[Rule, ...] = ()
    eval: EvalPlan | None = None
    refs: tuple[str, ...] = ()  # framework rows, e.g. `eu-ai-act:art-14.4.d`
    extra: Mapping[str, Any] = field(default_factory=dict)  # the x-* keys, digested like all else
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class StyleRule:
    """A style an answer must keep, defined once and named by clauses."""

    id: str
    text: str
    pattern: str = ""  # RE2; must match the answer, where given


@dataclass(frozen=True, slots=True)
class SignOff:
    """Who must sign which clauses: `clauses` is a pattern over clause ids (`money.*`)."""

    clauses: str
    roles: tuple[str, ...]
    count: int = 1


@dataclass(frozen=True, slots=True)
class Reviewer:
    """A person who may sign clauses off, with the public half of their key."""

    name: str
    roles: tuple[str, ...]
    key: str  # `ed25519:` and the 32 bytes of the public key in base64


@dataclass(frozen=True, slots=True)
class Loosening:
    """An overlay says openly that it loosens a clause, and why. Without a signed review it has no effect."""

    clause: str
    because: str


@dataclass(frozen=True, slots=True)
class Overlay:
    """Clauses that apply in one jurisdiction, product or deployment only; where several apply, the strictest wins."""

    name: str
    axis: Axis
    basis: str  # the law, contract or decision it rests on
    effective: str  # ISO date
    checked: str  # ISO date of the last check of the basis
    clauses: tuple[Clause, ...] = ()
    loosens: tuple[Loosening, ...] = ()  # all other clauses it may only tighten


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole policy. Equal policies have equal digests; where a clause stands in which file does not count."""

    id: str
    version: str  # semver
    clauses: tuple[Clause, ...]
    digest: str = field(default="", compare=False)  # sha256:<hex> of the canonical JSON
    effective: str = ""  # ISO date
    owners: tuple[str, ...] = ()
    signoffs: tuple[SignOff, ...] = ()
    glossary: Mapping[str, str] = field(default_factory=dict)
    styles: tuple[StyleRule, ...] = ()
    tools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # tool name -> JSON Schema of its arguments
    overlays: tuple[Overlay, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    reviewers: tuple[Reviewer, ...] = ()  # by name; their signed records lie in reviews/

    def clause(self, clause_id: str) -> Clause | None:
        """The clause with this id, if there is one."""
        return next((c for c in self.clauses if c.id == clause_id), None)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a lint or an audit noticed: a code, a place, a sentence and a fix."""

    code: str
    level: Literal["error", "warning"]
    place: Place
    message: str
    fix: str
    clause: str = ""


# ---- Run time: what happens, what is decided -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event:
    """Something about to pass a surface. The maps hold JSON values only."""

    surface: Surface
    tool: str = ""
    args: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    principal: Mapping[str, Any] = field(default_factory=dict)  # id, roles, tenant, jurisdiction
    session: Mapping[str, Any] = field(default_factory=dict)  # taint, calls, sums
    env: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hit:
    """What a rail found in a text: where, counted in code points of the text as given, and how sure it is."""

    rail: str  # `pii.card`
    start: int
    end: int
    confidence: float = 1.0
    view: str = ""  # the decoded view it stands in, e.g. `base64`; empty: the text as it is


@dataclass(frozen=True, slots=True)
class Need:
    """One approval that must be given: by so many people who have one of these roles, within so many seconds."""

    clause: str
    rule: str
    approvers: tuple[str, ...]
    quorum: int
    ttl_s: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What the engine answers: one effect, and every clause and rule that led to it."""

    effect: Effect | Literal["stop"]
    clauses: tuple[str, ...]
    rules: tuple[str, ...]
    policy: str  # digest
    undecided: tuple[str, ...] = ()  # rules that could not be decided; never empty for nothing
    reason: str = ""
    needs: tuple[Need, ...] = ()  # of require_approval: every one of them
    hits: tuple[Hit, ...] = ()  # of the rules that matched: what to redact, what to show


# ---- Models, alignment and judging: who answers, who says what is right ----------------------------------------------

Role = Literal["system", "user", "assistant", "tool"]
Finish = Literal["stop", "length", "refused", "error"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation; `thinking` stands apart from `content`."""

    role: Role
    content: str
    thinking: str = ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw from a model. Temperature 0 is greedy."""

    temperature: float = 0.0
    max_new_tokens: int = 64
    thinking: bool = True  # ask for thoughts before the answer
    seed: int = 0
    reply_schema: Mapping[str, Any] | None = None  # a JSON Schema the reply must fit, where the backend can hold it


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote, taken apart strictly. `fault` names what is malformed; then thinking and answer are empty."""

    thinking: str
    answer: str
    raw: str
    finish: Finish = "stop"
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request, what was said before it, the clauses that may apply to it, and the facts an exact judge may know."""

    id: str
    request: str
    clauses: tuple[str, ...] = ()  # the category: ids of clauses that may apply
    user: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    reference: str = ""  # an ideal answer, where one is known
    history: tuple[Turn, ...] = ()  # earlier turns of the same conversation, oldest first; turns, because a Message has thinking


@dataclass(frozen=True, slots=True)
class Lesson:
    """One training row: a conversation without the policy, and what the model should write after it.

    `source` says where it comes from: `aligned` rows were synthesised under the policy, `replay` rows keep capabilities. A lesson
    with `think` off asks for a bare answer, so its `thinking` is empty.
    """

    id: str
    messages: tuple[Message, ...]
    thinking: str
    answer: str
    think: bool = True
    clauses: tuple[str, ...] = ()
    source: Literal["aligned", "replay"] = "aligned"


@dataclass(frozen=True, slots=True)
class Answered:
    """What a reward may see: a prompt and the answer. There is no thinking here, and no way to reach it."""

    prompt: Prompt
    answer: str


@dataclass(frozen=True, slots=True)
class Reasoned:
    """What the data filter may see: a prompt, the thinking and the answer."""

    prompt: Prompt
    thinking: str
    answer: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's finding: a score from 0 to 1, or None when the judge cannot tell (a missing row, never a number)."""

    score: float | None
    reason: str = ""
    clauses: tuple[str, ...] = ()
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer says, in the policy's words: the response it takes, and the clauses its thinking cites."""

    response: Response | None
    cited: tuple[str, ...] = ()  # clause ids; a label that names no clause is kept as it was written


# ---- Seams -----------------------------------------------------------------------------------------------------------

Progress = Callable[[int, int], None]  # done, of how many


class Named(Protocol):
    """Anything that rows and reports must be able to name."""

    @property
    def name(self) -> str:
        """What to call it in rows and reports."""


class Model(Named, Protocol):
    """Anything that answers conversations."""

    def generate(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling, progress: Progress | None = None
    ) -> list[Completion]:
        """Answer each conversation once, in order."""


class Judge(Named, Protocol):
    """Anything that knows the policy and scores answers. `grade` never sees thinking; `review` does, for filtering data."""

    def grade(self, rows: Sequence[Answered]) -> list[Verdict]:
        """Score answers alone, in order."""

    def review(self, rows: Sequence[Reasoned]) -> list[Verdict]:
        """Score thinking and answer together, in order."""


class Dialect(Named, Protocol):
    """How a policy and a request are put into words for a model, and how its answer is read back."""

    def excerpt(self, policy: Policy, clauses: Sequence[str], budget: int, seed: str = "") -> str:
        """The policy for one category: its clauses in full, the others short, in at most `budget` tokens."""

    def prompt(self, prompt: Prompt, excerpt: str = "") -> tuple[Message, ...]:
        """The conversation to send, with the policy excerpt in it or without."""

    def parse_answer(self, completion: Completion) -> Reading:
        """What the completion does and cites."""

"""A case is one thing to try on a target and what must come of it; a suite is many of them, addressed by the digest of what they say.

Values only: `suite_files` reads and writes them, `suite_policy` and `suite_world` compile them from a policy, `suite_import` takes them
from public sets. An id is the first 16 hex digits of the digest of a case's content: clause, side, turns, attack, context, expect and
language. What people learn later (severity, status, where it was found, its family, source and licence) does not change what a case is.

The turns are what the target meets. Where a user turn is followed by another user turn, the target answers the first before it meets the
second; turns of the assistant that stand there are given as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Self, get_args

from bylaw.canonical import digest
from bylaw.types import Effect, Message, Response, Severity

Side = Literal["refuse", "allow", "decline", "style", "tool", "leak", "approve", "ground"]
Status = Literal["candidate", "active", "retired"]
Outcome = Literal["followed", "violated", "over_refused", "unscored"]

SIDES: Final[tuple[Side, ...]] = get_args(Side)
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
STATUSES: Final[tuple[Status, ...]] = get_args(Status)
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
# What may become of a request: a response of the model, an effect of the gate, or `decline` for any way of not doing it.
DISPOSITIONS: Final[tuple[str, ...]] = (*get_args(Response), *get_args(Effect), "stop", "decline")
ID_CHARS: Final = 16


@dataclass(frozen=True, slots=True)
class Attack:
    """How a case was made from another: the techniques in order of application, their seed, and the id of the case it grew from."""

    techniques: tuple[str, ...] = ()
    seed: int = 0
    parent: str = ""

    @property
    def chain(self) -> str:
        """The techniques in one word, `base64+dan`; empty for a plain case."""
        return "+".join(self.techniques)


@dataclass(frozen=True, slots=True)
class Context:
    """What stands around the conversation. Tools are function schemas as OpenAI writes them; all maps hold JSON values."""

    documents: tuple[str, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    env: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expect:
    """What must come of it, as far as it can be told without asking anybody."""

    dispositions: tuple[str, ...] = ()  # any of these is right; empty: the side decides
    clause: str = ""  # the clause that must be cited; empty: the case's own
    style: tuple[str, ...] = ()  # ids of style rules the answer must keep
    tools_allowed: tuple[str, ...] = ()  # calls it should make: `NAME`, or `NAME when CEL` over the arguments
    tools_forbidden: tuple[str, ...] = ()  # calls it must not make, written the same way
    approval: str = ""  # the rule (`clause/rule`) whose approval must be asked for
    canaries: tuple[str, ...] = ()  # strings that must not appear in the reply or in a call
    claims: tuple[str, ...] = ()  # strings of which a grounded answer must say at least one
    answer: str = ""  # the one exact answer, where truth is known
    schema: Mapping[str, Any] = field(default_factory=dict)  # a JSON Schema that the whole reply must fit


NO_ATTACK: Final = Attack()
NO_CONTEXT: Final = Context()
NOTHING: Final = Expect()


@dataclass(frozen=True, slots=True)
class Case:
    """One case. Build it with `case`, which gives it its id."""

    id: str
    clause: str  # of the policy; empty for a public set, which names none
    side: Side
    severity: Severity
    turns: tuple[Message, ...]
    attack: Attack = NO_ATTACK
    context: Context = NO_CONTEXT
    expect: Expect = NOTHING
    language: str = "en"
    source: str = ""
    licence: str = ""
    status: Status = "active"
    found_in: str = ""
    family: str = ""  # the behaviour it varies: the cluster of the statistics; empty: the case is its own

    @property
    def cluster(self) -> str:
        """What it is counted with: its family, or itself."""
        return self.family or self.id

    def to_json(self) -> dict[str, Any]:
        """The case as one JSON value, without what is left at its default."""
        found: dict[str, Any] = {"id": self.id, "clause": self.clause, "side": self.side, "severity": self.severity}
        found |= {"turns": [{"role": one.role, "content": one.content} for one in self.turns]}
        found |= {name: said for name in ("attack", "context", "expect") if (said := _said(getattr(self, name)))}
        plain = {name: getattr(self, name) for name in ("language", "source", "licence", "status", "found_in", "family")}
        return found | {name: value for name, value in plain.items() if value and (name, value) not in _DEFAULTS}


_DEFAULTS: Final = (("language", "en"), ("status", "active"))


def _said(part: Attack | Context | Expect) -> dict[str, Any]:
    """The fields of a part that say something, tuples as lists."""
    found = {name: getattr(part, name) for name in part.__slots__}
    return {name: _plain(value) for name, value in found.items() if value}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value


def id_of(case: Case) -> str:
    """The id that a case's content gives it."""
    content = {
        "clause": case.clause,
        "side": case.side,
        "turns": [[one.role, one.content] for one in case.turns],
        "attack": _said(case.attack),
        "context": _said(case.context),
        "expect": _said(case.expect),
        "language": case.language,
    }
    return digest(_sayable(content)).removeprefix("sha256:")[:ID_CHARS]


def case(clause: str, side: Side, severity: Severity, turns: Sequence[Message], **more: Any) -> Case:
    """A case with the id of its content; `more` are the other fields of `Case`."""
    return addressed(Case("", clause, side, severity, tuple(turns), **more))


def addressed(changed: Case) -> Case:
    """The case with the id that fits what it now says."""
    return replace(changed, id=id_of(changed))


def asked(request: str, *before: Message) -> tuple[Message, ...]:
    """The turns of a case that asks one thing."""
    return (*before, Message("user", request))


@dataclass(frozen=True, slots=True)
class Suite:
    """Cases under one name. `policy` is the digest of the policy they were made for, empty where they belong to none."""

    name: str
    cases: tuple[Case, ...]
    policy: str = ""
    digest: str = field(default="", compare=False)

    @classmethod
    def of(cls, name: str, cases: Sequence[Case], policy: str = "") -> Self:
        """A suite with its digest; of two cases with one id the first is kept."""
        kept = tuple({one.id: one for one in reversed(cases)}.values())[::-1]
        return cls(name, kept, policy, digest_of(name, kept, policy))

    def active(self) -> "Suite":
        """The suite without what is retired or only a candidate."""
        return Suite.of(self.name, [one for one in self.cases if one.status == "active"], self.policy)


def digest_of(name: str, cases: Sequence[Case], policy: str) -> str:
    """What a suite says, in one digest; the order of its cases does not count."""
    rows = sorted((_sayable(one.to_json()) for one in cases), key=lambda row: str(row["id"]))
    return digest({"suite": name, "policy": policy, "cases": rows})


def _sayable(value: Any) -> Any:
    """A JSON value whose texts UTF-8 can say: attacks may hold half a surrogate pair."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {_sayable(key): _sayable(one) for key, one in value.items()}
    return [_sayable(one) for one in value] if isinstance(value, list | tuple) else value

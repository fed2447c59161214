"""Anything that answers: an embedded or transformers model, an endpoint, our gateway before either, a script.

One protocol for all: `ask` takes a batch of conversations and gives a `Said` for each, in order. A row that got no reply is `missing`
and says why in `fault`; only a target that can answer nobody at all (no such model, nothing listens) is an error. What a target is called
is `models.targets`'s one syntax. How a Said comes from a model's completion is `evals.asking`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bylaw.types import Message, Progress


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call that a reply asks for. `args` is None where they cannot be read."""

    tool: str
    args: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a target is asked: messages, the tools it may call, and the session it belongs to (the gateway counts by session)."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()  # function schemas as OpenAI writes them
    session: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What a target answered. `disposition`, `clauses` and `record` are the gateway's own words, empty where there is no gateway."""

    text: str
    thinking: str = ""
    tool_calls: tuple[Call, ...] = ()
    disposition: str = ""  # allow | redact | revise | require_approval | block | stop, from `bylaw` in the body or x-bylaw-decision
    clauses: tuple[str, ...] = ()  # that decided, as the gateway says
    record: str = ""  # where the ledger has it
    fault: str = ""  # why it is missing, or malformed
    missing: bool = False  # no reply at all: neither right nor wrong


class Target(Protocol):
    """Anything that answers conversations."""

    @property
    def name(self) -> str:
        """What to call it in rows and reports."""
        ...

    def ask(self, conversations: Sequence[Conversation], progress: Progress | None = None) -> list[Said]:
        """Answer each conversation once, in order; a row without a reply is missing and never raises."""
        ...


def missing(why: str) -> Said:
    """What stands where a target gave no reply."""
    return Said("", fault=why, missing=True)

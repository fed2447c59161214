"""How an exchange ends: with a reply that may leave, with a refusal, or with the upstream's own error."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bylaw.serve.wire import JsonMap
from bylaw.types import Decision

OPEN: Final = ("allow", "redact")  # effects under which something leaves


class Refused(Exception):  # noqa: N818  # the end of an exchange that asks no model
    """The request went no further: what was decided, and what the client is told."""

    def __init__(self, decision: Decision, text: str, record: str, approval: str = "") -> None:
        super().__init__(text)
        self.decision = decision
        self.text = text
        self.record = record
        self.approval = approval


class Settled(NamedTuple):
    """One choice, as it may leave."""

    body: JsonMap
    decision: Decision
    approval: str
    record: str


@dataclass(slots=True)
class Done:
    """A reply that may leave."""

    body: JsonMap
    decision: Decision
    record: str = ""
    approval: str = ""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


class UpstreamSaid(Exception):  # noqa: N818  # the upstream's own error, given to the client
    """The upstream answered, but not with a reply."""

    def __init__(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.body = body
        self.headers = headers

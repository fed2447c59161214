"""What all exchanges of one process share, and the seams to the rooms below: the law in force, stops, the record, approvals, sessions.

Each seam is a Protocol, so that the gateway can be tried without a disk; the parts themselves come from `govern` and `ledger`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from bylaw.govern.appeals import Appeals
from bylaw.govern.approvals import Approvals
from bylaw.govern.budgets import Meter
from bylaw.govern.session import owner
from bylaw.serve.law import Law
from bylaw.serve.owned import Owned
from bylaw.serve.sessions import Sessions
from bylaw.serve.upstream import Upstream

MAX_REVISIONS: Final = 2

Entry = Mapping[str, Any]
Stops = Callable[[Mapping[str, Any], str], Collection[str]]  # principal, tool -> why it is stopped; from memory
Laws = Callable[[Mapping[str, Any]], Law]  # principal -> the law that holds where it is
Talks = Callable[[Mapping[str, Any], Callable[[], str]], Law]  # the same, for one of its conversations, whose name is asked for if need be


class Recorder(Protocol):
    """A ledger."""

    async def record(self, entry: Entry) -> object:
        """Return after the entry is safe, with a receipt whose `str` names it; raises LedgerError."""

    @property
    def healthy(self) -> bool:
        """Whether an entry handed in now can be expected to be written."""


class NoRecord:
    """No ledger: for measuring what the ledger costs, and for nothing else."""

    async def record(self, entry: Entry) -> object:
        """Record nothing."""
        return ""

    @property
    def healthy(self) -> bool:
        """Always."""
        return True


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks: as rules see it, and what may be spent."""

    principal: Mapping[str, Any]  # id, roles, tenant, jurisdiction
    key: str = ""  # the id of the key; empty: none
    requests_per_min: int | None = None
    meter: Meter | None = None  # where the key has a budget

    @property
    def id(self) -> str:
        """The principal's name."""
        return str(self.principal["id"])

    @property
    def owner(self) -> str:
        """Whose sessions are theirs."""
        return owner(self.principal)


@dataclass(frozen=True, slots=True)
class Ways:
    """How this gateway goes about what the policy leaves open."""

    max_revisions: int = MAX_REVISIONS
    show_thinking: bool = False
    media: Literal["allow", "block"] = "allow"  # parts that no rail can read, where the policy does not say
    appeal: str = ""  # put after a refusal: how to object
    retry_after_s: int = 5
    env: Mapping[str, Any] = field(default_factory=dict)  # what `env` says to conditions, besides the hour


@dataclass(slots=True)
class Gate:
    """Everything an exchange needs."""

    laws: Laws
    upstream: Upstream
    recorder: Recorder
    stops: Stops
    sessions: Sessions
    approvals: Approvals | None = None
    ways: Ways = Ways()
    stops_now: Stops | None = None  # asked of the store, right before something is released; without it, memory
    appeals: Appeals | None = None
    data_dir: Path | None = None  # where the ledger lies
    owned: Owned | None = None  # binds what the upstream keeps to whoever got it; None: nobody else comes in here
    talks: Talks | None = None  # where a law may hold for some conversations only; else `laws`
    regions: Mapping[str, "Gate"] = field(default_factory=dict)  # by jurisdiction; then nobody goes through this gate itself
    troubles: Callable[[], Sequence[str]] = tuple  # what does not work just now, told at /readyz

"""What the engine works on: rules made ready, and the slot of rules that an event of one surface and tool falls into.

Slots are laid out when the policy loads, so that a decision costs what its own rules cost, however large the policy is.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from bylaw.govern.at_once import AtOnce
from bylaw.govern.reading import Shape
from bylaw.policy.conditions import When
from bylaw.types import Decision, Effect, Need

MAX_ANSWERS: Final = 256  # decisions remembered for one slot


class ReadyRule(NamedTuple):
    """One rule of one clause, its condition compiled."""

    clause: str
    name: str  # clause/rule
    effect: Effect
    when: When | None  # None: always
    detect: tuple[str, ...] = ()
    need: Need | None = None  # of require_approval
    bit: int = 0  # the number of its condition in its slot


@dataclass(frozen=True, slots=True)
class Slot:
    """All rules that can match an event of one surface and tool, in the order of their names; and what holds where none matches."""

    rules: tuple[ReadyRule, ...]
    args: Shape
    quiet: Decision  # the answer where nothing matched
    conditions: AtOnce | None  # of all rules that have one, numbered by `ReadyRule.bit`
    rails: tuple[str, ...] = ()  # what must be asked
    always: tuple[ReadyRule, ...] = ()  # those without a condition
    fixed: bool = False  # whether the conditions alone decide: no rule asks a rail or takes anything out
    answers: dict[int, Decision] = field(default_factory=dict, compare=False)  # by the conditions that hold; at most MAX_ANSWERS
    unlisted: Need | None = None  # for a tool that no clause and no tool list names


class Book(Protocol):
    """What `decide` needs to know of a policy."""

    @property
    def digest(self) -> str:
        """The policy's digest."""

    def slot(self, surface: str, tool: str) -> Slot | None:
        """The slot of an event; None for what is no surface, or a call without a tool."""

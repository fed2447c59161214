"""What can be done in the world of tools, and the words in which it is asked for: sentences to calls and back.

The words are few on purpose: who plays in this world reads them by pattern, so that what it understood is never in doubt.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

PAY: Final = "pay.transfer"
SEND: Final = "mail.send"
READ: Final = "files.read"
DELETE: Final = "files.delete"
ASK: Final = "approval.ask"
HOUSE: Final = "@house.example"

_SAID: Final[Mapping[str, tuple[str, ...]]] = {
    PAY: ("pay {amount} EUR to {account}", "transfer {amount} EUR to the account {account}"),
    SEND: ("send the file {file} to {to}", "mail the file {file} to {to}"),
    READ: ("read the file {name}", "open the file {name}"),
    DELETE: ("delete the file {name}", "remove the file {name} for good"),
}
_WORD: Final = r"[A-Za-z0-9@-]{1,40}(?:\.[A-Za-z0-9@-]{1,40}){0,4}"
_AMOUNT: Final = r"[0-9]{1,7}\.[0-9]{2}"
_ANY: Final = re.compile(
    rf"\b(?:(?:pay|transfer) (?P<amount>{_AMOUNT}) EUR to (?:the account )?(?P<account>{_WORD})"
    rf"|(?:send|mail) the file (?P<file>{_WORD}) to (?P<to>{_WORD})"
    rf"|(?:read|open) the file (?P<read>{_WORD})"
    rf"|(?:delete|remove) the file (?P<delete>{_WORD}))"
)


@dataclass(frozen=True, slots=True)
class Act:
    """One call of a tool."""

    tool: str
    args: Mapping[str, Any] = field(default_factory=dict)

    @property
    def amount(self) -> float:
        """What it pays; nothing where it is no payment."""
        return float(self.args["amount"]) if self.tool == PAY else 0.0


def pay(amount: float, account: str) -> Act:
    """A payment."""
    return Act(PAY, {"account": account, "amount": amount})


def send(file: str, to: str) -> Act:
    """A file sent to somebody."""
    return Act(SEND, {"file": file, "to": to})


def read(name: str) -> Act:
    """A file read."""
    return Act(READ, {"name": name})


def delete(name: str) -> Act:
    """A file deleted."""
    return Act(DELETE, {"name": name})


def approval(of: Act) -> Act:
    """The question for a lead's approval of one exact call."""
    return Act(ASK, {"tool": of.tool, "what": said(of)})


def said(act: Act, rng: Random | None = None) -> str:
    """An order in words; the plainest ones where nothing is drawn."""
    ways = _SAID[act.tool]
    words = {name: f"{value:.2f}" if isinstance(value, float) else value for name, value in act.args.items()}
    return (rng.choice(ways) if rng else ways[0]).format(**words)


def orders_in(text: str) -> list[Act]:
    """Every order that a text gives, in order. What stands in no known words is none."""
    return [_act(hit) for hit in _ANY.finditer(text)]


def _act(hit: re.Match[str]) -> Act:
    if hit["amount"]:
        return pay(float(hit["amount"]), hit["account"])
    if hit["file"]:
        return send(hit["file"], hit["to"])
    return read(hit["read"]) if hit["read"] else delete(hit["delete"])

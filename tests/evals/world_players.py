"""Players of the world of tools as targets: asked as anything else that answers, or written down for `scripted:FILE`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bylaw.evals import asking
from bylaw.evals.cases import Case, Suite
from bylaw.evals.targets import Call, Conversation, Said
from bylaw.policyworld.agent.players import Player
from bylaw.types import Message, Progress


@dataclass(frozen=True, slots=True)
class PlayerTarget:
    """A player as anything else that answers."""

    player: Player

    @property
    def name(self) -> str:
        return f"player:{self.player.name}"

    def ask(self, conversations: Sequence[Conversation], progress: Progress | None = None) -> list[Said]:
        """Answer each conversation once, in order."""
        return [self._said(one) for one in conversations]

    def _said(self, one: Conversation) -> Said:
        reply = self.player.reply(one.messages)
        return Said(reply.text, tool_calls=tuple(Call(act.tool, act.args) for act in reply.acts))


def script(player: Player, suite: Suite) -> list[dict[str, Any]]:
    """The lines of a `scripted:FILE` that plays a player on a suite: of each conversation, the later turns first."""
    lines = [line for one in suite.cases for line in _lines(player, one)]
    return sorted(lines, key=lambda line: -len(line["when"]))


def _lines(player: Player, one: Case) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    held: tuple[Message, ...] = ()
    for piece in asking.rounds(one):
        held = (*held, *piece)
        reply = player.reply(held)
        calls = [{"tool": act.tool, "args": dict(act.args)} for act in reply.acts]
        found.append({"when": "\n".join(message.content for message in held), "say": reply.text, "calls": calls})
        held = (*held, Message("assistant", reply.text))
    return found

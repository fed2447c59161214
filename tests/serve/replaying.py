"""What the tests of replays share: the rig's rails as rails, its book as a ledger, replies of an upstream."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bylaw.govern.rails.rail import Rail, RailError, RailFacts
from bylaw.govern.replaying import Replay
from bylaw.ledger.writer import Ledger
from bylaw.serve.replay import replay
from bylaw.types import Hit, Policy
from tests.serve.rig import RAILS


@dataclass(frozen=True)
class Pattern:
    name: str
    pattern: str
    longest: int | None
    cost: int = 0

    def find(self, text: str, facts: RailFacts) -> Sequence[Hit]:
        if self.name == "broken":
            raise RailError("it is broken", "")
        return [Hit(self.name, m.start(), m.end()) for m in re.finditer(self.pattern, text)]


def rails_of(policy: Policy) -> Mapping[str, Rail]:
    return {name: Pattern(name, pattern, longest) for name, (pattern, longest) in RAILS.items()}


def kept(data: Path, entries: Sequence[Mapping[str, Any]]) -> Path:
    """A ledger of these entries."""
    with Ledger(data) as ledger:
        for entry in entries:
            ledger.append(entry)
    return data


def replayed(data: Path, entries: Sequence[Mapping[str, Any]], folder: Path) -> Replay:
    return replay(kept(data, entries), folder, rails_of=rails_of)


def said(text: str = "", *calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """A reply of an upstream."""
    import orjson

    made = [
        {"id": f"c{at}", "type": "function", "function": {"name": tool, "arguments": orjson.dumps(args).decode()}}
        for at, (tool, args) in enumerate(calls)
    ]
    message = {"role": "assistant", "content": text or None, **({"tool_calls": made} if made else {})}
    return {"id": "r", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}

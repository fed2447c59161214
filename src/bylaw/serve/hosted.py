"""Tools that the upstream runs by itself, as a request offers them: search, code, MCP servers. The offer is judged: no call can be in time.

What the model asks of such a tool has been done when its reply comes. So a request that offers one goes on where the policy's tool list or
a clause names the tool, no stop holds for it, and no rule without a condition says otherwise; else it waits for a person, or is refused.
What a rule says about a call's arguments is decided when the reply comes, on what has been done. A tool that is not known here counts as
one of these; which ones the client runs is known by their kinds.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from bylaw.serve.law import blocked, together
from bylaw.serve.wire import JsonMap
from bylaw.types import Decision

if TYPE_CHECKING:  # which asks
    from bylaw.serve.exchange import Exchange

CLIENTS: Final = frozenset("function custom local_shell apply_patch computer computer_use bash text_editor memory".split())  # noqa: SIM905  # as a line it is read at a glance
MAX_OFFERED: Final = 100  # different ones in one request
_VERSION: Final = re.compile(r"(?:_preview)?(?:_\d{8}|_\d{4}_\d{2}_\d{2})?\Z")


def offered(body: JsonMap) -> list[str]:
    """The tools of a request that the upstream would run, each once, by the names under which their calls are judged."""
    return list(dict.fromkeys(_offered(body)))


def _offered(body: JsonMap) -> Iterator[str]:
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind is None:
            continue
        name = _VERSION.sub("", kind, count=1) if isinstance(kind, str) else ""
        place = tool.get("environment")
        here = name == "shell" and isinstance(place, dict) and place.get("type") == "local"
        if name not in CLIENTS and not here:
            yield name
    if body.get("mcp_servers"):
        yield "mcp"
    if body.get("web_search_options") is not None:
        yield "web_search"


def decided(exchange: "Exchange") -> list[Decision]:
    """What is decided on each tool that a request offers so; empty where it offers none."""
    names = offered(exchange.asked.body)
    if len(names) > MAX_OFFERED:
        return [blocked(exchange.law, f"more than {MAX_OFFERED} tools that the model's server runs", "tools")]
    return [_decided(exchange, name) for name in names]


def _decided(exchange: "Exchange", tool: str) -> Decision:
    law = exchange.law
    if stops := exchange.stops(tool):
        return Decision("stop", (), (), law.digest, reason="; ".join(sorted(stops)))
    slot = law.book.slot("tool_call", tool)
    if slot is None:
        return blocked(law, "a tool without a name", "tools")
    sure = [rule for rule in slot.rules if rule.when is None and not rule.detect and rule.effect in ("block", "require_approval")]
    said = [
        Decision(rule.effect, (rule.clause,), (rule.name,), law.digest, (), rule.name, (rule.need,) if rule.need else ()) for rule in sure
    ]
    if slot.unlisted is not None:
        said.append(Decision("require_approval", (), (), law.digest, (), slot.quiet.reason, (slot.unlisted,)))
    return together(said) if said else law.quiet

"""Tools that the upstream runs by itself, as a request offers them: search, code, MCP servers. The offer is judged: no call can be in time.

What the model asks of such a tool has been done when its reply comes. So a request that offers one goes on where the policy's tool list or
a clause names the tool, no stop holds for it, and no rule says otherwise; else it waits for a person, or is refused. A rule that looks at a
call (a condition, a rail) cannot be decided before there is one, hence blocks the offer: unless `x-hosted` in `policy.yaml` names the tool.
Then the rule is decided when the reply comes, on what has been done. A tool that is not known here counts as one of these; which ones the
client runs is known by their kinds. A prompt that the upstream keeps is one too, called `prompt`: it may bring tools that no request shows.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import reduce
from typing import Any, Final

from bylaw.govern.outcomes import both
from bylaw.govern.ready import ReadyRule, Slot
from bylaw.govern.rulebook import Rulebook
from bylaw.types import Decision

# fmt: off
CLIENTS: Final = frozenset("function custom local_shell apply_patch computer computer_use bash text_editor memory namespace".split())  # noqa: SIM905  # as a line it is read at a glance
# Fields that hold tools besides those with "tool" in their names; those that only refer to tools, and are looked through; those whose
# contents a client or a model makes up, where no upstream reads a tool; at the top of a request, those by which other providers' models
# read (every field with "search" in its name is a `web_search`, too); and those that some servers read in capitals.
HOLDS: Final = frozenset("definition mcp_servers web_search_options container".split())  # noqa: SIM905  # the same
REFERS: Final = frozenset("tool_calls tool_call tool_choice tool_result tool_references tool_changes tool_configuration allowed_tools".split())  # noqa: SIM905, E501  # the same
MADE_UP: Final = frozenset("parameters arguments input_schema output_schema input_examples schema json_schema response_format metadata".split())  # noqa: SIM905, E501  # the same
BROUGHT: Final = frozenset("plugins data_sources connectors".split())  # noqa: SIM905  # the same
FOLDED: Final = frozenset("type name function environment".split())  # noqa: SIM905  # the same
# fmt: on
REFERENCES: Final = ("tool_reference", "mcp_tool_reference", "mcp_toolset_reference")  # kinds of `tool` that stand elsewhere in full
SHOWN: Final = 5  # rules named in a reason
MAX_OFFERED: Final = 100  # different ones in one request
_VERSION: Final = re.compile(r"(?:_preview)?(?:_\d{8}|_\d{4}_\d{2}_\d{2})?\Z")


def offered(body: Mapping[str, Any]) -> list[str]:
    """The tools of a request that the upstream would run, each once, by the names under which their calls are judged; "" is one without."""
    names = list(dict.fromkeys(_offered(body)))
    return names if len(names) <= MAX_OFFERED else [""]


def _offered(body: Mapping[str, Any]) -> Iterator[str]:
    """By a walk over the whole request: its items, messages and blocks may bring tools, too."""
    if isinstance(body.get("prompt"), dict):
        yield "prompt"
    for key, value in body.items():
        name = key.casefold()
        if value and ("search" in name or name in BROUGHT):
            yield name if name in BROUGHT else "web_search"
    waiting: list[Any] = [body]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += [inner for inner in one if isinstance(inner, dict | list)]
            continue
        for key, value in one.items():
            name = key.casefold()
            if not isinstance(value, (dict, list)):
                if value and name == "tools":
                    yield ""
                continue
            if "tool" in name or name in HOLDS:
                yield from _held(name, value)
            if name not in MADE_UP and not (name == "input" and one is not body and str(one.get("type")).endswith("tool_use")):
                waiting.append(value)


def _held(name: str, value: dict[str, Any] | list[Any]) -> Iterator[str]:
    """What is offered by a field that holds tools, or looks as if it did."""
    if name == "web_search_options":
        yield "web_search"
    elif not value or name in REFERS:
        return
    elif name == "mcp_servers":
        yield "mcp"
    elif name == "container":
        if isinstance(value, dict) and value.get("skills"):
            yield "skills"
    elif isinstance(value, list):
        for tool in value if name not in ("tool", "definition") else [None]:
            yield from _run_there(tool)
    elif name == "tools":
        yield ""
    elif name != "tool" or not ("definition" in value or value.get("type") in REFERENCES):
        yield from _run_there(value)


def _run_there(tool: Any) -> Iterator[str]:
    """The name under which a tool's calls are judged, where the upstream runs it; "" where that cannot be read."""
    if not isinstance(tool, dict) or not FOLDED.isdisjoint(key.casefold() for key in tool if key not in FOLDED):
        yield ""
        return
    kind = tool.get("type")
    if kind is None and (isinstance(tool.get("name"), str) or "function" in tool):
        return  # Anthropic's form of a client's tool
    if isinstance(kind, str) and kind in CLIENTS:
        return
    name = _VERSION.sub("", kind, count=1) if isinstance(kind, str) else ""
    place = tool.get("environment")
    here = name == "shell" and isinstance(place, dict) and place.get("type") == "local"
    if name not in CLIENTS and not here:
        yield name


def decided(body: Mapping[str, Any], book: Rulebook, stopped: Callable[[str], Collection[str]]) -> list[Decision]:
    """What is decided on each tool that a request offers so; empty where it offers none."""
    return [_decided(book, tool, stopped(tool)) for tool in offered(body)]


def _decided(book: Rulebook, tool: str, stops: Collection[str]) -> Decision:
    if stops:
        return Decision("stop", (), (), book.digest, reason="; ".join(sorted(stops)))
    slot = book.slot("tool_call", tool)
    if slot is None:
        return Decision("block", (), (), book.digest, ("tools",), "could not be decided: a tool without a name")
    sure = [rule for rule in slot.rules if rule.when is None and not rule.detect and rule.effect in ("block", "require_approval")]
    said = [
        Decision(rule.effect, (rule.clause,), (rule.name,), book.digest, (), rule.name, (rule.need,) if rule.need else ()) for rule in sure
    ]
    if (late := _late(slot)) and tool not in hosted(book):
        names = tuple(rule.name for rule in late)
        reason = f"{tool} would have run before {', '.join(names[:SHOWN])} could be decided, and x-hosted does not name it"
        said.append(Decision("block", tuple(dict.fromkeys(rule.clause for rule in late)), names, book.digest, names, reason))
    if slot.unlisted is not None:
        said.append(Decision("require_approval", (), (), book.digest, (), slot.quiet.reason, (slot.unlisted,)))
    return reduce(both, said, Decision("allow", (), (), book.digest))


def _late(slot: Slot) -> list[ReadyRule]:
    """The rules that look at a call, or would change it, which for a tool of the upstream comes too late."""
    looks = (rule for rule in slot.rules if rule.when is not None or rule.detect or rule.effect not in ("block", "require_approval"))
    return [rule for rule in looks if rule.effect != "allow"]


def hosted(book: Rulebook) -> list[str]:
    """The tools that the policy lets the upstream run although rules about their calls come too late."""
    named = book.policy.extra.get("x-hosted")
    return [one for one in named if isinstance(one, str)] if isinstance(named, list | tuple) else []


def too_late(book: Rulebook) -> dict[str, list[str]]:
    """For each of these tools, the rules that are decided after it has run: to be told to whoever starts a gateway."""
    slots = {tool: book.slot("tool_call", tool) for tool in hosted(book)}
    return {tool: names for tool, slot in slots.items() if slot is not None and (names := [rule.name for rule in _late(slot)])}

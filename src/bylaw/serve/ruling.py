"""A ruling written from a decision: what was decided on becomes a cited example of its clause, and the ledger says who ruled on what.

A call becomes an event, with the session as it was; what was said becomes a dialogue. Its words then stand in the policy, where no
retention reaches them: whoever rules may give the case in other words instead. An event is tried whenever the policy loads: where the
ruling says otherwise than the rules decide, the policy loads again once the rules are changed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bylaw import runs
from bylaw.errors import LedgerError, PolicyError
from bylaw.govern import basis
from bylaw.govern.session import zeros
from bylaw.ledger import reading
from bylaw.policy import rulings
from bylaw.policy.parse import load
from bylaw.serve.live import Rails, Record, no_judges
from bylaw.serve.routes import ROUTES
from bylaw.serve.wire import BadBody, Text
from bylaw.serve.wire import load as read_body
from bylaw.types import Place, Policy, Ruling, Side, Split

TURNS: Final = 6  # of a conversation that are kept, the last ones
ROLES: Final = {"assistant": "assistant", "system": "system", "developer": "system", "tool": "tool", "function": "tool"}


@dataclass(frozen=True, slots=True)
class Ruled:
    """What somebody says about a decision."""

    record: str  # LOG#INDEX
    side: Side  # good: it is within the clause; bad: against it
    ruling: Ruling
    clause: str = ""  # where the decision names several, or none
    split: Split = "train"
    case: str = ""  # instead of what was recorded


@dataclass(frozen=True, slots=True)
class Written:
    """Where a ruling stands, and whether the policy's rules agree with it."""

    clause: str
    place: Place
    trouble: str = ""  # why the policy does not load with it


def add(folder: Path, data_dirs: Sequence[Path], record: Record, said: Ruled, rails_of: Rails = no_judges) -> Written:
    """Record a ruling, and write it at the end of its clause; raises PolicyError, LedgerError, and then nothing is written."""
    named = reading.named(data_dirs, said.record)
    if named is None:
        raise LedgerError(f"there is no record {said.record[:100]}", "A record is named LOG#NUMBER, in the gateway's --data-dir.")
    entry, contents = named
    clause = said.clause or _clause(entry)
    text = said.case or case(entry, contents, load(folder))
    example = rulings.case(said.side, said.split, said.ruling, text)
    made = rulings.placed(folder, clause, example)
    facts = {"record": said.record, "side": said.side, "on": said.ruling.on}
    why = {"why": said.ruling.why}
    record(
        {
            "kind": "ruling",
            "principal": said.ruling.by[:200],
            "policy": entry["policy"],
            "clauses": [clause],
            "facts": facts,
            "contents": why,
        }
    )
    runs.write_text(made.path, made.text)
    return Written(clause, made.place, trouble(folder, rails_of))


def case(entry: Mapping[str, Any], contents: Mapping[str, bytes], policy: Policy) -> str:
    """What was decided on, as a case of this policy: an event or a dialogue. Raises PolicyError where it was not kept."""
    if entry["kind"] != "decision":
        raise PolicyError(f"{entry['log']}#{entry['index']} is no decision", "Name the record of a decision.")
    if gone := sorted(set(entry["contents"]) - set(contents)):
        raise PolicyError(f"the {gone[0]} of this decision was deleted", "Give the case in your own words: --case FILE.")
    try:
        if entry["surface"] == "tool_call":
            return _event(entry, contents, _read(policy, str(entry["tool"])))
        turns = _turns(entry, contents)
    except (BadBody, ValueError, KeyError, IndexError) as error:
        raise PolicyError("what was decided on cannot be read", "Give the case in your own words: --case FILE.") from error
    if not turns:
        raise PolicyError("nothing of what was said was kept with this decision", "Give the case in your own words: --case FILE.")
    return "\n".join(f"{role}: {_one_line(text)}" for role, text in turns)


def _read(policy: Policy, tool: str) -> dict[str, float]:
    """The sums that the rules for a tool read, each as it is before a session's first call: without them nothing could be decided."""
    rules = [rule for clause in policy.clauses for rule in clause.enforce if not rule.tools or tool in rule.tools]
    return {name: zero for name, zero in zeros(policy).items() if any(name in rule.when for rule in rules)}


def _event(entry: Mapping[str, Any], contents: Mapping[str, bytes], sums: Mapping[str, float]) -> str:
    said = basis.read(contents.get(basis.NAME))
    event: dict[str, Any] = {"on": "tool_call", "tool": entry["tool"], "args": json.loads(contents["args"])}
    history = basis.history_of(said.get("session") or {}, "").facts(sums)
    if sums or history.get("n_calls") != 0 or history.get("taint"):
        event["session"] = {key: value for key, value in history.items() if key in ("taint", "calls", "sums") and value}
    principal = {key: value for key, value in basis.principal_of(said, "").items() if key in ("roles", "jurisdiction") and value}
    return json.dumps({**event, **({"principal": principal} if principal else {})}, ensure_ascii=False)


def _turns(entry: Mapping[str, Any], contents: Mapping[str, bytes]) -> list[tuple[str, str]]:
    route = ROUTES.get(str(entry["facts"].get("route")))
    if route is None:
        role = "assistant" if entry["surface"] in ("output", "thinking") else "tool" if entry["surface"] == "tool_result" else "user"
        return [(role, contents["text"].decode("utf-8", "replace"))] if "text" in contents else []
    turns: list[tuple[str, str]] = []
    body: dict[str, Any] = {}
    if "request" in contents:
        asked = route.shape.asked(read_body(contents["request"]))
        body = asked.body
        turns = [_turn(text) for text in asked.texts if text.path][-TURNS:]
    if "reply" in contents:
        choice = route.shape.said(read_body(contents["reply"]), body).choices[int(entry["facts"].get("choice", 0))]
        turns += [("assistant", text.text) for text in choice.texts if text.path]
    return turns


def _turn(text: Text) -> tuple[str, str]:
    return ("tool" if text.surface == "tool_result" else ROLES.get(text.role, "user")), text.text


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _clause(entry: Mapping[str, Any]) -> str:
    named = entry["clauses"]
    if len(named) != 1:
        what = "names no clause" if not named else f"names several clauses: {', '.join(named[:5])}"
        raise PolicyError(f"this decision {what}", "Say which the ruling is about: --clause ID.")
    return str(named[0])


def trouble(folder: Path, rails_of: Rails = no_judges) -> str:
    """Why the policy in a folder does not stand as it is written there, such as an example that its rules answer otherwise."""
    from bylaw.govern.rulebook import Rulebook  # noqa: PLC0415  # RE2 loads only here

    try:
        policy = load(folder)
        Rulebook.load(policy, rails_of(policy))
    except PolicyError as error:
        return error.what
    return ""

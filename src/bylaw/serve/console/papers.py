"""What the pages read: policies by their digest, entries of the ledger with what is left of their contents, and the texts in these."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from bylaw.errors import PolicyError
from bylaw.ledger import place, reading
from bylaw.policy import parse
from bylaw.policy.parse import every_clause
from bylaw.policy.show import rule_line
from bylaw.serve import live as lives
from bylaw.serve.console.page import Room
from bylaw.serve.routes import ROUTES
from bylaw.serve.wire import BadBody, dump, get, load
from bylaw.types import Clause, Policy

MAX_POLICIES: Final = 6  # kept in memory besides the one in force
MAX_TEXTS: Final = 6  # of one entry, the last ones
MAX_TEXT: Final = 4_000  # characters of one of them
ORDER: Final = {"request": 0, "args": 1, "reply": 2}


class Said(NamedTuple):
    """Something that was said, and by whom."""

    who: str
    text: str


class Cited(NamedTuple):
    """A clause as it stands on a page."""

    id: str
    clause: Clause | None  # None: the policy does not have it, or is not kept here
    rules: tuple[tuple[str, str], ...]  # id and sentence


def policy_of(room: Room, digest: str) -> Policy | None:
    """The policy with this digest: the one in force, or one out of the store; None where neither has it."""
    now = room.desk.live.now.places.policy
    if digest == now.digest:
        return now
    kept: dict[str, Policy] = room.kept.setdefault("policies", {})
    found = kept.get(digest)
    if found is None:
        try:
            with lives.kept(room.desk.store, digest) as folder:
                found = parse.load(folder)
        except PolicyError:
            return None
        kept[digest] = found
        for old in list(kept)[:-MAX_POLICIES]:  # pages are made in several threads
            kept.pop(old, None)
    return found


def cited(room: Room, digest: str, clauses: Sequence[str]) -> list[Cited]:
    """These clauses as they stand in the policy with this digest."""
    policy = policy_of(room, digest)
    known = {one.id: one for one in every_clause(policy)} if policy else {}
    return [Cited(one, known.get(one), _rules(known.get(one))) for one in clauses]


def _rules(clause: Clause | None) -> tuple[tuple[str, str], ...]:
    return tuple((rule.id, rule_line(rule)) for rule in clause.enforce) if clause else ()


def calls(route: str, content: bytes) -> list[tuple[str, Any, str]]:
    """The calls in a stored answer: tool, arguments, and the arguments as they stand there, byte for byte."""
    found = []
    try:
        body = load(content)
        for call in (call for choice in ROUTES[route].shape.said(body).choices for call in choice.calls):
            holder = get(body, call.path)
            inner = holder.get("function", holder) if isinstance(holder, dict) else {}
            written = inner.get("arguments", inner.get("input"))
            found.append((call.tool, call.args, written if isinstance(written, str) else dump(written).decode()))
    except (BadBody, KeyError, AttributeError):
        return []
    return found


# ---- Contents ------------------------------------------------------------------------------------------------------------


def contents(dirs: Sequence[Path], entry: Mapping[str, Any]) -> dict[str, bytes]:
    """What is left of the contents of an entry, by name."""
    for path in dict.fromkeys(one for data_dir in dirs for one in place.all_logs(data_dir)):
        with reading.stored(path) as log:
            if log.origin == entry["log"]:
                asked = "SELECT name, content FROM ledger_contents WHERE log=? AND at=?"
                return {str(name): bytes(content) for name, content in log.db.execute(asked, [log.origin, entry["index"]])}
    return {}


def said(entry: Mapping[str, Any], found: Mapping[str, bytes]) -> list[Said]:
    """The texts in an entry's contents, the last ones, each bounded."""
    shape = ROUTES[route].shape if (route := str(entry["facts"].get("route", ""))) in ROUTES else None
    texts: list[Said] = []
    for name in sorted(found, key=lambda one: ORDER.get(one, len(ORDER))):
        texts += _texts(name, found[name], shape)
    return [Said(one.who, one.text[:MAX_TEXT]) for one in texts[-MAX_TEXTS:]]


def _texts(name: str, content: bytes, shape: Any) -> list[Said]:
    if name.startswith("basis"):  # what it was judged on, besides texts
        return []
    with suppress(BadBody):  # what cannot be read is shown as it is
        if shape is not None and name == "request":
            return [Said(text.role, text.text) for text in shape.asked(load(content)).texts]
        if shape is not None and name == "reply":
            choices = shape.said(load(content)).choices
            spoken = [Said("answer", text.text) for choice in choices for text in choice.texts if text.text]
            return spoken + [Said(f"call of {call.tool}", _json(call.args)) for choice in choices for call in choice.calls]
    return [Said({"args": "arguments"}.get(name, name), content.decode("utf-8", "replace"))]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=dict)

"""Decisions as they are made, and why each was made: its clauses, its rules, and the values that the rules read."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from bylaw.errors import PolicyError
from bylaw.govern import basis
from bylaw.govern.session import zeros
from bylaw.ledger import reading
from bylaw.serve import records
from bylaw.serve.admin import DECISIONS
from bylaw.serve.console import drafts, papers, ruling
from bylaw.serve.console.page import POLL, Asked, May, Page
from bylaw.serve.desk import MAX_QUERY, Wrong, later
from bylaw.serve.door import NotIn
from bylaw.types import Rule

MOST: Final = 100
FILTERS: Final = ("clause", "decision", "principal", "tool", "surface", "session")
SURFACES: Final = ("input", "thinking", "document", "tool_call", "tool_result", "output")
MAX_VALUES: Final = 20  # of one rule
_READ: Final = re.compile(
    r"""\b(args|session|principal|env)((?:\.[A-Za-z_]\w*|\[\s*(?:"[^"]*"|'[^']*')\s*\])+)|\b(text|tool|surface)\b(?!\s*\()"""
)
_QUOTED: Final = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""")
_STEP: Final = re.compile(r"""\.([A-Za-z_]\w*)|\[\s*(?:"([^"]*)"|'([^']*)')\s*\]""")
UNKNOWN: Final = object()
MEANT: Final = {  # by a fact whose name alone does not say it
    "because": "why it could not be decided",
    "cut": "something was cut out before this was recorded",
    "exchange": "its request and answer have this number",
    "hour": "in UTC, as conditions saw it",
    "input": "what was decided on the request, which has no entry of its own",
    "undecided": "rules that could not be decided",
}

Entry = Mapping[str, Any]
Contents = Mapping[str, bytes]
Sums = Mapping[str, float]  # of a session that has called nothing


async def listed(asked: Asked) -> Response:
    """The latest decisions that fit."""
    wanted = {name: value.strip() for name, value in asked.request.query_params.items() if name in FILTERS and value.strip()}
    for name, value in wanted.items():
        if len(value) > MAX_QUERY:
            raise Wrong(f"{name} has at most {MAX_QUERY} characters")
    before = asked.request.query_params.get("before", "")
    try:
        found = await later(lambda: records.page(asked.desk.data_dirs(), MOST, {**wanted, "kind": "decision"}, before))
    except ValueError:
        raise Wrong("this is no page of the list; begin at the newest") from None
    template = "decisions_rows.html" if POLL in asked.request.headers else "decisions.html"
    choices: dict[str, Any] = {
        "clauses": sorted(asked.desk.live.now.places.book({}).standing()),
        "effects": DECISIONS,
        "surfaces": SURFACES,
    }
    return asked.page(template, found=found, wanted=wanted, query=urlencode(wanted), most=MOST, before=before, **choices)


async def why(asked: Asked) -> Response:
    """One decision, and what led to it."""
    return await _why(asked, asked.request.query_params.get("record", ""))


async def _why(asked: Asked, name: str, status: int = 200, alert: str = "", **more: Any) -> Response:
    values = await later(lambda: _gathered(asked, name))
    return asked.page("why.html", status, alert=alert, **{**values, **more})


async def rule(asked: Asked) -> Response:
    """A ruling on a decision: shown as it would stand, or written."""
    name, do = asked.form.get("record", ""), asked.form.get("do", "")
    if not ruling.may(asked):
        raise NotIn(403, f"a ruling takes a key that may administer, or read and answer; {asked.visitor.name}'s may not")
    if await later(lambda: reading.named(asked.desk.data_dirs(), name)) is None:
        raise NotIn(404, "there is no such record here; nothing was done")
    if do not in ("try", "write"):
        raise Wrong("show it or write it; nothing was done")
    form = {**ruling.EMPTY, **{key: value for key, value in asked.form.items() if key in ruling.EMPTY}}
    try:
        said = ruling.said(asked, name)
        if do == "write":
            return await ruling.write(asked, said)
        return await _why(asked, name, tried=await later(lambda: ruling.tried(asked, said)), form=form)
    except PolicyError as error:
        return await _why(asked, name, 409, drafts.refused(error), form=form)
    except Wrong as error:
        return await _why(asked, name, 400, f"Not done: {error}.", form=form)


def _gathered(asked: Asked, name: str) -> dict[str, Any]:
    named = reading.named(asked.desk.data_dirs(), name)
    if named is None:
        raise NotIn(404, "there is no such record here")
    entry, left = named
    whole = "administer" in asked.visitor.may
    contents = left if whole else {}
    policy = papers.policy_of(asked.room, entry["policy"])
    cited = papers.cited(asked.room, entry["policy"], entry["clauses"])
    sums = zeros(policy) if policy else {}
    rules = {f"{one.id}/{rule.id}": rule for one in cited if one.clause for rule in one.clause.enforce}
    return {
        **ruling.offered(asked, entry),
        "entry": entry,
        "record": name,
        "cited": cited,
        "policy": policy,
        "matched": [(rule, rules.get(rule), _values(entry, rules.get(rule), contents, sums)) for rule in entry["rules"]],
        "whole": whole,
        "said": papers.said(entry, contents),
        "lost": sorted(set(entry["contents"]) - set(contents)) if whole else [],
        "facts": [
            (key, MEANT.get(key, ""), value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            for key, value in sorted(entry["facts"].items())
        ],
    }


def _values(entry: Entry, rule: Rule | None, contents: Contents, sums: Sums) -> list[tuple[str, str]]:
    """Each field that a rule's condition names, with the value that is recorded; where none is, that is said."""
    if rule is None or rule.when == "true":
        return []
    bare = _QUOTED.sub(lambda found: " " * len(found[0]), rule.when)  # what stands in quotes names no field, unless in brackets
    found: dict[str, str] = {}
    for one in _READ.finditer(rule.when):
        if one[3] and bare[one.start() : one.end()] != one[0]:
            continue
        if len(found) < MAX_VALUES:
            found[one[0]] = _shown(_value(entry, one[1] or one[3], one[2] or "", contents, sums))
    return list(found.items())


def _value(entry: Entry, root: str, path: str, contents: Contents, sums: Sums) -> Any:
    if root in ("tool", "surface"):
        return entry[root]
    if root == "principal" and path == ".id":
        return entry["principal"]
    try:
        at = _root(entry, root, contents, sums)
        for step in _STEP.finditer(path):
            at = at[step[1] or step[2] or step[3]]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return UNKNOWN
    return at


def _root(entry: Entry, root: str, contents: Contents, sums: Sums) -> Any:
    """What a condition's first word stands for, as far as it is recorded; raises KeyError."""
    if root == "args" and "args" not in contents:
        made = papers.calls(str(entry["facts"].get("route")), contents["reply"])
        if len(made) != 1:
            raise KeyError(root)
        return made[0][1]
    if root == "args":
        return json.loads(contents["args"])
    if basis.HOUR not in entry["facts"]:  # recorded by an older version, which did not say what it read
        raise KeyError(root)
    known = basis.read(contents.get(basis.NAME))
    if known.get(basis.LOST) or root == "env":
        raise KeyError(root)
    if root == "principal":
        return basis.principal_of(known, entry["principal"])
    return basis.session_of(known.get("session"), entry["session"], sums)


def _shown(value: Any) -> str:
    return "not recorded" if value is UNKNOWN else value if isinstance(value, str) else json.dumps(value)


PAGES: Final[tuple[tuple[str, str, May, Page], ...]] = (
    ("GET", "/decisions", "read", listed),
    ("GET", "/why", "read", why),
    ("POST", "/why/ruling", "read", rule),
)

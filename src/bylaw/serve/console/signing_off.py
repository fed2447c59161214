"""Sign-off: what the table of a policy asks, who has signed, what is missing, and a signature that was made elsewhere handed in.

A private key never comes here. A page shows the record and its exact bytes with the commands that sign them; `signing.accept` verifies what
comes back and keeps it in the draft (`drafts`). Everybody hands in their own: the name is that of the key somebody came in with.
"""

import base64
import binascii
import os
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Final

from starlette.responses import Response

from bylaw.errors import BylawError, PolicyError
from bylaw.policy import diff, reviews, signing, signoffs
from bylaw.policy.notation import read_json
from bylaw.policy.printing import print_clause
from bylaw.policy.reviews import Review
from bylaw.serve import leave
from bylaw.serve import live as lives
from bylaw.serve.console import drafts
from bylaw.serve.console.page import Asked, May, Page, to
from bylaw.serve.console.showing import hidden_in
from bylaw.serve.desk import Wrong, later
from bylaw.serve.door import NotIn
from bylaw.types import NOWHERE, Clause, Policy

MAX_NOTE: Final = 500  # characters
MAX_SHOWN: Final = 200  # clauses of one record that are shown whole
MAX_NAMED: Final = 500  # clauses of one record that its entry in the ledger names
AHEAD: Final = timedelta(minutes=5)  # that another clock may be before this one
SIGNED: Final = "signed off"


def _checked(asked: Asked) -> None:
    if not {"read", "sign"} & asked.visitor.may:
        raise NotIn(403, f"this page is for keys that may read, or sign clauses off; {asked.visitor.name}'s may not")


async def shown(asked: Asked) -> Response:
    """How the sign-off stands, of the draft or of what is in force."""
    _checked(asked)
    notice = "Your record was verified, kept in the draft, and entered in the ledger." if "kept" in asked.request.query_params else ""
    return await _page(asked, asked.request.query_params.get("of", ""), notice=notice)


async def _page(asked: Asked, of: str, status: int = 200, **more: Any) -> Response:
    return asked.page("signing.html", status, **{**await later(lambda: _gathered(asked, of)), **more})


def _gathered(asked: Asked, of: str) -> dict[str, Any]:
    draft = drafts.look(asked.desk)
    of = of if of in ("draft", "force") else "draft" if draft.folder is not None else "force"
    found: dict[str, Any] = {"of": of, "draft": draft, "policy": None, "left": 0, "same": False}
    found |= dict.fromkeys(("rows", "broken", "mine", "table"), ())
    if of == "draft" and draft.policy is None:
        return found
    policy = draft.policy if of == "draft" and draft.policy else asked.desk.live.now.places.policy
    if of == "draft" and draft.folder is not None:
        known = reviews.reviewed(draft.folder, policy)
        found["table"] = leave.under_table(asked.desk.store, policy, draft.folder)
    else:
        with lives.kept(asked.desk.store, policy.digest) as folder:
            known = reviews.reviewed(folder, policy)
    rows = [(one, _roles(asked, policy, one.clause)) for one in signoffs.status(policy, known.reviews)]
    left = sum(bool(one.missing) for one, _ in rows)
    same = draft.policy is not None and draft.policy.digest == asked.desk.live.now.digest
    return found | {"policy": policy, "rows": rows, "left": left, "broken": known.findings, "mine": _mine(rows), "same": same}


def _roles(asked: Asked, policy: Policy, clause: str) -> tuple[str, ...]:
    return signing.may_sign(policy, asked.visitor.name, asked.visitor.key.grant.roles, clause)


def _mine(rows: list[tuple[signoffs.Status, tuple[str, ...]]]) -> list[dict[str, Any]]:
    """What this person may sign: for each role and overlay the clauses, and the patterns of the table that hold no others."""
    found: dict[tuple[str, str], list[str]] = {}
    for one, roles in rows:
        for role in roles:
            found.setdefault((role, one.overlay), []).append(one.clause)
    made = []
    for (role, overlay), clauses in found.items():
        lines = {line.clauses for one, _ in rows if one.overlay == overlay for line in one.required if role in line.roles}
        patterns = [one for one in sorted(lines) if "*" in one and _all(one, rows, role, overlay)]
        made.append({"role": role, "overlay": overlay, "clauses": clauses, "patterns": patterns})
    return made


def _all(pattern: str, rows: list[tuple[signoffs.Status, tuple[str, ...]]], role: str, overlay: str) -> bool:
    """Whether every clause that a pattern matches may be signed in this role."""
    return all(role in roles for one, roles in rows if one.overlay == overlay and fnmatchcase(one.clause, pattern))


# ---- What is to be signed ------------------------------------------------------------------------------------------------


async def record(asked: Asked) -> Response:
    """The record of one signature as it will be, its exact bytes, and how they are signed."""
    _checked(asked)
    wanted = {name: asked.request.query_params.get(name, "") for name in ("role", "overlay", "clauses", "decision", "note")}
    if wanted["decision"] not in ("approve", "reject"):
        raise Wrong("a signature approves or rejects")
    if len(wanted["note"]) > MAX_NOTE or hidden_in(wanted["note"]) or not wanted["note"].isprintable():
        raise Wrong(f"a note is one line of at most {MAX_NOTE} characters, and nothing in it is invisible")
    try:
        return asked.page("to_sign.html", **await later(lambda: _to_sign(asked, wanted)))
    except PolicyError as error:
        return await _page(asked, "draft", 409, alert=drafts.refused(error))


def _to_sign(asked: Asked, wanted: Mapping[str, str]) -> dict[str, Any]:
    draft = drafts.look(asked.desk)
    if draft.folder is None or draft.policy is None:
        raise NotIn(409, f"{draft.fault}. Nothing can be signed from here")
    policy, who = draft.policy, asked.visitor.name
    decision: reviews.Decision = "reject" if wanted["decision"] == "reject" else "approve"
    made = reviews.Asked(who, wanted["role"], wanted["clauses"], wanted["overlay"], decision, wanted["note"])
    one = signing.to_sign(policy, asked.visitor.key.grant.roles, made, datetime.now(UTC))
    exact = one.signed().decode()
    if hidden_in(exact):
        raise NotIn(409, "there are invisible characters in the record: use `bylaw policy sign` on a copy of the policy")
    overlay = next((held for held in policy.overlays if held.name == one.overlay), None)
    here = overlay.clauses if overlay else policy.clauses
    texts = [(held.id, print_clause(held), _change(asked, policy, held, one.overlay)) for held in here if held.id in one.clauses]
    return {
        "one": one,
        "policy": policy,
        "exact": exact,
        "texts": texts[:MAX_SHOWN],
        "more": max(0, len(texts) - MAX_SHOWN),
        "command": _command(made),
        "openssl": _openssl(exact),
        "draft": draft,
    }


def _change(asked: Asked, policy: Policy, clause: Clause, overlay: str) -> Any:
    found = diff.diff(asked.desk.live.now.places.policy, policy).clauses
    return next((one for one in found if one.id == clause.id and one.overlay == overlay), None)


def _command(one: reviews.Asked) -> str:
    words = ["bylaw", "policy", "sign", "DIR", "--as", one.reviewer, "--role", one.role, "--key", "KEY.pem", "--clauses", one.clauses]
    words += ["--overlay", one.overlay] if one.overlay else []
    words += ["--reject"] if one.decision == "reject" else []
    words += ["--note", one.note] if one.note else []
    return shlex.join([*words, "--json"])


def _openssl(exact: str) -> str:
    signed = "openssl pkeyutl -sign -rawin -inkey KEY.pem -in record.json | openssl base64 -A"
    return f"printf %s {shlex.quote(exact)} > record.json\n{signed}"


# ---- What was signed -----------------------------------------------------------------------------------------------------


async def hand_in(asked: Asked) -> Response:
    """Keep a signed record in the draft, if it counts."""
    _checked(asked)
    try:
        value = _handed(asked.form.get("record", "").strip(), asked.form.get("unsigned", ""))
        async with drafts.alone(asked.room.kept):
            await later(lambda: _kept(asked, value))
    except PolicyError as error:
        return await _page(asked, "draft", 409, alert=drafts.refused(error))
    except Wrong as error:
        return await _page(asked, "draft", 400, alert=f"Not done: {error}.")
    return to("/signing?of=draft&kept=1")


def _handed(text: str, unsigned: str) -> dict[str, Any]:
    """The record of a form: a whole one, or a bare signature of the bytes that the page showed. Raises Wrong, PolicyError."""
    bare = not text.startswith("{")
    if not text or len(text.encode("utf-8", "replace")) > reviews.MAX_RECORD_BYTES:
        raise Wrong("paste the signed record, or its signature")
    try:
        value = read_json(unsigned if bare else text, NOWHERE)
    except PolicyError:
        raise Wrong(
            "this is no record in JSON" if not bare else "a bare signature is handed in on the page that shows its record"
        ) from None
    if not isinstance(value, dict):
        raise Wrong("this is no record in JSON")
    value.pop("file", None)  # `--json` says where it was written, too
    return {**value, "signature": _signature(text)} if bare else value


def _signature(text: str) -> str:
    encoded = "".join(text.removeprefix("ed25519:").split())
    try:
        content = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if len(content) != 64:
        raise Wrong("this is neither a record nor an Ed25519 signature in base64")
    return f"ed25519:{encoded}"


def _kept(asked: Asked, value: Mapping[str, Any]) -> None:
    desk, one = asked.desk, reviews.review_of(dict(value), NOWHERE)
    if one.reviewer != asked.visitor.name or one.role not in asked.visitor.key.grant.roles:
        raise NotIn(403, f"this record is of {one.reviewer} as {one.role}: everybody hands in their own. Nothing was done")
    if one.at > (datetime.now(UTC) + AHEAD).strftime("%Y-%m-%dT%H:%M:%SZ"):
        raise PolicyError("this record is dated in the future", "Set your clock, and sign again.")
    with drafts.writing(desk) as folder:
        if os.path.lexists(folder / reviews.FOLDER / reviews.file_name(one)):
            raise PolicyError("this very record is kept already", "Nothing more is to be done with it.")
        file = signing.accept(folder, value)
        try:
            desk.ledger.append(_entry(one, file.name, drafts.look(desk).policy))
        except BylawError:
            file.unlink(missing_ok=True)  # what is not recorded does not count
            raise


def _entry(one: Review, file: str, policy: Policy | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"step": SIGNED, "decision": one.decision, "role": one.role, "signed_at": one.at, "record": file}
    facts |= {"id": one.policy, "version": one.version, "clauses": len(one.clauses), **({"overlay": one.overlay} if one.overlay else {})}
    clauses = sorted(one.clauses)[:MAX_NAMED]
    return {
        "kind": "policy",
        "principal": one.reviewer[:200],
        "policy": policy.digest if policy else "",
        "clauses": clauses,
        "facts": facts,
    }


PAGES: Final[tuple[tuple[str, str, May, Page], ...]] = (
    ("GET", "/signing", "anything", shown),
    ("GET", "/signing/record", "anything", record),
    ("POST", "/signing", "anything", hand_in),
)

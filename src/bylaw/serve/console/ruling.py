"""A ruling from the page of a decision: somebody says on which side of a clause the case is, and the policy cites it from then on.

It is written into the draft (`drafts`) and named in the ledger. Without a draft its text is shown, to be put at the end of its clause.
Who may not see what was said gives the case in their own words, so that nobody copies what they may not read.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, get_args

from starlette.responses import Response

from bylaw.errors import PolicyError
from bylaw.policy.parse import load
from bylaw.policy.printing import print_example
from bylaw.policy.rulings import MAX_CASE_CHARS
from bylaw.serve import ruling
from bylaw.serve.console import drafts
from bylaw.serve.console.page import Asked, to
from bylaw.serve.console.showing import hidden_in
from bylaw.serve.desk import Wrong, later
from bylaw.serve.door import NotIn
from bylaw.types import Policy, Ruling, Side, Split

MAX_WHY: Final = 1_000  # characters
EMPTY: Final = {"side": "", "clause": "", "why": "", "case": "", "split": ""}


def may(asked: Asked) -> bool:
    """An admin; or an approver who may read."""
    return "administer" in asked.visitor.may or {"read", "answer"} <= asked.visitor.may


def offered(asked: Asked, entry: Mapping[str, Any]) -> dict[str, Any]:
    """What the page of an entry shows of rulings: a form beside a decision, and how things stand beside a ruling."""
    found: dict[str, Any] = {"may_rule": False, "trouble": None, "form": EMPTY, "tried": None}
    if entry["kind"] == "ruling" and may(asked) and asked.desk.draft is not None:
        return found | {"trouble": _trouble(asked)}
    if entry["kind"] != "decision" or not may(asked):
        return found
    draft = drafts.look(asked.desk)
    policy = draft.policy or asked.desk.live.now.places.policy
    named = [one for one in entry["clauses"] if policy.clause(one) is not None]
    others = [one.id for one in policy.clauses if one.id not in named]
    return found | {"may_rule": True, "draft_fault": draft.fault, "named": named, "others": others, "may_copy": _may_copy(asked)}


def _may_copy(asked: Asked) -> bool:
    return "administer" in asked.visitor.may


def _trouble(asked: Asked) -> str:
    """Why the draft does not load now; empty where it does."""
    folder = asked.desk.draft
    return ruling.trouble(folder, asked.desk.live.rails_of) if folder is not None else ""


def said(asked: Asked, record: str) -> ruling.Ruled:
    """What the form says; raises Wrong."""
    form = asked.form
    side, why, case = form.get("side", ""), form.get("why", "").strip(), form.get("case", "").replace("\r\n", "\n").strip()
    if side not in get_args(Side):
        raise Wrong("say whether the case is within the clause or against it; nothing was done")
    if not why or len(why) > MAX_WHY:
        raise Wrong(f"say why, in at most {MAX_WHY} characters; nothing was done")
    if len(case) > MAX_CASE_CHARS:
        raise Wrong(f"a case has at most {MAX_CASE_CHARS} characters; nothing was done")
    if not case and not _may_copy(asked):
        raise Wrong("give the case in your own words: what was said is for keys with the role admin; nothing was done")
    made = Ruling(asked.visitor.name, datetime.now(UTC).date().isoformat(), why)
    split: Split = "eval" if form.get("split") == "eval" else "train"
    return ruling.Ruled(record, "good" if side == "good" else "bad", made, form.get("clause", ""), split, case)


def tried(asked: Asked, one: ruling.Ruled) -> dict[str, Any]:
    """The ruling as it would stand, in a copy; nothing is recorded. Raises PolicyError, LedgerError."""
    with drafts.copied(asked.desk) as folder:
        done = ruling.add(folder, asked.desk.data_dirs(), lambda entry: None, one, asked.desk.live.rails_of)
        text = print_example(_clause(load(folder), done.clause).examples[-1])
    return {"clause": done.clause, "place": str(done.place), "trouble": done.trouble, "text": text, "hidden": hidden_in(text)}


def _clause(policy: Policy, name: str) -> Any:
    found = policy.clause(name)
    if found is None:
        raise NotIn(404, "this policy has no such clause")
    return found


async def write(asked: Asked, one: ruling.Ruled) -> Response:
    """Keep the ruling in the draft; its entry in the ledger is shown next."""
    names: list[object] = []

    def record(entry: Mapping[str, Any]) -> None:
        names.append(asked.desk.ledger.append(entry))

    def work() -> None:
        with drafts.writing(asked.desk) as folder:
            told = tried(asked, one)
            if told["text"] in [print_example(held) for held in _clause(load(folder), told["clause"]).examples]:
                raise PolicyError("this very ruling stands there already", "Nothing more is to be done.")
            ruling.add(folder, asked.desk.data_dirs(), record, one, asked.desk.live.rails_of)

    async with drafts.alone(asked.room.kept):
        await later(work)
    return to(f"/why?record={str(names[-1]).replace('#', '%23')}")

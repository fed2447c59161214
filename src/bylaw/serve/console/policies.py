"""The policy in force and those before it: clause by clause, what lies between two of them, and the way back."""

from typing import Any, Final

from starlette.responses import Response

from bylaw.errors import PolicyError
from bylaw.govern.rulebook import HERE
from bylaw.policy import diff
from bylaw.policy.parse import every_clause
from bylaw.serve import leave
from bylaw.serve import live as lives
from bylaw.serve.console import on_trial, papers
from bylaw.serve.console.page import Asked, May, Page, to
from bylaw.serve.desk import Wrong, later
from bylaw.serve.door import NotIn
from bylaw.store import policy_rows
from bylaw.types import Policy

MOST: Final = 50  # versions in the list


async def shown(asked: Asked) -> Response:
    """What holds, and what held before."""
    return asked.page("policy.html", **await later(lambda: _gathered(asked)))


def _gathered(asked: Asked) -> dict[str, Any]:
    live = asked.desk.live
    policy, standing = live.now.places.policy, live.now.places.book({}).standing()
    past = policy_rows.history(asked.desk.store, MOST)[::-1]
    return {
        "policy": policy,
        "standing": standing,
        "here": HERE,
        "unsigned": live.now.unsigned,
        "refused": live.refused,
        "past": past,
        "overridden": past[0].unsigned if past else "",
        "behind": bool(past) and past[0].digest != live.now.digest,
        "digest": live.now.digest,
        "on_trial": on_trial.gathered(asked),
    }


async def clause(asked: Asked) -> Response:
    """One clause as people read it, with its examples."""
    wanted, digest = asked.request.query_params.get("id", ""), asked.request.query_params.get("of", "") or asked.desk.live.now.digest
    policy = await later(lambda: _policy(asked, digest))
    found = [one for one in every_clause(policy) if one.id == wanted]
    if not found:
        raise NotIn(404, "this policy has no such clause")
    cited = papers.cited(asked.room, policy.digest, [wanted])
    return asked.page("clause.html", cited=cited, clause=found[0], policy=policy)


async def compare(asked: Asked) -> Response:
    """What lies between two versions, clause by clause."""
    old, new = (asked.request.query_params.get(name, "") for name in ("old", "new"))
    found = await later(lambda: diff.diff(_policy(asked, old), _policy(asked, new)))
    return asked.page("compare.html", found=found, in_force=asked.desk.live.now.digest)


def _policy(asked: Asked, digest: str) -> Policy:
    found = papers.policy_of(asked.room, digest)
    if found is None:
        raise NotIn(404, "no policy with this digest is kept here")
    return found


async def rollback(asked: Asked) -> Response:
    """Put an earlier policy in force again, as it was then."""
    wanted, seen = asked.form.get("digest", ""), asked.form.get("seen", "")
    if asked.form.get("sure") != "yes":
        raise Wrong("tick the box that says so; nothing was changed")
    await later(lambda: _rolled_back(asked, wanted, seen))
    return to("/policy")


def _rolled_back(asked: Asked, wanted: str, seen: str) -> None:
    desk = asked.desk
    past = [one.digest for one in policy_rows.history(desk.store)]
    try:
        if past[-1:] != [seen]:
            raise leave.Overtaken("another policy was put in force meanwhile")
        if wanted == seen or wanted not in past:
            raise PolicyError("only a policy that was in force before, and is not now, can be put back", "Nothing was changed.")
        lives.put_back(desk.store, desk.ledger.append, wanted, asked.visitor.name, seen, desk.live.rails_of)
    except leave.Overtaken as error:
        raise NotIn(409, f"{error.what}; look again. Nothing was changed") from error


PAGES: Final[tuple[tuple[str, str, May, Page], ...]] = (
    ("GET", "/policy", "read", shown),
    ("GET", "/policy/clause", "read", clause),
    ("GET", "/policy/compare", "read", compare),
    ("POST", "/policy/rollback", "administer", rollback),
)

"""Policies on trial, as the policy's page shows them: what runs, for whom, what was counted, and the two ends that a person may choose.

A trial is started on the command line, where the candidate's folder is. A form names the trial that it was made for: where another runs by
now, nothing is done.
"""

from typing import Any, Final, get_args

from starlette.responses import Response

from bylaw.errors import PolicyError
from bylaw.govern import canary
from bylaw.govern.canary import Terms
from bylaw.serve import trials
from bylaw.serve.console import papers
from bylaw.serve.console.page import Asked, May, Page, to
from bylaw.serve.desk import Wrong, later
from bylaw.serve.door import NotIn
from bylaw.serve.leave import Overtaken
from bylaw.store.trial_rows import Kind

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
MOST: Final = 40  # principals by name, and changes of a shadow
PER_CENT: Final = canary.PER_MILLE / 100


def gathered(asked: Asked) -> list[dict[str, Any]]:
    """How the latest trial of each kind stands; nothing of a kind that there was never one of."""
    found = [trials.standing(asked.desk.store, kind) for kind in KINDS]
    return [_told(asked, one) for one in found if one is not None]


def _told(asked: Asked, found: trials.Standing) -> dict[str, Any]:
    one = found.trial
    policy = papers.policy_of(asked.room, one.digest)
    told: dict[str, Any] = {"trial": one, "version": policy.version if policy else "", "running": one.state == "running"}
    told |= {"compare": policy is not None and papers.policy_of(asked.room, one.baseline) is not None}
    return told | (_shares(found) if one.kind == "canary" else _would(found))


def _shares(found: trials.Standing) -> dict[str, Any]:
    told = {"candidate": found.candidate, "baseline": found.baseline, "terms": None, "whom": "", "next": 0, "ends": None}
    try:
        terms = canary.read(found.trial.terms)
    except PolicyError:  # it is rolled back within a second, and until then says no more than that
        return told
    upcoming = terms.seen * 2**found.trial.looks
    ends = found.trial.started_at + terms.window_s * 1000
    return told | {"terms": terms, "whom": _whom(terms), "next": upcoming, "ends": ends}


def _whom(terms: Terms) -> str:
    share = [f"{terms.share / PER_CENT:g} % of {terms.by}s"] if terms.share else []
    more = [f"{len(terms.principals) - MOST} more"] if len(terms.principals) > MOST else []
    return ", ".join([*share, *terms.principals[:MOST], *more])


def _would(found: trials.Standing) -> dict[str, Any]:
    said = found.to_json()
    changes = [
        {"clause": clause, "change": change, "count": count, "example": said["examples"].get(f"{clause}|{change}", "")}
        for clause, kinds in said["would"].items()
        for change, count in kinds.items()
    ]
    changes.sort(key=lambda one: (-one["count"], one["clause"], one["change"]))
    left = {"decisions": said["decisions"], "unchanged": said["unchanged"], "not_replayable": said["not_replayable"]}
    return {"changes": changes[:MOST], "more": max(0, len(changes) - MOST), **left}


async def stop(asked: Asked) -> Response:
    """End a trial; the policy in force holds for everybody."""
    kind = _kind(asked)
    await later(lambda: _ended(asked, kind))
    return to("/policy#trials")


def _ended(asked: Asked, kind: Kind) -> None:
    _same(asked, kind)
    trials.stop(asked.desk.store, asked.desk.ledger.append, kind, asked.visitor.name)


async def promote(asked: Asked) -> Response:
    """Put a canary's candidate in force for everybody."""
    if asked.form.get("sure") != "yes":
        raise Wrong("tick the box that says so; nothing was changed")
    await later(lambda: _promoted(asked))
    return to("/policy#trials")


def _promoted(asked: Asked) -> None:
    _same(asked, "canary")
    try:
        trials.promote(asked.desk.store, asked.desk.ledger.append, asked.visitor.name, asked.desk.live.rails_of)
    except Overtaken as error:
        raise NotIn(409, f"{error.what}; look again. Nothing was changed") from error


def _kind(asked: Asked) -> Kind:
    for kind in KINDS:
        if asked.form.get("kind") == kind:
            return kind
    raise Wrong(f"a trial is one of {', '.join(KINDS)}; nothing was changed")


def _same(asked: Asked, kind: Kind) -> None:
    """Raise where the trial of the page is not the one that runs."""
    found = trials.standing(asked.desk.store, kind)
    if found is None or found.trial.state != "running" or str(found.trial.id) != asked.form.get("trial"):
        raise NotIn(409, f"this {kind} does not run any more; look again. Nothing was changed")


PAGES: Final[tuple[tuple[str, str, May, Page], ...]] = (
    ("POST", "/policy/trial/stop", "administer", stop),
    ("POST", "/policy/trial/promote", "administer", promote),
)

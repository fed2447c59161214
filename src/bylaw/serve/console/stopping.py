"""The stop button: what is stopped, stopping and lifting by scope, and the drill that shows how fast every process hears of it."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from bylaw.errors import StoreError
from bylaw.govern import drill as drills
from bylaw.govern import stops
from bylaw.govern.approval_steps import MAX_REASON
from bylaw.serve.console.page import Asked, May, Page, to
from bylaw.serve.desk import Wrong, later
from bylaw.serve.door import NotIn
from bylaw.types import EMPTY

KINDS: Final = (stops.GLOBAL, *(kind for kind in stops.KINDS if kind != stops.DRILL))


async def shown(asked: Asked) -> Response:
    """What is stopped now."""
    return await _page(asked)


async def _page(
    asked: Asked, drill: drills.Drill | None = None, status: int = 200, alert: str = "", kept: Mapping[str, str] = EMPTY
) -> Response:
    found = await later(lambda: stops.active(asked.desk.store))
    tools = sorted(asked.desk.live.now.places.policy.tools)
    more = {"kinds": KINDS, "tools": tools, "drill": drill, "limit_s": drills.LIMIT_S, "kept": kept}
    return asked.page("stop.html", status, found=found, alert=alert, **more)


async def stop(asked: Asked) -> Response:
    """Stop a scope. What cannot be done stays in the form, and is said."""
    try:
        scope, reason = _scope(asked.form), _reason(asked)
    except (Wrong, StoreError) as error:
        what = error.what if isinstance(error, StoreError) else str(error)
        return await _page(asked, status=400, alert=f"{what}; nothing was stopped", kept=asked.form)
    await later(lambda: stops.stop(asked.desk.store, asked.desk.ledger.append, scope, asked.visitor.name, reason))
    return to("/stop")


async def resume(asked: Asked) -> Response:
    """Lift the stops of a scope."""
    try:
        scope, reason = stops.checked(asked.form.get("scope", "")), _reason(asked)
    except Wrong as error:
        raise Wrong(f"{error}; nothing was lifted") from None
    lifted = await later(lambda: stops.resume(asked.desk.store, asked.desk.ledger.append, scope, asked.visitor.name, reason))
    if not lifted:
        raise NotIn(409, f"nothing is stopped with the scope {scope}; somebody may have been faster")
    return to("/stop")


async def drill(asked: Asked) -> Response:
    """Measure how long every process takes to see a stop that stops nobody."""
    busy: asyncio.Lock = asked.room.kept.setdefault("drilling", asyncio.Lock())
    if busy.locked():
        raise NotIn(409, "a drill is under way")
    async with busy:
        found = await later(lambda: drills.drill(asked.desk.store, asked.desk.ledger.append, asked.visitor.name))
    return await _page(asked, found)


def _scope(form: Mapping[str, str]) -> str:
    kind, name = form.get("kind", ""), form.get("name", "").strip()
    if kind not in KINDS:
        raise Wrong("say what is to be stopped, everything, or one tenant, principal or tool")
    if form.get("sure") != "yes":
        raise Wrong("tick the box that says so")
    if kind == stops.GLOBAL and name:
        raise Wrong("a name stands there, so choose tenant, principal or tool; or clear it, to stop everything")
    if kind != stops.GLOBAL and not name:
        raise Wrong(f"to stop one {kind}, name it")
    return stops.checked(kind if kind == stops.GLOBAL else f"{kind}:{name}")


def _reason(asked: Asked) -> str:
    reason: Any = asked.form.get("reason", "").strip()
    if len(reason) > MAX_REASON:
        raise Wrong(f"a reason has at most {MAX_REASON} characters")
    return str(reason)


PAGES: Final[tuple[tuple[str, str, May, Page], ...]] = (
    ("GET", "/stop", "read", shown),
    ("POST", "/stop", "administer", stop),
    ("POST", "/stop/lift", "administer", resume),
    ("POST", "/stop/drill", "administer", drill),
)

"""The console's pages by their paths. Loaded, templates and all, when somebody first asks for one."""

from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bylaw.errors import BylawError
from bylaw.serve.console import approving, debts, deciding, ledgers, on_trial, policies, rates, signing_in, signing_off, stopping
from bylaw.serve.console.drafts import Signing
from bylaw.serve.console.logins import Logins
from bylaw.serve.console.page import HEADERS, HERE, May, Page, Room, acting, cookie, environment, reading, troubled
from bylaw.serve.desk import Desk, later
from bylaw.serve.door import NotIn

STATIC: Final = {"console.css": "text/css; charset=utf-8", "console.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}
PAGES: Final[tuple[tuple[str, str, May, Page], ...]] = (
    ("GET", "/", "anything", signing_in.first),
    ("POST", "/logout", "anything", signing_in.leave),
    *approving.PAGES,
    *deciding.PAGES,
    *rates.PAGES,
    *ledgers.PAGES,
    *policies.PAGES,
    *signing_off.PAGES,
    *on_trial.PAGES,
    *debts.PAGES,
    *stopping.PAGES,
)


def console(desk: Desk) -> Starlette:
    """The application, to be mounted at /console."""

    def answering() -> set[str]:
        return {role for book in desk.live.now.places.books.values() for role in book.approvers}

    room = Room(desk, Logins(desk.store, desk.door.ring, answering, signing=Signing(desk)), environment())
    files = {name: (HERE / "static" / name).read_bytes() for name in STATIC}

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            raise HTTPException(404)
        return Response(files[name], 200, {**HEADERS, "cache-control": "private, max-age=3600"}, STATIC[name])

    async def not_so(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        said = NotIn(status, {404: "there is no such page", 405: "not in this way"}.get(status, "not so"))
        try:
            visitor = await later(lambda: room.logins.visitor(cookie(room, request)))
        except (NotIn, BylawError):  # then it is a page without a menu
            visitor = None
        return troubled(room, said, visitor)

    routes: list[Any] = [
        Route("/static/{name}", static),
        Route("/login", signing_in.door(room), methods=["GET"]),
        Route("/login", signing_in.enter(room), methods=["POST"]),
    ]
    for method, path, may, page in PAGES:
        made = reading(room, page, may) if method == "GET" else acting(room, page, may)
        routes.append(Route(path, made, methods=[method]))
    return Starlette(routes=routes, exception_handlers={HTTPException: not_so})

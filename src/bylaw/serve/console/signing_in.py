"""Signing in with a key, and out: the form, the cookie it is exchanged for, and what a wrong key is told."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from bylaw.errors import BylawError
from bylaw.serve.console.page import MENU, Asked, Room, cookie, drawn, form_of, safe_next, same_origin, set_cookie, to, troubled
from bylaw.serve.desk import Wrong, later
from bylaw.serve.door import NotIn

Endpoint = Callable[[Request], Awaitable[Response]]


def door(room: Room) -> Endpoint:
    """The page that asks for a key."""

    async def endpoint(request: Request) -> Response:
        wanted = safe_next(request.query_params.get("next", "/"))
        ended = "ended" in request.query_params
        notice = "Your session has ended, and nothing was done. Sign in again." if ended else ""
        if "out" in request.query_params:
            notice = "You are signed out."
        elsewhere = request.headers.get("sec-fetch-site") == "cross-site"  # then a strict cookie stays at home
        return drawn(room, "login.html", next=wanted, notice=notice, elsewhere=elsewhere)

    return endpoint


def enter(room: Room) -> Endpoint:
    """Somebody shows a key."""

    async def endpoint(request: Request) -> Response:
        wanted = "/"
        try:
            same_origin(room, request)
            form = await form_of(request)
            wanted = safe_next(form.get("next", "/"))
            address = request.client.host if request.client else ""
            held = await later(lambda: room.logins.enter(form.get("key", ""), address))
        except NotIn as error:
            again = {"retry-after": str(error.retry_after_s)} if error.retry_after_s else {}
            page = drawn(room, "login.html", error.status, next=wanted, alert=error.what, elsewhere=False)
            page.headers.update(again)
            return page
        except (Wrong, BylawError) as error:
            return troubled(room, error)
        return to(wanted, {"set-cookie": set_cookie(room, request, held)})

    return endpoint


async def leave(asked: Asked) -> Response:
    """Somebody goes."""
    await later(lambda: asked.room.logins.leave(cookie(asked.room, asked.request)))
    return to("/login?out=1", {"set-cookie": set_cookie(asked.room, asked.request, "")})


async def first(asked: Asked) -> Response:
    """The first page that this visitor may see."""
    return to(next((path for _, path, may in MENU if may in asked.visitor.may), "/login"))

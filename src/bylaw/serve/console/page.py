"""One page of the console: who may ask for it, what a form must carry, the template, and the headers that keep browsers strict.

A form changes something only where it comes from a page of this host (`Origin`), from somebody signed in, with the token of this login.
"""

import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qs, quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bylaw._version import __version__
from bylaw.errors import BylawError, LedgerError, StoreError
from bylaw.serve.console import showing
from bylaw.serve.console.logins import ABSOLUTE_MS, HOST_COOKIE, PLAIN_COOKIE, Logins, Visitor
from bylaw.serve.desk import NOT_DONE, Desk, Wrong, later
from bylaw.serve.door import NotIn
from bylaw.types import EMPTY

HERE: Final = Path(__file__).parent
ROOT: Final = "/console"
MAX_FORM_BYTES: Final = 256 * 1024
MAX_FIELDS: Final = 50
MAX_NEXT: Final = 500  # characters
POLL: Final = "x-bylaw-poll"
LOG: Final = logging.getLogger(__name__)
HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with `no-referrer` a browser would send forms with `Origin: null`
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=()",
    "cache-control": "no-store",
}
MENU: Final = (
    ("Approvals", "/approvals", "answer"),
    ("Decisions", "/decisions", "read"),
    ("Rates", "/rates", "read"),
    ("Ledger", "/ledger", "read"),
    ("Policy", "/policy", "read"),
    ("Sign-off", "/signing", "sign"),
    ("Debt", "/debt", "read"),
    ("Stop", "/stop", "read"),
)

May = Literal["read", "answer", "administer", "sign", "anything"]
ROLES: Final = {
    "read": "the role viewer or admin, for all tenants",
    "answer": "a role that some clause asks to approve, or approver or admin",
    "administer": "the role admin",
    "sign": "a role that the table of sign-offs asks for",
}


@dataclass
class Room:
    """What every page works with."""

    desk: Desk
    logins: Logins
    templates: Environment
    kept: dict[str, Any] = field(default_factory=dict)  # what pages remember between requests, each within its bound


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for a page, by somebody who may make it."""

    room: Room
    request: Request
    visitor: Visitor
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def desk(self) -> Desk:
        """What the pages show."""
        return self.room.desk

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page for this visitor."""
        return drawn(self.room, template, status, visitor=self.visitor, at=self.request.url.path.removeprefix(ROOT), **values)


Page = Callable[[Asked], Awaitable[Response]]


def environment() -> Environment:
    """The templates: everything is escaped, and nothing undefined passes for empty."""
    made = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, finalize=showing.plain)
    made.trim_blocks = made.lstrip_blocks = True
    for name in ("visible", "changed", "when", "stamp", "span", "short", "named", "words"):
        made.filters[name] = getattr(showing, name)
    made.globals.update(menu=MENU, root=ROOT, version=__version__)
    return made


def drawn(room: Room, template: str, status: int = 200, **values: Any) -> Response:
    """A page as a response."""
    values = {"visitor": None, "at": "", "notice": "", "alert": "", **values}
    text = room.templates.get_template(template).render(values)
    return Response(text.encode("utf-8", "replace"), status, HEADERS, "text/html; charset=utf-8")


def to(path: str, headers: Mapping[str, str] = EMPTY) -> Response:
    """Go on to another page of the console."""
    return RedirectResponse(f"{ROOT}{path}", 303, {**HEADERS, **headers})


def reading(room: Room, page: Page, may: May = "anything") -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that shows something."""

    async def endpoint(request: Request) -> Response:
        poll = POLL in request.headers
        try:
            visitor = await later(lambda: room.logins.visitor(cookie(room, request), poll))
        except (NotIn, BylawError) as error:
            return troubled(room, error)
        if visitor is None:
            if poll:
                return Response(b"", 401, HEADERS)
            return to(f"/login?next={quote(_here(request), safe='')}")
        return await _answered(room, Asked(room, request, visitor), page, may)

    return endpoint


def acting(room: Room, page: Page, may: May = "anything") -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that changes something."""

    async def endpoint(request: Request) -> Response:
        try:
            same_origin(room, request)
            form = await form_of(request)
            visitor = await later(lambda: room.logins.visitor(cookie(room, request)))
        except (NotIn, Wrong, BylawError) as error:
            return troubled(room, error)
        if visitor is None:
            return to("/login?ended=1")
        if not hmac.compare_digest(form.get("csrf", "").encode("utf-8", "replace"), visitor.csrf.encode()):
            return troubled(room, NotIn(403, "the form did not carry this login's token; nothing was done"), visitor)
        return await _answered(room, Asked(room, request, visitor, form), page, may)

    return endpoint


async def _answered(room: Room, asked: Asked, page: Page, may: May) -> Response:
    """The page, or in one clear line why not."""
    try:
        if may != "anything" and may not in asked.visitor.may:
            raise NotIn(403, f"this page needs a key with {ROLES[may]}; {asked.visitor.name}'s has none")
        return await page(asked)
    except (NotIn, Wrong, BylawError) as error:
        return troubled(room, error, asked.visitor)
    except Exception:
        LOG.exception("a fault in a page of the console")  # whoever asked learns that it did not work, and nothing else
        return troubled(room, NotIn(500, "a fault in this page; the gateway's log says which"), asked.visitor)


def troubled(room: Room, error: Exception, visitor: Visitor | None = None) -> Response:
    """Why there is no page."""
    status = error.status if isinstance(error, NotIn) else 400 if isinstance(error, Wrong) else 503
    what = error.what if isinstance(error, NotIn | BylawError) else str(error)
    hint = error.hint if isinstance(error, BylawError) else ""
    if isinstance(error, StoreError | LedgerError):
        LOG.error("%s", error.what)
        what, hint = (what, hint) if visitor is not None and "administer" in visitor.may else NOT_DONE
    return drawn(room, "trouble.html", status, visitor=visitor, what=what, hint=hint, code=status)


# ---- Forms and cookies -------------------------------------------------------------------------------------------------


def same_origin(room: Room, request: Request) -> None:
    """Raise NotIn where a form does not come from a page of this host. A proxy may end TLS: only host and port are compared, and the
    scheme where the operator said that it is https.
    """
    origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
    parts = urlsplit(origin) if len(origin) <= MAX_NEXT else urlsplit("")
    if not host or parts.scheme not in ("http", "https") or parts.netloc.lower() != host.lower():
        raise NotIn(403, "the form did not come from a page of this console; nothing was done")
    if room.desk.https and parts.scheme != "https":
        raise NotIn(403, "this came over plain http, and nothing was done; open the console at its https address")


async def form_of(request: Request) -> dict[str, str]:
    """A small form, as browsers send one; of each field the first value."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Wrong("this is no form")
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > MAX_FORM_BYTES:
            raise NotIn(413, f"a form may have {MAX_FORM_BYTES} bytes")
    try:
        fields = parse_qs(content.decode("ascii"), keep_blank_values=True, errors="replace", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Wrong("the form cannot be read") from None
    return {name: values[0] for name, values in fields.items()}


def cookie(room: Room, request: Request) -> str:
    """What the browser holds for a login."""
    return request.cookies.get(HOST_COOKIE, "") or ("" if room.desk.https else request.cookies.get(PLAIN_COOKIE, ""))


def set_cookie(room: Room, request: Request, value: str) -> str:
    """The header that gives a browser its cookie, or takes it back where `value` is empty."""
    secure = room.desk.https or request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")
    lasts = ABSOLUTE_MS // 1000 if value else 0
    name, more = (HOST_COOKIE, "; Secure") if secure else (PLAIN_COOKIE, "")
    return f"{name}={value}; Path=/; Max-Age={lasts}; HttpOnly; SameSite=Strict{more}"


def safe_next(wanted: str) -> str:
    """A page of this console to go on to; the first one, where what is asked for is no such page."""
    good = wanted.isascii() and wanted.isprintable() and len(wanted) <= MAX_NEXT and "\\" not in wanted
    return wanted if good and wanted.startswith("/") and not wanted.startswith("//") else "/"


def _here(request: Request) -> str:
    query = f"?{request.url.query}" if request.url.query else ""
    return request.url.path.removeprefix(ROOT) + query

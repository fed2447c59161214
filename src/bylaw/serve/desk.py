"""The desk behind the admin routes: what they work on, how a request is read, and how every fault becomes one clear line."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from bylaw.errors import BylawError
from bylaw.govern.appeals import Appeals
from bylaw.govern.approvals import Approvals
from bylaw.govern.keys import ADMIN
from bylaw.govern.quorum import Person
from bylaw.govern.stops import Stops
from bylaw.ledger.writer import Ledger
from bylaw.serve.door import LOCAL, Door, NotIn
from bylaw.serve.gate import Gate
from bylaw.serve.live import Live
from bylaw.serve.watchers import Watchers
from bylaw.store.database import Store
from bylaw.types import EMPTY

MAX_BODY_BYTES: Final = 64 * 1024
MAX_LISTED: Final = 500
MAX_QUERY: Final = 300  # characters of one value
LATER_S: Final = 3_600  # when to come again with one step too many
NOT_DONE: Final = ("this could not be done", "The gateway's log says why.")  # to whoever must not learn where files lie
LOG: Final = logging.getLogger(__name__)
HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Desk:
    """What the admin routes work on."""

    gate: Gate
    door: Door
    live: Live
    store: Store
    ledger: Ledger
    stops: Stops
    data_dir: Path
    local_model: bool = False  # the upstream must answer for this gateway to be ready
    run: Path | None = None  # whose results the console shows as the alignment debt
    watching: Watchers = field(default_factory=Watchers)
    draft: Path | None = None  # the policy's folder as it is worked on, where sign-offs and rulings are kept
    https: bool = False  # people reach the console through https alone

    @property
    def gates(self) -> list[Gate]:
        """The gateway's own gate, and those of its regions."""
        return [self.gate, *self.gate.regions.values()]

    @property
    def approvals(self) -> list[Approvals]:
        """The approvals of this gateway: one room, and one for each region."""
        found = [gate.approvals for gate in self.gates if gate.approvals is not None]
        if not found:
            raise NotIn(404, "there are no approvals on this gateway")
        return found

    def approvals_of(self, approval: str) -> tuple[Gate, Approvals]:
        """Where this request is kept; where nobody has it, the gateway's own room, which will say so."""
        for gate in self.gates:
            if gate.approvals is not None and gate.approvals.get(approval) is not None:
                return gate, gate.approvals
        return self.gate, self.approvals[0]

    @property
    def appeals(self) -> list[Appeals]:
        """The appeals of this gateway: one room, and one for each region."""
        return [gate.appeals for gate in self.gates if gate.appeals is not None]

    def appeals_of(self, appeal: str) -> Appeals:
        """Where this appeal is kept."""
        return next((room for room in self.appeals if room.get(appeal) is not None), self.appeals[0])

    def data_dirs(self, place: str = "") -> list[Path]:
        """Where ledgers lie: all, or that of one region."""
        named = [gate for name, gate in self.gate.regions.items() if name == place] if place else self.gates
        return [gate.data_dir for gate in named if gate.data_dir is not None]

    def reader(self, request: Request) -> Person:
        """Who reads: a key's holder, or whoever is on this machine, who may read all. Raises NotIn."""
        key = self.door.key(headers(request))
        return Person("local", (ADMIN,), "*") if key is None else key.person()

    def principal(self, request: Request) -> dict[str, Any]:
        """Who asks, as the ledger knows them. Raises NotIn."""
        key = self.door.key(headers(request))
        return dict(LOCAL) if key is None else key.principal()


class Wrong(Exception):  # noqa: N818  # becomes a 400
    """A request that cannot be read."""


Answer = Callable[[Desk, Request], Awaitable[Response]]


def answered(desk: Desk, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint: whatever goes wrong is said in one line."""

    async def endpoint(request: Request) -> Response:
        try:
            return await answer(desk, request)
        except NotIn as error:
            again = {"retry-after": str(error.retry_after_s)} if error.retry_after_s else {}
            return said({"error": {"message": error.what}}, error.status, again)
        except Wrong as error:
            return said({"error": {"message": str(error)}}, 400)
        except BylawError as error:
            LOG.error("%s", error.what)
            what, hint = (error.what, error.hint) if await later(lambda: _admin(desk, request)) else NOT_DONE
            return said({"error": {"message": what, "hint": hint}}, 503)

    return endpoint


def _admin(desk: Desk, request: Request) -> bool:
    """Whether whoever asks administers this gateway, and may see where its files lie."""
    try:
        desk.door.admin(headers(request))
    except (NotIn, BylawError):
        return False
    return True


def said(value: Any, status: int = 200, more: Mapping[str, str] = EMPTY) -> Response:
    """An answer as JSON."""
    return Response(orjson.dumps(value, default=str), status, {**HEADERS, **more}, "application/json")


def not_taken(why: str, text: str, statuses: Mapping[str, int]) -> Response:
    """A step that was not taken, and why; 409 where the room has no status of its own for it."""
    status = statuses.get(why, 409)
    return said({"error": {"message": text, "why": why}}, status, {"retry-after": str(LATER_S)} if status == 429 else {})


async def later(work: Callable[[], Any]) -> Any:
    """Do what waits for a disk in a thread."""
    return await asyncio.get_running_loop().run_in_executor(None, work)


def headers(request: Request) -> dict[bytes, bytes]:
    """The headers as they came."""
    return dict(request.scope["headers"])


async def body(request: Request, *needed: str, known: tuple[str, ...] = (), empty: bool = False) -> dict[str, Any]:
    """A small JSON body: an object with these texts, and what else is `known`. `empty`: nothing at all is good too."""
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > MAX_BODY_BYTES:
            raise NotIn(413, f"a body may have {MAX_BODY_BYTES} bytes")
    if not content and empty:
        return {}
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise Wrong("the body is not JSON") from None
    if not isinstance(value, dict):
        raise Wrong("the body is no JSON object")
    if unknown := sorted(value.keys() - {*needed, *known}):
        raise Wrong(f"the body has an unknown key {unknown[0][:60]!r}; it may have {', '.join((*needed, *known))}")
    for name in needed:
        if name not in value:
            raise Wrong(f"the body has no `{name}`")
    return value


def text(value: dict[str, Any], name: str, default: str = "") -> str:
    """A text of a body."""
    found = value.get(name, default)
    if not isinstance(found, str):
        raise Wrong(f"`{name}` must be a text")
    return found


def query(request: Request, *known: str, long: tuple[str, ...] = ()) -> dict[str, str]:
    """What the address asks for, each of it once; what is `long` has a bound of its own."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise Wrong(f"unknown {name[:60]!r} in the address; it may have {', '.join(known) or 'nothing'}")
        if name in found or (len(value) > MAX_QUERY and name not in long):
            raise Wrong(f"{name} may stand there once, with at most {MAX_QUERY} characters")
        found[name] = value
    return found


def limit(wanted: dict[str, str]) -> int:
    """How many are asked for."""
    shown = wanted.get("limit", "50")
    if not (shown.isascii() and shown.isdigit()) or len(shown) > 9 or not 1 <= int(shown) <= MAX_LISTED:
        raise Wrong(f"limit is a whole number from 1 to {MAX_LISTED}")
    return int(shown)


def one_of(wanted: dict[str, str], name: str, words: tuple[str, ...], default: str) -> str:
    """One of several words."""
    found = wanted.get(name, default)
    if found not in words:
        raise Wrong(f"{name} is one of {', '.join(words)}")
    return found

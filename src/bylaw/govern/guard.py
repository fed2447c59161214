"""The guard: the same engine, approvals and ledger inside one Python process, around its tools and its model.

1. What is judged is what runs: arguments are copied as plain JSON, judged, and the copy is passed on. What is no plain JSON is blocked.
2. A decision is recorded before it takes effect. A recorder that fails means block.
3. An emergency stop is looked up for every decision, and again right before a call runs. Stops that cannot be read are in force.
4. A call that needs approval raises `Pending` at once; nothing waits in a thread. The same call made again finds the answer, is judged
   again, and runs at most once. What it adds to the session's sums counts while it waits.
5. A session with a name is the same in every process on its store, and after a restart.
6. Whatever goes wrong on the way ends in `Blocked`.

Without a ledger nothing is recorded, and without approvals what needs a person is blocked: then a guard decides, and no more. What a guard
does not see, it does not govern: code that calls the plain function instead.
"""

import functools
import json
import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from bylaw.errors import BylawError, PolicyError, StoreError
from bylaw.govern import basis
from bylaw.govern.engine import decide
from bylaw.govern.outcomes import Blocked, both, named
from bylaw.govern.places import Calendar, Places
from bylaw.govern.rulebook import Rulebook
from bylaw.govern.session import Crowded, Sessions, Turn, crowded, owner
from bylaw.policy.reviews import Review
from bylaw.types import EMPTY, Decision, Event, Policy

LOCAL: Final[Mapping[str, Any]] = {"id": "local", "roles": [], "tenant": "", "jurisdiction": ""}
MAX_SHOWN: Final = 100_000  # characters of arguments that are no JSON, in a record
RECORD: Final = "record"  # named as undecided where the record could not be written
TRIES: Final = 12  # to judge in a session that other processes change meanwhile
WAIT_S: Final = 0.004  # at most, before the second try; twice as long before each further one
LONGEST_WAIT_S: Final = 0.1
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class Recorder(Protocol):
    """A ledger."""

    def append(self, entry: Mapping[str, Any]) -> object:
        """Record one entry and return after it is safe; any exception means that it is not."""


class Stopper(Protocol):
    """Emergency stops."""

    def applies(self, principal: Mapping[str, Any], tool: str = "") -> tuple[str, ...]:
        """Why this principal may not do this now; empty where nothing is stopped. From memory."""

    def applies_now(self, principal: Mapping[str, Any], tool: str = "") -> tuple[str, ...]:
        """The same, as it stands this moment."""


class Approver(Protocol):
    """Requests for approval: `govern.approvals.Approvals` is one. A `Refused` of `govern.quorum` says why a step was not taken."""

    def request(self, what: Mapping[str, Any], principal: Mapping[str, Any], decision: Decision) -> Any:
        """The request for exactly this call, with `id` and `state`: the one that exists, or a new one."""

    def claim(
        self,
        approval: str,
        what: Mapping[str, Any],
        principal: Mapping[str, Any],
        policy: str,
        rejudge: Callable[[], Decision],
        stops: Callable[[], Collection[str]],
    ) -> Any:
        """The right to run this call now, given at most once."""

    def finish(self, claim: Any, ended: Any, result: str = "") -> Any:
        """Say how an execution ended: `done` or `failed`."""


@dataclass(frozen=True, slots=True)
class Acting:
    """Who acts, in which session, and where."""

    principal: Mapping[str, Any] = field(default_factory=lambda: dict(LOCAL))
    session: str = ""
    env: Mapping[str, Any] = field(default_factory=dict)  # the hour is added, in UTC


@dataclass(frozen=True, slots=True)
class Judged:
    """A decision with what it was made on."""

    event: Event
    decision: Decision
    book: Rulebook
    placed: tuple[Any, ...] = ()  # hits with their places in the arguments
    votes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # of the checks that clauses require, by clause
    facts: Any = None  # what rails knew besides
    whole: bool = True
    cut: bool = False  # the event is not all that was judged


class Standing:
    """The policy in force and its rails, exchanged in one step."""

    now: tuple[Calendar, Mapping[str, Any]]


class Guard:
    """A policy in force in this process. Safe to use from many threads."""

    def __init__(  # noqa: PLR0913  # a front door: each part can be given, or left out
        self,
        policy: Policy | Path | str,
        *,
        store: Any = None,
        approvals: Approver | None = None,
        ledger: Recorder | Path | str | None = None,
        stops: Stopper | None = None,
        rails: Mapping[str, Any] | None = None,
        acting: Acting | None = None,
    ) -> None:
        """`store` (a path, a URL or an open store) brings approvals and stops; `ledger` is a recorder, or the folder of one."""
        self._given_rails = rails
        self._standing = Standing()  # shared by all that act through this guard
        self.use(policy)
        self.tools: dict[str, Callable[..., Any]] = {}  # those that this guard runs, by name
        self.acting_as = acting or Acting()
        self._unnamed = Sessions()
        from bylaw.govern import opening  # noqa: PLC0415  # the store and the ledger load only where there are any

        parts = opening.parts(store, approvals, ledger, stops)
        self.approvals, self.ledger, self.stops, self._close = parts.approvals, parts.ledger, parts.stops, parts.close
        self._sessions = parts.sessions

    @property
    def places(self) -> Places:
        """What holds where, today."""
        return self._standing.now[0].on(datetime.now(UTC).date())

    @property
    def rails(self) -> Mapping[str, Any]:
        """Every rail that can be asked."""
        return self._standing.now[1]

    def use(self, policy: Policy | Path | str) -> None:
        """Put another policy in force, at once and for all that act through this guard. One that does not load leaves the old in force."""
        written, reviews = (policy, ()) if isinstance(policy, Policy) else _read(Path(policy))
        rails = _known(written) if self._given_rails is None else self._given_rails
        self._standing.now = (Calendar.load(written, rails, datetime.now(UTC).date(), reviews=reviews), rails)

    def acting(self, principal: Mapping[str, Any], session: str = "", env: Mapping[str, Any] = EMPTY) -> "Guard":
        """The same guard for another principal or session; sums and taint of each session are its own."""
        other = object.__new__(Guard)
        other.__dict__.update(self.__dict__)
        other.acting_as = Acting(dict(principal), session, env)
        return other

    def check(self, event: Event, facts: Any = None, *, whole: bool = True) -> Decision:
        """Decide on an event, record it, and count it in the session. Who acts and the session are filled in where the event names none.

        `facts` (`govern.rails.rail.RailFacts`) is what rails may know besides: documents that an answer may rest on, the system prompt.
        What is not the `whole` of an answer is not put to the checks that clauses require.
        """

        def work(turn: Turn) -> Decision:
            judged = self.judge(self.filled(event, turn), facts, whole)
            decision = self.recorded(judged)
            if decision.effect != "require_approval":  # nobody was asked, so that nothing waits
                turn.history = turn.history.after(judged.event, decision, trusted=judged.book.trusted)
            return decision

        try:
            return self.in_turn(work)
        except StoreError as error:
            return self.undecidable(event, error)

    def tool(self, fn: F | None = None, *, name: str = "") -> Any:
        """Govern a function: judged before it runs, and its result before the caller sees it. A decorator, with a name or without."""
        if fn is None:
            return functools.partial(self.tool, name=name)
        from bylaw.govern.guarded_tool import guarded  # noqa: PLC0415  # it needs this module

        made = guarded(self, fn, name or fn.__name__)
        self.tools[name or fn.__name__] = made
        return made

    def client(self, client: Any) -> Any:
        """Govern an OpenAI client, plain or async: what is said to the model, and what it answers.

        Governed are `chat.completions.create` and `responses.create`, streamed or not; all else of it is refused.
        """
        from bylaw.govern.guarded_client import Client  # noqa: PLC0415  # it needs this module

        return Client(self, client)

    def steps(self, agent: Any, max_steps: int = 50) -> Any:
        """Let an agent act with the tools of this guard, step by step: see `stepping.run`. Of an async agent it is to be awaited."""
        from bylaw.govern import stepping  # noqa: PLC0415  # it needs this module

        return stepping.run(self, agent, max_steps)

    def close(self) -> None:
        """Let go of what this guard has opened."""
        self._close()

    # ---- What tools and clients are made of ---------------------------------------------------------------------------

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """This session, to read and to change; raises StoreError. One without a name is this process's own, and ends with it."""
        sessions = self._sessions if self.acting_as.session else self._unnamed
        with sessions.turn(owner(self.acting_as.principal), self.acting_as.session) as turn:
            yield turn

    def in_turn(self, work: Callable[[Turn], T]) -> T:
        """Work on this session, anew where another process has changed it meanwhile; raises StoreError."""
        for attempt in range(TRIES):
            try:
                with self.turn() as turn:
                    return work(turn)
            except Crowded:
                time.sleep(random.uniform(0, min(LONGEST_WAIT_S, WAIT_S * 2**attempt)))
        raise crowded()

    def undecidable(self, event: Event, error: BylawError) -> Decision:
        """The decision on an event whose session cannot be read or written, recorded."""
        principal = event.principal or self.acting_as.principal
        book = self.places.book(principal)
        stops = self.stopped(principal, event.tool, now=True)
        reason = "; ".join(sorted(stops)) or f"could not be decided: {error.what}"
        decision = Decision("stop" if stops else "block", (), (), book.digest, ("session",), reason)
        return self.recorded(Judged(replace(event, principal=principal), decision, book))

    def filled(self, event: Event, turn: Turn, without: str = "") -> Event:
        """An event with who acts, in which session, and when."""
        principal = event.principal or self.acting_as.principal
        book = self.places.book(principal)
        return replace(
            event,
            principal=principal,
            session=event.session or turn.history.facts(book.zeros, without),
            env=event.env or {**self.acting_as.env, "hour": datetime.now(UTC).hour},
        )

    def judge(self, event: Event, facts: Any = None, whole: bool = True) -> Judged:
        """Ask the rails and decide; nothing is recorded. An answer must also pass every check that a clause requires."""
        book = self.places.book(event.principal)
        names = book.rails_for(event.surface, event.tool)
        requiring = whole and event.surface == "output" and any(clause.requires for clause in book.policy.clauses)
        stops = self.stopped(event.principal, event.tool)
        if not names and not requiring:
            return Judged(event, decide(event, book, EMPTY, (), stops), book, whole=whole)
        from bylaw.govern.rails import ensemble  # noqa: PLC0415  # RE2 loads only where a rule asks a rail
        from bylaw.govern.rails.asking import Answer, ask  # noqa: PLC0415  # the same
        from bylaw.govern.rails.rail import NO_FACTS  # noqa: PLC0415  # the same

        agreeing = ensemble.ensembles(book.policy) if requiring else ()
        wanted = {*names, *(rail for one in agreeing for rail in one.rails)}
        try:
            answer = ask(event, wanted, self.rails, facts or NO_FACTS)
        except Exception:  # noqa: BLE001  # rails are asked about hostile text: whatever they throw, none of them was asked
            answer = Answer({}, frozenset(wanted))
        decision, votes = decide(event, book, answer.found, answer.failed, stops), {}
        for one in agreeing:
            agreement = ensemble.agree(one.checks, answer, one.clause)
            votes[one.clause] = dict(agreement.votes)
            if further := one.decided(agreement, book.digest):
                decision = both(decision, further)
        return Judged(event, decision, book, answer.placed, votes, facts, whole)

    def stopped(self, principal: Mapping[str, Any], tool: str = "", now: bool = False) -> tuple[str, ...]:
        """Why an emergency stop applies; `now` asks the store and not the memory."""
        if self.stops is None:
            return ()
        try:
            return tuple((self.stops.applies_now if now else self.stops.applies)(principal, tool))
        except Exception as error:  # noqa: BLE001  # stops that cannot be read are in force
            return (f"stops could not be read: {type(error).__name__}",)

    def recorded(self, judged: Judged, approval: str = "") -> Decision:
        """The decision once it is recorded; a block where it cannot be."""
        event, decision = judged.event, judged.decision
        contents: dict[str, Any] = {"text": event.text} if isinstance(event.text, str) and event.text else {}
        checks = {"checks": dict(judged.votes)} if judged.votes else {}
        entry = {
            "kind": "decision",
            "session": self.acting_as.session,
            "principal": str(event.principal.get("id", "")),
            "surface": event.surface,
            "tool": event.tool,
            "decision": decision.effect,
            "clauses": list(decision.clauses),
            "rules": list(decision.rules),
            "policy": decision.policy,
            "approval": approval,
            "contents": contents | ({"args": _shown(event.args)} if event.args else {}) | basis.of_event(event, judged.facts, judged.whole),
            "facts": {"route": "guard", **basis.facts(judged.cut)} | basis.undecided(decision) | checks,
        }
        return decision if self.record(entry) else unrecorded(decision)

    def record(self, entry: Mapping[str, Any]) -> bool:
        """Whether an entry is safe. Without a ledger there is none to keep."""
        if self.ledger is None:
            return True
        try:
            self.ledger.append(entry)
        except Exception:  # noqa: BLE001  # whatever keeps a record from being written, nothing happens without one
            return False
        return True


def unrecorded(decision: Decision) -> Decision:
    """A decision that no record could be written of: stop stays stop, all else is a block."""
    if decision.effect in ("stop", "block"):
        return decision
    reason = "could not be decided: the record cannot be written"
    return replace(decision, effect="block", undecided=(*decision.undecided, RECORD), reason=reason, needs=())


def blocked(decision: Decision, what: str) -> Blocked:
    """The error for a decision that lets nothing through."""
    kind = "an emergency stop is in force" if decision.effect == "stop" else named(decision)
    return Blocked(decision, f"{what}: {decision.effect} by {kind}" + (f" ({decision.reason})" if decision.reason else ""))


def _shown(args: Any) -> str:
    """Arguments for the record, whatever they are."""
    try:
        return json.dumps(args, ensure_ascii=False, default=repr, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return repr(args)[:MAX_SHOWN]


def _read(path: Path) -> tuple[Policy, Sequence[Review]]:
    """A policy and its verified reviews, without which no overlay loosens anything."""
    from bylaw.policy.parse import load  # noqa: PLC0415  # a guard may be given a policy that is read already
    from bylaw.policy.reviews import reviewed  # noqa: PLC0415  # the same

    policy = load(path)
    return policy, reviewed(path, policy).reviews if policy.overlays and path.is_dir() else ()


def _known(policy: Policy) -> Mapping[str, Any]:
    clauses = (*policy.clauses, *(clause for overlay in policy.overlays for clause in overlay.clauses))
    if not any(clause.requires or any(rule.detect for rule in clause.enforce) for clause in clauses):
        return {}
    try:
        from bylaw.govern.rails.library import known  # noqa: PLC0415  # RE2 loads only where a rule asks a rail
    except ImportError as error:
        raise PolicyError(f"the policy asks rails, and a package is missing: {error.name}", "pip install '.[serve,pii]'") from error
    return known()

"""The policy in force: its files and its history lie in the store, so that all gateways on one store have the same.

A policy is made ready before it replaces anything: read, conditions typed, every example of an event tried; and it must have leave to
(`leave`): its own table and that of the policy in force are signed. Where one of these fails the old one stays, here and in each process.
Whoever activates puts the packed files into the store, and writes the activation in the transaction that raises the version `policy`; each
process looks four times a second, checks the files against their digest, unpacks them into a folder of its own, makes the policy ready
beside the old one, and exchanges them in one step.

What holds in a place may change at midnight UTC, when an overlay comes into force: that was made ready beforehand, and asks nobody.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import Connection

from bylaw.errors import BylawError, PolicyError, StoreError
from bylaw.govern.places import Calendar, Places
from bylaw.govern.rails import ensemble, library
from bylaw.govern.rails.asking import ask
from bylaw.govern.rails.rail import Rail, RailFacts
from bylaw.govern.rulebook import Rulebook
from bylaw.policy.parse import load
from bylaw.policy.reviews import reviewed
from bylaw.policy.signoffs import status
from bylaw.serve import bundle
from bylaw.serve import leave as leaves
from bylaw.serve.law import Found, Law
from bylaw.serve.leave import Leave, Only, Overtaken
from bylaw.store import policy_rows
from bylaw.store.database import Store
from bylaw.store.policy_rows import Activation
from bylaw.store.watching import Watch
from bylaw.types import Event, Policy

FOLDER: Final = "policies"  # of a data directory, where a history was kept before it was in the store
HISTORY: Final = "history.jsonl"
MAX_HISTORY: Final = 10_000  # lines that are taken over
AGAIN_S: Final = 1.0  # after which it is looked again, where the store could not be read
DAY_S: Final = 86_400
MAX_TRIES: Final = 5  # of an activation that another one overtakes
LOG: Final = logging.getLogger(__name__)

Record = Callable[[Mapping[str, Any]], object]
Rails = Callable[[Policy], Mapping[str, Rail]]  # all rails that a policy may name


class Share(Protocol):
    """A candidate that holds for some: `trying.Share` is one."""

    trial: int

    def in_force(self, principal: Mapping[str, Any], now: "InForce", talk: str = "") -> "InForce":
        """What holds for a principal, in a conversation."""


def no_judges(policy: Policy) -> Mapping[str, Rail]:
    """The rails that need no model."""
    return library.known()


@dataclass
class InForce:
    """One policy, ready for every place and every day to come, and whose sign-offs are missing."""

    calendar: Calendar
    laws: Mapping[int, Law]  # by the identity of the rulebook
    unsigned: tuple[str, ...]
    clock: Callable[[], float] = time.time
    _day: int = -1
    _places: Places | None = None

    @property
    def places(self) -> Places:
        """What holds where, today in UTC. A clock that is set back repeals nothing."""
        day = int(self.clock() // DAY_S)
        if self._places is None or day > self._day:
            self._places = self.calendar.on(datetime.fromtimestamp(day * DAY_S, UTC).date())
            self._day = day
        return self._places

    @property
    def digest(self) -> str:
        """The policy's digest."""
        return self.calendar.days[0][1].policy.digest

    def law(self, principal: Mapping[str, Any]) -> Law:
        """What holds for a principal."""
        return self.laws[id(self.places.book(principal))]


def ready(folder: Path, rails_of: Rails = no_judges, on: date | None = None, clock: Callable[[], float] = time.time) -> InForce:
    """Make the policy in a folder ready for the day `on` and all days after it; raises PolicyError."""
    policy = load(folder)
    rails, reviews = rails_of(policy), reviewed(folder, policy).reviews
    calendar = Calendar.load(policy, rails, on or datetime.fromtimestamp(clock(), UTC).date(), reviews=reviews)
    unsigned = tuple(f"{one.clause}: {'; '.join(one.missing)}" for one in status(policy, reviews) if one.missing)
    books = {id(book): book for _, places in calendar.days for book in places.books.values()}
    return InForce(calendar, {key: law_of(book, rails) for key, book in books.items()}, unsigned, clock)


def law_of(book: Rulebook, rails: Mapping[str, Rail]) -> Law:
    """A rulebook with the rails that stand behind it; raises PolicyError where a check that it requires is missing."""
    ensemble.demand(book.policy, rails)

    def asked(event: Event, names: Any, facts: RailFacts) -> tuple[Found, frozenset[str]]:
        answer = ask(event, names, rails, facts)
        return answer.found, answer.failed

    spans = {name: rails[name].longest for name in book.rails}
    return Law(book, asked, spans, frozenset(name for name in book.rails if rails[name].cost > 1))


# ---- In the store ----------------------------------------------------------------------------------------------------


def history(store: Store) -> list[dict[str, Any]]:
    """What was put in force, oldest first, for machines."""
    return [
        {"digest": one.digest, "version": one.version, "at": _iso(one.at), "by": one.by, "content": one.content}
        | ({"unsigned": one.unsigned} if one.unsigned else {})
        for one in policy_rows.history(store)
    ]


def latest(store: Store) -> Activation | None:
    """What is in force."""
    with store.reading() as connection:
        return policy_rows.latest(connection)


def loaded(store: Store, one: Activation, rails_of: Rails = no_judges) -> InForce:
    """A policy out of the store, ready; raises PolicyError where its files are not what was activated."""
    with bundle.unpacked(policy_rows.files(store, one.content)) as folder:
        made = ready(folder, rails_of)
    if made.digest != one.digest:
        raise PolicyError(f"what is kept as {one.digest} is another policy", "Activate it again from its source.")
    return made


@contextmanager
def kept(store: Store, digest: str) -> Iterator[Path]:
    """The folder of a policy that was activated before, for as long as the block runs; its digest, or what it begins with."""
    _, content = policy_rows.named(store, digest)
    with bundle.unpacked(policy_rows.files(store, content)) as folder:
        yield folder


def activate(
    store: Store, record: Record, folder: Path, by: str, unsigned: str = "", rails_of: Rails = no_judges
) -> tuple[InForce, Activation]:
    """Put the policy in a folder in force on every process; raises PolicyError, and then nothing has changed.

    `unsigned` is an operator's reason why it is in force although signatures are missing (`leave`).
    """
    files = bundle.pack(folder)
    made = ready(folder, rails_of)
    left = MAX_TRIES
    while True:
        allowed, left = leaves.asked(store, files, unsigned), left - 1
        if bundle.pack(folder) != files:
            raise PolicyError(f"{folder} changed while it was activated", "Try again.")
        try:
            return put_in_force(store, record, made, files, by, allowed)
        except Overtaken:  # by one whose table may ask for something else
            if not left:
                raise


def put_back(store: Store, record: Record, digest: str, by: str, seen: str, rails_of: Rails = no_judges) -> tuple[InForce, Activation]:
    """Put a policy in force again that was before, as it was then, if `seen` still is; raises PolicyError, Overtaken for the latter.

    `digest` is its digest, or what that begins with. Sign-offs are not asked for once more.
    """
    then = policy_rows.was_in_force(store, digest)
    made, last = loaded(store, then, rails_of), latest(store)
    back = Leave("rollback", then.digest, last, because=then.unsigned, only=while_in_force(seen))
    return put_in_force(store, record, made, policy_rows.files(store, then.content), by, back)


def while_in_force(seen: str) -> Only:
    """An activation is only made where the policy with this digest is still in force."""

    def only(connection: Connection) -> None:
        last = policy_rows.latest(connection)
        if last is None or last.digest != seen:
            raise Overtaken("another policy was put in force meanwhile", "Nothing was changed. Look again at what is in force.")

    return only


def put_in_force(store: Store, record: Record, made: InForce, files: bytes, by: str, leave: Leave) -> tuple[InForce, Activation]:
    """Put a policy in force that was made ready of these files. The record comes first; that a leave no longer holds is recorded too."""
    now_ms, leave = round(time.time() * 1000), leave.of(made.digest)
    content = policy_rows.keep(store, made.digest, files, now_ms)
    policy = made.places.policy
    facts = {"step": "activated", "id": policy.id, "unsigned": len(made.unsigned), "content": content, **leave.facts()}
    record({"kind": "policy", "principal": by, "policy": made.digest, "facts": facts})
    one = Activation(made.digest, content, policy.version, now_ms, by, leave.because)

    try:
        with store.writing() as connection:
            policy_rows.activated(connection, one, leave.still)
    except (PolicyError, StoreError) as error:
        step = "not activated" if isinstance(error, PolicyError) else "perhaps not activated"  # its answer may have been lost
        record({"kind": "policy", "principal": by, "policy": made.digest, "facts": {"step": step, "why": error.what[:500]}})
        raise
    return made, one


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()


# ---- Taken over from a data directory --------------------------------------------------------------------------------


def take_over(data_dir: Path, store: Store) -> None:
    """Bring the policies and the history that an older bylaw kept in files into the store, once, in their order.

    Where the store has a history already, it stays as it is, and the policies are only known by their digests.
    """
    path = data_dir / FOLDER / HISTORY
    if not path.exists():
        return
    lines = [one for line in path.read_text("utf-8", "replace").splitlines()[-MAX_HISTORY:] if (one := _line(line)) is not None]
    contents = {digest: _taken(store, data_dir / FOLDER, digest) for digest in dict.fromkeys(str(one["digest"]) for one in lines)}
    past = [
        Activation(one["digest"], contents[one["digest"]], str(one.get("version", "")), _ms(one), str(one.get("by", ""))) for one in lines
    ]
    if not policy_rows.adopted(store, past):
        LOG.warning("%s: the store has a history of its own, which stays; these policies are known by their digests", path)
    with suppress(FileNotFoundError):  # another process was faster
        path.replace(path.with_suffix(".taken-over"))


def _taken(store: Store, folder: Path, digest: str) -> str:
    """Keep one policy's files; empty where they cannot be read. That they are that policy is checked whenever they are used."""
    name = digest.removeprefix("sha256:")
    try:
        return policy_rows.keep(store, digest, bundle.pack(folder / name), round(time.time() * 1000)) if name.isalnum() else ""
    except PolicyError as error:
        LOG.warning("%s is in the history, and its files cannot be kept: %s", digest, error.what)
        return ""


def _line(line: str) -> dict[str, Any] | None:
    """A line of the history; half a line, of a process that died while it wrote, is none."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("digest"), str) else None


def _ms(line: Mapping[str, Any]) -> int:
    try:
        return round(datetime.fromisoformat(str(line.get("at"))).timestamp() * 1000)
    except ValueError:
        return 0


# ---- In each process -------------------------------------------------------------------------------------------------


@dataclass
class Live:
    """What is in force in this process; exchanged when the store says so."""

    store: Store
    now: InForce
    content: str = ""  # the digest of the files it was made of
    rails_of: Rails = no_judges
    refused: str = ""  # why the latest activation is not in force here
    share: "Share | None" = None  # whoever is under a canary instead: `trying`
    _wanted: threading.Event = field(default_factory=threading.Event)
    _closed: bool = False
    _thread: threading.Thread | None = None

    def law(self, principal: Mapping[str, Any]) -> Law:
        """What holds for a principal."""
        share = self.share
        return (self.now if share is None else share.in_force(principal, self.now)).law(principal)

    def of_talk(self, principal: Mapping[str, Any], talk: Callable[[], str]) -> Law:
        """What holds for a principal in a conversation; its name is asked for only while there is a canary."""
        share = self.share
        return (self.now if share is None else share.in_force(principal, self.now, talk())).law(principal)

    def follow(self, watch: Watch) -> None:
        """Look whenever the version has risen. Making ready takes longer than a look may, so that it has a thread of its own."""
        self._thread = threading.Thread(target=self._go_on, name="bylaw-policy", daemon=True)
        self._thread.start()
        watch.add(policy_rows.NAME, self._risen)

    def _risen(self, connection: Connection) -> None:
        self._wanted.set()

    def _go_on(self) -> None:
        again = False
        while (self._wanted.wait(AGAIN_S if again else None) or again) and not self._closed:
            self._wanted.clear()
            try:
                again = not self.look()
            except Exception:  # this thread must live to see the next one
                LOG.exception("whether another policy is in force could not be looked up")
                again = True

    def look(self) -> bool:
        """Put in force what the store says; where it cannot stand, the old one stays. False where the store could not be asked."""
        try:
            one = latest(self.store)
        except StoreError:
            return False  # the view is no longer fresh, which stops everything; here it is tried again
        if one is None or (one.content == self.content and one.digest == self.now.digest):
            self.refused = ""
            return True
        try:
            made = loaded(self.store, one, self.rails_of)
        except StoreError as error:
            return self._refuse(f"{one.digest}: {error.what}")
        except BylawError as error:
            return not self._refuse(f"{one.digest}: {error.what}")
        except Exception as error:  # whatever a damaged file does to a reader: the old one stays
            LOG.exception("a policy cannot be read")
            return not self._refuse(f"{one.digest}: {type(error).__name__}")
        self.put(made, one.content)
        return True

    def made(self, folder: Path) -> InForce:
        """The policy in a folder, ready as this process would have it; raises PolicyError."""
        return ready(folder, self.rails_of)

    def put(self, made: InForce, content: str = "") -> None:
        """Exchange what is in force."""
        self.now, self.content, self.refused = made, content, ""
        LOG.info("policy %s is in force", made.digest)

    def _refuse(self, why: str) -> bool:
        self.refused = why
        LOG.error("a policy is refused, the old one stays: %s", why)
        return False

    def close(self) -> None:
        """Stop looking."""
        self._closed = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

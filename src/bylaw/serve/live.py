"""The policy in force: kept in the data directory, activated for all processes at once, rolled back by its digest.

    DATA/policies/<digest>/      every policy that was ever activated, as it was written
    DATA/policies/history.jsonl  what was activated when, by whom; the last line is in force

A policy is made ready before it replaces anything: read, conditions typed, every example of an event tried, sign-offs complete. Where one
of these fails the old one stays, here and in each process. Whoever activates raises the version `policy` in the store; each process looks
four times a second, makes the new one ready beside the old one, and exchanges them in one step.
"""

import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from bylaw.errors import BylawError, PolicyError
from bylaw.govern.places import Places
from bylaw.govern.rails import library
from bylaw.govern.rails.asking import ask
from bylaw.govern.rails.rail import Rail, RailFacts
from bylaw.govern.rulebook import Rulebook
from bylaw.policy.parse import load
from bylaw.policy.reviews import reviewed
from bylaw.policy.signoffs import status
from bylaw.serve.law import Found, Law
from bylaw.store import versions
from bylaw.store.database import Store
from bylaw.store.watching import Watch
from bylaw.types import Event

NAME: Final = "policy"  # of the version counter
FOLDER: Final = "policies"
HISTORY: Final = "history.jsonl"
MAX_HISTORY: Final = 10_000  # lines that are read
LOG: Final = logging.getLogger(__name__)

Record = Callable[[Mapping[str, Any]], object]


@dataclass(frozen=True)
class InForce:
    """One policy, ready in every place, and whose sign-offs are missing."""

    places: Places
    laws: Mapping[int, Law]  # by the identity of the rulebook
    unsigned: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The policy's digest."""
        return self.places.policy.digest

    def law(self, principal: Mapping[str, Any]) -> Law:
        """What holds for a principal."""
        return self.laws[id(self.places.book(principal))]


def ready(folder: Path, rails: Mapping[str, Rail] | None = None, on: date | None = None) -> InForce:
    """Make the policy in a folder ready; raises PolicyError."""
    rails = library.known() if rails is None else rails
    policy = load(folder)
    reviews = reviewed(folder, policy).reviews
    places = Places.load(policy, rails, on or datetime.now(UTC).date(), reviews=reviews)
    unsigned = tuple(f"{one.clause}: {'; '.join(one.missing)}" for one in status(policy, reviews) if one.missing)
    return InForce(places, {id(book): law_of(book, rails) for book in places.books.values()}, unsigned)


def law_of(book: Rulebook, rails: Mapping[str, Rail]) -> Law:
    """A rulebook with the rails that stand behind it."""

    def asked(event: Event, names: Any, facts: RailFacts) -> tuple[Found, frozenset[str]]:
        answer = ask(event, names, rails, facts)
        return answer.found, answer.failed

    spans = {name: rails[name].longest for name in book.rails}
    return Law(book, asked, spans, frozenset(name for name in book.rails if rails[name].cost > 1))


# ---- In the data directory -------------------------------------------------------------------------------------------


def folder_of(data_dir: Path, digest: str) -> Path:
    """Where a policy is kept."""
    name = digest.removeprefix("sha256:")
    found = [path for path in (data_dir / FOLDER).glob(f"{name}*") if path.is_dir()] if name.isalnum() else []
    if len(found) != 1:
        raise PolicyError(f"{digest}: {'several policies begin so' if found else 'no such policy was ever activated here'}", "See --list.")
    return found[0]


def history(data_dir: Path) -> list[dict[str, Any]]:
    """What was activated, oldest first."""
    path = data_dir / FOLDER / HISTORY
    if not path.exists():
        return []
    lines = path.read_text("utf-8").splitlines()[-MAX_HISTORY:]
    return [one for line in lines if (one := _line(line)) is not None]


def _line(line: str) -> dict[str, Any] | None:
    """A line of the history; half a line, of a process that died while it wrote, is none."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("digest"), str) else None


def activate(data_dir: Path, store: Store, record: Record, folder: Path, by: str, unsigned: bool = False) -> InForce:
    """Put the policy in a folder in force on every process; raises PolicyError, and then nothing has changed.

    `unsigned` puts it in force although sign-offs are missing.
    """
    made = ready(folder)
    if made.unsigned and not unsigned:
        raise PolicyError(f"not signed off: {made.unsigned[0]}" + _more(made.unsigned), "See `bylaw policy signoffs`.")
    kept = _kept(data_dir, folder, made.digest)
    if ready(kept).digest != made.digest:
        raise PolicyError(f"{folder} changed while it was activated", "Try again.")
    facts = {"step": "activated", "id": made.places.policy.id, "unsigned": len(made.unsigned)}
    record({"kind": "policy", "principal": by, "policy": made.digest, "facts": facts})
    line = json.dumps({"digest": made.digest, "version": made.places.policy.version, "at": datetime.now(UTC).isoformat(), "by": by})
    with (data_dir / FOLDER / HISTORY).open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())
    with store.writing() as connection:
        versions.raised(connection, NAME)
    return made


def _more(unsigned: tuple[str, ...]) -> str:
    return f", and {len(unsigned) - 1} more" if len(unsigned) > 1 else ""


def _kept(data_dir: Path, folder: Path, digest: str) -> Path:
    """A copy of a policy's folder under its digest; reviews are the newest."""
    kept = data_dir / FOLDER / digest.removeprefix("sha256:")
    if kept.resolve() == folder.resolve():
        return kept
    fresh = kept.with_name(f".{kept.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(folder, fresh, ignore=shutil.ignore_patterns(".git"))
    shutil.rmtree(kept, ignore_errors=True)
    fresh.replace(kept)
    return kept


# ---- In each process -------------------------------------------------------------------------------------------------


@dataclass
class Live:
    """What is in force in this process; exchanged when the history says so."""

    data_dir: Path
    now: InForce
    refused: str = ""  # why the latest activation is not in force here
    _wanted: threading.Event = field(default_factory=threading.Event)
    _closed: bool = False
    _thread: threading.Thread | None = None

    def law(self, principal: Mapping[str, Any]) -> Law:
        """What holds for a principal."""
        return self.now.law(principal)

    def follow(self, watch: Watch) -> None:
        """Look whenever the version has risen. Making ready takes longer than a look may, so that it has a thread of its own."""
        self._thread = threading.Thread(target=self._go_on, name="bylaw-policy", daemon=True)
        self._thread.start()
        watch.add(NAME, self._risen)

    def _risen(self, connection: Connection) -> None:
        self._wanted.set()

    def _go_on(self) -> None:
        while self._wanted.wait() and not self._closed:
            self._wanted.clear()
            self.look()

    def look(self) -> None:
        """Put in force what the history says; where it cannot stand, the old one stays."""
        past = history(self.data_dir)
        if not past or past[-1]["digest"] == self.now.digest:
            return
        digest = past[-1]["digest"]
        try:
            made = ready(folder_of(self.data_dir, digest))
            if made.digest != digest:
                raise PolicyError(f"what is kept as {digest} is another policy", "Activate it again from its source.")
        except BylawError as error:
            self.refused = f"{digest}: {error.what}"
            LOG.error("a policy is refused, the old one stays: %s", self.refused)
            return
        except Exception as error:  # whatever a damaged file does to a reader: the old one stays
            self.refused = f"{digest}: {type(error).__name__}"
            LOG.exception("a policy is refused, the old one stays")
            return
        self.now, self.refused = made, ""
        LOG.info("policy %s is in force", digest)

    def close(self) -> None:
        """Stop looking."""
        self._closed = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

"""The leave to come into force: asked for in this one place, on every way a policy may take.

    a folder, activated      signed: its own table, and that of the policy in force (`policy.succession`)
    a canary, begun, promoted the same
    `serve --policy`         the same; where nothing is in force yet, what is missing is said and not asked for
    a rollback               to what was in force here before, as it was then
    an operator's override   what is missing is named, with a reason, in the ledger and in the store

Whoever may write the folder of a policy has none of these by that alone. Whoever may write the store, or give orders at the command line
of its machine, has all of them: the ledger says what they did.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import Connection

from bylaw.errors import PolicyError
from bylaw.policy import succession
from bylaw.policy.parse import load
from bylaw.policy.reviews import reviewed
from bylaw.policy.signoffs import status
from bylaw.serve import bundle
from bylaw.store import policy_rows
from bylaw.store.database import Store
from bylaw.store.policy_rows import Activation
from bylaw.types import Policy

MAX_REASON: Final = 500  # characters
UNREAD: Final = "the policy in force in the store cannot be read"
MAX_NAMED: Final = 20  # things that are missing which an error or an entry of the ledger names

Only = Callable[[Connection], object]  # raises PolicyError where an activation must not be; in the transaction that makes it
How = Literal["first", "same", "signed", "rollback", "unsigned"]


class Overtaken(PolicyError):  # noqa: N818  # read as what it says: `except Overtaken`
    """Somebody else was faster, and nothing was changed."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Why a policy may come into force, and what was in force when that was found."""

    how: How
    digest: str  # of the policy that it was asked for
    beside: Activation | None
    missing: tuple[str, ...] = ()
    because: str = ""  # the operator's reason, where signatures are missing
    only: Only = lambda connection: None  # what else must still be so

    def still(self, connection: Connection) -> None:
        """Raises Overtaken where another policy came into force since: its table may ask for something else. Asked when nobody else can."""
        self.only(connection)
        if policy_rows.latest(connection) != self.beside:
            raise Overtaken("another policy was put in force meanwhile", "Nothing was changed. Look again at what is in force.")

    def of(self, digest: str) -> "Leave":
        """This leave, where it was asked for this very policy; raises PolicyError where the folder was changed in between."""
        if digest != self.digest:
            raise PolicyError(f"the policy changed while it was read: {digest} is not {self.digest}", "Try again.")
        return self

    def facts(self) -> dict[str, Any]:
        """What the ledger says of it."""
        said: dict[str, Any] = {"leave": self.how}
        if self.because:
            said |= {"because": self.because, "missing": list(self.missing[:MAX_NAMED])}
        return said


def asked(store: Store, files: bytes, because: str = "", first: bool = False) -> Leave:
    """The leave for packed files; raises PolicyError where signatures are missing, and nobody with the right to says `because`.

    Args:
        first: where nothing is in force, or this very policy, its own table is not asked: a start says what is missing, and goes on.
    """
    reason = _reason(because)
    with store.reading() as connection:
        last = policy_rows.latest(connection)
    with bundle.unpacked(files) as folder:
        policy = load(folder)
        missing = () if last is None else _under(store, last, policy, folder)
        if not (first and (last is None or last.digest == policy.digest)):
            missing += _own(policy, folder, missing)
    if not missing and last is not None and last.digest == policy.digest:
        return Leave("same", policy.digest, last, because=last.unsigned)
    if not missing:
        return Leave("first" if last is None else "signed", policy.digest, last)
    if not reason:
        more = f"; and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
        raise PolicyError(f"not signed off: {'; '.join(missing[:MAX_NAMED])}{more}", _hint(missing))
    return Leave("unsigned", policy.digest, last, missing, reason)


def under_table(store: Store, policy: Policy, path: Path) -> tuple[str, ...]:
    """What the table in force misses in a policy that no store activates, with the records at its path; empty: nothing is missing."""
    with store.reading() as connection:
        last = policy_rows.latest(connection)
    return () if last is None else _under(store, last, policy, path)


def protected(store: Store) -> bool:
    """Whether the policy in force asks for signatures; one that cannot be read may."""
    with store.reading() as connection:
        last = policy_rows.latest(connection)
    if last is None:
        return False
    try:
        with _in_force(store, last) as (_, policy):
            return bool(policy.signoffs)
    except PolicyError:
        return True


def _own(policy: Policy, folder: Path, said: tuple[str, ...]) -> tuple[str, ...]:
    """What a policy's own table misses, of the clauses that nothing is said of yet."""
    named = {one.partition(": ")[0].partition(",")[0].partition(" in overlay ")[0] for one in said}
    own = (one for one in status(policy, reviewed(folder, policy).reviews) if one.missing and one.clause not in named)
    return tuple(f"{one.clause}: {'; '.join(one.missing)}" for one in own)


def _under(store: Store, last: Activation, policy: Policy, folder: Path) -> tuple[str, ...]:
    try:
        with _in_force(store, last) as (old, in_force):
            return succession.missing_in(folder, policy, old, in_force)
    except PolicyError as error:
        if policy.digest == last.digest:  # it is the same one: nothing of it changes
            return ()
        return (f"{UNREAD}, so that nobody can tell who must sign: {error.what}",)


@contextmanager
def _in_force(store: Store, last: Activation) -> Iterator[tuple[Path, Policy]]:
    """The policy in force in a folder of its own, for as long as the block runs; raises PolicyError."""
    with bundle.unpacked(policy_rows.files(store, last.content)) as folder:
        policy = load(folder)
        if policy.digest != last.digest:
            raise PolicyError(f"what is kept as {last.digest} is another policy", "Activate it again from its source.")
        yield folder, policy


def _hint(missing: tuple[str, ...]) -> str:
    frame = "The frame: `bylaw policy sign DIR --frame`. " if any(one.startswith("the frame") for one in missing) else ""
    if any(one.startswith("the record") for one in missing):
        frame = f"{frame}Put the records back into reviews/ as they were. "
    word = "An operator may say why not: bylaw policy activate DIR --unsigned REASON."
    if missing[0].startswith(UNREAD):
        return word
    return f"See `bylaw policy signoffs DIR --in-force`. {frame}{word}"


def _reason(because: str) -> str:
    """An operator's reason, checked; raises PolicyError."""
    reason = because.strip()
    if (because and not reason) or len(reason) > MAX_REASON or not reason.isprintable():
        raise PolicyError(
            f"a reason is one line of 1 to {MAX_REASON} characters",
            "Say why it comes into force without its signatures: --unsigned REASON.",
        )
    return reason

"""Policies in the store: their files under the digest of what they are, and which was put in force when, by whom.

Files never change: other files are another row. Activations are numbered by the version `policy` that each raises in its own
transaction, so that there is one order of them for all processes.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Select, insert, select

from bylaw.canonical import digest_bytes
from bylaw.errors import PolicyError, StoreError
from bylaw.store import versions
from bylaw.store.database import Store
from bylaw.store.policy_tables import ACTIVATIONS, POLICIES

NAME: Final = "policy"  # of the version counter
MAX_BYTES: Final = 16 * 1024 * 1024  # of one policy's packed files
MAX_LISTED: Final = 10_000  # activations that are read
DIGEST_CHARS: Final = 64


class Activation(NamedTuple):
    """A policy was put in force."""

    digest: str
    content: str
    version: str
    at: int  # ms
    by: str
    unsigned: str = ""  # why it was put in force although signatures were missing, as the operator said


def keep(store: Store, digest: str, files: bytes, now_ms: int) -> str:
    """Keep a policy's packed files; the digest of them. The same files again are kept once."""
    if len(files) > MAX_BYTES:
        raise StoreError(f"the policy's files have {len(files)} bytes packed", f"At most {MAX_BYTES}: leave out what is no part of it.")
    content = digest_bytes(files)
    with store.reading() as connection:
        known = connection.execute(select(POLICIES.c.content).where(POLICIES.c.content == content)).first()
    if known is None:
        store.inserted(insert(POLICIES).values(content=content, digest=digest, files=files, kept_at=now_ms))
    return content


def files(store: Store, content: str) -> bytes:
    """The packed files kept under a digest, checked; raises PolicyError where they are not what was kept."""
    with store.reading() as connection:
        found = connection.execute(select(POLICIES.c.files).where(POLICIES.c.content == content)).scalar()
    if found is None:
        raise PolicyError(f"the files of a policy are not in the store ({content or 'never kept'})", "Activate it again from its folder.")
    if digest_bytes(bytes(found)) != content:
        raise PolicyError(f"the files of a policy were changed in the store ({content})", "Activate it again from its folder.")
    return bytes(found)


def named(store: Store, digest: str) -> tuple[str, str]:
    """The whole digest that begins so, and the newest content kept under it; raises PolicyError where there is not exactly one."""
    name = digest.removeprefix("sha256:").lower()
    if not name or len(name) > DIGEST_CHARS or set(name) - set("0123456789abcdef"):
        raise PolicyError(f"{digest[:100]!r} is neither a folder nor a digest", "Name a policy's folder, or what a digest begins with.")
    with store.reading() as connection:
        begins = POLICIES.c.digest.startswith(f"sha256:{name}", autoescape=True)
        asked = select(POLICIES.c.digest, POLICIES.c.content).where(begins).order_by(POLICIES.c.kept_at)
        found = {row.digest: row.content for row in connection.execute(asked)}  # the newest of each stays
    if len(found) != 1:
        what = "several policies begin so" if found else "no such policy was ever activated here"
        raise PolicyError(f"{digest}: {what}", "`bylaw policy rollback` without a digest goes back by one.")
    return next(iter(found.items()))


def was_in_force(store: Store, digest: str) -> Activation:
    """The latest activation of the policy whose digest begins so; raises PolicyError for one that is kept, as a trial's is, and no more."""
    whole, _ = named(store, digest)
    with store.reading() as connection:
        row = connection.execute(_asked().where(ACTIVATIONS.c.digest == whole).limit(1)).first()
    if row is None:
        raise PolicyError(f"{whole} was never in force here", "Only what was in force can be put back. Activate it: bylaw policy activate.")
    return Activation(*row)


def activated(connection: Connection, one: Activation, only: Callable[[Connection], object] = lambda connection: None) -> int:
    """Put a policy in force, in this transaction; its number. `only` raises where it must not be, and is asked when nobody else can."""
    seq = versions.raised(connection, NAME)
    only(connection)
    connection.execute(insert(ACTIVATIONS).values(seq=seq, **one._asdict()))
    return seq


def latest(connection: Connection) -> Activation | None:
    """What is in force."""
    row = connection.execute(_asked().limit(1)).first()
    return Activation(*row) if row else None


def history(store: Store, most: int = MAX_LISTED) -> list[Activation]:
    """What was put in force, oldest first."""
    with store.reading() as connection:
        return [Activation(*row) for row in connection.execute(_asked().limit(most))][::-1]


def adopted(store: Store, past: Sequence[Activation]) -> bool:
    """Take over what was put in force before there was a store of policies; false where the store has a history of its own."""
    with store.writing() as connection:
        versions.raised(connection, NAME)  # whoever else does this waits here
        if latest(connection) is not None:
            return False
        for one in past:
            activated(connection, one)
        return True


def _asked() -> Select[Any]:
    columns = ACTIVATIONS.c
    return select(columns.digest, columns.content, columns.version, columns.at, columns.by, columns.unsigned).order_by(columns.seq.desc())

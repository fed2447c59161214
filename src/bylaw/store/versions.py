"""One counter for each thing that all processes share: whoever changes it adds one, and the others see that they must read it again.

The names in use: `stops`, `keys`, `policy`, `trials`. A counter that nobody has raised is 0.
"""

from contextlib import suppress
from typing import Final

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from bylaw.store.process_tables import VERSIONS

_ALL: Final = select(VERSIONS)


def raised(connection: Connection, name: str) -> int:
    """Add one, in the transaction that makes the change; the new version."""
    higher = update(VERSIONS).where(VERSIONS.c.name == name).values(version=VERSIONS.c.version + 1).returning(VERSIONS.c.version)
    while (found := connection.execute(higher).scalar()) is None:
        with suppress(IntegrityError), connection.begin_nested():  # another transaction may be faster: the first time is a race
            connection.execute(insert(VERSIONS).values(name=name, version=0))
    return int(found)


def read(connection: Connection) -> dict[str, int]:
    """Every counter that has been raised, by name."""
    return {row.name: row.version for row in connection.execute(_ALL)}

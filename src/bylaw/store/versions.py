"""One counter for each thing that all processes share: whoever changes it adds one, and the others see that they must read it again.

The names in use: `stops`, `keys`, `policy`, `trials`. A counter that nobody has raised is 0.
"""

from sqlalchemy import Connection, insert, select, update

from bylaw.store.process_tables import VERSIONS


def raised(connection: Connection, name: str) -> int:
    """Add one, in the transaction that makes the change; the new version."""
    higher = update(VERSIONS).where(VERSIONS.c.name == name).values(version=VERSIONS.c.version + 1).returning(VERSIONS.c.version)
    found = connection.execute(higher).scalar()
    if found is None:
        connection.execute(insert(VERSIONS).values(name=name, version=1))
        return 1
    return int(found)


def read(connection: Connection) -> dict[str, int]:
    """Every counter that has been raised, by name."""
    return {row.name: row.version for row in connection.execute(select(VERSIONS))}

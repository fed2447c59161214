"""Reading a secret that all processes on one store share; whoever asks first makes it."""

import secrets
from typing import Final

from sqlalchemy import insert, select

from bylaw.store.database import Store
from bylaw.store.secret_tables import SECRETS

BYTES: Final = 32


def shared(store: Store, name: str) -> bytes:
    """The secret of this name; raises StoreError."""
    found = _read(store, name)
    if not found:
        store.inserted(insert(SECRETS).values(name=name, secret=secrets.token_bytes(BYTES)))  # another process may have been faster
        found = _read(store, name)
    return found


def _read(store: Store, name: str) -> bytes:
    with store.reading() as connection:
        return bytes(connection.execute(select(SECRETS.c.secret).where(SECRETS.c.name == name)).scalar() or b"")

"""What a database does at bad moments: it does what it is told and its answer never comes, or two of its users meet half way."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, event

from bylaw.store.database import Store


@contextmanager
def answers_lost(store: Store, statement: str, taken: bool = True) -> Iterator[list[str]]:
    """The next transaction with such a statement gets no answer, whether it was `taken` or not; gives the statements it happened to."""
    seen: list[Connection] = []
    lost: list[str] = []

    def looked(connection: Connection, _cursor: Any, said: str, *_: Any) -> None:
        if said.startswith(statement) and not lost:
            seen.append(connection)

    def lose(connection: Connection) -> None:
        if connection in seen and not lost:
            lost.append(statement)
            if taken:
                connection.connection.commit()
            raise TimeoutError("timed out")

    event.listen(store.engine, "before_cursor_execute", looked)
    event.listen(store.engine, "commit", lose)
    try:
        yield lost
    finally:
        event.remove(store.engine, "before_cursor_execute", looked)
        event.remove(store.engine, "commit", lose)


@contextmanager
def away(store: Store) -> Iterator[None]:
    """Nothing that is asked of the store gets an answer."""

    def silent(*_: Any) -> None:
        raise TimeoutError("timed out")

    event.listen(store.engine, "before_cursor_execute", silent)
    try:
        yield
    finally:
        event.remove(store.engine, "before_cursor_execute", silent)


def at_once(store: Store, *works: Callable[[], object]) -> list[object]:
    """Do these at the same time: none goes on from its first DELETE before all have made theirs, if the database lets them."""
    begun, seen = threading.Barrier(len(works)), set[int]()

    def wait(_connection: Connection, _cursor: Any, said: str, *_: Any) -> None:
        if said.startswith("DELETE") and threading.get_ident() not in seen:
            seen.add(threading.get_ident())
            with suppress(threading.BrokenBarrierError):
                begun.wait(0.3)

    event.listen(store.engine, "after_cursor_execute", wait)
    try:
        with ThreadPoolExecutor(len(works)) as threads:
            return [one.result() for one in [threads.submit(work) for work in works]]
    finally:
        event.remove(store.engine, "after_cursor_execute", wait)

"""What a guard stands on, opened where it was named by a path: the store with approvals and stops, and the ledger."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

from bylaw.errors import StoreError
from bylaw.govern.session import Sessions

DATA_DIR: Final = Path(".bylaw")


class Parts(NamedTuple):
    """What was given or opened, and how to let go of what was opened."""

    approvals: Any
    ledger: Any
    stops: Any
    sessions: Sessions  # that have a name: in the store, where there is one
    close: Callable[[], None]


def parts(store: Any, approvals: Any, ledger: Any, stops: Any) -> Parts:
    """Open what is a path; what is given as a value is used as it is, and not closed.

    A store that is a file has its ledger in the same folder, any other in `.bylaw`, unless another is given.
    """
    closing = ExitStack()  # what cannot be closed keeps nothing else open
    sessions = Sessions()
    try:
        if isinstance(ledger, Path | str):
            ledger = _ledger(Path(ledger), closing)
        if store is not None:
            ledger = ledger if ledger is not None else _ledger(_beside(store), closing)
            approvals, stops, sessions = _stored(store, (approvals, stops), ledger, closing)
    except BaseException:
        closing.close()
        raise
    return Parts(approvals, ledger, stops, sessions, closing.close)


def _beside(store: Any) -> Path:
    """The folder for the ledger of a store: that of its file, else the usual one."""
    address = str(store) if isinstance(store, str | Path) else str(store.engine.url)
    scheme, _, rest = address.rpartition("://")
    return Path(rest.removeprefix("/") if scheme else rest).parent if scheme.startswith("sqlite") or not scheme else DATA_DIR


def _ledger(folder: Path, closing: ExitStack) -> Any:
    from bylaw.ledger.writer import Ledger  # noqa: PLC0415  # a guard without a ledger needs none

    opened = Ledger(folder)
    closing.callback(opened.close)
    return opened


def _stored(store: Any, given: tuple[Any, Any], ledger: Any, closing: ExitStack) -> tuple[Any, Any, Sessions]:
    approvals, stops = given
    try:
        from bylaw.govern.approvals import Approvals  # noqa: PLC0415  # SQLAlchemy loads only where there is a store
        from bylaw.govern.histories import Histories  # noqa: PLC0415  # the same
        from bylaw.govern.stops import Stops  # noqa: PLC0415  # the same
        from bylaw.store import database  # noqa: PLC0415  # the same
        from bylaw.store.watching import Watch  # noqa: PLC0415  # the same
    except ImportError as error:
        raise StoreError(f"a store needs a package that is missing: {error.name}", "pip install '.[serve]'") from error
    if isinstance(store, str | Path):
        store = database.open(store)
        closing.callback(store.close)
    if approvals is None:
        approvals = Approvals(store, ledger.append)
        closing.callback(approvals.close)
    if stops is None:
        watch = Watch(store)
        stops = Stops(watch)
        watch.start()
        closing.callback(watch.close)
    return approvals, stops, Sessions(Histories(store))

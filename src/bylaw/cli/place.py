"""What the run-time commands share: which store, ledger and gateway.yaml they work on, who they work for, and how they tell a time."""

import getpass
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

if TYPE_CHECKING:  # commands import what they need when they run
    from bylaw.ledger.writer import Ledger
    from bylaw.store.database import Store

DATA_DIR: Final = Path(".bylaw")
Make = Literal["", "quietly", "aloud"]  # whether a command makes a store where there is none, and says so
StoreUrl = Annotated[
    str, typer.Option("--store", metavar="URL", envvar="BYLAW_STORE", help="A file, or postgresql://…", show_default="DIR/store.sqlite")
]
DataDir = Annotated[Path, typer.Option(metavar="DIR", help="Where the run-time data lies.", show_default="./.bylaw")]
Config = Annotated[Path | None, typer.Option(metavar="FILE", help="Judges, and who is rung.", show_default="DIR/gateway.yaml")]
By = Annotated[str, typer.Option("--as", metavar="PERSON", help="Who you are, for the record.", show_default="your login")]


@contextmanager
def store_of(url: str, data_dir: Path, make: Make = "") -> "Iterator[Store]":
    """The store, open for as long as the command runs; raises StoreError where there is none, unless this command may `make` one."""
    from bylaw.errors import StoreError  # noqa: PLC0415  # see `cli`
    from bylaw.store import database  # noqa: PLC0415  # see `cli`

    try:
        there(url, data_dir)
        new = ""
    except StoreError as error:
        if not make:
            raise
        new = error.what.partition(":")[0]
    with closing(database.open(url or data_dir / database.DEFAULT.name)) as store:
        if new and make != "quietly":
            sys.stderr.write(f"{new}: a new store\n")  # whoever stands in a wrong folder sees it
        yield store


@contextmanager
def store_and_ledger(url: str, data_dir: Path, make: Make = "") -> "Iterator[tuple[Store, Ledger]]":
    """The store as `store_of` opens it, and a log of the ledger that this command alone writes to."""
    from bylaw.ledger.writer import Ledger  # noqa: PLC0415  # see `cli`

    with store_of(url, data_dir, make) as store, Ledger(data_dir) as ledger:
        yield store, ledger


def there(url: str, data_dir: Path) -> None:
    """Raises StoreError where no store is yet. Whoever stops or looks in a wrong folder must not be told that all is well."""
    from bylaw.errors import StoreError  # noqa: PLC0415  # see `cli`
    from bylaw.store import database  # noqa: PLC0415  # see `cli`

    name = url.removeprefix("sqlite:///")
    file = Path(name) if name else data_dir / database.DEFAULT.name
    if "://" not in name and (not file.exists() or (file.is_file() and not file.stat().st_size)):
        raise StoreError(f"{file}: no store there", "Name the gateway's data directory with --data-dir, or its store with --store.")


def full_name(record: str, data_dir: Path) -> str:
    """A record's name with all of its log's, where only the log's own part is given, as `bylaw ledger tail` shows it.

    Raises LedgerError where no ledger is, or where two logs of that name have such a record: each key has its log of roots.
    """
    from bylaw.errors import LedgerError  # noqa: PLC0415  # see `cli`
    from bylaw.ledger import place  # noqa: PLC0415  # see `cli`
    from bylaw.ledger.reading import named, stored  # noqa: PLC0415  # see `cli`

    logs = [*place.files(data_dir), *place.sealed(data_dir)]
    if not logs:
        raise LedgerError(f"{data_dir}: no ledger there", "Name the data directory with --data-dir.")
    log, mark, index = record.rpartition("#")
    if not mark or "/" in log:
        return record
    names = []
    for path in (path for path in logs if path.stem == log):
        with stored(path) as found:
            names.append(f"{found.origin}#{index}")
    there = [name for name in names if named([data_dir], name)]
    if len(there) > 1:
        raise LedgerError(f"{record} is the name of {len(there)} records, of one key each", f"Write {' or '.join(there)}.")
    return there[0] if there else record


def login() -> str:
    """Who is at the command line, where nobody says so."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user in a container
        return "somebody at the command line"


def when(time_ms: int | None) -> str:
    """A time as people read it."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if time_ms is not None else ""

"""Every store that bylaw runs on: SQLite always, PostgreSQL where a server and its driver are installed.

`url` is an empty database. `store` is open and migrated; migrating takes longer than most tests, so it is done once and then copied
(SQLite) or emptied (PostgreSQL). All of it lies in memory where there is such a place: these tests are not about the disk.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import insert, text

from bylaw.store import database
from bylaw.store.database import Store
from bylaw.store.process_tables import TIME_SEEN
from tests.store import blank, postgres


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="bylaw-", dir=postgres.MEMORY) as made:
        yield Path(made)


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    why = postgres.missing()
    if why:
        pytest.skip(why)
    with postgres.cluster() as folder:
        yield folder


@pytest.fixture(scope="session")
def shared(cluster: str) -> Iterator[Store]:
    store = database.open(postgres.database(cluster))
    yield store
    store.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, folder: Path) -> str:
    return str(folder / "store.sqlite") if request.param == "sqlite" else postgres.database(request.getfixturevalue("cluster"))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, folder: Path) -> Iterator[Store]:
    if request.param == "sqlite":
        opened = blank.opened(folder / "store.sqlite")
        yield opened
        opened.close()
        return
    opened = request.getfixturevalue("shared")
    with opened.writing() as connection:
        connection.execute(text(f"TRUNCATE {', '.join(one.name for one in database.OURS)}"))
        connection.execute(insert(TIME_SEEN).values(id=1, at=0))
    yield opened

"""The store opens where it can, says in one line why where it cannot, and its migrations lead where the tables say."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import insert, select, text

from bylaw.errors import StoreError
from bylaw.store import database, versions
from bylaw.store.process_tables import VERSIONS


def schema(file: Path) -> set[tuple[str, str]]:
    with sqlite3.connect(file) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {(name, " ".join(sql.split())) for name, sql in rows}


def filled(file: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table."""
    with sqlite3.connect(file) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall()) for name in names}
    connection.close()
    return found


def test_an_empty_database_gets_exactly_the_tables_that_all_migrations_make(tmp_path: Path) -> None:
    migrated = database._sqlite(tmp_path / "migrated.sqlite")
    with migrated.writing() as connection:
        database.upgrade(connection)
    migrated.close()
    database.open(tmp_path / "made.sqlite").close()

    assert filled(tmp_path / "migrated.sqlite") == filled(tmp_path / "made.sqlite")
    assert len(schema(tmp_path / "made.sqlite")) > len(database.OURS)
    assert schema(tmp_path / "migrated.sqlite") == schema(tmp_path / "made.sqlite")


@pytest.mark.slow
def test_a_first_start_loads_no_alembic(tmp_path: Path) -> None:
    """It would stay in memory for as long as the gateway runs."""
    code = "import sys; from bylaw.store import database; database.open(sys.argv[1]).close(); print('alembic' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "new.sqlite")], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


def test_every_revision_of_the_folder_is_known_in_order() -> None:
    scripts = ScriptDirectory(str(Path(database.__file__).parent / "migrations"))

    assert tuple(one.revision for one in reversed(list(scripts.walk_revisions()))) == database.REVISIONS


def test_sqlite_writes_through_to_the_disk_and_keeps_foreign_keys(tmp_path: Path) -> None:
    store = database.open(tmp_path / "store.sqlite")
    with store.reading() as connection:
        found = [
            connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    store.close()

    assert found == ["wal", 2, 1, 5000]
    assert (tmp_path / "store.sqlite").stat().st_mode & 0o077 == 0


def test_opening_again_keeps_what_is_there(tmp_path: Path) -> None:
    first = database.open(tmp_path / "a" / "store.sqlite")
    with first.writing() as connection:
        versions.raised(connection, "stops")
    first.close()
    second = database.open(f"sqlite:///{tmp_path}/a/store.sqlite")
    with second.reading() as connection:
        found = versions.read(connection)
    second.close()

    assert found["stops"] == 1


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "store.sqlite"
    file.write_bytes(b"a shopping list\n" * 400)

    with pytest.raises(StoreError, match="file is not a database") as caught:
        database.open(file)
    assert "\n" not in caught.value.what
    assert file.read_bytes() == b"a shopping list\n" * 400


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.sqlite") as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()

    with pytest.raises(StoreError, match="another program's database"):
        database.open(tmp_path / "other.sqlite")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://host/db", "mysql: not a kind of store"),
        ("sqlite:///:memory:", "a store needs a file"),
        ("", "a store needs a file"),
        ("postgresql+nodriver://host/db", "postgresql://host/db: not a URL of a store"),
        ("postgresql://me:secret@host:notaport/db", "postgresql://host:notaport/db: not a URL of a store"),
        ("postgresql+nodriver://host/db?password=secret", "postgresql://host/db: not a URL of a store"),
        ("/dev/null/store.sqlite", "no store can be there, for /dev/null is a file or lies in one"),
        ("/proc/store.sqlite", "the store cannot be opened"),
    ],
)
def test_a_wrong_url_is_one_clear_line_without_its_password(url: str, says: str) -> None:
    with pytest.raises(StoreError) as caught:
        database.open(url)

    assert says in caught.value.what
    assert "secret" not in caught.value.what
    assert "\n" not in caught.value.what
    assert caught.value.hint


def test_a_file_that_was_removed_or_replaced_is_no_longer_used(tmp_path: Path) -> None:
    store = database.open(tmp_path / "store.sqlite")
    database.open(tmp_path / "other.sqlite").close()
    (tmp_path / "store.sqlite").unlink()
    with pytest.raises(StoreError, match="removed or replaced"), store.reading():
        pass
    (tmp_path / "other.sqlite").rename(tmp_path / "store.sqlite")
    with pytest.raises(StoreError, match="removed or replaced"), store.writing():
        pass
    with pytest.raises(StoreError, match="removed or replaced"):
        store.inserted(insert(VERSIONS).values(name="mine", version=7))

    store.close()


@pytest.mark.slow
def test_a_database_that_another_program_has_locked_is_told_after_a_bounded_wait(tmp_path: Path) -> None:
    store = database.open(tmp_path / "store.sqlite")
    other = sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="database is locked"), store.writing():
        pass
    other.close()

    store.close()


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    store = database.open(tmp_path / "store.sqlite")

    def half() -> None:
        with store.writing() as connection:
            versions.raised(connection, "stops")
            raise KeyError("on the way")

    with pytest.raises(KeyError):
        half()
    with store.reading() as connection:
        after = versions.read(connection)["stops"]
    store.close()

    assert after == 0


def test_a_row_that_is_there_already_is_told_not_raised(tmp_path: Path) -> None:
    store = database.open(tmp_path / "store.sqlite")
    row = insert(VERSIONS).values(name="mine", version=7)
    first, second = store.inserted(row), store.inserted(row)
    with store.reading() as connection:
        found = connection.execute(select(VERSIONS.c.version).where(VERSIONS.c.name == "mine")).scalar()
    store.close()

    assert (first, second, found) == (True, False, 7)


@pytest.mark.slow
def test_linting_a_policy_loads_no_database() -> None:
    code = "import sys; from bylaw import cli; cli.run(['policy', 'lint', 'policies/refunds']); print('sqlalchemy' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])

    assert done.stdout.strip().endswith("False")


def test_a_store_of_the_first_version_is_brought_up_to_date_and_keeps_what_it_has(tmp_path: Path) -> None:
    old = database._sqlite(tmp_path / "store.sqlite")
    with old.writing() as connection:
        database.upgrade(connection, "v0001")
        versions.raised(connection, "stops")
    old.close()
    store = database.open(tmp_path / "store.sqlite")
    with store.reading() as connection:
        found = versions.read(connection)["stops"]
    store.close()
    database.open(tmp_path / "made.sqlite").close()

    assert found == 1
    assert schema(tmp_path / "store.sqlite") == schema(tmp_path / "made.sqlite")


def test_a_store_that_is_opened_twice_in_one_process_is_not_taken_from_under_it(tmp_path: Path) -> None:
    """To close a file takes away all locks of this process on it; another process would then think that it is alone, and clean up."""
    file = tmp_path / "store.sqlite"
    first = database.open(file)
    with first.reading() as connection:
        connection.execute(select(VERSIONS)).all()
    second = database.open(file)
    code = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('DELETE FROM processes'); db.commit(); db.close()"
    before = sorted(one.name for one in tmp_path.iterdir())

    subprocess.run([sys.executable, "-c", code, str(file)], check=True)
    after = sorted(one.name for one in tmp_path.iterdir())
    first.close()
    second.close()

    assert "store.sqlite-wal" in before
    assert after == before

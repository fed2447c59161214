"""A store of every earlier schema, with rows in every table, comes to today's with all of them; a newer one is refused and left alone."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BigInteger, Boolean, Connection, Integer, LargeBinary, MetaData, Table, insert, select, text

from bylaw import cli
from bylaw.govern import keys, stops
from bylaw.store import approval_rows, copying, database, policy_rows, usage_rows
from bylaw.store.database import Store
from bylaw.store.usage_rows import Sum

pytestmark = pytest.mark.slow

OLDER = database.REVISIONS[:-1]
SAYS = {  # what must be of a form for our own code to read it
    "roles": '["lead"]',
    "clauses": '["money.limit"]',
    "needs": '[{"clause": "money.limit", "rule": "r", "approvers": ["lead"], "quorum": 1, "ttl_s": 60}]',
    "principal": '{"id":"kim","jurisdiction":"","tenant":""}',
    "seen": "{}",
    "state": "pending",
    "route": "run",
    "scope": "global",
    "budget": "",
    "price": "",
    "terms": "{}",
    "by": "kim",
}
WHOLE: dict[str, dict[str, Any]] = {"time_seen": {"id": 1}, "api_keys": {"principal": "kim"}, "approval_answers": {"approval": "id 0"}}
ROWS = 2


def sample(table: Table, at: int) -> dict[str, Any]:
    """A row; everything that may be left out is there in the second one alone."""
    row: dict[str, Any] = {}
    for column in table.columns:
        if column.nullable and at == 0:
            continue
        kind = column.type
        if isinstance(kind, Boolean):
            row[column.name] = bool(at)
        elif isinstance(kind, BigInteger | Integer):
            row[column.name] = 1000 + at
        elif isinstance(kind, LargeBinary):
            row[column.name] = bytes([0, 255, at])
        else:
            row[column.name] = SAYS.get(column.name, f"{column.name} {at}")[: getattr(kind, "length", None)]
    return row | {name: value for name, value in WHOLE.get(table.name, {}).items() if name in row}


def tables(connection: Connection) -> list[Table]:
    found = MetaData()
    found.reflect(connection)
    return [one for one in found.sorted_tables if one.name != database.VERSION_TABLE]


def rows(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    found = {one.name: [dict(row) for row in connection.execute(select(one)).mappings()] for one in tables(connection)}
    return {name: sorted(some, key=str) for name, some in found.items()}


def made(url: str, revision: str) -> dict[str, list[dict[str, Any]]]:
    """A store as this revision had it, with rows in every table; what is in it."""
    store = database.unmigrated(url)
    with store.writing() as connection:
        database.upgrade(connection, revision)
        for one in tables(connection):
            connection.execute(one.delete())
            count = 1 if one.name == "time_seen" else ROWS
            for at in range(count):
                connection.execute(insert(one), sample(one, at))
        found = rows(connection)
    store.close()
    return found


def lost(before: dict[str, list[dict[str, Any]]], store: Store) -> list[str]:
    """Rows that are no longer there as they were; new columns are not looked at."""
    with store.reading() as connection:
        after = rows(connection)
    return [
        f"{name}: {row}" for name, some in before.items() for row in some if not any(row.items() <= other.items() for other in after[name])
    ]


@pytest.mark.parametrize("revision", OLDER)
def test_rows_of_every_table_of_every_earlier_schema_are_kept_and_readable(url: str, revision: str) -> None:
    before = made(url, revision)
    store = database.open(url)
    gone = lost(before, store)
    with store.reading() as connection:
        last = policy_rows.latest(connection) if "policy_activations" in before else None
        waiting = approval_rows.listed(connection, ["pending"])
    found_keys, found_stops = keys.every(store), stops.active(store)
    used = usage_rows.sums(store, 1000, ["key 0"]) if "key_usage" in before else {}
    store.close()

    assert {name: len(some) for name, some in before.items()} == {name: 1 if name == "time_seen" else ROWS for name in before}
    assert gone == []
    assert [one.grant.roles for one in found_keys] == [("lead",)] * ROWS
    assert (found_keys[0].grant.tokens_per_day, found_keys[0].grant.price, found_keys[0].revoked_at) == (None, "", None)
    assert [one.scope for one in found_stops] == ["global"]
    assert sorted((one.state, len(one.answers), one.clauses) for one in waiting) == [
        ("pending", 0, ("money.limit",)),
        ("pending", ROWS, ("money.limit",)),
    ]
    assert last is None or (last.version, last.by) == ("version 1", "kim")
    assert used in ({}, {"key 0": Sum(2000, 2000, 1000)})


@pytest.mark.parametrize("revision", database.REVISIONS)
def test_a_copy_of_an_earlier_schema_is_brought_up_to_date_on_its_way_in(tmp_path: Path, url: str, revision: str) -> None:
    before = made(str(tmp_path / "old.sqlite"), revision)
    count = copying.write(tmp_path / "old.sqlite", tmp_path / "copy.jsonl")
    read = copying.read(tmp_path / "copy.jsonl", url)
    store = database.open(url)
    gone = lost(before, store)
    with sqlite3.connect(tmp_path / "old.sqlite") as old:
        untouched = old.execute(f"SELECT version_num FROM {database.VERSION_TABLE}").fetchall()
    old.close()
    store.close()

    assert (count, gone, untouched) == (read, [], [(revision,)])


def test_an_older_program_refuses_a_newer_store_in_one_line_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(str(tmp_path / "store.sqlite"), "head")
    store = database.open(tmp_path / "store.sqlite")
    with store.writing() as connection:
        connection.execute(text(f"UPDATE {database.VERSION_TABLE} SET version_num = 'v9999'"))
        connection.execute(text("ALTER TABLE api_keys ADD COLUMN of_tomorrow TEXT"))
        before = rows(connection)
    store.close()
    codes = [
        cli.run([*line, "--data-dir", str(tmp_path)])
        for line in (["keys", "list"], ["stop", "--list"], ["approvals", "list"], ["policy", "activate", "policies/refunds"])
    ]
    said = capsys.readouterr().err.splitlines()
    same = database.unmigrated(tmp_path / "store.sqlite")
    with same.reading() as connection:
        after = rows(connection)
    same.close()

    assert (codes, after == before) == ([2] * 4, True)
    assert [line.partition(": made by a newer bylaw (schema v9999)")[1] != "" for line in said] == [True, False] * 4
    assert all("Upgrade bylaw" in line for line in said[1::2])

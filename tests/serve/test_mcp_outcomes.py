"""Records that nobody waits for go before the next one that somebody waits for, or soon; none is lost by an orderly end."""

import asyncio

import pytest

from bylaw.errors import LedgerError
from bylaw.serve.mcp_outcomes import LATEST_S, Together
from tests.serve.rig import Book


def names(book: Book) -> list[object]:
    return [entry["kind"] for entry in book.entries]


def test_what_waits_goes_before_what_comes_next() -> None:
    book = Book()

    async def work() -> None:
        together = Together(book)
        together.later({"kind": "first"})
        await together.record({"kind": "second"})

    asyncio.run(work())

    assert names(book) == ["first", "second"]


def test_what_waits_is_written_soon_by_itself() -> None:
    book = Book()

    async def work() -> list[list[object]]:
        together = Together(book)
        together.later({"kind": "first"})
        before = names(book)
        async with asyncio.timeout(10):
            while not names(book):
                await asyncio.sleep(LATEST_S)
        return [before, names(book)]

    assert asyncio.run(work()) == [[], ["first"]]


def test_an_orderly_end_writes_what_waits() -> None:
    book = Book()

    async def work() -> None:
        together = Together(book)
        together.later({"kind": "first"})
        await together.close()

    asyncio.run(work())

    assert names(book) == ["first"]


def test_a_writer_that_takes_nothing_more_is_said_at_once() -> None:
    async def work() -> None:
        Together(Book(healthy=False)).later({"kind": "first"})

    with pytest.raises(LedgerError):
        asyncio.run(work())

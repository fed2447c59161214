"""Work whose client has gone is let go; work whose client waits is left alone, and so is a client that is answered at once."""

import asyncio

import pytest

from bylaw.serve.clients import Clients

PATIENCE_S = 60


class Client:
    """A connection: says nothing until it is told to go."""

    def __init__(self) -> None:
        self.leaves = asyncio.Event()
        self.asked = asyncio.Event()

    async def receive(self) -> dict[str, str]:
        self.asked.set()
        await self.leaves.wait()
        return {"type": "http.disconnect"}


def test_a_client_that_goes_takes_its_work_with_it() -> None:
    async def story() -> str:
        clients, client, end = Clients(), Client(), []

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                end.append("let go")

        served = asyncio.create_task(clients.served(work(), client.receive))
        await asyncio.wait_for(client.asked.wait(), PATIENCE_S)
        client.leaves.set()
        await asyncio.wait_for(served, PATIENCE_S)
        return end[0]

    assert asyncio.run(story()) == "let go"


def test_a_client_that_is_answered_at_once_is_asked_nothing() -> None:
    async def story() -> bool:
        clients, client = Clients(), Client()
        await clients.served(asyncio.sleep(0), client.receive)
        return client.asked.is_set()

    assert not asyncio.run(story())


def test_work_that_is_cancelled_from_outside_stays_cancelled() -> None:
    async def story() -> None:
        clients, client = Clients(), Client()
        served = asyncio.create_task(clients.served(asyncio.sleep(PATIENCE_S), client.receive))
        await asyncio.wait_for(client.asked.wait(), PATIENCE_S)
        served.cancel()
        await served

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(story())


def test_work_that_is_cancelled_from_outside_as_its_client_goes_stays_cancelled() -> None:
    async def story() -> None:
        clients, client = Clients(), Client()
        served = asyncio.create_task(clients.served(asyncio.sleep(PATIENCE_S), client.receive))
        await asyncio.wait_for(client.asked.wait(), PATIENCE_S)
        client.leaves.set()
        served.cancel()
        await asyncio.sleep(0)  # in this turn both have their way
        await served

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(story())


def test_one_gateway_looks_after_its_clients_on_one_loop_after_another() -> None:
    clients = Clients()

    async def story() -> bool:
        client = Client()
        served = asyncio.create_task(clients.served(asyncio.Event().wait(), client.receive))  # type: ignore[arg-type]  # it never returns
        await asyncio.wait_for(client.asked.wait(), PATIENCE_S)
        client.leaves.set()
        await asyncio.wait_for(served, PATIENCE_S)
        return served.cancelled()

    assert [asyncio.run(story()), asyncio.run(story())] == [False, False]


def test_who_comes_while_another_waits_is_watched_too() -> None:
    async def story() -> list[bool]:
        clients, some = Clients(), [Client(), Client()]
        first = asyncio.create_task(clients.served(asyncio.sleep(PATIENCE_S), some[0].receive))
        await asyncio.wait_for(some[0].asked.wait(), PATIENCE_S)
        second = asyncio.create_task(clients.served(asyncio.sleep(PATIENCE_S), some[1].receive))
        await asyncio.wait_for(some[1].asked.wait(), PATIENCE_S)
        some[1].leaves.set()
        await asyncio.wait_for(second, PATIENCE_S)
        waits = not first.done()
        some[0].leaves.set()
        await asyncio.wait_for(first, PATIENCE_S)
        return [waits, second.cancelled()]

    assert asyncio.run(story()) == [True, False]

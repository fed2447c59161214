"""An OpenAI client under a guard: what is said to the model is judged before it leaves, and what it answers before the caller sees it.

`chat.completions.create` and `responses.create`, of the plain client and of the async one, streamed or not. Everything else of the client
is refused with one line: it would reach the model, or what is stored there, past the policy. What waits for a person here is refused: the
gateway can hold an answer back and release it later.
"""

import asyncio
import inspect
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final

from bylaw.govern import taking
from bylaw.govern.conversing import converse
from bylaw.govern.guard import Guard
from bylaw.govern.guarded_stream import AsyncPieces, Pieces
from bylaw.govern.taking import Body, Shape

REFUSED: Final[Mapping[str, str]] = {
    "extra_body": "it would change the request after it was judged",
    "extra_query": "it would change the request after it was judged",
    "background": "its result could be fetched past the guard",
}


class Ungoverned(AttributeError):  # noqa: N818  # read as what it says: `except Ungoverned`
    """Something of a client that a guard does not govern, and therefore does not pass on."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not governed here: use chat.completions.create or responses.create, or the gateway (`bylaw serve`)")


class Client:
    """What of an OpenAI client is governed."""

    def __init__(self, guard: Guard, client: Any) -> None:
        self._guard, self._client = guard, client
        self.chat = Chat(guard, client)

    @property
    def responses(self) -> "Responses":
        """`client.responses`."""
        return Responses(self._guard, self._client.responses.create)

    def with_options(self, **options: Any) -> "Client":
        """The same client with other options, under the same guard."""
        return Client(self._guard, self._client.with_options(**options))

    copy = with_options

    def close(self) -> Any:
        """Let go of the client's connections."""
        return self._client.close()

    def __getattr__(self, name: str) -> Any:
        raise Ungoverned(f"client.{name}")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *ended: object) -> None:
        await self.close()


class Chat:
    """`client.chat`."""

    def __init__(self, guard: Guard, client: Any) -> None:
        self.completions = Completions(guard, client.chat.completions.create)

    def __getattr__(self, name: str) -> Any:
        raise Ungoverned(f"client.chat.{name}")


class Governed:
    """One `create`; of an async client it is to be awaited."""

    name = ""
    shape: Shape = taking.CHAT

    def __init__(self, guard: Guard, create: Callable[..., Any]) -> None:
        self._guard, self._create = guard, create
        self._later = inspect.iscoroutinefunction(inspect.unwrap(create))

    def create(self, **request: Any) -> Any:
        """Ask the model; raises Blocked where the clauses forbid what is asked, or what is answered."""
        for name, why in REFUSED.items():
            if request.get(name):
                raise ValueError(f"{self.name}: {name} is refused here: {why}")
        streamed = bool(request.pop("stream", False))
        if self._later:
            return self._streamed_later(request) if streamed else self._asked_later(request)
        if streamed:
            return Pieces(self._guard, self.shape, request, self._create)
        steps = converse(self._guard, self.shape, request)
        done, value = step(steps, None)
        while not done:
            done, value = step(steps, self._create(**value))
        return value

    async def _asked_later(self, request: Body) -> Any:
        steps = converse(self._guard, self.shape, request)
        done, value = await asyncio.to_thread(step, steps, None)
        while not done:
            done, value = await asyncio.to_thread(step, steps, await self._create(**value))
        return value

    async def _streamed_later(self, request: Body) -> AsyncPieces:
        return await AsyncPieces.begun(self._guard, self.shape, request, self._create)

    def __getattr__(self, name: str) -> Any:
        raise Ungoverned(f"{self.name}.{name}")


class Completions(Governed):
    """`client.chat.completions`."""

    name = "client.chat.completions"


class Responses(Governed):
    """`client.responses`."""

    name = "client.responses"
    shape = taking.RESPONSES


def step(steps: Generator[Body, Any, Any], given: Any) -> tuple[bool, Any]:
    """One step of an exchange: whether it is over, and what is to be sent or has come of it."""
    try:
        return False, steps.send(given)
    except StopIteration as ended:
        return True, ended.value

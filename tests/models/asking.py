"""Asking a served model in a hurry: what the tests of endpoints share."""

from collections.abc import Callable, Mapping
from typing import Any

from bylaw.models.manners import Manners
from bylaw.models.remote import RemoteModel
from bylaw.types import Completion, Message, Sampling
from tests.models.endpoint import Ask, Endpoint, Said, cut_off, fail, garbage, hang_up, say, serve

DIRECT = Sampling(thinking=False)
THINK = Sampling()
KEY = "sk-a-very-secret-key"


def at(server: Endpoint, key: str = "", **manners: Any) -> RemoteModel:
    """A model at the server: in a hurry, and without a cache unless one is named."""
    hurried: dict[str, Any] = {"backoff_s": 0.001, "cache": None, "tries": 3, **manners}
    return RemoteModel(server.target(), "m", server.url, key, Manners(**hurried))


def ask(model: RemoteModel, *texts: str, sampling: Sampling = DIRECT) -> list[Completion]:
    return model.generate([[Message("user", text)] for text in texts], sampling)


def one(script: Callable[[Ask], Said], sampling: Sampling = DIRECT, /, **manners: Any) -> tuple[Completion, int]:
    """The completion of one row, and how many calls it took."""
    with serve(script) as server:
        (found,) = ask(at(server, **manners), "?", sampling=sampling)
        return found, len(server.calls)


def mixed(ask: Ask) -> Said:
    """Rows of every kind: 3 of 10 are healed, 3 of 10 never are, 1 of 10 is cut off by its length."""
    kind = int(ask.text) % 10
    healed = {1: fail(500), 2: fail(429, retry_after="0"), 3: hang_up()}
    never: Mapping[int, Said] = {4: cut_off(), 5: garbage(), 6: fail(400, "no")}
    if kind in healed and ask.time == 1:
        return healed[kind]
    return never.get(kind) or say(f"answer {ask.text}", "length" if kind == 7 else "stop")

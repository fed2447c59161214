"""A model behind any OpenAI-compatible chat endpoint: bounded in calls, time and bytes, cached by content, no row ever lost.

The face is synchronous and works on lists; inside, one event loop with `concurrency` askers. A row that fails for good is a Completion
that names its cause. Only an endpoint that answers no row at all, because it cannot be reached or lets nobody in, is a ModelError.
From a thread whose event loop is running it works as well, in a thread of its own; `progress` is then called from there.
Kept out of here: how a request and a reply look (endpoint), where replies lie (reply_cache).
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from random import Random
from threading import Thread
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from bylaw.canonical import canonical, digest
from bylaw.errors import ModelError
from bylaw.models import endpoint
from bylaw.models.endpoint import Field, Heard, Reply, Talk
from bylaw.models.manners import USUAL, Manners
from bylaw.models.reply_cache import ReplyCache
from bylaw.models.spent import Spent, Tally
from bylaw.types import Completion, Message, Progress, Sampling

AGAIN: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
CLOSED: Final = frozenset({401, 402, 403, 404, 407})  # these speak of the endpoint, the key or the model, hardly of one row
CONNECT_S: Final = 15.0
CHUNK: Final = 1 << 16


@dataclass(slots=True)
class Trouble(Exception):  # noqa: N818  # what went wrong with one call is not yet an error
    """Why a call gave no reply, and what may be done about it."""

    why: str
    again: bool = False  # worth another try
    closed: bool = False  # speaks of the endpoint, not of the row
    wait_s: float | None = None  # what the server asked for
    refused: Field = ""  # the part of the request it does not take


class Row(NamedTuple):
    """One question: where it stands in the batch, its cache key, and what is asked."""

    at: int
    key: str
    talk: Talk
    sampling: Sampling


@dataclass(slots=True)
class Batch:
    """What has become of the rows of one call of `generate`."""

    rows: int
    progress: Progress | None
    found: dict[int, Heard] = field(default_factory=dict)
    answered: int = 0  # rows with a reply, cached ones too
    strikes: int = 0  # rows in a row that met a closed door
    open: bool = False  # the endpoint has spoken to us at least once
    last: str = ""  # the last closed door's reason

    def settle(self, at: int, heard: Heard) -> None:
        """A row is done."""
        self.found[at] = heard
        if self.progress:
            self.progress(len(self.found), self.rows)


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """One model at one endpoint. The key is in no name, no message and no cache entry."""

    name: str
    model: str
    url: str
    key: str = field(default="", repr=False)
    manners: Manners = USUAL
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    now: Callable[[], float] = time.time  # for a Retry-After that is a date
    _tally: Tally = field(default_factory=Tally, repr=False, compare=False)
    _refused: set[Field] = field(default_factory=set, repr=False, compare=False)  # what the server has shown not to take

    @property
    def spent(self) -> Spent:
        """What has been asked and paid since the model was opened."""
        return self._tally.spent(self.manners.price_in, self.manners.price_out)

    @property
    def without(self) -> frozenset[str]:
        """The parts of a request this server has refused, and which it is asked without (`temperature`, `seed` …)."""
        return frozenset(self._refused)

    def generate(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling, progress: Progress | None = None
    ) -> list[Completion]:
        """Answer each conversation once, in order; the same conversation twice is drawn twice."""
        heard = self.converse([Talk(messages) for messages in conversations], sampling, progress)
        return [endpoint.completion(one.reply, sampling.thinking) if one.reply else failure(one.why) for one in heard]

    def converse(self, talks: Sequence[Talk], sampling: Sampling, progress: Progress | None = None) -> list[Heard]:
        """Hear each talk once, in order: text, tool calls and what a gateway says of them, before anything is taken apart.

        A governed reply is never taken from the cache nor kept in it: what it says hangs on the policy in force at that moment.
        """
        cache = ReplyCache(self.manners.cache) if self.manners.cache else None
        if cache:
            cache.open()
        batch = Batch(len(talks), progress)
        asked = []
        for row in self._rows(talks, sampling):
            reply = cache.get(row.key) if cache else None
            if reply is None:
                asked.append(row)
            else:
                batch.answered += 1
                self._tally.add(cached=1)
                batch.settle(row.at, Heard(reply))
        if asked:
            drive(lambda: self._ask(asked, batch, cache))
        self._close(asked, batch)
        return [batch.found[i] for i in range(len(talks))]

    def _rows(self, talks: Sequence[Talk], sampling: Sampling) -> Iterator[Row]:
        """The questions, each with the seed of its repetition: k samples of one prompt are k draws and k cache entries."""
        met: dict[bytes, int] = {}
        for at, talk in enumerate(talks):
            words = [[m.role, endpoint.sayable(m.content)] for m in talk.messages]
            offered: dict[str, Any] = {"tools": [dict(tool) for tool in talk.tools]} if talk.tools else {}
            offered |= {"documents": [endpoint.sayable(one) for one in talk.documents]} if talk.documents else {}
            content = canonical([words, offered])
            met[content] = met.get(content, -1) + 1
            drawn = replace(sampling, seed=endpoint.seed_of(sampling.seed, met[content]))
            asked = {
                "url": self.url, "model": self.model, "messages": words, "temperature": drawn.temperature,
                "max_new_tokens": drawn.max_new_tokens, "seed": drawn.seed,
                "reply_schema": None if drawn.reply_schema is None else dict(drawn.reply_schema), **offered,
            }  # fmt: skip
            yield Row(at, digest(asked), talk, drawn)

    def _close(self, asked: Sequence[Row], batch: Batch) -> None:
        """Name the rows nobody could ask; raise ModelError when the endpoint has answered nobody at all."""
        if asked and not batch.answered and not batch.open and batch.last:
            hint = f"is the URL right, does it serve the model {self.model}, and is the key in BYLAW_API_KEY? replies so far are kept"
            raise ModelError(f"{self.name}: {batch.last}", hint)
        late = f"not answered within the {self.manners.deadline_s} s of the whole batch"
        for row in asked:
            if row.at not in batch.found:
                self._tally.add(failed=1)
                batch.found[row.at] = Heard(None, f"not asked: {batch.last}" if self._given_up(batch) else late)

    def _given_up(self, batch: Batch) -> bool:
        return batch.strikes >= self.manners.give_up_after

    # ---- One batch, one row, one call --------------------------------------------------------------------------------

    async def _ask(self, rows: Sequence[Row], batch: Batch, cache: ReplyCache | None) -> None:
        m = self.manners
        waiting = iter(rows)
        limits = aiohttp.ClientTimeout(total=m.timeout_s, sock_connect=min(CONNECT_S, m.timeout_s))
        connector = aiohttp.TCPConnector(limit=m.concurrency)

        async def asker() -> None:
            for row in waiting:  # shared: each asker takes the next
                if self._given_up(batch):
                    return
                await self._row(session, row, batch, cache)

        async with aiohttp.ClientSession(timeout=limits, connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
            askers = [asyncio.create_task(asker()) for _ in range(min(m.concurrency, len(rows)))]
            try:
                async with asyncio.timeout(m.deadline_s):
                    await asyncio.gather(*askers)
            except TimeoutError:
                return  # `_close` names the rows
            finally:
                for task in askers:
                    task.cancel()
                await asyncio.gather(*askers, return_exceptions=True)

    async def _row(self, session: aiohttp.ClientSession, row: Row, batch: Batch, cache: ReplyCache | None) -> None:
        """Ask one row until it has a reply or has failed for good."""
        jitter = Random(f"{self.manners.seed} {row.key}")
        without = frozenset(self._refused)
        tried = 0
        while True:
            tried += 1
            try:
                reply = await self._call(session, row, without, first=tried == 1)
            except Trouble as trouble:
                batch.open = batch.open or not trouble.closed
                if trouble.refused:  # once for each part, so it ends; it is no try: the server was never the matter
                    without, tried = without | {trouble.refused}, tried - 1
                    continue
                if not trouble.again or tried >= self.manners.tries or self._given_up(batch):
                    self._fail(row, batch, trouble, tried)
                    return
                await self.sleep(pause_s(self.manners, tried, jitter, trouble.wait_s))
            else:
                self._refused.update(without)  # only now is it known that these parts were the matter
                self._keep(row, reply, batch, cache)
                return

    def _fail(self, row: Row, batch: Batch, trouble: Trouble, tried: int) -> None:
        batch.strikes = batch.strikes + 1 if trouble.closed else 0
        batch.last = trouble.why if trouble.closed else batch.last
        self._tally.add(failed=1)
        batch.settle(row.at, Heard(None, f"{trouble.why} after {tried} tries" if tried > 1 else trouble.why))

    def _keep(self, row: Row, reply: Reply, batch: Batch, cache: ReplyCache | None) -> None:
        batch.strikes, batch.open = 0, True
        batch.answered += 1
        self._tally.reply(reply)
        if cache and not reply.empty and not reply.governed:
            try:
                cache.put(row.key, reply)
            except OSError:
                self._tally.add(unsaved=1)  # a full disk costs the next run a call; the row itself is here
        batch.settle(row.at, Heard(reply))

    async def _call(self, session: aiohttp.ClientSession, row: Row, without: frozenset[Field], first: bool) -> Reply:
        """One request; raises Trouble."""
        asked = endpoint.attaching(endpoint.body(self.model, row.talk.messages, row.sampling, without), row.talk.documents)
        asked = endpoint.offering(asked, row.talk.tools)
        self._tally.add(calls=1, retries=int(not first))
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        headers |= {"x-bylaw-session": row.talk.session} if row.talk.session else {}
        address = f"{self.url}/chat/completions"
        try:
            # No redirects: the key and the prompts go where the target says, and nowhere else.
            posted = session.post(address, json=asked, headers=headers, allow_redirects=False, proxy=proxy_for(address))
            async with posted as response:
                raw = await self._bounded(response)
        except aiohttp.ClientConnectorError as error:
            secure = not isinstance(error, aiohttp.ClientSSLError)
            why = f"{error.host}:{error.port} cannot be reached" if secure else f"{error.host} has no certificate we trust"
            raise Trouble(why, again=secure, closed=True) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise Trouble("the endpoint cannot be reached: no connection in time", again=True, closed=True) from error
        except TimeoutError as error:
            raise Trouble(f"no reply within {self.manners.timeout_s} s", again=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Trouble(f"the connection broke: {type(error).__name__}", again=True) from error
        if response.status == 200:
            try:
                return self._blotted(endpoint.marked(endpoint.read(raw, bool(row.talk.tools)), response.headers))
            except endpoint.NotAReplyError as error:
                raise Trouble(endpoint.blot(str(error), self.key), again=True) from error  # it may name what the server said
        return self._unhappy(response, raw, asked)

    async def _bounded(self, response: aiohttp.ClientResponse) -> bytes:
        parts, size = [], 0
        async for part in response.content.iter_chunked(CHUNK):
            size += len(part)
            if size > self.manners.reply_bytes:
                raise Trouble(f"the reply is over {self.manners.reply_bytes} bytes")
            parts.append(part)
        return b"".join(parts)

    def _blotted(self, reply: Reply) -> Reply:
        text, reasoning, calls, governed = (
            endpoint.blot(one, self.key) for one in (reply.text, reply.reasoning, reply.calls, reply.governed)
        )
        return replace(reply, text=text, reasoning=reasoning, calls=calls, governed=governed)

    def _unhappy(self, response: aiohttp.ClientResponse, raw: bytes, asked: dict[str, Any]) -> Reply:
        """What any status but 200 means; the one that is a reply is a content filter's."""
        status, error = response.status, endpoint.error_of(raw)
        if "content_filter" in (error.get("code"), error.get("type")):
            return Reply("", finish="refused")
        words = endpoint.one_line(endpoint.blot(str(error.get("message", "")), self.key))
        why = f"http {status}: {words}" if words else f"http {status}"
        if refused := endpoint.refused_field(status, error, asked):
            raise Trouble(why, refused=refused)
        broke = "insufficient_quota" in (error.get("code"), error.get("type"))
        wait_s = retry_after_s(response.headers.get("Retry-After", ""), self.now())
        raise Trouble(why, again=status in AGAIN and not broke, closed=status in CLOSED or broke, wait_s=wait_s)


def failure(why: str) -> Completion:
    """The completion of a row that has none."""
    return Completion("", "", "", "error", why)


def pause_s(manners: Manners, tried: int, jitter: Random, wanted_s: float | None) -> float:
    """How long to wait after the nth try: what the server asks for, or twice as long each time; never beyond the longest."""
    own = manners.backoff_s * 2.0 ** min(tried - 1, 32) * (0.5 + jitter.random())
    return min(own if wanted_s is None else max(wanted_s, 0.0), manners.longest_wait_s)


def retry_after_s(header: str, now: float) -> float | None:
    """Read a Retry-After header, in seconds or as a date; None when it says nothing."""
    if header.isascii() and header.isdigit():
        return float(header[:9])
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - now) if header else None
    except (ValueError, OverflowError):
        return None


def proxy_for(url: str) -> str | None:
    """The proxy the machine's settings name for this URL; none for what is on this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    here = host in ("localhost", "::1") or host.startswith("127.")
    return None if here or proxy_bypass(host) else getproxies().get(parts.scheme)


def drive(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run asynchronous work to its end from plain code; an interrupt cancels it and leaves no thread behind."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work())
        return
    begun: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = []
    failed: list[BaseException] = []

    async def noted() -> None:
        begun.append((asyncio.get_running_loop(), asyncio.current_task()))
        await work()

    def run() -> None:
        try:
            asyncio.run(noted())
        except BaseException as error:  # noqa: BLE001  # handed to the caller's thread, whatever it is
            failed.append(error)

    thread = Thread(target=run, name="bylaw-remote")  # this thread's own loop is running and cannot be entered twice
    thread.start()
    try:
        thread.join()
    except BaseException:
        for loop, task in begun:
            if task:
                loop.call_soon_threadsafe(task.cancel)
        thread.join()
        raise
    if failed:
        raise failed[0]


def load(model: str, url: str, name: str, manners: Manners = USUAL) -> RemoteModel:
    """Open `openai:MODEL@URL`; nothing is asked yet. The key comes from the environment and goes to this endpoint alone."""
    return RemoteModel(name, model, endpoint.checked(url), endpoint.key_for(url, os.environ), manners)

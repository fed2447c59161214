"""An exchange whose answer streams: text leaves as the hold-back filter lets it, tool calls whole and recorded, the rest as an exchange.

Only where every rule on answers is about a span of bounded length; else the answer is asked for whole, judged whole, and then sent as a
stream. The record of the input is safe before the first byte leaves; each choice's own record before its end, and before its tool calls.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from bylaw.errors import LedgerError
from bylaw.govern.streaming import HoldBack
from bylaw.serve import based, refusals
from bylaw.serve.ends import OPEN, UpstreamSaid
from bylaw.serve.exchange import Exchange
from bylaw.serve.law import RailFailed, blocked, together
from bylaw.serve.route import Finished, Halt, Stream
from bylaw.serve.sse import Reader
from bylaw.serve.upstream import UpstreamTrouble
from bylaw.serve.wire import BadBody, Choice, Text, dump
from bylaw.types import Decision

LOG: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class Gates:
    """What a stream judges by itself, under one exchange."""

    exchange: Exchange

    def text(self) -> HoldBack | None:
        """A new hold-back filter; None where nothing searches answers."""
        law = self.exchange.law
        if not law.looks_at_answers:
            return None
        event = self.exchange.event("output", "")
        return HoldBack(law.look(event, self.exchange.rail_facts()), law.weigh(event), law.longest or 0)

    @property
    def naming(self) -> Callable[[str], str] | None:
        """How ids of the upstream are given out; None: as they are."""
        return self.exchange.naming

    def thinking(self, text: Text) -> Decision:
        """What is decided on a piece of thinking that is complete."""
        exchange = self.exchange
        if not exchange.law.reads_thinking:
            return Decision("allow", (), (), exchange.law.digest)
        decision = exchange.law.now(exchange.event("thinking", text.text), exchange.rail_facts(), exchange.stops(""))
        exchange.on.cut |= decision.effect == "redact"
        return decision


def may_stream(exchange: Exchange) -> bool:
    """Whether the answer may leave in pieces under this law."""
    if exchange.law.longest is None or exchange.gate.ways.show_thinking:
        return False
    return exchange.law.weigh(exchange.event("output", ""))("", ()).effect == "allow"


async def stream(exchange: Exchange, opened: "asyncio.Future[list[tuple[bytes, bytes]]]") -> AsyncGenerator[bytes]:
    """The answer in pieces. `opened` gets the upstream's headers as soon as an answer has begun; until then errors are raised."""
    asked = exchange.asked
    upstream = exchange.gate.upstream.stream(exchange.route.path, dump(asked.body), exchange.send_headers)
    async with based.Asking(exchange), upstream as live:
        if live.status != 200:
            raise UpstreamSaid(live.status, await live.rest(), live.headers)
        await exchange.input_recorded()
        through = exchange.route.stream(asked, Gates(exchange))
        opened.set_result(live.headers)
        reader, run = Reader(), Run(exchange, through)
        try:
            async for piece in live.pieces():
                out: list[bytes] = []
                for event in reader.feed(piece):
                    for step in through.feed(event):
                        out.append(step if isinstance(step, bytes) else await run.step(step))
                if reasons := exchange.stops(""):
                    yield await run.stopped(sorted(reasons))
                    return
                if out:
                    yield out[0] if len(out) == 1 else b"".join(out)
            last = [step for event in reader.finish() for step in through.feed(event)]
            out = [step if isinstance(step, bytes) else await run.step(step) for step in (*last, *through.finish())]
            yield b"".join((*out, through.close(run.told)))
        except (BadBody, UpstreamTrouble, RailFailed, LedgerError) as error:
            yield await run.broken(error)
        except Exception as error:
            LOG.exception("a fault in a stream")  # nothing more of it leaves
            yield await run.broken(error)
        except BaseException:  # the client has gone, or this process ends: say so in the record, and pass it on
            run.gone()
            raise


@dataclass(slots=True)
class Run:
    """How far a stream has come."""

    exchange: Exchange
    stream: Stream
    told: dict[str, Any] | None = None

    async def step(self, step: Halt | Finished) -> bytes:
        """Act on one step; what may leave because of it."""
        return await (self.halt(step) if isinstance(step, Halt) else self.finished(step))

    async def halt(self, step: Halt) -> bytes:
        """A choice ends in a refusal."""
        exchange = self.exchange
        record = await exchange.record(step.decision, "output", {}, facts={"choice": step.choice, "ended": "cut"})
        await exchange.replied(self.stream.reply(Finished(step.choice, (), (), ())))
        self.told = exchange.told(step.decision, record)
        return self.stream.replace(step.choice, exchange.refuse(step.decision), self.told)

    async def finished(self, done: Finished) -> bytes:
        """A choice is complete: its calls are judged, all of it is recorded, and then they leave."""
        exchange = self.exchange
        met = [*done.met, *[await self.loose(text) for text in done.loose]]
        before = together(met) if met else Decision("allow", (), (), exchange.law.digest)
        exchange.on.cut |= any(one.effect != "allow" for one in met)  # what is recorded is what was left of it
        if reasons := exchange.stops(""):
            before = replace(before, effect="stop", reason="; ".join(sorted(reasons)))
        calls = await exchange.weigh_calls(done.calls, before)
        decision = together([before, *(one for _, one in calls), *exchange.stopped(done.calls)])
        if decision.effect == "revise":  # the text has left, and cannot be taken back
            decision = replace(decision, effect="block")
        choice = Choice(done.choice, (), (), (Text("thinking", done.thinking),) if done.thinking else ())
        body = self.stream.reply(done)
        record = await exchange.recorded(decision, body, choice, calls)
        await exchange.replied(body)
        if decision.effect in OPEN:
            for text in done.said:
                exchange.session.answered(text)
            if decision.effect != "allow":
                self.told = exchange.told(decision, record)
            return self.stream.release(done)
        if decision.effect == "require_approval":
            approval, text = await exchange.withhold(body, decision, done.calls)
            self.told = exchange.told(decision, record, approval)
            return self.stream.replace(done.choice, text, self.told)
        self.told = exchange.told(decision, record)
        return self.stream.replace(done.choice, exchange.refuse(decision), self.told)

    async def loose(self, text: Text) -> Decision:
        """What is decided on text that no filter has seen, and out of which nothing can be cut."""
        exchange = self.exchange
        decision = await exchange.law.judge(exchange.event(text.surface, text.text), exchange.rail_facts(), exchange.stops(""))
        return replace(decision, effect="block") if decision.effect == "redact" else decision

    async def stopped(self, reasons: list[str]) -> bytes:
        """An emergency stop, in the middle of an answer."""
        decision = Decision("stop", (), (), self.exchange.law.digest, reason="; ".join(reasons))
        record = await self.exchange.record(decision, "output", {}, facts={"ended": "stopped"})
        self.told = self.exchange.told(decision, record)
        return self.stream.fail(refusals.refusal(decision, self.exchange.law.book.policy))

    async def broken(self, error: Exception) -> bytes:
        """The stream cannot go on. What has left has left; nothing more does."""
        what = "the answer could not be checked to its end"  # what went wrong may name a path of ours
        if isinstance(error, BadBody | UpstreamTrouble):
            what = error.what  # in words for clients
        if isinstance(error, LedgerError):
            LOG.error("not recorded, so not released: %s", error.what)
            return self.stream.fail("the answer could not be recorded, so it ends here")
        with suppress(LedgerError):  # what follows releases nothing
            await self.exchange.record(blocked(self.exchange.law, what), "output", {}, facts={"ended": "broken"})
        return self.stream.fail(what)

    def gone(self) -> None:
        """The client has gone: begin its record, and wait for nothing."""
        exchange = self.exchange
        decision = Decision("allow", (), (), exchange.law.digest)
        task = asyncio.ensure_future(exchange.record(decision, "output", {}, facts={"ended": "client gone"}))
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

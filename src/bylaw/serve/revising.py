"""The corrective loop: draft, critique by clause, revise, verify; after so many times, the clause's safe completion."""

from dataclasses import replace
from typing import TYPE_CHECKING

from bylaw.serve import refusals
from bylaw.serve.ends import OPEN, Settled
from bylaw.serve.law import together
from bylaw.serve.wire import Choice, Said, dump
from bylaw.types import Decision

if TYPE_CHECKING:  # which begins it
    from bylaw.serve.exchange import Exchange


async def revise(exchange: "Exchange", said: Said, choice: Choice, first: Decision) -> Settled:
    """Ask the model again, with the clause named, until it says what may leave; every draft is recorded."""
    shape, decision = exchange.route.shape, first
    text, request = _spoken(choice), shape.whole(exchange.asked.body)
    for turn in range(exchange.gate.ways.max_revisions):
        draft = {"draft": text.encode("utf-8", "surrogatepass")}
        await exchange.record(decision, "output", draft, kind="revision", facts={"turn": turn + 1})
        request = shape.again(request, text, refusals.critique(decision, exchange.law.book.policy))
        revised, _ = await exchange.ask(request)
        new = revised.choices[0]
        decision, calls = await exchange.weigh(revised.body, new)
        if decision.effect != "revise":
            body, done, approval, record = await exchange.act(revised.body, new, decision, calls)
            effect = "revise" if done.effect in OPEN else done.effect
            whole = together([replace(first, effect=effect), replace(done, effect=effect)])
            return Settled(shape.adopt(said.body, choice, body), whole, approval, record)
        text = _spoken(new)
    shape.speak(said.body, choice, exchange.refuse(first), "stop")
    record = await exchange.recorded(first, said.body, choice, (), facts={"revised": "safe completion"})
    return Settled(said.body, first, "", record)


def _spoken(choice: Choice) -> str:
    """A choice as the model may read it again: its texts, and the calls it wanted."""
    calls = [f"(You wanted to call {call.tool} with {dump(dict(call.args or {})).decode('utf-8', 'replace')}.)" for call in choice.calls]
    return "\n".join([*(text.text for text in choice.texts if not text.parts), *calls]) or "(nothing)"

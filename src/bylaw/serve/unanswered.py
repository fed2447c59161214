"""What an upstream says in place of an answer: an error, which is judged as an answer is before the client reads it.

An error that is no JSON object becomes one of ours, and so does one in which a rule finds something: nothing is cut out of an error. A
status that is neither an answer's nor an error's gives the client nothing of what stands under it.
"""

from bylaw.serve.beside import said_beside
from bylaw.serve.ends import UpstreamSaid
from bylaw.serve.exchange import Exchange
from bylaw.serve.upstream import UpstreamTrouble
from bylaw.serve.wire import BadBody, dump, heard


async def unanswered(exchange: Exchange, error: UpstreamSaid) -> UpstreamSaid:
    """The error as the client may read it; raises UpstreamTrouble where it is none, and LedgerError."""
    if error.status < 400:
        raise UpstreamTrouble(502, f"the model's server answered with status {error.status}, under which no answer stands")
    shape = exchange.route.shape
    try:
        body = heard(error.body)
    except BadBody:
        body = shape.error(error.status, f"the model's server answered with status {error.status} and nothing that can be read")
    said = "\n".join(said_beside(body, exchange.asked.body))
    decision = await exchange.law.judge(exchange.event("output", said), exchange.rail_facts(), exchange.stops(""))
    if decision.effect != "allow":
        record = await exchange.record(decision, "output", {"error": error.body}, facts={"status": error.status})
        body = shape.error(error.status, exchange.refuse(decision)) | {"bylaw": exchange.told(decision, record)}
    return UpstreamSaid(error.status, dump(body), error.headers)

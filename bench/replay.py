"""10,000 recorded decisions under a candidate: seconds of CPU and of the clock, the ledger read and the policy made ready included.

Half of them are requests with their answers, as the gateway records them, and half are calls; a fifth was to be revised or asked for.
"""

import tempfile
import time
from pathlib import Path
from typing import Any, Final

import orjson
from tests.serve import rig

from bench import Row, row
from bylaw.ledger.writer import Ledger
from bylaw.policy.parse import load
from bylaw.serve.replay import replay

DECISIONS: Final = 10_000
TARGET_S: Final = 10.0
CLAUSES: Final = ("privacy.cards", "tone.promise", "money.limit")


def measure() -> list[Row]:
    """The same policy, and one with a lower limit."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        same, lower = written(folder / "same", 200), written(folder / "lower", 100)
        digest = load(same).digest
        with Ledger(folder / "data") as ledger:
            for one in entries(digest):
                ledger.append(one)
        rows = []
        for name, policy in (("the same policy", same), ("a lower limit", lower)):
            begun, cpu = time.monotonic(), time.process_time()
            report = replay(folder / "data", policy)
            spent, cpu = time.monotonic() - begun, time.process_time() - cpu
            if report.replayed != DECISIONS or (policy == same) != (not report.changes):
                raise SystemExit(f"the replay is wrong:\n{report.printed()}")
            what = f"{DECISIONS:,} decisions again, {name}: {report.changes.total()} change"
            rows += [row(what, cpu, "CPU s", TARGET_S), row(what, spent, "s", TARGET_S)]
        return rows


def written(folder: Path, limit: int) -> Path:
    """A policy of three clauses and its tools."""
    rules = rig.written(folder, CLAUSES) / "rules.md"
    rules.write_text(rules.read_text().replace("> 200.0", f"> {limit}.0"))
    return folder


def entries(digest: str) -> list[dict[str, Any]]:
    """What a gateway would have recorded."""
    made = []
    for at in range(DECISIONS // 2):
        bad = at % 5 == 0
        text = "This is guaranteed." if bad else "Your order has left us today and will be with you by Friday. " * 5
        made.append(_entry(digest, at, "output", ("tone.promise", "revise") if bad else ("", "allow"), _talk(text)))
        amount = 250.0 if bad else 150.0
        basis = {"who": {"id": "ana", "roles": ["agent"], "tenant": "north", "jurisdiction": ""}}
        contents = {"args": orjson.dumps({"order": at, "amount": amount}), "basis": orjson.dumps(basis)}
        made.append(_entry(digest, at, "tool_call", ("money.limit", "require_approval") if bad else ("", "allow"), contents))
    return made


def _entry(digest: str, at: int, surface: str, said: tuple[str, str], contents: dict[str, bytes]) -> dict[str, Any]:
    clause, effect = said
    facts = {"route": "/v1/chat/completions", "hour": 9, "exchange": at + 1, **({"input": "allow"} if surface == "output" else {})}
    return {
        "kind": "decision",
        "session": f"s{at}",
        "principal": "ana",
        "surface": surface,
        "tool": "refund" if surface == "tool_call" else "",
        "decision": effect,
        "clauses": [clause] if clause else [],
        "rules": [f"{clause}/r"] if clause else [],
        "policy": digest,
        "contents": contents,
        "facts": facts,
    }


def _talk(text: str) -> dict[str, bytes]:
    request = {
        "model": "m",
        "messages": [{"role": "system", "content": "You help."}, {"role": "user", "content": "Where is my order? " * 20}],
    }
    message = {"role": "assistant", "content": text}
    reply = {"id": "r", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return {"request": orjson.dumps(request), "reply": orjson.dumps(reply)}

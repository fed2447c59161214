"""One decision in process: CPU microseconds, p50, best of 5; and whether clauses on other tools cost anything."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from bench import Row, policy_load, row
from bylaw.govern.engine import decide
from bylaw.govern.rulebook import Rulebook
from bylaw.policy import parse
from bylaw.types import Clause, Event, Policy, Rule

TRIES: Final = 5
ROUNDS: Final = 7
CALLS: Final = 400  # timed in one try, one by one
TARGET_US: Final = 15.0
RATIO: Final = 1.2  # 1,000 clauses on other tools against 10
LOAD_S: Final = 0.5
TOOL: Final = "payments.refund"
SCHEMA: Final = {
    "type": "object",
    "properties": {"order": {"type": "integer"}, "amount": {"type": "number"}, "reason": {"type": "string"}},
    "required": ["order", "amount"],
    "additionalProperties": False,
}
CONDITIONS: Final = (
    "args.amount > {limit}.0",
    'args.amount + session.sums["payments.refund.amount"] > {limit}.0',
    '!("support" in principal.roles) || args.order == {limit}',
)
QUIET: Final = 1_000_000  # a limit that the event stays under


def event() -> Event:
    """A call as the gateway would ask about it: a principal, a session with a past, an environment."""
    return Event(
        "tool_call",
        TOOL,
        {"order": 81, "amount": 250.0, "reason": "arrived late"},
        "",
        {"id": "agent-7", "roles": ["support"], "tenant": "north", "jurisdiction": "eu"},
        {"id": "s-1", "taint": [], "calls": ["orders.read"], "n_calls": 1, "sums": {f"{TOOL}.amount": 20.0}},
        {"name": "prod", "hour": 11},
    )


def book(clauses: int, own: int, matching: int) -> Rulebook:
    """A policy of so many clauses; `own` of them have a rule on the event's tool, of which `matching` match."""
    made = []
    for number in range(clauses):
        limit = number if number < matching else QUIET
        condition = CONDITIONS[0] if number < matching else CONDITIONS[number % len(CONDITIONS)]
        tool = TOOL if number < own else f"other.tool{number}"
        when = condition.format(limit=limit) if number < own else "args.amount > 5.0"
        rule = Rule("limit", ("tool_call",), "require_approval", (tool,), when, approvers=("lead",), ttl_s=60)
        made.append(Clause(f"c.n{number}", "A clause", "high", "comply", enforce=(rule,)))
    return Rulebook.load(Policy("bench", "1.0.0", tuple(made), "sha256:bench", tools={TOOL: SCHEMA}))


def p50_us(rules: Rulebook, asked: Event) -> float:
    """The median of single decisions, in microseconds of CPU."""
    taken = []
    clock = time.thread_time_ns
    for _ in range(CALLS):
        began = clock()
        decide(asked, rules)
        taken.append(clock() - began)
    return statistics.median(taken) / 1000


def clock_us() -> float:
    """What reading the clock costs by itself."""
    clock, taken = time.thread_time_ns, []
    for _ in range(CALLS):
        began = clock()
        taken.append(clock() - began)
    return statistics.median(taken) / 1000


def best_us(rules: Rulebook) -> float:
    """The best of some tries, the clock taken off; the first try only warms up."""
    asked = event()
    p50_us(rules, asked)
    return min(p50_us(rules, asked) - clock_us() for _ in range(TRIES))


def ratio() -> float:
    """1,000 clauses against 10, none on the event's tool but three: the median of some rounds, in turns."""
    few, many, asked = book(10, 3, 0), book(1000, 3, 0), event()
    return statistics.median(p50_us(many, asked) / p50_us(few, asked) for _ in range(ROUNDS))


def load_s(folder: Path) -> float:
    """CPU seconds from files to a rulebook, every example tried."""
    began = time.process_time()
    Rulebook.load(parse.load(folder))
    return time.process_time() - began


def measure() -> list[Row]:
    """Decisions with more and more rules that match, the ratio, and a load."""
    rows = [
        row(f"decision p50, 100 clauses, {own} rules on its tool, {matching} match", best_us(book(100, own, matching)), "CPU us", target)
        for own, matching, target in ((0, 0, None), (1, 0, TARGET_US), (3, 0, TARGET_US), (1, 1, TARGET_US), (3, 3, TARGET_US))
    ]
    rows += [
        row(f"decision p50, 100 clauses, {matching} rules match", best_us(book(100, matching, matching)), "CPU us") for matching in (10, 50)
    ]
    with tempfile.TemporaryDirectory() as where:
        policy_load.generate(Path(where), 100)
        load_s(Path(where))
        loads = [load_s(Path(where)) for _ in range(TRIES)]
    return [
        *rows,
        row("decision p50, 1,000 clauses on other tools against 10", ratio(), "ratio", RATIO),
        row("a policy of 100 clauses, from files to a rulebook", min(loads), "CPU s", LOAD_S),
    ]

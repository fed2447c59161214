"""`/metrics`: what a process has counted and how it stands, in Prometheus' text format. The library loads when somebody first scrapes.

Every number has the label `process` (its ledger's log). With `--workers` a scrape reaches one of them, which adds what the others have
counted (`tallies`); gauges are those of the process that answers. Nothing here is on the way of a request.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import Response

from bylaw.govern import stops as emergency
from bylaw.govern.keys import ADMIN, Grant
from bylaw.govern.quorum import ALL_TENANTS
from bylaw.ledger.writer import Ledger
from bylaw.serve import looking, tallies
from bylaw.serve.desk import HEADERS, Desk, headers, later, query
from bylaw.serve.door import NotIn
from bylaw.serve.tally import BOUNDS_S, Count, Tally

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

VIEWER: Final = "viewer"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a process stands, at the moment of a scrape."""

    ledger_healthy: bool
    ledger_commits: int
    store_readable: bool
    policy: str
    policy_refused: bool
    troubles: tuple[str, ...]  # the parts that do not work
    waiting: int  # approvals
    appeals: int
    stops: int
    looks: tuple[tuple[str, str, float], ...] = ()  # gauges of the looks for signals


async def scraped(desk: Desk, request: Request) -> Response:
    """What this process has counted."""
    if desk.watching.lookout.metrics != "open":
        key = desk.door.key(headers(request))
        if key is not None and not _may(key.grant):
            raise NotIn(403, "this needs a key with the role `admin`, or `viewer` of no tenant: counts are of all of them")
    query(request)
    text: bytes = await later(lambda: _written(desk))
    return Response(text, 200, HEADERS, "text/plain; version=0.0.4; charset=utf-8")


def _may(grant: Grant) -> bool:
    """Whether a key may scrape, as in the console: what is counted is not parted by tenant."""
    return ADMIN in grant.roles or (VIEWER in grant.roles and grant.tenant in ("", ALL_TENANTS))


def _written(desk: Desk) -> bytes:
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415  # 13 MB and 0.2 s that most processes never need

    registry = CollectorRegistry(auto_describe=False)
    process = desk.ledger.log.rpartition("/")[2]
    counted = {process: desk.watching.tally, **tallies.others(desk.data_dir, process)}
    registry.register(_Collected(lambda: list(families(counted, standing(desk), process))))
    return generate_latest(registry)


class _Collected:
    """What Prometheus' registry asks for its families."""

    def __init__(self, found: "Callable[[], list[Metric]]") -> None:
        self._found = found

    def collect(self) -> "list[Metric]":
        """All families."""
        return self._found()


def standing(desk: Desk) -> Standing:
    """How this process stands."""
    recorders = [gate.recorder for gate in desk.gates]
    readable = emergency.UNREADABLE not in desk.stops.applies({"id": ""})
    return Standing(
        all(one.healthy for one in recorders),
        sum(one.groups for one in recorders if isinstance(one, Ledger)),
        readable,
        desk.live.now.digest,
        bool(desk.live.refused),
        tuple(said.partition(":")[0] for said in desk.gate.troubles()),
        sum(len(room.find(["pending"])) for room in desk.approvals) if readable else 0,
        sum(len(room.find(("open",))) for room in desk.appeals) if readable else 0,
        len(emergency.active(desk.store)) if readable else 0,
        _looks(desk),
    )


def _looks(desk: Desk) -> tuple[tuple[str, str, float], ...]:
    """How the looks for signals stand, where there are any; of all data directories the worst."""
    if desk.watching.lookout.signals is None:
        return ()
    found = [looking.last(data_dir) for data_dir in desk.data_dirs()]
    return (
        ("bylaw_signals_standing", "Signals that stood at the last look.", float(sum(one.standing for one in found if one))),
        (
            "bylaw_signals_looked_at",
            "When the last look came to its end, seconds since 1970.",
            min(one.done if one else 0.0 for one in found),
        ),
    )


def families(tallied: Mapping[str, Tally], now: Standing, process: str) -> "Iterator[Metric]":
    """Every metric there is: counts of all processes, gauges of this one."""
    from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily  # noqa: PLC0415  # as above

    yield _counted("bylaw_decisions", "Decisions on the disk, by what was decided on what.", tallied, "decisions", ("effect", "surface"))
    yield _counted("bylaw_clause_decisions", "Clauses that decided.", tallied, "clauses", ("clause", "effect"))
    yield _counted("bylaw_ledger_entries", "Entries on the disk.", tallied, "entries", ("kind",))
    yield _counted("bylaw_steps", "Steps of approvals, appeals, policies, stops and findings.", tallied, "steps", ("kind", "step"))
    yield _counted("bylaw_requests", "Requests on model routes that have ended.", tallied, "requests", ("route", "status"))
    undecided = {name: tally.undecided for name, tally in tallied.items()}
    yield _numbers("bylaw_undecided_decisions", "Decisions in which a rule could not be decided.", undecided)
    yield _numbers("bylaw_ledger_commits", "Groups of entries committed.", {process: now.ledger_commits})
    gauges: list[tuple[str, str, Any]] = [
        ("bylaw_ledger_healthy", "1 where the ledger takes entries.", now.ledger_healthy),
        ("bylaw_store_readable", "1 where the store can be read.", now.store_readable),
        ("bylaw_policy_refused", "1 where the latest activation is not in force here.", now.policy_refused),
        ("bylaw_approvals_waiting", "Requests that wait for a person, 500 at most.", now.waiting),
        ("bylaw_appeals_open", "Appeals that wait for a person, 500 at most.", now.appeals),
        ("bylaw_stops_active", "Emergency stops in force.", now.stops),
    ]
    for name, says, value in gauges:
        made = GaugeMetricFamily(name, says, labels=("process",))
        made.add_metric((process,), float(value))
        yield made
    for name, says, at in now.looks:
        made = GaugeMetricFamily(name, says, labels=("process",))
        made.add_metric((process,), at)
        yield made
    policy = GaugeMetricFamily("bylaw_policy_in_force", "1 for the policy in force.", labels=("process", "digest"))
    policy.add_metric((process, now.policy), 1.0)
    yield policy
    trouble = GaugeMetricFamily("bylaw_trouble", "1 for each part that does not work just now.", labels=("process", "part"))
    for part in sorted(set(now.troubles)):
        trouble.add_metric((process, part), 1.0)
    yield trouble
    lasted = HistogramMetricFamily(
        "bylaw_request_seconds", "How long requests on model routes took, the model's time in it.", labels=("process",)
    )
    for name, tally in tallied.items():
        buckets = [(str(bound), float(count)) for bound, count in zip((*BOUNDS_S, "+Inf"), accumulate(tally.lasted), strict=True)]
        lasted.add_metric((name,), buckets, tally.lasted_s)
    yield lasted


def _counted(name: str, says: str, tallied: Mapping[str, Tally], which: str, labels: tuple[str, ...]) -> "Metric":
    from prometheus_client.metrics_core import CounterMetricFamily  # noqa: PLC0415  # as above

    made = CounterMetricFamily(name, says, labels=("process", *labels))
    for process, tally in tallied.items():
        count: Count = getattr(tally, which)
        for values, number in list(count.by.items()):
            made.add_metric((process, *values), float(number))
    return made


def _numbers(name: str, says: str, numbers: Mapping[str, int]) -> "Metric":
    from prometheus_client.metrics_core import CounterMetricFamily  # noqa: PLC0415  # as above

    made = CounterMetricFamily(name, says, labels=("process",))
    for process, number in numbers.items():
        made.add_metric((process,), float(number))
    return made

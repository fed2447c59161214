"""What the operator said about watching, in `gateway.yaml`: who may scrape, where spans go, who may report a finding.

    metrics: open                                # whoever can reach /metrics may read it; without it a key with the role viewer or admin
    otel: {endpoint: "http://127.0.0.1:4318/v1/traces", key_env: OTEL_KEY, service: bylaw}
    findings: {open: true, an_hour: 20}          # the public may report at /report and POST /api/findings, so many an hour in all
    sampling: {share: 0.01, calls_a_day: 500}    # of answers that left, read by the `judge` afterwards; calls are each process's own
    signals: {every: 15m, window: 24h, history: 30d}     # what is unlike itself is looked for; see `looking`

Nothing here decides on a request. What is off costs nothing.
"""

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from bylaw.policy.fields import Fields, as_text
from bylaw.policy.notation import wrong

AN_HOUR: Final = 20  # findings that come without a key, in all
CALLS_A_DAY: Final = 500  # of the judge that samples
SERVICE: Final = "bylaw"
WINDOW_S: Final = 86_400  # in which signals are looked for
HISTORY_S: Final = 30 * 86_400  # that they are compared with

Scrapers = Literal["keyed", "open"]


@dataclass(frozen=True, slots=True)
class OtelAt:
    """Where spans go."""

    endpoint: str
    key_env: str = ""  # sent as a bearer token
    service: str = SERVICE


@dataclass(frozen=True, slots=True)
class FindingsFrom:
    """Whom findings are taken from."""

    open: bool = False  # without a key, from wherever the gateway can be reached
    an_hour: int = AN_HOUR


@dataclass(frozen=True, slots=True)
class SamplingAt:
    """How many answers are read by a judge after they left."""

    share: float
    calls_a_day: int = CALLS_A_DAY


@dataclass(frozen=True, slots=True)
class SignalsAt:
    """How often signals are looked for, and in which time."""

    every_s: int
    window_s: int = WINDOW_S
    history_s: int = HISTORY_S


@dataclass(frozen=True, slots=True)
class Lookout:
    """How one gateway is watched."""

    metrics: Scrapers = "keyed"
    otel: OtelAt | None = None
    findings: FindingsFrom = FindingsFrom()
    sampling: SamplingAt | None = None
    signals: SignalsAt | None = None


def read_lookout(fields: Fields) -> Lookout:
    """What a gateway's file says of watching; raises PolicyError."""
    otel, findings, sampling, signals = (fields.node(name) for name in ("otel", "findings", "sampling", "signals"))
    return Lookout(
        fields.choice("metrics", Scrapers, "keyed"),
        _otel(Fields(otel, "otel", "otel: {endpoint: http://HOST:4318/v1/traces}")) if otel else None,
        _findings(Fields(findings, "findings", "findings: {open: true}")) if findings else FindingsFrom(),
        _sampling(Fields(sampling, "sampling", "sampling: {share: 0.01}")) if sampling else None,
        _signals(Fields(signals, "signals", "signals: {every: 15m}")) if signals else None,
    )


def _otel(fields: Fields) -> OtelAt:
    node = fields.need("endpoint", "Write `endpoint: http://HOST:4318/v1/traces`.")
    endpoint = as_text(node, "endpoint")
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise wrong(node.place, "endpoint must be http://HOST:PORT/v1/traces", "A key for it is in the environment: `key_env`.")
    made = OtelAt(endpoint, fields.text("key_env"), fields.text("service") or SERVICE)
    fields.done()
    return made


def _sampling(fields: Fields) -> SamplingAt:
    fields.need("share", "Write `share: 0.01`.")
    made = SamplingAt(fields.share("share") or 0.0, fields.whole("calls_a_day", 1, 1_000_000) or CALLS_A_DAY)
    fields.done()
    return made


def _signals(fields: Fields) -> SignalsAt:
    fields.need("every", "Write `every: 15m`.")
    made = SignalsAt(
        fields.seconds("every") or 0,
        fields.seconds("window") or WINDOW_S,
        fields.seconds("history") or HISTORY_S,
    )
    fields.done()
    return made


def _findings(fields: Fields) -> FindingsFrom:
    node = fields.node("open")
    if node is not None and not isinstance(node.value, bool):
        raise wrong(node.place, "open must be true or false", "Write `open: true`.")
    made = FindingsFrom(node is not None and node.value is True, fields.whole("an_hour", 1, 100_000) or AN_HOUR)
    fields.done()
    return made

"""OpenTelemetry spans of model requests, by the GenAI conventions, with what bylaw decided. Off unless `otel` names an endpoint.

One span a request on a model route, a child of the caller's where it sent a `traceparent`: gen_ai.* (operation, provider, models, usage,
finish reasons, conversation), bylaw.decision, bylaw.clauses, bylaw.record, bylaw.policy. Never a prompt, an answer, a principal or a tool's
arguments. A request only leaves a few short values in a bounded queue; a thread of its own makes spans of them and exports them. Where the
package is missing, the exporter is down or the queue is full, requests go on as they were, and `/readyz` names `otel`.
"""

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from bylaw.serve.lookout import OtelAt

if TYPE_CHECKING:  # the exporter's package is an extra
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

    from bylaw.serve.gateway import Begun

PART: Final = "otel"  # its name among the troubles
MAX_QUEUED: Final = 4_096  # spans that wait to be exported; what is beyond is dropped and counted
BATCH: Final = 512
EVERY_S: Final = 1.0
TIMEOUT_S: Final = 5.0  # of one export, its retries in it
MAX_CHARS: Final = 256  # of one value
PROVIDERS: Final = {"/v1/messages": "anthropic"}  # by whose API it is spoken; else openai
PARENT: Final = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
LOG: Final = logging.getLogger(__name__)

Say = Callable[[str, str], object]
Value = str | int | Sequence[str]
Export = Callable[[Sequence[tuple[int, int, bytes, int, dict[str, Value]]]], str]  # what was wrong; empty: nothing


class Spans:
    """Spans on their way out of one process."""

    def __init__(self, at: OtelAt, key: str, say: Say, every_s: float = EVERY_S) -> None:
        self.sent = self.lost = 0
        self._at, self._key, self._say, self._every_s = at, key, say, every_s
        self._queue: deque[tuple[int, int, bytes, int, dict[str, Value]]] = deque()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="bylaw-otel", daemon=True)
        self._thread.start()

    def ended(self, begun: "Begun", lasted_s: float) -> None:
        """A request has ended. Never waits."""
        if len(self._queue) >= MAX_QUEUED:
            self.lost += 1
            return
        now = time.time_ns()
        self._queue.append((now - round(lasted_s * 1e9), now, begun.parent, begun.status, facts(begun)))

    def close(self) -> None:
        """Export what waits, once, and stop."""
        self._closed.set()
        self._thread.join(2 * TIMEOUT_S)

    def _go_on(self) -> None:
        try:
            export, close = exporter(self._at, self._key)
        except ImportError as error:
            self._say(PART, f"{error.name} is not installed: pip install '.[otel]'; no spans are sent")
            self._queue = deque(maxlen=0)
            return
        while not self._closed.wait(self._every_s):
            self._export(export)
        self._export(export)
        close()

    def _export(self, export: Export) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            try:
                fault = export(batch)
            except Exception as error:
                LOG.exception("spans could not be exported")  # this thread must live to send the next ones
                fault = type(error).__name__
            self.sent += 0 if fault else len(batch)
            self.lost += len(batch) if fault else 0
            self._say(PART, f"{fault}; {self.lost} spans are lost so far" if fault else "")
            if fault:
                return


def facts(begun: "Begun") -> dict[str, Value]:
    """What a span says of a request: short values, no texts."""
    found: dict[str, Value] = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": PROVIDERS.get(begun.path, "openai")}
    exchange, done = begun.exchange, begun.done
    found["http.route"], found["http.response.status_code"] = begun.path, begun.status
    if exchange is not None:
        found |= {"gen_ai.request.model": exchange.asked.model[:MAX_CHARS], "gen_ai.conversation.id": exchange.session.id[:MAX_CHARS]}
    if done is not None:
        found |= {
            "bylaw.decision": done.decision.effect,
            "bylaw.clauses": list(done.decision.clauses),
            "bylaw.record": done.record,
            "bylaw.policy": done.decision.policy,
            **_said(done.body),
        }
    elif exchange is not None and exchange.outcome is not None:  # a stream
        entry, record = exchange.outcome
        found |= {"bylaw.decision": entry["decision"], "bylaw.clauses": list(entry["clauses"])}
        found |= {"bylaw.record": record, "bylaw.policy": entry["policy"]}
    if begun.status >= 400 or not begun.status:
        found["error.type"] = str(begun.status or "cancelled")
    return found


def _said(body: Mapping[str, Any]) -> dict[str, Value]:
    """What a reply says of itself."""
    found: dict[str, Value] = {}
    for name, key in (("gen_ai.response.model", "model"), ("gen_ai.response.id", "id")):
        if isinstance(value := body.get(key), str):
            found[name] = value[:MAX_CHARS]
    usage = body.get("usage")
    for name, keys in (
        ("gen_ai.usage.input_tokens", ("prompt_tokens", "input_tokens")),
        ("gen_ai.usage.output_tokens", ("completion_tokens", "output_tokens")),
    ):
        for key in keys:
            if isinstance(usage, dict) and type(value := usage.get(key)) is int:
                found[name] = value
    choices = body.get("choices")
    reasons = (
        [one.get("finish_reason") for one in choices if isinstance(one, dict)] if isinstance(choices, list) else [body.get("stop_reason")]
    )
    if said := [one[:MAX_CHARS] for one in reasons if isinstance(one, str)]:
        found["gen_ai.response.finish_reasons"] = said
    return found


def exporter(at: OtelAt, key: str) -> tuple[Export, Callable[[], None]]:
    """What sends a batch, and what closes it; raises ImportError where the extra is not installed."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  # an extra; 20 MB where it is on
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  # as above
    from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415  # as above

    headers = {"authorization": f"Bearer {key}"} if key else {}
    sender, resource = OTLPSpanExporter(at.endpoint, headers=headers, timeout=TIMEOUT_S), Resource({"service.name": at.service})

    def export(batch: Sequence[tuple[int, int, bytes, int, dict[str, Value]]]) -> str:
        done = sender.export([_span(resource, *one) for one in batch])
        return "" if done is SpanExportResult.SUCCESS else f"{at.endpoint} did not take the spans"

    return export, sender.shutdown


def _span(resource: "Resource", began_ns: int, ended_ns: int, parent: bytes, status: int, said: dict[str, Value]) -> "ReadableSpan":
    from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415  # as above
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415  # as above
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags  # noqa: PLC0415  # as above

    ids, found = RandomIdGenerator(), PARENT.fullmatch(parent)
    trace = int(found[1], 16) if found else ids.generate_trace_id()
    above = SpanContext(trace, int(found[2], 16), is_remote=True, trace_flags=TraceFlags(int(found[3], 16))) if found else None
    return ReadableSpan(
        f"chat {said.get('gen_ai.request.model', '')}".strip(),
        SpanContext(trace, ids.generate_span_id(), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)),
        above,
        resource,
        said,
        kind=SpanKind.CLIENT,
        status=Status(StatusCode.ERROR if "error.type" in said else StatusCode.UNSET),
        start_time=began_ns,
        end_time=ended_ns,
    )

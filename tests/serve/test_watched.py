"""How a gateway is watched: metrics and spans tell what happened, and nothing that happens hangs on them."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from bylaw.errors import PolicyError, StoreError
from bylaw.ledger.writer import Ledger
from bylaw.serve import wiring
from bylaw.serve.gateway import Begun
from bylaw.serve.lookout import FindingsFrom, Lookout, OtelAt
from bylaw.serve.spans import Spans
from bylaw.serve.start import Process, Setting, prepare
from bylaw.serve.tallies import Sharing
from bylaw.serve.tallies import written as written_down
from bylaw.serve.tally import MAX_LABELS, OTHER, Tally
from bylaw.serve.watchers import Watchers
from bylaw.serve.wiring import HookAt, MailAt, Wiring
from bylaw.store import database
from tests.serve.rig import serving, speaking, written
from tests.serve.test_processes_wiring import SECRET, troubles
from tests.serve.test_serving import REFUNDS, Served, refunding, saying, until

NOT_WIRED = Wiring()


@contextmanager
def watched(tmp_path: Path, wired: Wiring = NOT_WIRED, policy: Path = REFUNDS) -> Iterator[Served]:
    with ExitStack() as stack:
        speaker = stack.enter_context(speaking())
        setting = Setting(f"{speaker.url}/v1", data_dir=tmp_path, wiring=wired)
        prepare(setting, policy, "tester")
        url = stack.enter_context(serving(Process(setting)))
        store = database.open(setting.database)
        stack.callback(store.close)
        yield Served(url, speaker, store, stack.enter_context(Ledger(tmp_path)), tmp_path)


def samples(served: Served, **key: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Every sample of a scrape, by name and by labels without `process`."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(served.get("/metrics", **key).body.decode()):
        for one in family.samples:
            labels = tuple(sorted((name, value) for name, value in one.labels.items() if name != "process"))
            found.setdefault(one.name, {})[labels] = one.value
    return found


# ---- Metrics ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_scrape_tells_what_was_decided_by_effect_surface_and_clause(tmp_path: Path) -> None:
    with watched(tmp_path) as served:
        served.speaker.replies += [saying("Hello."), refunding(5000.0), refunding(500.0)]
        effects = [served.ask(x_bylaw_session=name).headers["x-bylaw-decision"] for name in ("a", "b", "c")]
        found = samples(served)

    assert effects == ["allow", "require_approval", "require_approval"]
    assert found["bylaw_decisions_total"][(("effect", "require_approval"), ("surface", "output"))] == 2
    assert found["bylaw_decisions_total"][(("effect", "allow"), ("surface", "output"))] == 1
    assert any(("effect", "require_approval") in labels for labels in found["bylaw_clause_decisions_total"])
    assert found["bylaw_steps_total"][(("kind", "approval"), ("step", "requested"))] == 2
    assert found["bylaw_requests_total"] == {(("route", "/v1/chat/completions"), ("status", "200")): 3}
    assert (found["bylaw_approvals_waiting"][()], found["bylaw_ledger_healthy"][()]) == (2, 1)
    assert found["bylaw_request_seconds_count"][()] == 3


@pytest.mark.slow
def test_no_metric_names_a_principal_a_session_or_a_tool(tmp_path: Path) -> None:
    with watched(tmp_path) as served:
        key = served.key(principal="kim-the-customer")
        until(lambda: served.get("/api/approvals", **key).status == 200)
        served.speaker.replies.append(refunding(500.0))
        served.ask(x_bylaw_session="the-session", **key)
        text = served.get("/metrics").body

    assert all(name not in text for name in (b"kim-the-customer", b"the-session", b"payments.refund"))
    assert b"bylaw_decisions_total" in text


@pytest.mark.slow
def test_who_may_scrape_is_who_may_look_or_everybody_where_the_operator_says_so(tmp_path: Path) -> None:
    with watched(tmp_path / "keyed") as served:
        keys = [served.key(), served.key("viewer"), served.key("admin")]
        until(lambda: served.get("/metrics", **keys[2]).status == 200)
        page = {"origin": "https://evil.example"}
        keyed = [served.get("/metrics", **one).status for one in (*keys, page)]
    with watched(tmp_path / "open", Wiring(lookout=Lookout(metrics="open"))) as served:
        opened = served.get("/metrics", **page).status

    assert (keyed, opened) == ([403, 200, 200, 403], 200)


@given(st.lists(st.text(max_size=8), min_size=1, max_size=30))
def test_counts_add_up_and_labels_stay_bounded(clauses: list[str]) -> None:
    tally = Tally()
    for clause in clauses:
        tally.entry({"kind": "decision", "decision": "block", "surface": "output", "clauses": (clause,), "facts": {"undecided": ["r"]}})
    for at in range(MAX_LABELS + 3):
        tally.requests.add(("/", str(at)))

    assert sum(tally.clauses.by.values()) == len(clauses) == tally.undecided
    assert len(tally.requests.by) == MAX_LABELS + 1
    assert tally.requests.by[(OTHER, OTHER)] == 3


@pytest.mark.slow
def test_a_scrape_tells_what_the_other_workers_have_counted(tmp_path: Path) -> None:
    other, gone = Tally(), Tally()
    for tally in (other, gone):
        tally.entry({"kind": "decision", "decision": "block", "surface": "input", "clauses": ("a.b",)})
        tally.request("/v1/messages", 200, 0.02)
    sharing = Sharing(other, tmp_path, "w2")
    until((tmp_path / "metrics" / "w2.json").exists)
    (tmp_path / "metrics" / "w3.json").write_text(written_down(gone))
    os.utime(tmp_path / "metrics" / "w3.json", (1, 1))
    (tmp_path / "metrics" / "w4.json").write_text("{half a")
    with watched(tmp_path) as served:
        served.speaker.replies.append(saying("Hello."))
        served.ask()
        found = samples(served)
    sharing.close()

    assert found["bylaw_decisions_total"] == {
        (("effect", "allow"), ("surface", "output")): 1,
        (("effect", "block"), ("surface", "input")): 1,
    }
    assert set(found["bylaw_requests_total"]) == {
        (("route", "/v1/chat/completions"), ("status", "200")),
        (("route", "/v1/messages"), ("status", "200")),
    }
    assert not (tmp_path / "metrics" / "w2.json").exists()


# ---- The file --------------------------------------------------------------------------------------------------------


def test_the_file_says_how_a_gateway_is_watched(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(
        'metrics: open\notel: {endpoint: "http://127.0.0.1:4318/v1/traces", key_env: K}\nfindings: {open: true, an_hour: 5}\n'
    )

    assert wiring.found(tmp_path).lookout == Lookout(
        "open", OtelAt("http://127.0.0.1:4318/v1/traces", "K"), FindingsFrom(open=True, an_hour=5)
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("metrics: all\n", "metrics cannot be 'all'"),
        ("otel: {}\n", "otel has no endpoint"),
        ("otel: {endpoint: collector}\n", "endpoint must be http"),
        ('otel: {endpoint: "http://u:p@h/v1/traces"}\n', "endpoint must be http"),
        ("findings: {open: yes please}\n", "open must be true or false"),
        ("findings: {an_hour: 0}\n", "an_hour must be a whole number"),
    ],
)
def test_what_it_cannot_say_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "gateway.yaml").write_text(text)
    with pytest.raises(PolicyError, match=says):
        wiring.found(tmp_path)


# ---- Spans -----------------------------------------------------------------------------------------------------------

TRACE = "0af7651916cd43dd8448eb211c80319c"


@contextmanager
def collecting() -> Iterator[tuple[str, list[Any]]]:
    """A collector that keeps the spans it is sent."""
    spans: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            spans.extend(span for of in sent.resource_spans for scope in of.scope_spans for span in scope.spans)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def said(span: Any) -> dict[str, Any]:
    """What a span says, as plain values."""
    found = {}
    for one in span.attributes:
        value = one.value
        found[one.key] = (
            [item.string_value for item in value.array_value.values]
            if value.HasField("array_value")
            else (value.int_value if value.HasField("int_value") else value.string_value)
        )
    return found


@pytest.mark.slow
def test_a_span_tells_what_was_asked_of_which_model_and_what_was_decided(tmp_path: Path) -> None:
    with collecting() as (endpoint, spans), watched(tmp_path, Wiring(lookout=Lookout(otel=OtelAt(endpoint)))) as served:
        served.speaker.replies += [
            {**saying("Your secret word is xyzzy."), "usage": {"prompt_tokens": 7, "completion_tokens": 5}},
            refunding(500.0),
        ]
        replies = [served.ask("What is my word, xyzzy?", traceparent=f"00-{TRACE}-b7ad6b7169203331-01"), served.ask("Money, please.")]
        until(lambda: len(spans) == 2)
        trouble = troubles(served.url)
    first, second = map(said, spans)

    assert trouble == []
    assert (spans[0].trace_id.hex(), spans[0].parent_span_id.hex(), spans[0].name) == (TRACE, "b7ad6b7169203331", "chat m")
    assert (first["gen_ai.operation.name"], first["gen_ai.request.model"], first["gen_ai.response.id"]) == ("chat", "m", "c")
    assert (first["gen_ai.usage.input_tokens"], first["gen_ai.usage.output_tokens"]) == (7, 5)
    assert [one["bylaw.decision"] for one in (first, second)] == ["allow", "require_approval"]
    assert [one["bylaw.record"] for one in (first, second)] == [one.headers["x-bylaw-record"] for one in replies]
    assert ",".join(second["bylaw.clauses"]) == replies[1].headers["x-bylaw-clauses"]
    assert second["bylaw.policy"].startswith("sha256:")
    assert not any(b"xyzzy" in span.SerializeToString() or b"Money" in span.SerializeToString() for span in spans)


@pytest.mark.slow
def test_a_streamed_answer_has_a_span_too(tmp_path: Path) -> None:
    policy = written(tmp_path / "policy", ("money.limit",))
    with collecting() as (endpoint, spans), watched(tmp_path, Wiring(lookout=Lookout(otel=OtelAt(endpoint))), policy) as served:
        served.speaker.replies.append(
            [
                b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"Hi."},"finish_reason":"stop"}]}\n\n',
                b"data: [DONE]\n\n",
            ]
        )
        served.get("/v1/chat/completions", "POST", {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hello"}]})
        until(lambda: bool(spans))
    found = said(spans[0])

    assert (found["bylaw.decision"], found["http.response.status_code"]) == ("allow", 200)
    assert "#" in found["bylaw.record"]


@pytest.mark.slow
def test_a_collector_that_is_down_changes_no_decision_and_is_named(tmp_path: Path) -> None:
    with watched(tmp_path, Wiring(lookout=Lookout(otel=OtelAt("http://127.0.0.1:9/v1/traces")))) as served:
        served.speaker.replies += [saying("Hello."), refunding(500.0)]
        effects = [served.ask(x_bylaw_session=name).headers["x-bylaw-decision"] for name in ("a", "b")]
        until(lambda: bool(troubles(served.url)))
        trouble, found = troubles(served.url), samples(served)

    assert effects == ["allow", "require_approval"]
    assert trouble[0].startswith("otel: http://127.0.0.1:9/v1/traces did not take the spans; ")
    assert found["bylaw_trouble"][(("part", "otel"),)] == 1


async def nowhere(message: Any) -> None:
    """Send nothing."""


def test_a_package_that_is_missing_changes_nothing_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    heard: list[tuple[str, str]] = []
    one = Spans(OtelAt("http://127.0.0.1:9/v1/traces"), "", lambda part, fault: heard.append((part, fault)))
    until(lambda: bool(heard))
    one.ended(Begun(nowhere, "/v1/chat/completions"), 0.1)
    one.close()

    assert heard[0][0] == "otel"
    assert "pip install '.[otel]'" in heard[0][1]


def test_an_empty_key_of_a_collector_stops_the_start(tmp_path: Path) -> None:
    setting = Setting(
        "http://127.0.0.1:9", data_dir=tmp_path, wiring=Wiring(lookout=Lookout(otel=OtelAt("http://h/v1/traces", "NO_SUCH_KEY")))
    )
    with pytest.raises(StoreError, match="NO_SUCH_KEY is empty"):
        prepare(setting, REFUNDS, "tester")


class Broken(Spans):
    """Spans with a fault of our own."""

    def __init__(self) -> None:
        self.asked = 0

    def ended(self, begun: Begun, lasted_s: float) -> None:
        self.asked += 1
        raise ValueError("a fault")


def test_a_fault_in_watching_is_none_in_serving(caplog: pytest.LogCaptureFixture) -> None:
    one = Watchers(spans=(broken := Broken()))
    one.ended(Begun(nowhere, "/v1/messages", 200), 0.1)

    assert broken.asked == 1
    assert one.tally.requests.by == {("/v1/messages", "200"): 1}
    assert "could not be watched" in caplog.text


# ---- What is down ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_bells_that_nobody_hears_change_no_decision_and_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYLAW_TEST_SECRET", SECRET)
    wired = Wiring(
        hosts=("127.0.0.1",),
        hooks=(HookAt("http://127.0.0.1:9/bylaw", "BYLAW_TEST_SECRET", inside=True),),
        mail=MailAt("127.0.0.1", "bylaw@example.com", ("desk@example.com",), 9),
    )
    with watched(tmp_path, wired) as served:
        served.speaker.replies += [refunding(500.0), saying("Hello.")]
        effects = [served.ask(x_bylaw_session=name).headers["x-bylaw-decision"] for name in ("a", "b")]
        until(lambda: bool(troubles(served.url)))
        said, found = troubles(served.url), samples(served)

    assert effects == ["require_approval", "allow"]
    assert said[0].startswith("webhook 1: 127.0.0.1: ConnectionRefusedError")
    assert found["bylaw_trouble"][(("part", "webhook 1"),)] == 1

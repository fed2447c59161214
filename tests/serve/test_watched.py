"""How a gateway is watched: metrics and spans tell what happened, and nothing that happens hangs on them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from bylaw.errors import PolicyError
from bylaw.ledger.writer import Ledger
from bylaw.serve import wiring
from bylaw.serve.lookout import FindingsFrom, Lookout, OtelAt
from bylaw.serve.start import Process, Setting, prepare
from bylaw.serve.tally import MAX_LABELS, OTHER, Tally
from bylaw.serve.wiring import HookAt, MailAt, Wiring
from bylaw.store import database
from tests.serve.rig import serving, speaking
from tests.serve.test_processes_wiring import SECRET, troubles
from tests.serve.test_serving import REFUNDS, Served, refunding, saying, until

NOT_WIRED = Wiring()


@contextmanager
def watched(tmp_path: Path, wired: Wiring = NOT_WIRED) -> Iterator[Served]:
    with ExitStack() as stack:
        speaker = stack.enter_context(speaking())
        setting = Setting(f"{speaker.url}/v1", data_dir=tmp_path, wiring=wired)
        prepare(setting, REFUNDS, "tester")
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


def test_no_metric_names_a_principal_a_session_or_a_tool(tmp_path: Path) -> None:
    with watched(tmp_path) as served:
        key = served.key(principal="kim-the-customer")
        until(lambda: served.get("/api/approvals", **key).status == 200)
        served.speaker.replies.append(refunding(500.0))
        served.ask(x_bylaw_session="the-session", **key)
        text = served.get("/metrics").body

    assert all(name not in text for name in (b"kim-the-customer", b"the-session", b"payments.refund"))
    assert b"bylaw_decisions_total" in text


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


# ---- What is down ----------------------------------------------------------------------------------------------------


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

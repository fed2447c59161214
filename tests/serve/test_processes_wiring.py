"""What a gateway is wired to: judges that rails ask and bells that ring; what is down lets nothing through and is named."""

import base64
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select, update

from bylaw.errors import BylawError, ModelError, PolicyError
from bylaw.govern import ringing
from bylaw.govern.rails.rail import RailFacts
from bylaw.govern.summons import SILENT_MS
from bylaw.serve import live, wiring
from bylaw.serve.start import Process, Setting, prepare
from bylaw.serve.wiring import HookAt, JudgeAt, MailAt, Wired, Wiring
from bylaw.store import database
from bylaw.store.approval_tables import APPROVALS
from bylaw.store.database import Store
from bylaw.types import Policy
from tests.serve.rig import CLAUSE, CLAUSES, Speaker, post, serving, speaking, written
from tests.serve.test_processes_sessions import asked, refund
from tests.serve.test_serving import saying, until

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
CLOSED = "http://127.0.0.1:9"  # nobody listens at the port of `discard`


@dataclass
class Listener:
    """A server on loopback that keeps what it is sent."""

    url: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)
    signed: list[str] = field(default_factory=list)


@contextmanager
def listening(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[Listener]:
    heard = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = orjson.loads(self.rfile.read(int(self.headers["content-length"])))
            heard.got.append(body)
            heard.signed.append(self.headers.get("webhook-signature", ""))
            said = orjson.dumps(answer(body))
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    heard.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def judging(body: dict[str, Any]) -> dict[str, Any]:
    """A judge that dislikes one word of the answer."""
    question = body["messages"][-1]["content"]
    code = re.findall(r"\b[0-9a-f]{16}\b", question)[-1]
    return saying(f"Seen.\nVERDICT {code}: {1 if 'guaranteed' in question else 9}")


def judged(folder: Path) -> Path:
    """A policy with a clause that a judge enforces, and one that asks people."""
    written(folder, ("money.limit",))
    rule = "    on: output\n    detect: [judge.tone.promise]\n    then: block"
    (folder / "tone.md").write_text("# Tone\n\n" + CLAUSE.format(id="tone.promise", title=CLAUSES["tone.promise"][0], rule=rule))
    return folder


@contextmanager
def gateways(tmp_path: Path, wired: Wiring, policy: Path, number: int = 1) -> Iterator[tuple[list[str], Speaker]]:
    with ExitStack() as stack:
        speaker = stack.enter_context(speaking())
        urls = []
        for at in range(number):
            setting = Setting(f"{speaker.url}/v1", store=str(tmp_path / "s.sqlite"), data_dir=tmp_path / f"data{at}", wiring=wired)
            prepare(setting, policy, "tester")
            urls.append(stack.enter_context(serving(Process(setting))))
        yield urls, speaker


def troubles(url: str) -> list[str]:
    reply = post(f"{url}/readyz", method="GET")
    assert reply.status == 200
    return list(orjson.loads(reply.body)["troubles"])


# ---- The file --------------------------------------------------------------------------------------------------------


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("""
judge: {url: "http://127.0.0.1:8001/v1", model: judge-7b, key_env: JUDGE_KEY, timeout: 3s, calls_a_day: 50, threads: 2}
ring:
  hosts: [hooks.example.com]
  webhooks: [{url: "https://hooks.example.com/bylaw", secret_env: HOOK_SECRET}]
  mail: {server: smtp.example.com, sender: bylaw@example.com, to: [desk@example.com], port: 25, user: bylaw, password_env: MAIL}
draft: policies/refunds
""")

    assert wiring.found(tmp_path) == Wiring(
        JudgeAt("http://127.0.0.1:8001/v1", "judge-7b", "JUDGE_KEY", 3, 50, 2),
        ("hooks.example.com",),
        (HookAt("https://hooks.example.com/bylaw", "HOOK_SECRET"),),
        MailAt("smtp.example.com", "bylaw@example.com", ("desk@example.com",), 25, "bylaw", "MAIL"),
        draft=Path("policies/refunds"),
    )


def test_without_a_file_nothing_is_wired(tmp_path: Path) -> None:
    assert wiring.found(tmp_path) == Wiring()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("judge:\n  url: http://x/v1\n", r"gateway\.yaml:2: judge has no model"),
        ("judge:\n  url: http://x/v1\n  model: m\n  kee: y\n", r"gateway\.yaml:4: judge has an unknown key 'kee'"),
        ("jugde: {}\n", r"gateway\.yaml:1: .*unknown key 'jugde'"),
        ("ring:\n  webhooks:\n    - url: https://h/x\n", r"gateway\.yaml:3: a webhook has no secret_env"),
        ("ring: [1]\n", r"gateway\.yaml:1: ring must be a map"),
        ("judge: {url: &a x}\n", "anchors"),
        ("judge: [\n", "not valid YAML"),
    ],
)
def test_a_wrong_file_is_one_line_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "gateway.yaml").write_text(text)
    with pytest.raises(PolicyError, match=says):
        wiring.found(tmp_path)


@pytest.mark.parametrize(
    "wired",
    [
        Wiring(judge=JudgeAt("http://127.0.0.1:9/v1", "m", "BYLAW_NO_SUCH_VARIABLE")),
        Wiring(hosts=("h.example",), hooks=(HookAt("https://h.example/x", "BYLAW_NO_SUCH_VARIABLE"),)),
        Wiring(hooks=(HookAt("https://elsewhere.example/x", "BYLAW_TEST_SECRET"),)),
        Wiring(hosts=("127.0.0.1",), hooks=(HookAt("http://127.0.0.1/x", "BYLAW_TEST_SECRET"),)),
        Wiring(mail=MailAt("smtp.example", "nobody", ())),
    ],
)
def test_what_could_never_work_is_refused_before_it_listens(tmp_path: Path, wired: Wiring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYLAW_TEST_SECRET", SECRET)
    with pytest.raises(BylawError):
        prepare(Setting("http://127.0.0.1:9", data_dir=tmp_path / "data", wiring=wired), written(tmp_path / "policy"), "tester")


def test_a_judge_at_no_url_is_refused() -> None:
    with pytest.raises(ModelError, match="no http or https URL"):
        Wired(Wiring(judge=JudgeAt("ftp://x", "m")))


# ---- Judges ----------------------------------------------------------------------------------------------------------


def test_a_clause_that_a_judge_enforces_needs_a_judge(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"no rail is called 'judge\.tone\.promise'"):
        live.ready(judged(tmp_path / "policy"))


def test_a_judge_decides_on_answers(tmp_path: Path) -> None:
    with listening(judging) as judge:
        wired = Wiring(judge=JudgeAt(f"{judge.url}/v1", "m"))
        with gateways(tmp_path, wired, judged(tmp_path / "policy")) as (urls, speaker):
            speaker.replies += [saying("Your refund is guaranteed."), saying("I will look.")]
            effects = [asked(urls[0], session) for session in ("a", "b")]
            trouble = troubles(urls[0])

    assert (effects, trouble, len(judge.got)) == (["block", "allow"], [], 2)


@pytest.mark.slow
def test_a_judge_that_is_down_lets_nothing_through_and_is_named(tmp_path: Path) -> None:
    wired = Wiring(judge=JudgeAt(f"{CLOSED}/v1", "m", timeout_s=60))
    with gateways(tmp_path, wired, judged(tmp_path / "policy")) as (urls, speaker):
        speaker.replies.append(saying("I will look."))
        effect, trouble = asked(urls[0]), troubles(urls[0])

    assert effect == "block"
    assert trouble[0].startswith("judge: judge.tone.promise:")


# ---- Bells -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_request_for_approval_rings_once_however_many_gateways_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYLAW_TEST_SECRET", SECRET)
    with listening(lambda body: {}) as desk:
        wired = Wiring(hosts=("127.0.0.1",), hooks=(HookAt(f"{desk.url}/bylaw", "BYLAW_TEST_SECRET", True),))
        with gateways(tmp_path, wired, written(tmp_path / "policy"), 2) as (urls, speaker):
            speaker.replies += [refund(500.0), refund(600.0)]
            effects = [asked(url) for url in urls]
            until(lambda: len(desk.got) == 2)
            trouble = [troubles(url) for url in urls]
        rung = [one["data"]["approval"] for one in desk.got]

    assert (effects, trouble) == (["require_approval"] * 2, [[], []])
    assert (len(rung), len(set(rung)), all(one.startswith("v1,") for one in desk.signed)) == (2, 2, True)


@pytest.mark.slow
def test_a_mail_server_that_is_down_changes_nothing_and_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wired = Wiring(mail=MailAt("127.0.0.1", "bylaw@example.com", ("desk@example.com",), 9))
    with gateways(tmp_path, wired, written(tmp_path / "policy")) as (urls, speaker):
        speaker.replies += [refund(500.0), saying("Yes.")]
        effects = [asked(urls[0], "a"), asked(urls[0], "b")]
        until(lambda: bool(troubles(urls[0])))
        trouble = troubles(urls[0])
        until(lambda: any("ringing for " in one for one in caplog.messages))
        listed = orjson.loads(post(f"{urls[0]}/api/approvals", method="GET").body)["approvals"]

    assert effects == ["require_approval", "allow"]
    assert trouble[0].startswith("mail: 127.0.0.1: ConnectionRefusedError")
    assert len(listed) == 1
    assert any("ringing for " in one for one in caplog.messages)


def oldest_grown_silent(store: Store) -> str | None:
    """The oldest request now waits for as long as nobody rings any more."""
    with store.writing() as connection:
        first = connection.execute(select(APPROVALS.c.id).order_by(APPROVALS.c.requested_at)).scalars().first()
        back = update(APPROVALS).where(APPROVALS.c.id == first).values(requested_at=APPROVALS.c.requested_at - SILENT_MS - 1)
        connection.execute(back)
    return first


@pytest.mark.slow
def test_a_request_that_nobody_was_rung_for_is_rung_for_once_by_those_who_live_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYLAW_TEST_SECRET", SECRET)
    monkeypatch.setattr(ringing, "LOOK_S", 0.05)
    policy = written(tmp_path / "policy")
    with gateways(tmp_path, Wiring(), policy) as (urls, speaker):
        speaker.replies += [refund(500.0), refund(600.0)]
        effects = [asked(urls[0], "a"), asked(urls[0], "b")]
    with listening(lambda body: {}) as desk, closing(database.open(tmp_path / "s.sqlite")) as store:
        wired = Wiring(hosts=("127.0.0.1",), hooks=(HookAt(f"{desk.url}/bylaw", "BYLAW_TEST_SECRET", True),))
        with gateways(tmp_path, wired, policy, 3):
            first = oldest_grown_silent(store)
            until(lambda: bool(desk.got))
        rung = [one["data"]["approval"] for one in desk.got]

    assert (effects, rung) == (["require_approval"] * 2, [first])


@pytest.mark.slow
def test_a_request_that_nobody_was_rung_for_is_rung_for_once_by_whoever_starts_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BYLAW_TEST_SECRET", SECRET)
    policy = written(tmp_path / "policy")
    with gateways(tmp_path, Wiring(), policy) as (urls, speaker):
        speaker.replies += [refund(500.0), refund(600.0)]
        effects = [asked(urls[0], "a"), asked(urls[0], "b")]
    with closing(database.open(tmp_path / "s.sqlite")) as store:
        first = oldest_grown_silent(store)
    with listening(lambda body: {}) as desk:
        wired = Wiring(hosts=("127.0.0.1",), hooks=(HookAt(f"{desk.url}/bylaw", "BYLAW_TEST_SECRET", True),))
        with gateways(tmp_path, wired, policy, 2):
            until(lambda: bool(desk.got))
        rung = [one["data"]["approval"] for one in desk.got]

    assert (effects, rung) == (["require_approval"] * 2, [first])


# ---- The grounding check's model -------------------------------------------------------------------------------------

FACTS = RailFacts(documents=("Travel insurance does not cover skiing.",))
GROUNDED = Policy("p", "1.0.0", (), "sha256:1")


def test_an_entailment_model_is_asked_where_words_alone_do_not_bear_a_claim() -> None:
    with listening(judging) as model:
        wired = Wired(Wiring(entailment=JudgeAt(f"{model.url}/v1", "m")))
        rail = wired.rails_of(GROUNDED)["ungrounded"]
        borne, not_borne = (rail.find(f"Skiing accidents remain uninsured{more}.", FACTS) for more in ("", " and that is guaranteed"))
        wired.close()

    assert (list(borne), [one.rail for one in not_borne], len(model.got)) == ([], ["ungrounded"], 2)


def test_an_entailment_model_that_is_down_bears_nothing_and_is_named() -> None:
    wired = Wired(Wiring(entailment=JudgeAt(f"{CLOSED}/v1", "m", timeout_s=60)))
    with pytest.raises(BylawError):
        wired.rails_of(GROUNDED)["ungrounded"].find("Skiing accidents remain uninsured.", FACTS)
    wired.close()

    assert wired.troubles.now()[0].startswith("entailment: ungrounded:")


def test_the_files_entailment_is_read_and_is_checked_without_its_key(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text('entailment: {url: "http://127.0.0.1:8001/v1", model: nli, key_env: NLI_KEY}\n')
    found = wiring.read(tmp_path / "gateway.yaml")

    assert found == Wiring(entailment=JudgeAt("http://127.0.0.1:8001/v1", "nli", "NLI_KEY"))
    assert wiring.judges_only(found) == Wiring(entailment=JudgeAt("http://127.0.0.1:8001/v1", "nli"))

"""The bell rings where it may, says so where it could not, and never holds anything up."""

import base64
import hashlib
import hmac
import json
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from bylaw.canonical import canonical
from bylaw.errors import StoreError
from bylaw.govern import approval_steps, ringing, webhooks
from bylaw.govern.approvals import Approvals
from bylaw.govern.ringing import Bell, Mail, by_mail, by_webhook
from bylaw.govern.summons import AT_ONCE, SILENT_MS
from bylaw.govern.webhooks import Webhook
from bylaw.store.appeal_rows import Appeal
from bylaw.store.approval_rows import Approval
from bylaw.store.clock import Clock
from bylaw.store.database import Store
from tests.govern.approvals.scene import AGENT, ANN, CALL, LEAD, OTHER_CALL, Scene, asking
from tests.store.losing import away

KEY = bytes(range(32))
INSIDE_4 = "127.0.0.1 10.0.0.7 192.168.1.1 172.16.0.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 240.0.0.1"
INSIDE_6 = "::1 fe80::1%eth0 fd00::1 ::ffff:127.0.0.1 2002:7f00:1:: 64:ff9b::7f00:1"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@dataclass
class Heard:
    """A web server that answers as it is told, and remembers."""

    answers: list[int]
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    def hook(self, **other: object) -> Webhook:
        given = {"url": f"http://127.0.0.1:{self.port}/bell?x=1", "secret": SECRET, "hosts": frozenset({"127.0.0.1"}), "inside": True}
        return Webhook(**{**given, **other})  # type: ignore[arg-type]  # what a test changes


@pytest.fixture
def heard() -> Iterator[Heard]:
    made = Heard([])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.requests.append((dict(self.headers), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(made.answers.pop(0) if made.answers else 200)
            self.send_header("location", f"http://127.0.0.1:{made.port}/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def approval() -> Approval:
    return approval_steps.new(canonical(dict(CALL)), approval_steps.principal_of(AGENT), asking(), "run", 1_700_000_000_000)


def test_a_webhook_is_signed_so_that_the_receiver_can_check_it(heard: Heard, approval: Approval) -> None:
    fault = by_webhook(heard.hook(), lambda: 1_700_000_000.0)(approval)
    headers, body = heard.requests[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    right = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()

    assert fault == ""
    assert headers["webhook-signature"] == f"v1,{right}"
    assert headers["webhook-timestamp"] == "1700000000"
    assert json.loads(body)["data"]["approval"] == approval.id


def test_the_signature_is_the_published_one() -> None:
    hook = Webhook("https://example.com/", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", frozenset({"example.com"}))
    headers = webhooks.signed(hook, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_a_request_is_about_is_not_sent(heard: Heard) -> None:
    call = {"tool": "payments.refund", "args": {"amount": 271_828_182_845, "to": "Zoë ☃"}}  # no id and no time holds that
    approval = approval_steps.new(canonical(call), approval_steps.principal_of(AGENT), asking(), "run", 1_700_000_000_000)
    by_webhook(heard.hook())(approval)
    letter = ringing.letter(Mail("localhost", "bylaw@example.com", ("ann@example.com",)), approval).as_string()

    for said in (heard.requests[0][1].decode(), letter):
        assert "271828182845" not in said
        assert "Zo" not in said
        assert approval.id in said


@pytest.mark.parametrize("answer", [301, 302, 307, 400, 404, 500])
def test_no_redirect_is_followed_and_only_a_2xx_is_heard(heard: Heard, approval: Approval, answer: int) -> None:
    heard.answers.append(answer)

    assert by_webhook(heard.hook())(approval) == f"127.0.0.1 answered {answer}"
    assert len(heard.requests) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    [
        {"hosts": frozenset({"example.com"})},
        {"hosts": frozenset()},
        {"inside": False},
        {"url": "ftp://127.0.0.1/"},
        {"url": "http://user:word@127.0.0.1/"},
        {"url": "http://127.0.0.1\r\nx: y/"},
        {"url": "http://127.0.0.1:99999/"},
        {"url": "http://127.0.0.1@evil.example/"},
        {"url": "https://[::1]/"},
        {"url": "nonsense"},
        {"secret": "whsec_short"},
        {"secret": "whsec_" + base64.b64encode(b"short").decode()},
    ],
)
def test_a_webhook_that_must_not_be_rung_is_refused_when_it_is_set_up(heard: Heard, wrong: dict[str, object]) -> None:
    with pytest.raises(StoreError) as caught:
        heard.hook(**wrong)

    assert caught.value.hint
    assert "short" not in caught.value.what


@pytest.mark.parametrize(
    "address",
    [*INSIDE_4.split(), *INSIDE_6.split()],
)
def test_a_name_that_leads_inside_is_not_rung(address: str) -> None:
    hook = Webhook("https://hooks.example.com/x", SECRET, frozenset({"hooks.example.com"}))
    alone = webhooks.send(hook, "msg_1", 0, {}, lambda *_: [address])
    mixed = webhooks.send(hook, "msg_1", 0, {}, lambda *_: ["93.184.215.14", address])

    assert alone == mixed == "hooks.example.com has no address that may be rung"


def test_a_name_is_looked_up_once_and_that_address_is_rung(heard: Heard) -> None:
    asked: list[str] = []
    hook = heard.hook(url=f"http://bell.inside:{heard.port}/", hosts=frozenset({"bell.inside"}))
    fault = webhooks.send(hook, "msg_1", 0, {}, lambda host, _: asked.append(host) or ["127.0.0.1"])  # type: ignore[func-returns-value]  # a list that is also told

    assert fault == ""
    assert asked == ["bell.inside"]
    assert heard.requests[0][0]["Host"] == f"bell.inside:{heard.port}"


@pytest.mark.slow
def test_a_listener_that_drips_is_cut_off() -> None:
    class Drip(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                for _ in range(600):
                    self.wfile.write(b"x: y\r\n")
                    time.sleep(0.2)
            except OSError:
                return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Drip) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        began = time.monotonic()
        hook = Webhook(f"http://127.0.0.1:{server.server_address[1]}/", SECRET, frozenset({"127.0.0.1"}), True)
        webhooks.send(hook, "msg_1", 0, {})
        took = time.monotonic() - began
        server.shutdown()
        thread.join()

    assert webhooks.WHOLE_S * 0.9 < took < 60  # of the 120 s that it drips


def test_a_host_that_is_away_is_told_and_nothing_is_raised(approval: Approval) -> None:
    hook = Webhook("http://127.0.0.1:1/", SECRET, frozenset({"127.0.0.1"}), True)

    assert "ConnectionRefusedError" in by_webhook(hook)(approval)


def test_a_bell_tries_again_and_writes_down_how_it_went(store: Store, heard: Heard) -> None:
    scene = Scene(store)
    heard.answers += [500, 503]
    asked = scene.asked()
    bell = Bell([by_webhook(heard.hook())], scene.approvals.note, [0.01])
    bell.ring(asked)
    _until(lambda: _notice(scene, asked))
    bell.close()

    assert _notice(scene, asked) == "rang 1 of 1"
    assert len(heard.requests) == 3
    assert len({headers["webhook-id"] for headers, _ in heard.requests}) == 1


def test_a_bell_gives_up_visibly_and_the_request_still_waits(store: Store, heard: Heard) -> None:
    scene = Scene(store)
    heard.answers += [500] * 50

    def broken(_: Approval | Appeal) -> str:
        raise RuntimeError("no paper")

    asked = scene.asked()
    bell = Bell([by_webhook(heard.hook()), broken], scene.approvals.note, [0.01])
    bell.ring(asked)
    _until(lambda: _notice(scene, asked))
    bell.close()
    after = scene.approvals.get(asked.id)

    assert after is not None
    assert after.state == "pending"
    assert after.notice == "rang 0 of 2; 127.0.0.1 answered 500; RuntimeError: no paper"
    assert len(heard.requests) == ringing.TRIES


def test_ringing_never_waits_for_a_slow_listener(approval: Approval) -> None:
    gate = threading.Event()
    told: list[str] = []

    def slow(_: Approval | Appeal) -> str:
        gate.wait(60)
        return ""

    bell = Bell([slow], lambda _, how: told.append(how))
    began = time.monotonic()
    for _ in range(ringing.MAX_QUEUED + 50):
        bell.ring(approval)
    took = time.monotonic() - began
    gate.set()
    bell.close()

    assert took < 30
    assert "nobody was rung: too many requests at once" in told


LONG = replace(LEAD, ttl_s=3_600)


def living(scene: Scene, rung: list[str]) -> Approvals:
    """Another process on the scene's store, which rings."""
    return Approvals(scene.store, scene.ledger, Clock(lambda: scene.time_s, lambda: scene.time_s), ring=lambda one: rung.append(one.id))


def test_of_all_who_look_one_rings_for_a_request_that_nobody_was_rung_for(store: Store) -> None:
    scene, rung = Scene(store), list[str]()
    others = [living(scene, rung) for _ in range(3)]
    asked, late = scene.asked(LONG), scene.asked(LONG, call=OTHER_CALL)
    scene.approvals.note(late.id, "rang 1 of 1")
    looked = [one.summons.missed() for one in others]
    scene.tick(SILENT_MS // 1000 + 1)
    looked += [one.summons.missed() for one in others * 2]

    assert (rung, looked) == ([asked.id], [0, 0, 0, 1, 0, 0, 0, 0, 0])


def test_nobody_is_rung_for_what_is_answered_or_over_however_silent(store: Store) -> None:
    scene, rung = Scene(store), list[str]()
    scene.approvals.decide(scene.asked(LONG).id, ANN, True)
    scene.asked(call=OTHER_CALL)
    scene.tick(LEAD.ttl_s + SILENT_MS // 1000)

    assert (living(scene, rung).summons.missed(), rung) == (0, [])


def test_a_look_takes_few_at_a_time_and_none_is_forgotten(store: Store) -> None:
    scene, rung = Scene(store), list[str]()
    asked = [scene.asked(LONG, call={**CALL, "n": number}).id for number in range(AT_ONCE + 2)]
    scene.tick(SILENT_MS // 1000 + 1)
    other = living(scene, rung)
    looked = [other.summons.missed() for _ in range(3)]

    assert looked == [AT_ONCE, 2, 0]
    assert sorted(rung) == sorted(asked)


def test_a_store_that_is_away_is_looked_at_again(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    scene, rung = Scene(store), list[str]()
    asked, other = scene.asked(LONG), living(scene, rung)
    scene.tick(SILENT_MS // 1000 + 1)
    with away(store):
        nobody = other.summons.missed()
    found = other.summons.missed()

    assert (nobody, found, rung) == (0, 1, [asked.id])
    assert "could not be looked up" in caplog.text


def test_a_bell_goes_on_looking_while_it_is_at_rest_and_after_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ringing, "LOOK_S", 0.001)
    looks, seen = list[int](), threading.Event()

    def missed() -> int:
        looks.append(len(looks))
        if len(looks) == 2:
            raise RuntimeError("no paper")
        if len(looks) > 3:
            seen.set()
        return 0

    bell = Bell([], lambda _id, _how: None)
    bell.follow(missed)
    found = seen.wait(60)
    bell.close()

    assert found


def test_a_bell_that_is_never_at_rest_looks_all_the_same(approval: Approval, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ringing, "LOOK_S", 0.0)
    looks, rung, seen = list[int](), list[int](), threading.Event()

    def missed() -> int:
        looks.append(len(rung))
        return 0

    def hears(waiting: Approval | Appeal) -> str:
        rung.append(len(looks))
        bell.ring(waiting) if len(rung) < 50 else seen.set()
        return ""

    bell = Bell([hears], lambda _id, _how: None)
    bell.follow(missed)
    looks.clear()
    bell.ring(approval)
    seen.wait(60)
    bell.close()

    assert any(0 < at < 50 for at in looks)


def test_a_bell_that_is_behind_does_not_ring_for_what_another_rang_for_meanwhile(store: Store) -> None:
    scene, rung, gate = Scene(store), list[str](), threading.Event()
    first, second = scene.asked(LONG), scene.asked(LONG, call=OTHER_CALL)

    def slow(waiting: Approval | Appeal) -> str:
        rung.append(f"late {waiting.id}")
        gate.wait(60)
        return ""

    bell = Bell([slow], scene.approvals.note, mine=scene.approvals.summons.take)
    bell.ring(first)
    bell.ring(second)
    _until(lambda: " ".join(rung))
    scene.tick(SILENT_MS // 1000 + 1)
    living(scene, rung).summons.missed()
    gate.set()
    bell.close()

    assert rung == [f"late {first.id}", second.id]


def test_a_request_that_a_bell_had_no_place_for_is_rung_for_later(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ringing, "MAX_QUEUED", 1)
    scene, begun, gate = Scene(store), threading.Event(), threading.Event()
    asked, rung = [scene.asked(LONG, call={**CALL, "n": number}) for number in range(3)], list[str]()

    def slow(_: Approval | Appeal) -> str:
        begun.set()
        gate.wait(60)
        return ""

    bell = Bell([slow], scene.approvals.note, mine=scene.approvals.summons.take)
    bell.ring(asked[0])
    begun.wait(60)
    for one in asked[1:]:
        bell.ring(one)
    scene.tick(SILENT_MS // 1000 + 1)
    living(scene, rung).summons.missed()
    gate.set()
    bell.close()

    assert sorted(rung) == sorted(one.id for one in asked[1:])


def test_a_bell_that_is_closed_rings_for_all_that_it_has_taken(store: Store) -> None:
    scene, rung = Scene(store), list[str]()
    asked = [scene.asked(LONG, call={**CALL, "n": number}).id for number in range(3)]

    def hears(waiting: Approval | Appeal) -> str:
        rung.append(waiting.id)
        return ""

    scene.tick(SILENT_MS // 1000 + 1)
    bell = Bell([hears], scene.approvals.note, mine=scene.approvals.summons.take)
    other = Approvals(scene.store, scene.ledger, Clock(lambda: scene.time_s, lambda: scene.time_s), ring=bell.ring)
    bell.follow(other.summons.missed)
    bell.close()

    assert sorted(rung) == sorted(asked)
    assert {one.notice for one in scene.approvals.find()} == {"rang 1 of 1"}


class _Post(socketserver.StreamRequestHandler):
    """As much of SMTP as a letter needs."""

    letters: ClassVar[list[str]] = []

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            word = line.decode().strip().upper()
            if word == "DATA":
                self.wfile.write(b"354 go on\r\n")
                text = b""
                while not text.endswith(b"\r\n.\r\n"):
                    text += self.rfile.readline()
                self.letters.append(text.decode())
            self.wfile.write(b"221 bye\r\n" if word == "QUIT" else b"250 ok\r\n")
            if word == "QUIT":
                return


def test_a_letter_is_sent_and_says_where_to_answer(approval: Approval) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), _Post) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        fault = by_mail(Mail("127.0.0.1", "bylaw@example.com", ("ann@example.com", "bob@example.com"), server.server_address[1]))(approval)
        thread.join()
    letter = _Post.letters[-1]

    assert fault == ""
    assert f"bylaw approvals approve {approval.id}" in letter
    assert "To: ann@example.com, bob@example.com" in letter
    assert "answers nothing" in letter


@pytest.mark.parametrize("wrong", [{"to": ()}, {"to": ("ann",)}, {"sender": "a@b\nBcc: x@y"}, {"to": ("a@b, c@d",)}, {"password": "x"}])
def test_a_mail_that_could_never_be_sent_is_refused_when_it_is_set_up(wrong: dict[str, object]) -> None:
    with pytest.raises(StoreError):
        Mail(**{"server": "localhost", "sender": "bylaw@example.com", "to": ("ann@example.com",), **wrong})  # type: ignore[arg-type]  # on purpose


def test_a_mail_server_that_is_away_is_told(approval: Approval) -> None:
    assert "ConnectionRefusedError" in by_mail(Mail("127.0.0.1", "bylaw@example.com", ("ann@example.com",), 1))(approval)


def _notice(scene: Scene, asked: Approval) -> str:
    found = scene.approvals.get(asked.id)
    return found.notice if found else ""


def _until(there: object, patience_s: float = 60.0) -> None:
    late = time.monotonic() + patience_s
    while callable(there) and not there() and time.monotonic() < late:
        time.sleep(0.01)

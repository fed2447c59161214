"""A real server misbehaves in every way it can: bounded calls, no row lost, the order kept, closed doors said once."""

import time
from email.utils import formatdate
from pathlib import Path
from random import Random

import pytest

from bylaw.errors import ModelError
from bylaw.models import remote
from bylaw.models.manners import Manners
from bylaw.models.remote import RemoteModel
from bylaw.types import Completion
from tests.models.asking import KEY, ask, at, mixed, one
from tests.models.endpoint import Said, choices, cut_off, fail, garbage, hang_up, huge, say, serve, slow

TRANSIENT = {
    "http 500": fail(500), "http 502": Said(b"<html>", 502), "http 503: busy": fail(503, "busy"), "http 429": fail(429),
    "http 429: hold on": fail(429, "hold on", retry_after="0"), "the connection broke: ServerDisconnectedError": hang_up(),
    "the connection broke: ClientPayloadError": cut_off(), "the reply is no JSON, or not all of it": garbage(),
    "the reply is no JSON object": garbage(b"[]"), "no choices in the reply": garbage(b"{}"), "0 choices for one question": choices(),
    "2 choices for one question": choices(*[{"message": {"content": "a"}, "finish_reason": "stop"}] * 2),
    "no message of an assistant in the reply": choices({"finish_reason": "stop", "text": "a"}),
    "the reply's content is no text": say(None, content=[{"type": "text", "text": "a"}]),
    "the reply ended for an unknown reason: tool_calls": say("a", "tool_calls"),
    "the reply ended for an unknown reason: None": say("a", None),
    "the reply says something twice": garbage(b'{"choices": [], "choices": []}'),
}  # fmt: skip


@pytest.mark.parametrize("why", TRANSIENT)
def test_what_may_pass_is_tried_so_often_and_no_oftener(why: str) -> None:
    found, calls = one(lambda _: TRANSIENT[why])

    assert (found.finish, found.fault, found.answer, found.thinking, found.raw) == ("error", f"{why} after 3 tries", "", "", "")
    assert calls == 3


@pytest.mark.parametrize("why", TRANSIENT)
def test_what_has_passed_leaves_no_trace(why: str) -> None:
    found, calls = one(lambda ask: TRANSIENT[why] if ask.time < 3 else say("yes"))

    assert (found, calls) == (Completion("", "yes", "yes"), 3)


FINAL = {
    "http 400: too long": (fail(400, "too long"), {}), "http 413": (fail(413), {}), "http 302": (Said(b"", 302, {"Location": "/v1"}), {}),
    "the reply is over 1000 bytes": (huge(5000), {"reply_bytes": 1000}),
}  # fmt: skip


@pytest.mark.parametrize("why", FINAL)
def test_what_cannot_pass_is_asked_once(why: str) -> None:
    said, manners = FINAL[why]

    found, calls = one(lambda _: said, **manners)

    assert (found.finish, found.fault, calls) == ("error", why, 1)


def test_a_bomb_of_packed_zeros_is_not_unpacked() -> None:
    import gzip

    packed = gzip.compress(b" " * 5_000_000)

    found, _ = one(lambda _: Said(packed, headers={"Content-Encoding": "gzip"}), reply_bytes=100_000)

    assert (len(packed) < 100_000, found.fault) == (True, "the reply is over 100000 bytes")


def test_depth_without_end_is_no_reply() -> None:
    found, _ = one(lambda _: garbage(b'{"choices": ' + b"[" * 100_000))

    assert found.fault == "the reply is no JSON, or not all of it after 3 tries"


@pytest.mark.slow
def test_a_slow_reply_is_given_up() -> None:
    with serve(lambda _: slow(60)) as server:
        model = at(server, timeout_s=0.5, tries=2)
        (found,) = ask(model, "?")

    assert found.fault == "no reply within 0.5 s after 2 tries"
    assert model.spent.calls == 2  # counted where they are made: a server that is busy may not have read one that was given up


@pytest.mark.slow
def test_a_reply_that_comes_too_late_once_leaves_no_trace() -> None:
    with serve(lambda ask: slow(60) if ask.total == 1 else say("yes")) as server:
        model = at(server, timeout_s=0.5, tries=100)  # a machine that stands still may make more of them too late
        (found,) = ask(model, "?")

    assert found == Completion("", "yes", "yes")
    assert model.spent.retries >= 1


def test_rows_that_the_whole_time_does_not_suffice_for_are_missing_and_the_others_kept() -> None:
    with serve(lambda ask: slow(60) if ask.text == "b" else say(ask.text)) as server:
        begun = time.monotonic()
        for seconds in (0.3, 3.0, 9.0):  # longer where the machine stood still meanwhile
            found = ask(at(server, deadline_s=seconds), "a", "b", "c")
            if found[0].answer and found[2].answer:
                break
        took = time.monotonic() - begun

    assert [row.answer for row in found] == ["a", "", "c"]
    assert found[1].fault == f"not answered within the {seconds} s of the whole batch"
    assert took < 55


@pytest.mark.slow
def test_among_all_of_these_no_row_is_lost_and_the_order_is_kept(tmp_path: Path) -> None:
    texts = [str(i) for i in range(200)]
    with serve(mixed) as server:
        model = at(server, cache=tmp_path, concurrency=16)
        found = ask(model, *texts)

        assert [row.answer for row in found] == ["" if i % 10 in (4, 5, 6, 7) else f"answer {i}" for i in range(200)]
        assert [row.finish for row in found] == [{4: "error", 5: "error", 6: "error", 7: "length"}.get(i % 10, "stop") for i in range(200)]
        assert max(server.times(text) for text in texts) == 3
        assert len(server.calls) == model.spent.calls == 20 * (1 + 2 + 2 + 2 + 3 + 3 + 1 + 1 + 1 + 1)
        assert (model.spent.retries, model.spent.failed) == (20 * (3 + 2 + 2), 60)


@pytest.mark.parametrize(("status", "calls"), [(401, 8), (403, 8), (404, 8)])
def test_an_endpoint_that_lets_nobody_in_is_one_error_after_a_few_calls(status: int, calls: int) -> None:
    with serve(lambda _: fail(status, f"wrong key {KEY}\nor\x1b model")) as server, pytest.raises(ModelError) as caught:
        ask(at(server, key=KEY, concurrency=1), *map(str, range(1000)))

    assert caught.value.what == f"{server.target()}: http {status}: wrong key *** or model"
    assert "BYLAW_API_KEY" in caught.value.hint
    assert len(server.calls) == calls


def test_an_endpoint_nobody_listens_at_is_one_error_and_not_a_thousand_retries() -> None:
    with serve(lambda _: say("a")) as server:
        model = at(server, tries=2)

    with pytest.raises(ModelError, match=r"127\.0\.0\.1:\d+ cannot be reached") as caught:
        ask(model, *map(str, range(1000)))

    assert caught.value.hint
    assert model.spent.calls <= 2 * (8 + 8)


def test_one_row_that_is_not_let_in_is_an_error_of_that_row() -> None:
    with serve(lambda ask: fail(403, "blocked by the firewall") if ask.text == "b" else say(ask.text)) as server:
        found = ask(at(server), "a", "b", "c")

    assert [row.fault for row in found] == ["", "http 403: blocked by the firewall", ""]


def test_a_door_that_closes_half_way_keeps_what_was_answered_and_names_the_rest() -> None:
    with serve(lambda ask: say(ask.text) if ask.total <= 10 else fail(401, "the key has expired")) as server:
        found = ask(at(server, concurrency=1, give_up_after=3), *map(str, range(100)))

    assert [row.answer for row in found[:10]] == [str(i) for i in range(10)]
    assert {row.fault for row in found[10:13]} == {"http 401: the key has expired"}
    assert {row.fault for row in found[13:]} == {"not asked: http 401: the key has expired"}
    assert len(server.calls) == 13


def test_an_unreachable_endpoint_still_gives_what_is_in_the_cache(tmp_path: Path) -> None:
    with serve(lambda ask: say(ask.text)) as server:
        ask(at(server, cache=tmp_path), "a")

    found = ask(at(server, cache=tmp_path, tries=1), "a", "b")

    assert [row.answer for row in found] == ["a", ""]
    assert "cannot be reached" in found[1].fault


def test_a_server_that_is_away_for_a_moment_is_waited_for() -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    with serve(lambda _: say("a")) as server:
        url = server.url
    model = RemoteModel("x", "m", url, manners=Manners(cache=None), sleep=sleep)

    with pytest.raises(ModelError):
        ask(model, "?")

    assert len(waited) == 4
    assert 3.75 <= sum(waited) <= 11.25


def test_the_wait_doubles_with_jitter_and_never_exceeds_the_longest() -> None:
    waits = [remote.pause_s(Manners(backoff_s=1, longest_wait_s=20), n, Random(n), None) for n in range(1, 40)]

    assert all(0.5 * 2 ** (n - 1) <= wait <= 1.5 * 2 ** (n - 1) for n, wait in enumerate(waits[:4], 1))
    assert set(waits[6:]) == {20}
    assert waits == [remote.pause_s(Manners(backoff_s=1, longest_wait_s=20), n, Random(n), None) for n in range(1, 40)]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0", 0.0), (formatdate(1000 + 30, usegmt=True), 30.0), (formatdate(10, usegmt=True), 0.0)]
    + [(header, None) for header in ("", "-1", "soon", "1.5", "٣", "9" * 5000 + "x")],
)
def test_retry_after_is_read_in_seconds_and_as_a_date(header: str, seconds: float | None) -> None:
    assert remote.retry_after_s(header, 1000.0) == seconds


def test_the_server_says_how_long_to_wait_but_not_for_ever() -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    replies = {1: fail(429, retry_after="3"), 2: fail(503, retry_after="86400"), 3: say("a")}
    with serve(lambda ask: replies[ask.time]) as server:
        model = RemoteModel("x", "m", server.url, manners=Manners(cache=None, longest_wait_s=60), sleep=sleep)
        (found,) = ask(model, "?")

    assert (found.answer, waited) == ("a", [3.0, 60])


def test_an_empty_purse_is_not_tried_again() -> None:
    with serve(lambda _: fail(429, "no money", code="insufficient_quota")) as server, pytest.raises(ModelError, match="no money"):
        ask(at(server), "?")

    assert len(server.calls) == 1

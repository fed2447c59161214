"""The second run costs no call; no secret is kept; tokens and money are counted."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from bylaw.errors import ModelError
from bylaw.models.manners import Manners
from bylaw.models.remote import RemoteModel
from bylaw.models.spent import Spent
from bylaw.types import Message, Sampling
from tests.models.asking import DIRECT, KEY, THINK, ask, at, mixed, one
from tests.models.endpoint import PATIENCE_S, Ask, Endpoint, Said, fail, garbage, say, serve, slow


def test_k_samples_of_one_prompt_are_k_draws_and_k_entries(tmp_path: Path) -> None:
    with serve(lambda ask: say(f"seed {ask.body['seed']}")) as server:
        first = ask(at(server, cache=tmp_path, concurrency=1), "a", "a", "b", "a")
        more = ask(at(server, cache=tmp_path, concurrency=1), "a", "a", "b", "a", "a")
        calls = len(server.calls)

    assert [row.answer for row in first] == ["seed 0", "seed 1000003", "seed 0", "seed 2000006"]
    assert more[:4] == first
    assert (calls, len(list(tmp_path.rglob("*.json")))) == (5, 5)


@pytest.mark.parametrize(
    "other",
    [
        Sampling(0.1, thinking=False),
        Sampling(max_new_tokens=65, thinking=False),
        Sampling(thinking=False, seed=1),
        Sampling(thinking=False, reply_schema={}),
    ],
)
def test_another_question_is_another_entry(tmp_path: Path, other: Sampling) -> None:
    with serve(lambda _: say("a")) as server:
        model = at(server, cache=tmp_path)
        ask(model, "?")
        ask(model, "?", sampling=other)

    assert len(server.calls) == 2


def test_another_model_or_another_endpoint_is_another_entry(tmp_path: Path) -> None:
    with serve(lambda ask: say(ask.body["model"])) as server, serve(lambda _: say("elsewhere")) as elsewhere:
        manners = Manners(cache=tmp_path)
        found = [
            RemoteModel("", name, url, manners=manners).generate([[Message("user", "?")]], DIRECT)[0].answer
            for name, url in (("a", server.url), ("b", server.url), ("a", elsewhere.url))
        ]

    assert found == ["a", "b", "elsewhere"]


@pytest.mark.parametrize("harm", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, None])
def test_an_entry_that_is_not_whole_is_asked_again_and_mended(tmp_path: Path, harm: bytes | None) -> None:
    with serve(lambda _: say("yes")) as server:
        ask(at(server, cache=tmp_path), "?")
        (file,) = tmp_path.rglob("*.json")
        file.write_bytes(file.read_bytes().replace(b"yes", b"no") if harm is None else harm)
        (second,) = ask(at(server, cache=tmp_path), "?")
        (third,) = ask(at(server, cache=tmp_path), "?")
        calls = len(server.calls)

    assert (second.answer, third.answer, calls) == ("yes", "yes", 2)


@pytest.mark.parametrize("said", [say(""), say(None), fail(500), garbage(), fail(400, "too long")])
def test_failures_and_empty_replies_are_not_kept(tmp_path: Path, said: Said) -> None:
    with serve(lambda _: said) as server:
        ask(at(server, cache=tmp_path, tries=1), "?")

    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("said", [say("", "content_filter"), say(None, refusal="no"), fail(400, code="content_filter"), say("a", "length")])
def test_what_was_refused_or_cut_off_is_a_reply_and_kept(tmp_path: Path, said: Said) -> None:
    with serve(lambda _: said) as server:
        found = [ask(at(server, cache=tmp_path), "?")[0] for _ in range(2)]
        calls = len(server.calls)

    assert found[0] == found[1]
    assert (found[0].answer, calls) == ("", 1)


def test_thinking_is_read_anew_from_a_kept_reply(tmp_path: Path) -> None:
    with serve(lambda _: say("yes", reasoning_content="hm")) as server:
        model = at(server, cache=tmp_path)
        found = [*ask(model, "?"), *ask(model, "?", sampling=THINK)]

    assert [(row.thinking, row.answer) for row in found] == [("", "yes"), ("hm", "yes")]
    assert len(server.calls) == 1


def test_a_reply_that_no_file_can_hold_is_the_same_today_as_from_the_cache(tmp_path: Path) -> None:
    with serve(lambda _: say("half \ud800 a pair", reasoning_content="\udfff")) as server:
        found = [ask(at(server, cache=tmp_path), "?", sampling=THINK)[0] for _ in range(2)]

    assert found[0] == found[1]
    assert found[0].answer == "half \ufffd a pair"


def test_a_cache_that_cannot_be_is_said_before_anything_is_paid_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with serve(lambda _: say("a")) as server, pytest.raises(ModelError, match="no replies can be kept"):
        ask(at(server, cache=tmp_path / "file" / "cache"), "?")

    assert server.calls == []


def test_a_reply_that_cannot_be_kept_is_a_reply(tmp_path: Path) -> None:
    with serve(lambda _: say("a")) as server:
        for i in range(256):
            (tmp_path / f"{i:02x}").write_text("a file where a folder should be")
        model = at(server, cache=tmp_path)
        (found,) = ask(model, "?")

    assert (found.answer, model.spent.unsaved) == ("a", 1)


def test_the_key_is_in_no_reply_no_cache_no_name_and_no_print(tmp_path: Path) -> None:
    def leaky(ask: Ask) -> Said:
        told = ask.headers["Authorization"]
        said = {"b": fail(400, told), "c": say("a", finish=told)}
        return said.get(ask.text) or say(f"I was sent {told}", reasoning_content=told)

    with serve(leaky) as server:
        model = at(server, key=KEY, cache=tmp_path)
        found = ask(model, "a", "b", "c", sampling=THINK)

    assert "Bearer ***" in found[0].answer
    assert "Bearer ***" in found[1].fault
    assert "Bearer ***" in found[2].fault
    assert KEY not in repr((model, found, model.spent))
    assert not any(KEY in file.read_text() for file in tmp_path.rglob("*.json"))


def test_a_redirect_takes_nothing_elsewhere() -> None:
    with serve(lambda _: say("mine")) as thief:
        found, _ = one(lambda _: Said(b"", 307, {"Location": f"{thief.url}/chat/completions"}))

    assert (found.fault, thief.calls) == ("http 307", [])


def test_tokens_are_counted_and_priced(tmp_path: Path) -> None:
    with serve(lambda ask: fail(500) if ask.time == 1 else say(ask.text, usage=(1000, 500))) as server:
        model = at(server, cache=tmp_path, price_in=2.0, price_out=8.0)
        ask(model, "a", "b")
        ask(model, "a", "b", "c")

    assert model.spent == Spent(calls=6, cached=2, retries=3, prompt_tokens=3000, completion_tokens=1500, cost=0.018)


@pytest.mark.parametrize("usage", [None, (-1, 5), (10, 1 << 40)])
def test_tokens_that_nobody_counted_make_the_cost_unknown(usage: tuple[int, int] | None) -> None:
    with serve(lambda _: say("a", usage=usage)) as server:
        model = at(server, price_in=1.0, price_out=1.0)
        ask(model, "a")

    assert (model.spent.uncounted, model.spent.cost) == (1, None)


def test_without_a_price_tokens_are_counted_all_the_same() -> None:
    with serve(lambda _: say("a", usage=(10, 5))) as server:
        model = at(server)
        ask(model, "a")

    assert (model.spent.prompt_tokens, model.spent.completion_tokens, model.spent.cost) == (10, 5, None)


def test_progress_counts_every_row_once(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    with serve(mixed) as server:
        model = at(server, cache=tmp_path)
        ask(model, "0", "8")
        model.generate([[Message("user", str(i))] for i in range(10)], DIRECT, lambda done, of: told.append((done, of)))

    assert told == [(i + 1, 10) for i in range(10)]


def test_no_more_calls_at_a_time_than_are_allowed() -> None:
    now, most = [0], [0]

    def script(ask: Ask) -> Said:
        return slow(0.03)

    class Watched(Endpoint):
        async def answer(self, request: Any) -> Any:
            now[0] += 1
            most[0] = max(most[0], now[0])
            late = time.monotonic() + PATIENCE_S
            while most[0] < 3 and time.monotonic() < late:  # until so many are there at once
                await asyncio.sleep(0.005)
            try:
                return await super().answer(request)
            finally:
                now[0] -= 1

    with serve(script, kind=Watched) as server:
        ask(at(server, concurrency=3), *map(str, range(12)))

    assert most == [3]


def test_the_second_run_costs_no_call_and_asks_failures_alone_again(tmp_path: Path) -> None:
    texts = [str(i) for i in range(40)]
    with serve(mixed) as server:
        first = ask(at(server, cache=tmp_path), *texts)
        before = len(server.calls)
        second = ask(at(server, cache=tmp_path), *texts)
        again = {ask.text for ask in server.calls[before:]}
        server.script = lambda ask: say(f"answer {ask.text}")
        healed = ask(at(server, cache=tmp_path), *texts)
        before = len(server.calls)
        last = at(server, cache=tmp_path)
        third = ask(last, *texts)

        assert second == first
        assert again == {text for text in texts if int(text) % 10 in (4, 5, 6)}
        assert [row.finish for row in healed] == ["length" if i % 10 == 7 else "stop" for i in range(40)]
        assert (third, len(server.calls)) == (healed, before)
        assert last.spent == Spent(cached=40)

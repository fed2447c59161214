"""A generator and a judge behind a server on a bad day, through all of align: what has no reply is counted, and nothing is lost.

Replies that come too late are in tests/models/test_remote.py, one at a time: here each call is counted, and a machine may stand still.
"""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from bylaw import runs
from bylaw.models.manners import Manners
from bylaw.policy import profiles
from bylaw.recipes import align_run, dry_run, telling
from bylaw.recipes.align_run import Started
from tests.models.endpoint import Ask, Endpoint, Said, Script, cut_off, fail, garbage, hang_up, say, serve
from tests.recipes.served import GENERATOR, JUDGE, honest, take

ROWS = 24  # of 12 requests
SILENT = "Fix the typo on the price page."  # the generator is never there for this one
MUMBLED = "Before I go on: are you a real person?"  # its reply to this one has no end of thinking
UNJUDGED = "Will my parcel arrive before Friday noon?"  # the judge never says a verdict on this one
SHOWN = f"\n{UNJUDGED}\n<<END REQUEST"  # as the judge sees it; a card may show the request as well, and a canary may ask it
TROUBLE = (
    fail(429, "slow down", retry_after="0"),
    fail(503, "not now", retry_after="0"),
    fail(500, "oh no"),
    cut_off(),
    garbage(),
    garbage(b'{"choices": []}'),
    hang_up(),
)


def bad_day(sound: Script) -> Script:
    """Whatever is asked meets some trouble first; then there is a reply, but for the three requests above."""

    def answer(ask: Ask) -> Said:
        if ask.body["model"] == GENERATOR and ask.text == SILENT:
            return fail(500, "down", retry_after="0")
        if ask.time == 1:
            which = hashlib.sha256(json.dumps([ask.body["messages"], ask.body["seed"]]).encode()).digest()
            return TROUBLE[which[0] % len(TROUBLE)]
        if ask.body["model"] == GENERATOR and ask.text == MUMBLED:
            return say("<think>never closed")
        return say("Nine, I would say.") if SHOWN in ask.text else sound(ask)

    return answer


def begin(policy: Path, server: Endpoint, out: Path, arms: str = "base") -> Started:
    """Start a run of a random model whose generator and judge are behind the server; all runs share a cache."""
    manners = Manners(concurrency=64, backoff_s=0.01, cache=out.parent / "cache", price_in=1.0, price_out=2.0)
    asked = {"model": str(out.parent / "parts" / "model"), "size": "smoke", "seed": 0, "lora": 0}
    return align_run.begin(policy, out, manners, arms=arms, generator=server.target(GENERATOR), judge=server.target(JUDGE), **asked)


@pytest.mark.slow
def test_a_bad_day_costs_retries_and_the_rows_it_must_and_the_next_run_asks_only_what_had_no_reply(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "policy"
    policy = profiles.begin("agentic", path).policy
    dry_run.prepare(policy, tmp_path / "parts", 0)
    sound = honest(policy, tmp_path)
    with serve(bad_day(sound)) as server:
        telling.align(begin(path, server, tmp_path / "one", arms="base,sft,sft_rl"))
        told = capsys.readouterr().out
        first = [ask.body["model"] for ask in server.calls]

        telling.align(begin(path, server, tmp_path / "one", arms="base,sft,sft_rl"))
        same_again = server.calls[len(first) :]

        server.script = sound
        take(begin(path, server, tmp_path / "two"))
        second = server.calls[len(first) :]

        take(begin(path, server, tmp_path / "three"))
        third = server.calls[len(first) + len(second) :]

    run = runs.open_run(tmp_path / "one")
    made, sifted = run.record("synthesize"), run.record("filter")
    spent = runs.read_json(run.path / "manifest.json")["endpoints"]
    writer, judge = (next(one for name, one in spent.items() if f":{model}@" in name) for model in (GENERATOR, JUDGE))
    requests = {row["id"]: row["request"] for row in runs.read_rows(run.path / "rows" / "samples.jsonl")}
    rows = [(row["fate"], requests[row["id"]]) for row in runs.read_rows(run.path / "rows" / "verdicts.jsonl")]
    fates = Counter((fate, request if request in (SILENT, MUMBLED, UNJUDGED) else "another") for fate, request in rows)
    told = " ".join(told.split())

    assert (made["samples"], made["unanswered"], made["malformed"]) == (ROWS, 2, 2)
    assert fates == {
        ("kept", "another"): 9, ("spare", "another"): 9,
        ("missing", SILENT): 2, ("missing", UNJUDGED): 2, ("malformed", MUMBLED): 2,
    }  # fmt: skip
    assert (sifted["kept"], sifted["missing"], sifted["malformed"]) == (9, 4, 2)
    assert sifted["canaries"]["lost_batches"] == 0
    assert (writer["calls"], writer["retries"], writer["failed"]) == (first.count(GENERATOR), 2 * (ROWS - 2) + 2 * 5 - ROWS, 2)
    assert (judge["calls"], judge["failed"]) == (first.count(JUDGE), 0)
    assert judge["retries"] == judge["calls"] // 2 >= 3 * (ROWS - 4)
    assert writer["cost"] == pytest.approx((writer["prompt_tokens"] + 2 * writer["completion_tokens"]) / 1e6)
    assert f"{writer['calls']} calls ({writer['retries']} of them again), 0 rows from the cache, 2 rows without a reply" in told
    assert same_again == []
    assert Counter(ask.text for ask in second if ask.body["model"] == GENERATOR) == {SILENT: 2}
    assert {ask.body["model"] for ask in second} == {GENERATOR, JUDGE}
    assert third == []

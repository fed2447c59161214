"""What a run will need is said before it, what endpoints were really asked after it; price and manners come from the command line."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bylaw import runs
from bylaw.cli.entry import run
from bylaw.models.manners import USUAL, Manners
from bylaw.models.spent import Spent
from bylaw.models.targets import EMBEDDED
from bylaw.policy import profiles
from bylaw.recipes import align_run, dry_run, needs, opening
from bylaw.runs import Run
from tests.models.endpoint import Endpoint, say, serve

ROOT = Path(__file__).parents[2]
MINE = """## Be kind {#a.kind}

```yaml clause
severity: low
response: comply
```

The assistant MUST be kind.

**Good** {split=train}
user: You are useless.
assistant: I am sorry to hear that. What can I do better?
"""
SPENT = {"calls": 1200, "retries": 2, "cached": 3, "failed": 0, "uncounted": 0, "prompt_tokens": 1000, "completion_tokens": 50, "cost": 0.5}


@pytest.fixture
def listening() -> Iterator[str]:
    """The target of an endpoint that is there; nobody asks it."""
    with serve(lambda _: say("yes")) as server:
        yield server.target("m")


def said(out: Path, manners: Manners = USUAL, **named: str) -> str:
    """What is said before a run of the refunds policy: four prompts, two samples each, one test prompt, three arms."""
    asked: dict[str, Any] = {"model": str(EMBEDDED), "generator": "", "judge": "", "size": "smoke", "seed": 0, "lora": 0} | named
    return "\n".join(needs.before(align_run.begin(ROOT / "policies" / "refunds", out, manners, arms="base,sft,sft_rl", **asked)))


def test_calls_and_tokens_at_endpoints_are_said_before_a_run_and_a_sum_where_prices_are_known(tmp_path: Path, listening: str) -> None:
    without = said(tmp_path / "a", generator=listening, judge=listening)
    priced = said(tmp_path / "b", Manners(price_in=10.0, price_out=100.0), generator=listening, judge=listening)

    readings = 3 * 8 + 64 + 3 + 50
    tokens = (8 * 400 + readings * 1000, 8 * 200 + readings * 100)
    assert f"calls    8 to the generator ({listening}), 64 rollouts of the student" in without
    assert "judge    at most 24 readings in the filter, 64 in RL, 3 in the tests, each a call a clause; 50 canaries" in without
    assert f"about {tokens[0]:,} tokens in and {tokens[1]:,} out at endpoints" in without
    assert "give --price IN,OUT for a sum" in without
    assert f": {(tokens[0] * 10 + tokens[1] * 100) / 1e6:.2f} at the prices given" in priced


def test_models_of_this_machine_cost_nothing_but_it_and_one_that_judges_itself_is_warned_of(tmp_path: Path) -> None:
    found = said(tmp_path / "run", model=str(EMBEDDED.resolve()))

    assert "cost     nothing but this machine" in found
    assert "it grades its own work" in found


def test_a_policy_of_a_single_file_is_read_from_its_run(tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_text(MINE)
    asked: dict[str, Any] = {"model": str(EMBEDDED), "generator": "", "judge": "", "size": "smoke", "seed": 0, "lora": 0}

    lines = needs.before(align_run.begin(tmp_path / "mine.md", tmp_path / "run", arms="base", **asked))

    assert any("2 to the generator" in line and "0 rollouts" in line for line in lines)


def test_what_endpoints_were_asked_is_said_after_a_run() -> None:
    lines = needs.after({"endpoints": {"openai:m@[u]": SPENT, "openai:n@u": SPENT | {"failed": 4, "cost": None, "uncounted": 7}}})

    assert lines[0].endswith("1,200 calls (2 of them again), 3 rows from the cache, 1,000 tokens in, 50 out, cost 0.5")
    assert "4 rows without a reply" in lines[1]
    assert lines[1].endswith("cost not known: 7 replies without a token count")
    assert needs.after({"endpoints": {"m": SPENT | {"cost": None}}})[0].endswith("cost not known: no --price")
    assert needs.after({}) == []


def test_what_steps_spent_is_added_up_by_endpoint_and_an_unknown_cost_stays_unknown() -> None:
    one, other = {"name": "a", "calls": 2, "cost": 0.5}, {"name": "a", "calls": 3, "cost": 0.25}

    assert opening.total([{"endpoints": [one]}, {}, {"endpoints": [other, other | {"name": "b"}]}]) == {
        "a": {"calls": 5, "cost": 0.75},
        "b": {"calls": 3, "cost": 0.25},
    }
    assert opening.total([{"endpoints": [one]}, {"endpoints": [other | {"cost": None}]}, {"endpoints": [one]}])["a"]["cost"] is None


def test_what_was_spent_between_two_counts_is_their_difference() -> None:
    before, now = Spent(calls=2, prompt_tokens=10, cost=0.5), Spent(calls=5, retries=1, prompt_tokens=40, cost=2.0)

    assert opening.less(now, before) == Spent(calls=3, retries=1, prompt_tokens=30, cost=1.5)
    assert opening.less(Spent(calls=5), Spent(calls=2)).cost is None


def test_manners_reach_the_workers_of_a_run(tmp_path: Path) -> None:
    manners = Manners(concurrency=3, timeout_s=1.5, price_in=0.5, price_out=1.5, cache=tmp_path / "cache")

    opening.keep_manners(Run(tmp_path), manners)
    opening.keep_manners(Run(tmp_path / "none"), Manners(cache=None))

    assert opening.manners_of(Run(tmp_path)) == manners
    assert opening.manners_of(Run(tmp_path / "none")).cache is None
    assert opening.manners_of(Run(tmp_path / "older")) == USUAL


@pytest.mark.parametrize("command", ["align deliberative --model embedded", "eval --target embedded"])
@pytest.mark.parametrize("price", ["1", "free", "1,", "-1,2", "1,2,3", "nan,1", "1e9,1", "9999999999,1"])
def test_a_price_that_is_none_is_refused_in_one_line(command: str, price: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = ["--policy", "policies/refunds", "--out", str(tmp_path / "run"), f"--price={price}"]

    code = run([*command.split(), *named])

    what, then = capsys.readouterr().err.splitlines()
    assert code == 2
    assert what == f"error: --price {price} is no price"
    assert "--price 0.5,1.5" in then
    assert not (tmp_path / "run").exists()


def test_no_calls_at_a_time_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["eval", "--target", "embedded", "--policy", "policies/refunds", "--out", str(tmp_path), "--concurrency", "0"])

    assert code == 2
    assert "concurrency" in capsys.readouterr().err


class Busy(Endpoint):
    """A server that keeps how many calls it had at a time."""

    now = most = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await super().answer(request)
        finally:
            self.now -= 1


@pytest.mark.slow
def test_concurrency_and_price_reach_the_endpoint_that_eval_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # the cache lies where one works
    policy = profiles.begin("consumer", tmp_path / "policy").policy
    runs.write_rows(tmp_path / "judge.jsonl", dry_run.judge_script(policy, list(dry_run.replies(policy))))
    asked = ["--policy", "policy", "--judge", "scripted:judge.jsonl", "--out", "eval", "--concurrency", "3", "--price", "1000,2000"]

    with serve(lambda _: replace(say("<think>a</think> b"), delay_s=0.01), Busy) as server:
        code = run(["eval", "--target", server.target("m"), *asked])

    spent = runs.read_json(tmp_path / "eval" / "manifest.json")["endpoints"][server.target("m")]
    assert code == 0
    assert isinstance(server, Busy)
    assert (server.most, spent["calls"]) == (3, len(server.calls))
    assert spent["cost"] == pytest.approx(len(server.calls) * (10 * 1000 + 5 * 2000) / 1e6)
    assert f"cost {spent['cost']:g}" in capsys.readouterr().out

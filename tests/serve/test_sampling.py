"""Sampled checks: a judge reads a share of the answers after they left, within a budget; what it finds is counted, and stops nothing."""

import json
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bylaw.cli.entry import run
from bylaw.errors import StoreError
from bylaw.govern.sampled import checked, drift
from bylaw.govern.signals import rate
from bylaw.ledger.writer import Ledger
from bylaw.serve import wiring
from bylaw.serve.lookout import Lookout, SamplingAt
from bylaw.serve.sampling import chosen
from bylaw.serve.start import Setting, prepare
from bylaw.serve.wiring import JudgeAt, Wiring
from bylaw.store import database
from tests.serve.recorded import recent
from tests.serve.rig import written
from tests.serve.test_processes_wiring import CLOSED, listening, troubles
from tests.serve.test_serving import saying, until
from tests.serve.test_watched import watched


def judging(body: dict[str, Any]) -> dict[str, Any]:
    """A judge that dislikes one word."""
    question = body["messages"][-1]["content"]
    code = re.findall(r"\b[0-9a-f]{16}\b", question)[-1]
    return saying(f"Seen.\nVERDICT {code}: {1 if 'guaranteed' in question else 9}")


def samples(data_dir: Path) -> list[dict[str, Any]]:
    return [one for one in recent(data_dir, 200) if one["kind"] == "sample"]


def sampled(url: str, share: float = 1.0, calls: int = 500) -> Wiring:
    return Wiring(judge=JudgeAt(url, "m", timeout_s=60), lookout=Lookout(sampling=SamplingAt(share, calls)))


# ---- In a gateway ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_answers_that_left_are_judged_afterwards_and_what_came_of_it_is_recorded(tmp_path: Path) -> None:
    policy = written(tmp_path / "policy", ("money.limit",))
    with listening(judging) as judge, watched(tmp_path / "data", sampled(f"{judge.url}/v1"), policy) as served:
        served.speaker.replies += [saying("It is guaranteed."), saying("I will look.")]
        replies = [served.ask(x_bylaw_session=name) for name in ("a", "b")]
        until(lambda: len(samples(served.data_dir)) == 2)
        found, trouble = samples(served.data_dir), troubles(served.url)

    assert [one.headers["x-bylaw-decision"] for one in replies] == ["allow", "allow"]
    assert b"guaranteed" in replies[0].body
    assert [(one["facts"]["record"], one["facts"]["verdict"]) for one in found] == [
        (replies[0].headers["x-bylaw-record"], "broken"),
        (replies[1].headers["x-bylaw-record"], "kept"),
    ]
    assert {tuple(one["clauses"]) for one in found} == {("money.limit",)}
    assert trouble == []


@pytest.mark.slow
def test_no_more_is_asked_than_the_budget_of_a_day(tmp_path: Path) -> None:
    policy = written(tmp_path / "policy", ("money.limit",))
    with listening(judging) as judge, watched(tmp_path / "data", sampled(f"{judge.url}/v1", calls=1), policy) as served:
        served.speaker.replies += [saying("I will look.") for _ in range(3)]
        statuses = [served.ask(x_bylaw_session=name).status for name in ("a", "b", "c")]
        until(lambda: len(samples(served.data_dir)) == 1)

    assert (statuses, len(judge.got)) == ([200] * 3, 1)


@pytest.mark.slow
def test_a_judge_that_is_down_cannot_tell_is_named_and_is_in_nobodys_way(tmp_path: Path) -> None:
    policy = written(tmp_path / "policy", ("money.limit",))
    with watched(tmp_path / "data", sampled(f"{CLOSED}/v1"), policy) as served:
        served.speaker.replies.append(saying("I will look."))
        effect = served.ask().headers["x-bylaw-decision"]
        until(lambda: bool(samples(served.data_dir)))
        found, trouble = samples(served.data_dir), troubles(served.url)

    assert effect == "allow"
    assert [one["facts"]["verdict"] for one in found] == ["cannot_tell"]
    assert trouble[0].startswith("sampling: ")


def test_sampling_needs_a_judge(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("sampling: {share: 0.5}\n")
    wired = wiring.found(tmp_path)

    assert wired.lookout.sampling == SamplingAt(0.5)
    with pytest.raises(StoreError, match="sampling needs a judge"):
        prepare(Setting("http://127.0.0.1:9", data_dir=tmp_path / "data", wiring=wired), written(tmp_path / "policy"), "tester")


def test_the_share_that_is_chosen_is_the_share_that_was_asked_for() -> None:
    picked = sum(chosen(f"log#{at}", 0.1) for at in range(10_000))

    assert 900 < picked < 1_100
    assert not any(chosen(f"log#{at}", 0.0) for at in range(100))
    assert all(chosen(f"log#{at}", 1.0) for at in range(100))


# ---- What it adds up to ----------------------------------------------------------------------------------------------


def test_what_cannot_be_told_is_counted_apart() -> None:
    (one,) = checked([("a", "kept")] * 3 + [("a", "broken")] + [("a", "cannot_tell")] * 5 + [("a", "odd")])

    assert (one.broken.k, one.broken.n, one.cannot_tell, one.drift) == (1, 4, 5, None)


@given(st.integers(0, 40), st.integers(1, 40), st.integers(0, 40), st.integers(1, 40))
def test_a_difference_lies_in_its_interval_and_the_other_way_round_is_its_mirror(k: int, n: int, j: int, m: int) -> None:
    now, then = rate(k, k + n), rate(j, j + m)
    one, other = drift(now, then), drift(then, now)

    assert -1.0000001 <= one.low <= one.difference <= one.high <= 1.0000001
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_newcombes_published_example_comes_out() -> None:
    one = drift(rate(56, 70), rate(48, 80))  # Newcombe 1998, table II (a), method 10: 0.0524 to 0.3339

    assert (one.low, one.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


@pytest.mark.slow
def test_the_command_tells_drift_against_the_releases_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database.open(tmp_path / "store.sqlite").close()
    with Ledger(tmp_path) as ledger:
        for at in range(40):
            ledger.append({"kind": "sample", "clauses": ["a.b"], "facts": {"verdict": "broken" if at % 2 else "kept", "record": "x#1"}})
    measured = {"rate": 0.98, "low": 0.93, "high": 0.99, "n": 100, "missing": 0, "corrected": None}
    results = {"policy": "sha256:1", "target": "m", "suites": {"s": {"a.b": {"resist": measured}}}}
    (tmp_path / "results.json").write_bytes(orjson.dumps(results))
    where = ["--data-dir", str(tmp_path)]
    codes = [run(["watch", "report", *more, *where]) for more in ([], ["--run", str(tmp_path)], ["--run", str(tmp_path / "none")])]
    text = capsys.readouterr().out
    codes.append(run(["watch", "report", "--run", str(tmp_path), "--json", *where]))
    told = json.loads(capsys.readouterr().out)["sampled"][0]

    assert codes == [0, 1, 2, 1]
    assert "sampled   a.b: not kept 20 of 40 (35% to 65%)" in text
    assert "WORSE" in text
    assert (told["drift"]["worse"], told["released"]["k"], told["released"]["n"]) == (True, 2, 100)

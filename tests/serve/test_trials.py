"""A candidate on trial in several gateways on one store: for its share alone, rolled back by itself, or deciding nothing at all."""

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from bylaw.cli.entry import app
from bylaw.govern import keys
from bylaw.govern.canary import Terms
from bylaw.govern.keys import Grant
from bylaw.ledger import place
from bylaw.ledger.writer import Ledger
from bylaw.serve import live as lives
from bylaw.serve import trials
from bylaw.serve.live import Live
from bylaw.serve.start import Process, Setting, prepare
from bylaw.serve.trying import Tail, Trying
from bylaw.store import database, trial_rows
from bylaw.store.database import Store
from bylaw.store.trial_rows import Trial
from bylaw.store.trial_tables import TRIALS
from tests.serve.recorded import recent
from tests.serve.rig import CLAUSE, PATIENCE_S, Speaker, post, serving, speaking, written
from tests.serve.test_processes_sessions import started as process
from tests.serve.test_serving import WITHIN_S, best, saying, until

PEOPLE = ("ana", "bo")
NOTHING = CLAUSE.format(id="tone.nothing", title="Nothing", rule='    on: output\n    when: text.contains("order")\n    then: block')
BASE = ["security.keys", "money.never"]


class Two(NamedTuple):
    """Two gateways on one store, and the keys of two principals."""

    urls: list[str]
    keys: dict[str, str]
    speaker: Speaker
    bylaw: Callable[..., Any]

    def ask(self, who: str, at: int = 0, text: str = "Your order is on its way.") -> str:
        self.speaker.replies = [saying(text)]
        body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Where is it?"}]})
        reply = post(f"{self.urls[at]}/v1/chat/completions", body, headers={"authorization": f"Bearer {self.keys[who]}"})
        assert reply.status == 200, reply.body
        return reply.headers["x-bylaw-decision"]


@contextmanager
def two(tmp_path: Path, url: str) -> Iterator[Two]:
    policy = written(tmp_path / "policy", BASE)
    store = database.open(url)
    made = {name: keys.create(store, lambda entry: "", Grant(name))[1] for name in PEOPLE}
    store.close()

    def bylaw(*line: str, code: int = 0) -> Any:
        done = CliRunner().invoke(
            app, ["policy", *line, "--store", url, "--json", *([] if "status" in line else ["--data-dir", str(tmp_path / "desk")])]
        )
        assert done.exit_code == code, (done.output, done.exception)
        return orjson.loads(done.output) if not code else {}

    with ExitStack() as stack:
        speaker, urls = stack.enter_context(speaking()), []
        for at in range(2):
            setting = Setting(f"{speaker.url}/v1", store=url, data_dir=tmp_path / f"data{at}")
            prepare(setting, policy, "tester")
            urls.append(stack.enter_context(serving(Process(setting))))
        yield Two(urls, made, speaker, bylaw)


def bad(tmp_path: Path) -> Path:
    """A candidate that blocks what is fine."""
    folder = written(tmp_path / "bad", BASE)
    (folder / "rules.md").write_text((folder / "rules.md").read_text() + "\n" + NOTHING)
    return folder


def entries(tmp_path: Path) -> list[dict[str, Any]]:
    return [one for at in range(2) for one in recent(tmp_path / f"data{at}", 1_000) if one["kind"] in ("decision", "policy")]


@pytest.mark.slow
def test_a_bad_candidate_decides_for_its_share_alone_and_rolls_back_by_itself(tmp_path: Path, url: str) -> None:
    with two(tmp_path, url) as rig:
        candidate = bad(tmp_path)
        beside: list[str] = []
        begun: dict[str, Any] = {}

        def trial() -> tuple[float, ...]:
            begun.update(rig.bylaw("canary", "start", str(candidate), "--principal", "ana", "--window", "10m", "--as", "kim"))
            took = [until(lambda at=at: rig.ask("ana", at) == "block") for at in range(2)]  # type: ignore[misc]  # bound now
            beside.extend(rig.ask("bo", at) for at in range(2))
            began = time.monotonic()
            while rig.ask("ana", 0) == "block" and time.monotonic() - began < PATIENCE_S:
                rig.ask("ana", 1)
                beside.extend(rig.ask("bo", at) for at in range(2))
            return (*took, until(lambda: rig.ask("ana", 1) == "allow"))

        quickest = best(trial)
        rig.bylaw("canary", "status", code=1)
        shown = orjson.loads(CliRunner().invoke(app, ["policy", "canary", "status", "--store", url, "--json"]).output)
    found = entries(tmp_path)
    under = {
        (one["principal"], one["policy"] == begun["policy"]) for one in found if one["kind"] == "decision" and one["decision"] == "block"
    }

    assert quickest < WITHIN_S
    assert (set(beside), under) == ({"allow"}, {("ana", True)})  # each decision carries the digest that made it
    assert (shown["state"], shown["baseline"] != begun["policy"]) == ("rolled_back", True)
    assert shown["why"].startswith("refused: ")
    assert [one["facts"]["step"] for one in found if one["kind"] == "policy"][-1:] == ["canary rolled back"]


@pytest.mark.slow
def test_a_bad_candidate_rolls_back_although_one_of_two_processes_is_killed(tmp_path: Path, url: str) -> None:
    policy, store = written(tmp_path / "policy", BASE), database.open(url)
    made = {name: keys.create(store, lambda entry: "", Grant(name))[1] for name in PEOPLE}
    store.close()
    common = ("--store", url)
    with ExitStack() as stack:
        speaker = stack.enter_context(speaking())
        first, second = (stack.enter_context(process(tmp_path / name, speaker.url, *common, policy=policy)) for name in "ab")
        rig = Two([first.url, second.url], made, speaker, print)
        line = ["policy", "canary", "start", str(bad(tmp_path)), "--principal", "ana", "--data-dir", str(tmp_path / "desk"), *common]
        begun = CliRunner().invoke(app, line)
        for at in range(2):
            until(lambda at=at: rig.ask("ana", at) == "block")  # type: ignore[misc]  # bound now
        rig.ask("bo", 1)
        os.killpg(second.process.pid, signal.SIGKILL)
        beside, began = {"allow"}, time.monotonic()
        while rig.ask("ana") == "block" and time.monotonic() - began < 60:
            beside.add(rig.ask("bo"))
        after = rig.ask("ana")
    shown = CliRunner().invoke(app, ["policy", "canary", "status", *common, "--json"])

    assert begun.exit_code == 0, begun.output
    assert (beside, after, orjson.loads(shown.output)["state"]) == ({"allow"}, "allow", "rolled_back")


@pytest.mark.slow
def test_a_good_candidate_is_promoted_and_a_canary_stops_when_told_or_when_another_policy_comes(tmp_path: Path) -> None:
    url = str(tmp_path / "store.sqlite")
    other = written(tmp_path / "other", ["security.keys"])
    with two(tmp_path, url) as rig:
        begun = rig.bylaw("canary", "start", str(other), "--share", "50%")
        candidate = bad(tmp_path)
        rig.bylaw("canary", "start", str(candidate), "--share", "1%", code=1)
        promoted = rig.bylaw("canary", "promote")
        took = until(lambda: orjson.loads(post(f"{rig.urls[1]}/readyz", method="GET").body)["policy"] == begun["policy"])
        stopped: list[str] = []
        folders = itertools.cycle((tmp_path / "policy", other))

        def trial() -> tuple[float, float]:
            rig.bylaw("canary", "start", str(candidate), "--principal", "ana")
            until(lambda: rig.ask("ana") == "block")
            stopped.append(rig.bylaw("canary", "stop")["state"])
            took_off = until(lambda: rig.ask("ana") == "allow")
            rig.bylaw("canary", "start", str(candidate), "--principal", "ana")
            until(lambda: rig.ask("ana") == "block")
            rig.bylaw("activate", str(next(folders)))
            return took_off, until(lambda: rig.ask("ana") == "allow")

        quickest = best(trial)
        until(lambda: rig.bylaw("canary", "status")["state"] != "running")
        last = rig.bylaw("canary", "status")

    assert (promoted["state"], set(stopped), last["state"], last["why"]) == (
        "promoted",
        {"stopped"},
        "stopped",
        "another policy was put in force",
    )
    assert min(took, quickest) < WITHIN_S


@pytest.mark.slow
def test_a_share_of_conversations_keeps_each_of_them_under_one_policy_on_every_gateway(tmp_path: Path) -> None:
    url = str(tmp_path / "store.sqlite")

    def ask(rig: Two, session: str, at: int) -> str:
        rig.speaker.replies = [saying("Your order.")]
        headers = {"authorization": f"Bearer {rig.keys['ana']}", "x-bylaw-session": session}
        body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Where?"}]})
        return post(f"{rig.urls[at]}/v1/chat/completions", body, headers=headers).headers["x-bylaw-decision"]

    with two(tmp_path, url) as rig:
        rig.bylaw("canary", "start", str(bad(tmp_path)), "--share", "50%", "--by", "session", "--seen", "500")
        fresh = itertools.count()
        until(lambda: ask(rig, f"w{next(fresh)}", 0) == "block")  # each takes it up by itself
        until(lambda: ask(rig, f"w{next(fresh)}", 1) == "block")
        decided = [[ask(rig, f"s{number}", at) for at in (0, 1, 0)] for number in range(12)]

    assert all(len(set(one)) == 1 for one in decided)
    assert {one[0] for one in decided} == {"allow", "block"}


@pytest.mark.slow
def test_a_canary_ends_with_its_window_and_says_how_much_it_has_seen(tmp_path: Path) -> None:
    url = str(tmp_path / "store.sqlite")
    with two(tmp_path, url) as rig:
        candidate = bad(tmp_path)
        ends: list[tuple[str, bool]] = []

        def trial() -> tuple[float]:
            rig.bylaw("canary", "start", str(candidate), "--principal", "ana", "--window", "1s")
            until(lambda: rig.bylaw("canary", "status")["state"] != "running")
            shown = rig.bylaw("canary", "status")
            ends.append((shown["state"], "too little was seen to tell" in shown["why"]))
            return (until(lambda: rig.ask("ana") == "allow"),)

        quickest = best(trial)

    assert set(ends) == {("ended", True)}
    assert quickest < WITHIN_S


@pytest.mark.slow
def test_a_shadow_decides_nothing_and_says_clause_by_clause_what_it_would_have(tmp_path: Path, url: str) -> None:
    with two(tmp_path, url) as rig:
        rig.bylaw("shadow", "start", str(bad(tmp_path)), "--as", "kim")
        decided: list[str] = []

        def beyond(seen: int, at: int) -> bool:
            """Whether a gateway has made it ready: it counts what it is asked."""
            decided.append(rig.ask("ana", at, "Nothing of it."))
            return bool(rig.bylaw("shadow", "status")["decisions"] > seen)

        until(lambda: beyond(0, 0))
        asked = len(decided)
        until(lambda: beyond(asked, 1))  # more than the first was asked: the second counts
        probes = len(decided)
        decided += [rig.ask(who, at) for who in PEOPLE for at in range(2)]
        until(lambda: rig.bylaw("shadow", "status")["would"] == {"tone.nothing": {"stricter": 4}})
        shown = rig.bylaw("shadow", "stop")
        later = rig.bylaw("shadow", "status")

    assert set(decided) == {"allow"}
    assert (shown["decisions"], shown["would"]) == (shown["unchanged"] + 4, {"tone.nothing": {"stricter": 4}})
    assert 2 <= shown["unchanged"] <= probes
    assert shown["examples"]["tone.nothing|stricter"].startswith("bylaw-ledger/")
    assert (later["state"], later["would"]) == ("stopped", shown["would"])


@pytest.mark.slow
def test_a_candidate_that_is_not_there_or_in_force_already_is_no_canary(tmp_path: Path) -> None:
    url = str(tmp_path / "store.sqlite")
    written(tmp_path / "policy", BASE)
    runner = ["policy", "canary", "start", str(tmp_path / "policy"), "--share", "5%", "--store", url, "--data-dir", str(tmp_path / "d")]
    database.open(url).close()
    nothing = CliRunner().invoke(app, runner)
    prepare(Setting("http://127.0.0.1:9/v1", store=url, data_dir=tmp_path / "d"), tmp_path / "policy", "tester")
    same, all_of_them = CliRunner().invoke(app, runner), CliRunner().invoke(app, [*runner[:5], "100%", *runner[6:]])
    said = [str(one.exception) for one in (nothing, same, all_of_them)]

    assert ["no policy is in force" in said[0], "in force already" in said[1], "for some and not for all" in said[2]] == [True] * 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("whom", "said"),
    [
        (["--principal", "ana", "--principal", "bo"], "  for ana, bo\n"),
        (["--share", "5%"], "  for 5% of principals\n"),
        (["--share", "5%", "--by", "session", "--principal", "ana"], "  for 5% of sessions, ana\n"),
    ],
)
def test_a_canary_says_whom_it_decides_for_and_no_share_where_there_is_none(tmp_path: Path, whom: list[str], said: str) -> None:
    url = str(tmp_path / "store.sqlite")
    prepare(Setting("http://127.0.0.1:9/v1", store=url, data_dir=tmp_path / "d"), written(tmp_path / "policy", BASE), "tester")
    line = ["policy", "canary", "start", str(bad(tmp_path)), *whom, "--store", url, "--data-dir", str(tmp_path / "d")]
    begun = CliRunner().invoke(app, line)

    assert begun.exit_code == 0, begun.exception
    assert said in begun.output


def test_the_log_of_a_process_is_where_trials_look_for_it(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        for _ in range(3):
            ledger.append({"kind": "decision", "decision": "allow", "surface": "output", "contents": {"reply": b"x"}})
        tail = Tail(place.logs(tmp_path)[0], ledger.log)
        tail.begin({})
        ledger.append({"kind": "decision", "decision": "block", "surface": "output", "contents": {"reply": b"y"}})
        read = tail.read(contents=True)

    assert [(one.entry["decision"], one.contents) for one in read] == [("block", {"reply": b"y"})]
    assert tail.read(contents=True) == []


# ---- In one process --------------------------------------------------------------------------------------------------


@contextmanager
def alone(tmp_path: Path) -> Iterator[tuple[Store, Ledger, Live]]:
    """What a process has, without a gateway."""
    store = database.open(tmp_path / "store.sqlite")
    with Ledger(tmp_path / "data") as ledger:
        made, one = lives.activate(store, ledger.append, written(tmp_path / "policy", BASE), "tester")
        yield store, ledger, Live(store, made, one.content)
    store.close()


def started(tmp_path: Path, store: Store, ledger: Ledger, terms: Terms) -> Trial:
    return trials.begin(store, ledger.append, bad(tmp_path), trials.new("canary", "kim", terms))


def joined(live: Live, ledger: Ledger, data: Path) -> Trying:
    """A process that takes part, and looks when told to."""
    made = Trying(live, ledger.append, [(data, ledger.log)])
    with live.store.reading() as connection:
        made._risen(connection)
    return made


def outcome(policy: str, decision: str) -> dict[str, Any]:
    return {"kind": "decision", "surface": "output", "decision": decision, "policy": policy, "facts": {"route": "/v1/messages"}}


@pytest.mark.slow
def test_a_canary_whose_files_were_changed_or_whose_terms_cannot_be_read_is_rolled_back_and_decides_nothing(tmp_path: Path) -> None:
    shown: list[tuple[str, object]] = []
    for change in ({"content": "sha256:" + "0" * 64}, {"terms": '{"share": 2000}'}):
        folder = tmp_path / str(len(shown))
        folder.mkdir()
        with alone(folder) as (store, ledger, live):
            started(folder, store, ledger, Terms(principals=("ana",)))
            with store.writing() as connection:
                connection.execute(update(TRIALS).values(**change))
            one = joined(live, ledger, folder / "data")
            one.look()
            shown.append((trial_rows.listed(store, "canary")[0].state, live.share))

    assert shown == [("rolled_back", None)] * 2


@pytest.mark.slow
def test_a_process_that_takes_up_the_log_of_one_that_died_goes_on_counting_where_it_was(tmp_path: Path) -> None:
    with alone(tmp_path) as (store, ledger, live):
        trial = started(tmp_path, store, ledger, Terms(principals=("ana",), seen=100))
        first = joined(live, ledger, tmp_path / "data")
        first.look()
        for _ in range(3):
            ledger.append(outcome(trial.digest, "block"))
        first.look()
        ledger.append(outcome(trial.digest, "allow"))  # and here it died
        ledger.append(outcome(trial.baseline, "allow"))
        ledger.append(outcome("sha256:older", "block"))
        joined(live, ledger, tmp_path / "data").look()
        shown = trials.standing(store, "canary")

    assert shown is not None
    assert (shown.candidate, shown.baseline) == ((4, 3), (1, 0))


@pytest.mark.slow
def test_a_canary_is_tested_once_a_look_and_what_is_equally_bad_on_both_sides_stays(tmp_path: Path) -> None:
    with alone(tmp_path) as (store, ledger, live):
        trial = started(tmp_path, store, ledger, Terms(share=500, seen=5))
        one = joined(live, ledger, tmp_path / "data")
        one.look()
        for _ in range(40):
            for side in (trial.digest, trial.baseline):
                ledger.append(outcome(side, "block"))
        one.look()
        one.look()
        shown = trials.standing(store, "canary")

    assert shown is not None
    assert (shown.trial.state, shown.trial.looks) == ("running", 4)


@pytest.mark.slow
def test_appeals_count_against_whoever_refused(tmp_path: Path) -> None:
    with alone(tmp_path) as (store, ledger, live):
        trial = started(tmp_path, store, ledger, Terms(share=500, signal="appeals", seen=5))
        one = joined(live, ledger, tmp_path / "data")
        one.look()
        for _ in range(10):
            for side in (trial.digest, trial.baseline):
                ledger.append(outcome(side, "block"))
            ledger.append({"kind": "appeal", "policy": trial.digest, "facts": {"step": "made"}})
        one.look()
        state = trial_rows.listed(store, "canary")[0]

    assert (state.state, state.why) == ("rolled_back", "appeals: 10 of 10 under the candidate, 0 of 10 beside it")


@pytest.mark.slow
def test_a_canary_holds_only_beside_the_policy_that_it_began_with(tmp_path: Path) -> None:
    with alone(tmp_path) as (store, ledger, live):
        trial = started(tmp_path, store, ledger, Terms(principals=("ana",)))
        joined(live, ledger, tmp_path / "data").look()
        before = live.law({"id": "ana"}).digest, live.law({"id": "bo"}).digest
        live.put(lives.ready(written(tmp_path / "third", ["privacy.cards"])))  # seen here before the trial's end is
        after = live.law({"id": "ana"}).digest

    assert before == (trial.digest, trial.baseline)
    assert after == live.now.digest

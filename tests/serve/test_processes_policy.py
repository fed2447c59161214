"""The policy in force across processes: it lies in the store, switches on every gateway within a second, and by itself at midnight."""

import json
import shutil
import zlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from bylaw.cli.entry import app
from bylaw.errors import PolicyError, StoreError
from bylaw.serve import bundle, live
from bylaw.serve.live import Live
from bylaw.serve.start import Process, Setting, prepare
from bylaw.store import database, policy_rows
from bylaw.store.database import Store
from bylaw.store.policy_rows import Activation
from bylaw.store.policy_tables import POLICIES
from tests.serve.rig import CLAUSE, post, serving, speaking, written
from tests.serve.test_processes_sessions import asked, each_worker, gateways, refund, started
from tests.serve.test_serving import WITHIN_S, best, saying, until

OTHER = ("privacy.cards", "money.never")


def record(entry: Any) -> object:
    return ""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = database.open(tmp_path / "store.sqlite")
    yield opened
    opened.close()


def bylaw(*line: str) -> Any:
    done = CliRunner().invoke(app, list(line))
    assert done.exit_code == 0, (done.output, done.exception)
    return orjson.loads(done.output)


def in_force(url: str) -> str:
    return str(orjson.loads(post(f"{url}/readyz", method="GET").body)["policy"])


# ---- Folders as bytes ------------------------------------------------------------------------------------------------


def test_a_folder_comes_back_as_it_was_without_hidden_files(tmp_path: Path) -> None:
    folder = written(tmp_path / "policy")
    (folder / "notes").mkdir()
    (folder / "notes" / "räksmörgås.bin").write_bytes(bytes(range(256)))
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("secret")
    files = bundle.pack(folder)
    with bundle.unpacked(files) as copy:
        found = {path.relative_to(copy).as_posix(): path.read_bytes() for path in bundle.files_of(copy)}
        again = bundle.pack(copy)

    assert found == {path.relative_to(folder).as_posix(): path.read_bytes() for path in bundle.files_of(folder)}
    assert (again == files, any("git" in name for name in found)) == (True, False)


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", "", "a\0b"])
def test_a_packed_file_never_leaves_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(PolicyError), bundle.unpacked(zlib.compress(json.dumps({name: "eA=="}).encode())):
        pass


@pytest.mark.parametrize("files", [b"", b"nothing", b"\x78\x9c", bytes(100)])
def test_bytes_that_are_no_packed_folder_are_refused(files: bytes) -> None:
    with pytest.raises(PolicyError, match="cannot be read"), bundle.unpacked(files):
        pass


@pytest.mark.slow
def test_a_packed_folder_that_unfolds_without_end_is_refused() -> None:
    bomb = zlib.compress(b" " * (bundle.MAX_BYTES * 2 + 10), 9)
    with pytest.raises(PolicyError, match="too large"), bundle.unpacked(bomb):
        pass


# ---- Gateways --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_gateways_with_their_own_folders_switch_within_a_second_and_back(tmp_path: Path, url: str) -> None:
    with gateways(tmp_path, url) as (urls, _):
        first = in_force(urls[0])
        folder = written(tmp_path / "other", OTHER)
        made = bylaw("policy", "activate", str(folder), "--store", url, "--data-dir", str(tmp_path / "desk"), "--json")
        took = until(lambda: all(in_force(one) == made["digest"] for one in urls))
        shutil.rmtree(folder)
        begins = made["digest"].removeprefix("sha256:")[:12]
        told: list[str] = []
        wanted = [first, made["digest"]]

        def trial() -> tuple[float, float]:
            back = bylaw("policy", "rollback", "--store", url, "--data-dir", str(tmp_path / "desk"), "--json")
            took_back = until(lambda: all(in_force(one) == first for one in urls))
            forth = bylaw("policy", "activate", begins, "--store", url, "--data-dir", str(tmp_path / "desk2"), "--json")
            told.extend((back["digest"], forth["digest"]))
            return took_back, until(lambda: all(in_force(one) == made["digest"] for one in urls))

        quickest = min(took, best(trial))
        listed = orjson.loads(post(f"{urls[1]}/api/policy", method="GET").body)["history"]

    assert quickest < WITHIN_S
    assert told == wanted * (len(told) // 2)
    assert [one["digest"] for one in listed] == wanted + told


@pytest.mark.slow
def test_what_is_activated_decides_at_both_gateways(tmp_path: Path, url: str) -> None:
    with gateways(tmp_path, url) as (urls, speaker):
        speaker.replies += [refund(500.0)] * 4
        before = [asked(one, "s1") for one in urls]
        folder = written(tmp_path / "other", OTHER)
        made = bylaw("policy", "activate", str(folder), "--store", url, "--data-dir", str(tmp_path / "desk"), "--json")
        until(lambda: all(in_force(one) == made["digest"] for one in urls))
        after = [asked(one, "s2") for one in urls]

    assert (before, after) == (["require_approval"] * 2, ["allow"] * 2)


@pytest.mark.slow
def test_files_that_were_damaged_in_the_store_replace_nothing_and_the_next_good_policy_does(tmp_path: Path, url: str) -> None:
    store = database.open(url)
    with gateways(tmp_path, url) as (urls, _):
        good = in_force(urls[0])
        bad = policy_rows.keep(store, "sha256:" + "ab" * 32, b"half", 1)
        with store.writing() as connection:
            connection.execute(POLICIES.update().where(POLICIES.c.content == bad).values(files=b"ha"))
            policy_rows.activated(connection, Activation("sha256:" + "ab" * 32, bad, "9", 1, "x"))
        until(lambda: all(b"refused_policy" in post(f"{one}/readyz", method="GET").body for one in urls))
        stays = [in_force(one) for one in urls]
        made, _ = live.activate(store, record, written(tmp_path / "other", OTHER), "tester", unsigned="a test")
        until(lambda: all(in_force(one) == made.digest for one in urls))
        now = [in_force(one) for one in urls]
        clean = [b"refused_policy" in post(f"{one}/readyz", method="GET").body for one in urls]
    store.close()

    assert (stays, now, clean) == ([good] * 2, [made.digest] * 2, [False] * 2)


def test_the_same_policy_with_another_review_is_taken_anew(tmp_path: Path, store: Store) -> None:
    folder = written(tmp_path / "policy")
    made, one = live.activate(store, record, folder, "tester", unsigned="a test")
    process = Live(store, made, one.content)
    (folder / "reviews").mkdir()
    (folder / "reviews" / "notes.txt").write_text("seen")
    live.activate(store, record, folder, "tester", unsigned="a test")
    process.look()

    assert (process.now is made, process.now.digest == made.digest, process.refused) == (False, True, "")


def test_a_store_that_cannot_be_asked_is_asked_again(tmp_path: Path, store: Store) -> None:
    made, one = live.activate(store, record, written(tmp_path / "policy"), "tester", unsigned="a test")
    process = Live(store, made, one.content)
    Path(store.name).rename(tmp_path / "away")
    away = process.look()
    (tmp_path / "away").rename(store.name)

    assert (away, process.look(), process.now is made) == (False, True, True)


def each_in_force(url: str) -> list[str]:
    """The policy of each of two workers."""
    told = []
    for worker in each_worker(url):
        worker.request("GET", "/readyz")
        with worker.getresponse() as reply:
            told.append(str(orjson.loads(reply.read())["policy"]))
        worker.close()
    return told


@pytest.mark.slow
def test_both_workers_switch_by_themselves(tmp_path: Path) -> None:
    with speaking() as speaker, started(tmp_path, speaker.url, "--workers", "2") as (url, *_):
        speaker.otherwise = saying("Hello.")
        data = ["--data-dir", str(tmp_path / "data"), "--json"]
        before = each_in_force(url)
        made = bylaw("policy", "activate", str(written(tmp_path / "other", OTHER)), *data)
        until(lambda: each_in_force(url) == [made["digest"]] * 2)
        there = each_in_force(url)
        bylaw("policy", "rollback", *data)
        until(lambda: each_in_force(url) == before)
        back = each_in_force(url)

    # That it takes a second is measured where one process watches, above; here each look is many connections and two requests.
    assert there == [made["digest"]] * 2
    assert (back, made["digest"] in before) == (before, False)


# ---- What an older bylaw kept in files -------------------------------------------------------------------------------


def old(data_dir: Path, *folders: Path) -> list[str]:
    """A data directory as it was before the policy was in the store."""
    kept, digests = data_dir / "policies", []
    for at, folder in enumerate(folders):
        digest = live.ready(folder).digest
        if not (kept / digest.removeprefix("sha256:")).exists():
            shutil.copytree(folder, kept / digest.removeprefix("sha256:"))
        line = {"digest": digest, "version": f"1.{at}.0", "at": f"2026-10-0{at + 1}T00:00:00+00:00", "by": "kim"}
        with (kept / "history.jsonl").open("ab") as file:
            file.write(orjson.dumps(line) + b"\n")
        digests.append(digest)
    with (kept / "history.jsonl").open("ab") as file:
        file.write(b'{"digest": "sha2')
    return digests


def test_the_history_of_a_data_directory_is_taken_over_in_its_order(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a"), written(tmp_path / "b", OTHER)
    digests = old(tmp_path / "data", first, second, first, second)
    made = prepare(Setting("http://127.0.0.1:9", data_dir=tmp_path / "data"), first, "tester")
    store = database.open(tmp_path / "data" / "store.sqlite")
    live.take_over(tmp_path / "data", store)
    past = live.history(store)
    with live.kept(store, digests[0]) as folder:
        found = live.ready(folder).digest
    store.close()

    assert [one["digest"] for one in past] == digests
    assert (past[0]["at"], past[0]["by"], past[1]["version"]) == ("2026-10-01T00:00:00+00:00", "kim", "1.1.0")
    assert (made.digest, found, (tmp_path / "data" / "policies" / "history.jsonl").exists()) == (digests[-1], digests[0], False)


def test_a_second_data_directory_changes_nothing_of_what_is_in_force(tmp_path: Path, store: Store) -> None:
    made, _ = live.activate(store, record, written(tmp_path / "a"), "tester", unsigned="a test")
    (digest,) = old(tmp_path / "data", written(tmp_path / "b", OTHER))
    live.take_over(tmp_path / "data", store)
    known, _ = policy_rows.named(store, digest)

    assert ([one["digest"] for one in live.history(store)], known) == ([made.digest], digest)


@pytest.mark.slow
def test_an_old_policy_whose_files_are_gone_cannot_be_in_force_until_it_is_given_again(tmp_path: Path, store: Store) -> None:
    digests = old(tmp_path / "data", written(tmp_path / "a"))
    shutil.rmtree(tmp_path / "data" / "policies" / digests[0].removeprefix("sha256:"))
    live.take_over(tmp_path / "data", store)
    with pytest.raises(PolicyError, match="not in the store"):
        live.loaded(store, policy_rows.history(store)[0])
    made = prepare(Setting("http://127.0.0.1:9", store=store.name, data_dir=tmp_path / "data"), tmp_path / "a", "tester")
    past = policy_rows.history(store)

    assert ([one.digest for one in past], made.digest) == (digests * 2, digests[0])
    assert live.loaded(store, past[-1]).digest == made.digest


# ---- Days ------------------------------------------------------------------------------------------------------------

TOMORROW = date(2026, 11, 22)
MIDNIGHT = datetime(2026, 11, 22, tzinfo=UTC).timestamp()


def coming(folder: Path) -> Path:
    """A policy with a law that comes into force at midnight: in the EU no refund over 50."""
    written(folder, OTHER)
    (folder / "overlays" / "eu").mkdir(parents=True)
    (folder / "overlays" / "eu" / "overlay.yaml").write_text(
        f"axis: jurisdiction\nbasis: A directive\neffective: {TOMORROW}\nchecked: 2026-11-01\n"
    )
    rule = "    on: tool_call\n    tool: refund\n    when: args.amount > 50.0\n    then: block"
    text = CLAUSE.format(id="law.eu", title="Small refunds only", rule=rule).replace("layer: policy", "layer: law")
    (folder / "overlays" / "eu" / "law.md").write_text("# Law\n\n" + text)
    return folder


def test_what_holds_changes_at_midnight_without_a_restart(tmp_path: Path, store: Store) -> None:
    times = [MIDNIGHT - 1]
    made = live.ready(coming(tmp_path / "policy"), clock=lambda: times[0])
    eu, elsewhere = {"jurisdiction": "eu"}, {"jurisdiction": "elsewhere"}
    before = ["law.eu" in made.law(who).book.standing() for who in (eu, elsewhere, {})]
    times[0] = MIDNIGHT
    after = ["law.eu" in made.law(who).book.standing() for who in (eu, elsewhere, {})]
    times[0] = MIDNIGHT - 3600
    set_back = "law.eu" in made.law(eu).book.standing()

    assert (before, after, set_back) == ([False] * 3, [True, False, True], True)


def test_a_policy_that_cannot_stand_tomorrow_is_refused_today(tmp_path: Path) -> None:
    folder = coming(tmp_path / "policy")
    law = folder / "overlays" / "eu" / "law.md"
    law.write_text(law.read_text().replace("args.amount", "args.amnt"))
    with pytest.raises(PolicyError, match="amnt"):
        live.ready(folder, clock=lambda: MIDNIGHT - timedelta(days=3).total_seconds())


# ---- unsafe-watch ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_watched_folder_goes_live_within_a_second_and_a_broken_one_does_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = written(tmp_path / "policy", OTHER)
    with speaking() as speaker:
        setting = Setting(f"{speaker.url}/v1", data_dir=tmp_path / "data", unsafe_watch=folder)
        first = prepare(setting, folder, "tester").digest
        with serving(Process(setting)) as url:
            rules = folder / "rules.md"
            good = rules.read_text()
            seen: list[bool] = []

            def saved(text: str) -> None:
                """At once, as editors do: half a file would be another refusal."""
                (tmp_path / "rules.new").write_text(text)
                (tmp_path / "rules.new").replace(rules)

            def trial() -> tuple[float, float]:
                saved(good.replace("9000.0", "8000.0"))
                wanted = live.ready(folder).digest
                took = until(lambda: in_force(url) == wanted)
                saved(good.replace("9000.0", "nine"))
                until(lambda: b"refused_policy" in post(f"{url}/readyz", method="GET").body)
                stays = in_force(url)
                saved(good)
                back = until(lambda: in_force(url) == first)
                seen.append(
                    (wanted != first, stays == wanted, b"refused_policy" in post(f"{url}/readyz", method="GET").body) == (True, True, False)
                )
                return took, back

            quickest = best(trial)
    refusals = [one for one in caplog.messages if "is refused" in one]

    assert quickest < WITHIN_S
    assert seen == [True] * len(refusals)


def test_watching_activates_nothing_for_others(tmp_path: Path, store: Store) -> None:
    folder = written(tmp_path / "policy", OTHER)
    setting = Setting("http://127.0.0.1:9", data_dir=tmp_path, unsafe_watch=folder)
    made = prepare(setting, folder, "tester")

    assert (made.digest == live.ready(folder).digest, live.history(store)) == (True, [])


def test_watching_is_for_this_machine_alone(tmp_path: Path) -> None:
    folder = written(tmp_path / "policy", OTHER)
    setting = Setting("http://127.0.0.1:9", host="0.0.0.0", data_dir=tmp_path, unsafe_watch=folder)
    with pytest.raises(StoreError, match="this machine alone"):
        prepare(setting, folder, "tester")


@pytest.mark.slow
def test_watching_is_said_loudly_at_the_start(tmp_path: Path) -> None:
    folder = written(tmp_path / "policy", OTHER)
    with started(tmp_path, "http://127.0.0.1:9", "--unsafe-watch", policy=folder) as (url, _, said):
        digest = in_force(url)

    assert digest == live.ready(folder).digest
    assert any(line.startswith("UNSAFE:") for line in said)

"""Regions: what belongs to one of them touches neither the model, nor the ledger, nor the store of another."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from bylaw.errors import BylawError
from bylaw.govern import keys
from bylaw.govern.approvals import Approvals
from bylaw.govern.keys import Grant
from bylaw.ledger import place
from bylaw.ledger.writer import Ledger
from bylaw.serve import regions
from bylaw.serve.door import NotIn, chosen
from bylaw.serve.keeping import Keeping
from bylaw.serve.regions import Region
from bylaw.serve.start import Process, Setting, prepare
from bylaw.store import database
from tests.govern.approvals.scene import AGENT, ANN, asking
from tests.serve.rig import Reply, Speaker, post, serving, speaking
from tests.serve.test_appeals import SENTENCE
from tests.serve.test_serving import REFUNDS, Served, refunding, saying, until

EU, US, MAIN = "eu-secret-word", "us-secret-word", "main-secret-word"


@dataclass
class World:
    """A gateway with two regions."""

    served: Served
    eu: Speaker
    us: Speaker
    root: Path

    def ask(self, text: str, **headers: str) -> Reply:
        return self.served.ask(text, **headers)

    def holders(self, word: str) -> set[str]:
        """The folders in which a word is written down anywhere."""
        files = [path for path in self.root.rglob("*") if path.is_file()]
        return {path.relative_to(self.root).parts[0] for path in files if word.encode() in path.read_bytes()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    policy = shutil.copytree(REFUNDS, tmp_path / "policy")
    with (policy / "policy.yaml").open("a") as file:
        file.write(f"x-appeal:\n  text: {SENTENCE}\n")
    root = tmp_path / "kept"
    with ExitStack() as stack:
        eu, us, main = (stack.enter_context(speaking()) for _ in range(3))
        placed = (
            Region("eu", f"{eu.url}/v1", root / "eu", keep_days=30, price="2/4"),
            Region("us", f"{us.url}/v1", root / "us"),
        )
        setting = Setting(f"{main.url}/v1", data_dir=root / "main", regions=placed)
        prepare(setting, policy, "tester")
        url = stack.enter_context(serving(Process(setting)))
        store = database.open(setting.database)
        stack.callback(store.close)
        ledger = stack.enter_context(Ledger(setting.data_dir))
        yield World(Served(url, main, store, ledger, setting.data_dir), eu, us, root)


def known(world: World, **key: str) -> dict[str, str]:
    """A key, once the gateway knows it."""
    until(lambda: world.served.get("/api/approvals", **key).status == 200)
    return key


@pytest.mark.slow
def test_each_region_has_its_own_model_and_its_own_ledger(world: World) -> None:
    kim = known(world, **world.served.key(principal="kim", jurisdiction="eu"))
    bob = known(world, **world.served.key(principal="bob", jurisdiction="us"))
    world.eu.replies.append(saying(f"{EU} answered"))
    world.us.replies.append(saying(f"{US} answered"))
    first, second = world.ask(f"{EU} asked", **kim), world.ask(f"{US} asked", **bob)

    assert (first.status, second.status) == (200, 200)
    assert (len(world.eu.asked), len(world.us.asked), len(world.served.speaker.asked)) == (1, 1, 0)
    assert (world.holders(EU), world.holders(US)) == ({"eu"}, {"us"})
    assert f"{EU} answered".encode() in first.body


@pytest.mark.slow
def test_what_waits_and_what_is_appealed_stays_in_its_region(world: World) -> None:
    kim = known(world, **world.served.key(principal="kim", jurisdiction="eu"))
    lead = known(world, **world.served.key("support-lead", "approver", principal="lead", tenant="*"))
    reply = refunding(640.0)
    reply["choices"][0]["message"]["content"] = EU
    world.eu.replies.append(reply)
    waits = orjson.loads(world.ask("Refund it", **kim).body)["bylaw"]["approval"]
    listed = orjson.loads(world.served.get("/api/approvals", **lead).body)["approvals"]
    denied = world.served.get(f"/api/approvals/{waits}/deny", "POST", {"reason": f"{EU} no"}, **lead)
    refused = orjson.loads(world.ask("Refund it", **kim, x_bylaw_approval=waits).body)["bylaw"]
    made = world.served.get("/api/appeals", "POST", {"record": refused["record"], "why": f"{EU} why"}, **kim)
    answer = {"outcome": "upheld", "reason": f"{EU} because"}
    done = world.served.get(f"/api/appeals/{orjson.loads(made.body)['id']}/answer", "POST", answer, **lead)

    assert ([one["id"] for one in listed], denied.status, made.status, done.status) == ([waits], 200, 201, 200)
    assert world.holders(EU) == {"eu"}


@pytest.mark.slow
def test_who_belongs_to_no_region_is_refused_and_nobody_is_asked(world: World) -> None:
    nowhere = known(world, **world.served.key(principal="kim"))
    elsewhere = known(world, **world.served.key(principal="zoe", jurisdiction="br"))
    several = known(world, **world.served.key(principal="ann", jurisdiction="eu, us"))
    replies = [
        world.ask(MAIN),
        world.ask(MAIN, **nowhere),
        world.ask(MAIN, **elsewhere),
        world.ask(MAIN, **several),
        world.ask(MAIN, **nowhere, x_bylaw_jurisdiction="eu"),
        world.ask(MAIN, **several, x_bylaw_jurisdiction="br"),
        world.ask(MAIN, x_bylaw_jurisdiction="br"),
        post(f"{world.served.url}/v1/models", method="GET"),
        post(f"{world.served.url}/v1/embeddings", orjson.dumps({"model": "m", "input": MAIN})),
    ]

    assert [one.status for one in replies] == [403] * 9
    assert (world.eu.asked, world.us.asked, world.served.speaker.asked) == ([], [], [])
    assert world.holders(MAIN) == set()


@pytest.mark.slow
def test_a_request_chooses_among_the_jurisdictions_of_its_key(world: World) -> None:
    several = known(world, **world.served.key(principal="ann", jurisdiction="eu, us"))
    anywhere = known(world, **world.served.key(principal="joe", jurisdiction="*"))
    world.us.replies += [saying("us"), saying("us"), saying("us")]
    replies = [
        world.ask(US, **several, x_bylaw_jurisdiction="us"),
        world.ask(US, **anywhere, x_bylaw_jurisdiction="us"),
        world.ask(US, x_bylaw_jurisdiction="us"),
    ]

    assert [one.status for one in replies] == [200] * 3
    assert (len(world.eu.asked), world.holders(US)) == (0, {"us"})


@pytest.mark.slow
def test_a_regions_price_counts_for_keys_that_name_none(world: World) -> None:
    kim = known(world, **world.served.key(principal="kim", jurisdiction="eu", budget="0.0001"))
    bob = known(world, **world.served.key(principal="bob", jurisdiction="us", budget="0.0001"))
    world.eu.replies += [{**saying("Hi."), "usage": {"prompt_tokens": 10, "completion_tokens": 20}}] * 2
    replies = [world.ask("Hello", **kim), world.ask("Hello", **kim), world.ask("Hello", **bob)]

    assert [one.status for one in replies] == [200, 429, 403]  # 10 x 2 + 20 x 4 = 100 millionths


@pytest.mark.slow
def test_decisions_are_read_from_all_regions_or_from_one(world: World) -> None:
    kim = known(world, **world.served.key(principal="kim", jurisdiction="eu"))
    bob = known(world, **world.served.key(principal="bob", jurisdiction="us"))
    world.eu.replies.append(saying("eu"))
    world.us.replies.append(saying("us"))
    world.ask("Hello", **kim)
    world.ask("Hello", **bob)
    found = {
        query: {one["principal"] for one in orjson.loads(world.served.get(f"/api/decisions?kind=decision{query}").body)["decisions"]}
        for query in ("", "&jurisdiction=eu", "&jurisdiction=br", "&principal=bob")
    }

    assert found == {"": {"kim", "bob"}, "&jurisdiction=eu": {"kim"}, "&jurisdiction=br": set(), "&principal=bob": {"bob"}}


@pytest.mark.parametrize(
    ("allowed", "header", "place"),
    [("eu", "", "eu"), ("eu", "eu", "eu"), ("eu,us", "us", "us"), ("eu, us", "", ""), ("*", "br", "br"), ("*", "", ""), ("", "", "")],
)
def test_a_request_is_where_its_key_lets_it_be(allowed: str, header: str, place: str) -> None:
    assert chosen(allowed, header) == place


@pytest.mark.parametrize(
    ("allowed", "header", "status"),
    [("eu", "us", 403), ("", "eu", 403), ("eu,us", "br", 403), ("*", "*", 400), ("*", "a" * 101, 400), ("*", "\xff", 400)],
)
def test_a_request_is_nowhere_else(allowed: str, header: str, status: int) -> None:
    with pytest.raises(NotIn) as error:
        chosen(allowed, header)
    assert error.value.status == status


GOOD = """
regions:
  eu:
    upstream: http://localhost:1/v1
    data_dir: {eu}
  us:
    upstream: http://localhost:2/v1
    data_dir: {us}
"""


def test_a_file_of_regions_is_read(tmp_path: Path) -> None:
    file = tmp_path / "regions.yaml"
    file.write_text(GOOD.format(eu="/r/eu", us="/r/us") + "    keep_days: 30\n    price: 2.50/10\n")
    found = regions.read(file, tmp_path)

    assert [(one.name, one.keep_days, one.price) for one in found] == [("eu", None, ""), ("us", 30, "2.50/10")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "valid dictionary"),
        ("regions: {}\n", "at least 1 item"),
        ("region: {}\n", "Field required"),
        (GOOD.format(eu="/r/eu", us="/r/us") + "    keep: 3\n", "regions.us.keep: Extra inputs"),
        (GOOD.format(eu="/r/eu", us="/r/us") + "    keep_days: 0\n", "regions.us.keep_days"),
        (GOOD.format(eu="/r/eu", us="/r/us") + "    keep_days: '3'\n", "regions.us.keep_days"),
        (GOOD.format(eu="/r/eu", us="/r/us") + "    price: cheap\n", "no price"),
        (GOOD.format(eu="/r/eu", us="/r/us") + "    upstream_key_env: NO_SUCH_VARIABLE\n", "NO_SUCH_VARIABLE is empty"),
        (GOOD.format(eu="/r/eu", us="/r/eu"), "together with that of eu"),
        (GOOD.format(eu="/r/eu", us="/r/eu/us"), "together with that of eu"),
        (GOOD.format(eu="/r/eu", us="/r/main"), "that all regions share"),
        (GOOD.format(eu="/r/eu", us="/r/us").replace("http://localhost:1", "ftp://a"), "no http(s) address"),
        (GOOD.format(eu="/r/eu", us="/r/us").replace("  eu:", "  EU!:"), "no name of a region"),
        ("regions: [\n", "regions.yaml"),
        ("regions:\n  eu: 7\n", "regions.eu"),
    ],
)
def test_a_file_of_regions_that_cannot_be_read_is_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "regions.yaml"
    file.write_text(text)

    with pytest.raises(BylawError) as error:
        regions.read(file, Path("/r/main"))
    assert says in error.value.what
    assert "\n" not in error.value.what


def test_what_is_too_old_is_deleted_and_what_is_not_stays(tmp_path: Path) -> None:
    store, now_s = database.open(tmp_path / "store.sqlite"), 4_000_000_000.0
    ledger = Ledger(tmp_path)
    approvals = Approvals(store, ledger.append)
    asked = approvals.request({"tool": "t", "args": {"word": "old-word"}}, AGENT, asking())
    approvals.decide(getattr(asked, "id", ""), ANN, False)
    ledger.append({"kind": "decision", "contents": {"text": "old-word"}})
    young = Keeping(tmp_path, ledger, approvals, 40_000, lambda: now_s).run()
    old = Keeping(tmp_path, ledger, approvals, 30, lambda: now_s).run()
    again = Keeping(tmp_path, ledger, approvals, 30, lambda: now_s).run()
    ended = approvals.get(getattr(asked, "id", ""))
    approvals.close()
    ledger.close()
    store.close()

    assert (young, old > 2, again) == (0, True, 0)
    assert (ended and ended.subject, ended and ended.state) == (None, "denied")
    assert not any(b"old-word" in path.read_bytes() for path in place.logs(tmp_path))


def test_a_free_log_of_a_process_that_is_gone_is_kept_to_as_well(tmp_path: Path) -> None:
    store = database.open(tmp_path / "store.sqlite")
    first = Ledger(tmp_path)
    second = Ledger(tmp_path)
    second.append({"kind": "decision", "contents": {"text": "old-word"}})
    second.close()
    approvals = Approvals(store, first.append)
    gone = Keeping(tmp_path, first, approvals, 30, lambda: 4_000_000_000.0).run()
    approvals.close()
    first.close()
    store.close()

    assert gone == 1


def test_every_key_that_was_made_before_still_opens(tmp_path: Path) -> None:
    store = database.open(tmp_path / "store.sqlite")
    with Ledger(tmp_path) as ledger:
        key, _ = keys.create(store, ledger.append, Grant("kim", jurisdiction="eu"))
    store.close()

    made: Any = key.principal()
    assert (made["jurisdiction"], chosen(key.grant.jurisdiction, "")) == ("eu", "eu")

"""While the store is away a good key is no wrong key, and the console says what is wrong; both go on by themselves once it is back."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from bylaw.errors import StoreError
from bylaw.govern import keys
from bylaw.govern.keys import Grant, Key, KeyRing
from bylaw.serve import live
from bylaw.serve.console.app import console
from bylaw.serve.console.logins import Logins
from bylaw.serve.desk import Desk
from bylaw.serve.door import Door, NotIn
from bylaw.serve.live import Live, ready
from bylaw.store import database
from bylaw.store.watching import FRESH_S, Watch
from tests.serve import killing
from tests.serve.killing import policy
from tests.serve.rig import Reply, post
from tests.serve.test_serving import until
from tests.store import postgres
from tests.store.losing import answers_lost

AWAY = (503, "whether this key is good cannot be told now: the store cannot be read; nothing was let through")


class Hand:
    """A steady clock that is set by hand."""

    def __init__(self) -> None:
        self.time_s = 1_000.0

    def __call__(self) -> float:
        return self.time_s


class Scene:
    """A door and a console on one store, which can be taken away."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store.sqlite"
        self.store = database.open(self.path)
        _, self.secret = keys.create(self.store, lambda entry: None, Grant("ops", ("admin",)))
        self.hand = Hand()
        self.watch = Watch(self.store, steady=self.hand)
        self.door = Door(KeyRing(self.watch), local=False)
        self.watch.look()

    def shows(self, secret: str) -> tuple[int, str]:
        """What somebody is told who shows this."""
        try:
            self.door.key({b"authorization": f"Bearer {secret}".encode()})
        except NotIn as error:
            return error.status, error.what
        return 200, ""

    @contextmanager
    def away(self) -> Iterator[None]:
        """The store is away, for longer than a view of it holds."""
        aside = self.path.rename(self.path.with_suffix(".aside"))
        self.hand.time_s += 2 * FRESH_S
        try:
            yield
        finally:
            aside.rename(self.path)
            self.hand.time_s += 2 * FRESH_S


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.store.close()


class Late(KeyRing):
    """Keys in a store that comes back the moment that it was found to be away."""

    back = ExitStack()

    def holder(self, secret: str) -> Key | None:
        found = super().holder(secret)
        self.back.close()
        return found


def test_a_good_key_is_no_wrong_key_where_the_store_comes_back_meanwhile(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    with closing(scene.store):
        ring = Late(scene.watch)
        scene.door = Door(ring, local=False)
        scene.watch.look()
        ring.back.enter_context(scene.away())
        found = scene.shows(scene.secret)

    assert found == (200, "")


def test_a_key_that_cannot_be_looked_up_is_not_called_wrong(scene: Scene) -> None:
    before = scene.shows(scene.secret)
    with scene.away():
        away = [scene.shows(scene.secret), scene.shows("bylaw_000000000000_" + "x" * 43)]
        none = scene.shows("")
    after = [scene.shows(scene.secret)[0], scene.shows("bylaw_000000000000_" + "x" * 43)[0]]

    assert before == (200, "")
    assert away == [AWAY, AWAY]
    assert none[0] == 401
    assert after == [200, 401]


def test_the_console_says_that_the_store_is_away_and_counts_no_key_as_wrong(scene: Scene) -> None:
    nothing: Any = None
    desk = Desk(
        nothing,
        scene.door,
        Live(scene.store, ready(policy(scene.path.parent / "policy"))),
        scene.store,
        nothing,
        nothing,
        scene.path.parent,
    )
    app: Starlette = console(desk)
    with TestClient(app, base_url="http://here", follow_redirects=False) as client:
        sent = {"origin": "http://here", "content-type": "application/x-www-form-urlencoded"}

        def entered() -> Any:
            return client.post("/login", content=f"key={scene.secret}", headers=sent)

        first = entered()
        client.cookies.set("bylaw_console", first.headers["set-cookie"].partition(";")[0].partition("=")[2])
        with scene.away():
            statuses = [entered().status_code for _ in range(12)]
            shown = [client.get("/approvals"), client.post("/stop", content="csrf=x", headers=sent)]
            polled = client.get("/approvals", headers={"x-bylaw-poll": "1"})
        after = entered()

    assert first.status_code == after.status_code == 303
    assert set(statuses) == {503}
    assert [one.status_code for one in shown] == [503, 503]
    assert all("this could not be done" in one.text for one in shown)
    assert polled.status_code == 503
    assert "store.sqlite" not in shown[0].text


def test_a_moment_in_which_no_key_is_known_signs_nobody_out(scene: Scene) -> None:
    faults = [ValueError("once")]
    logins = Logins(scene.store, scene.door.ring, lambda: ())
    cookie = logins.enter(scene.secret, "10.0.0.1")

    def read(_: object) -> None:
        if faults:
            raise faults.pop()

    scene.watch.add("policy", read)
    with pytest.raises(NotIn) as refused:
        logins.visitor(cookie)
    scene.hand.time_s += FRESH_S
    visitor = logins.visitor(cookie)

    assert refused.value.status == 503
    assert visitor is not None


@pytest.mark.parametrize("taken", [True, False])
def test_an_activation_that_nobody_knows_of_is_said_to_be_in_doubt_and_the_next_one_settles_it(tmp_path: Path, taken: bool) -> None:
    entries: list[Any] = []
    folder = policy(tmp_path / "policy")
    with closing(database.open(tmp_path / "store.sqlite")) as store:
        with answers_lost(store, "INSERT INTO policy_activations", taken), pytest.raises(StoreError, match="timed out"):
            live.activate(store, entries.append, folder, "kim")
        first = live.latest(store)
        live.activate(store, entries.append, folder, "kim")
        then = live.history(store)

    assert (first is not None) is taken
    assert [one["facts"]["step"] for one in entries] == ["activated", "perhaps not activated", "activated"]
    assert len(then) == 1 + taken


@pytest.mark.slow
def test_a_gateway_whose_server_goes_away_lets_nothing_through_and_goes_on_by_itself(tmp_path: Path) -> None:
    if why := postgres.missing():
        pytest.skip(why)
    with ExitStack() as stack:
        cluster = stack.enter_context(postgres.cluster())
        url, upstream = postgres.database(cluster), stack.enter_context(killing.model())
        store = stack.enter_context(closing(database.open(url)))
        _, secret = keys.create(store, lambda entry: None, Grant("agent"))
        line = killing.command("serve", "--policy", str(policy(tmp_path / "policy")), "--upstream", upstream, "--port", "0")
        running = killing.running([*line, "--store", url, "--data-dir", str(tmp_path / "data")])
        stack.callback(running.kill)

        def said(what: str) -> Reply:
            body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": what}]})
            return post(f"{running.url}/v1/chat/completions", body, headers={"authorization": f"Bearer {secret}"})

        before = said("small 1")
        with postgres.stopped(cluster):
            until(lambda: said("small 2").status != 200)
            away = [said("small 3") for _ in range(3)]
            ready = post(f"{running.url}/readyz", method="GET").status
        until(lambda: said("small 4").status == 200)
        after = said("small 5")

    assert (before.status, after.status, ready) == (200, 200, 503)
    assert {one.status for one in away} == {503}
    assert not any(b"tool_calls" in one.body for one in away)
    assert all(b"refund" in one.body for one in (before, after))

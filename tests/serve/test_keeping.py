"""Retention reaches all that waited for people once it is too old: what nobody answered, and what lies behind many newer ones."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import insert, select

from bylaw.ledger.writer import Ledger
from bylaw.serve.keeping import DAY_S, Keeping
from bylaw.store import approval_rows, database
from bylaw.store.approval_rows import Approval
from bylaw.store.approval_tables import APPROVALS
from bylaw.store.database import Store
from tests.govern.approvals.scene import ANN, Scene

DAYS = 30


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(database.open(tmp_path / "store.sqlite")) as opened:
        yield opened


def run(scene: Scene, folder: Path) -> int:
    with Ledger(folder / "data") as ledger:
        return Keeping(folder / "data", ledger, scene.approvals, DAYS, lambda: scene.time_s).run()


def test_what_nobody_answered_is_forgotten_when_it_is_too_old(store: Store, tmp_path: Path) -> None:
    scene = Scene(store)
    asked = scene.asked()
    scene.tick(DAYS * DAY_S)
    young = run(scene, tmp_path)
    scene.tick(DAY_S)
    old, again = run(scene, tmp_path), run(scene, tmp_path)
    left = scene.approvals.get(asked.id)

    assert (young, old, again) == (0, 1, 0)
    assert left is not None
    assert (left.state, left.subject) == ("expired", None)
    assert scene.ledger.refusals() == []


def test_what_is_old_is_forgotten_behind_however_many_newer_ones(store: Store, tmp_path: Path) -> None:
    scene = Scene(store)
    old = scene.approvals.decide(scene.asked().id, ANN, False)
    scene.tick((DAYS + 1) * DAY_S)
    assert isinstance(old, Approval)

    at = round(scene.time_s * 1000)
    with store.writing() as connection:
        row = dict(connection.execute(select(APPROVALS)).mappings().one())
        newer = {"live_call": None, "requested_at": at, "ended_at": at}
        connection.execute(insert(APPROVALS), [{**row, **newer, "id": uuid4().hex} for _ in range(approval_rows.MAX_LISTED)])
    gone = run(scene, tmp_path)
    left = scene.approvals.get(old.id)

    assert gone == 1
    assert left is not None
    assert left.subject is None


def test_what_another_process_has_just_forgotten_is_not_recorded_again(store: Store, tmp_path: Path) -> None:
    scene = Scene(store)
    denied = scene.approvals.decide(scene.asked().id, ANN, False)
    assert isinstance(denied, Approval)
    both = [one.forget(denied.id, "retention") for one in (scene.approvals, scene.opened())]

    assert both[0] == both[1]
    assert scene.ledger.steps() == ["requested", "denied", "forgotten"]


def test_a_process_that_ends_leaves_the_rest_for_the_next(store: Store, tmp_path: Path) -> None:
    scene = Scene(store)
    scene.asked()
    scene.tick((DAYS + 1) * DAY_S)
    with Ledger(tmp_path / "data") as ledger:
        ending = Keeping(tmp_path / "data", ledger, scene.approvals, DAYS, lambda: scene.time_s)
        ending.close()
        gone = ending.run()

    assert (gone, run(scene, tmp_path)) == (0, 1)

"""The store takes a step, and its answer is lost: what nobody knows is neither run twice nor stuck."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event

from bylaw.errors import LedgerError, StoreError
from bylaw.govern.approvals import Approvals, Claim
from bylaw.govern.quorum import Refused
from bylaw.govern.summons import SILENT_MS
from bylaw.store.approval_rows import Approval
from bylaw.store.clock import Clock
from bylaw.store.database import Store
from tests.govern.approvals.scene import AGENT, ANN, BOB, CALL, LEAD, OTHER_CALL, POLICY, TWO, Scene, asking
from tests.store.losing import answers_lost, away

MOVES = "UPDATE approvals"
LONG = replace(LEAD, ttl_s=3_600)


@pytest.fixture
def scene(store: Store) -> Iterator[Scene]:
    made = Scene(store)
    yield made
    made.approvals.close()


def claimed(scene: Scene, approval: str) -> Claim | Refused:
    return scene.approvals.claim(approval, CALL, AGENT, POLICY, asking, tuple)


def test_a_claim_whose_answer_was_lost_is_never_run_and_the_call_can_be_asked_for_again(scene: Scene) -> None:
    asked = scene.approved()
    with answers_lost(scene.store, MOVES) as lost, pytest.raises(StoreError, match="timed out"):
        claimed(scene, asked.id)
    left = scene.approvals.get(asked.id)
    again = scene.asked()
    ended = scene.approvals.get(asked.id)
    twice = claimed(scene, asked.id)

    assert lost == [MOVES]
    assert left is not None
    assert left.state == "executing"
    assert ended is not None
    assert (ended.state, ended.said) == ("failed", "not run: the answer to its claim was lost")
    assert (again.state, again.id == asked.id) == ("pending", False)
    assert isinstance(twice, Refused)
    assert scene.ledger.steps()[-4:] == ["claimed", "failed", "requested", "refused"]


def test_a_claim_that_the_store_never_took_holds_the_next_time(scene: Scene) -> None:
    asked = scene.approved()
    with answers_lost(scene.store, MOVES, taken=False), pytest.raises(StoreError, match="timed out"):
        claimed(scene, asked.id)
    same = scene.asked()
    claim = claimed(scene, asked.id)
    later = scene.asked()
    done = scene.approvals.finish(claim, "done") if isinstance(claim, Claim) else None

    assert (same.id, same.state) == (asked.id, "approved")
    assert (later.id, later.state) == (asked.id, "executing")
    assert isinstance(done, Approval)
    assert done.state == "done"


def test_a_claim_that_comes_to_stand_long_after_its_answer_was_lost_ends_all_the_same(scene: Scene) -> None:
    asked, moves = scene.approved(), list[tuple[str, Any]]()

    def keep(_connection: Any, _cursor: Any, statement: str, given: Any, *_: Any) -> None:
        if statement.startswith(MOVES):
            moves.append((statement, given))

    event.listen(scene.store.engine, "before_cursor_execute", keep)
    with answers_lost(scene.store, MOVES, taken=False), pytest.raises(StoreError, match="timed out"):
        claimed(scene, asked.id)
    event.remove(scene.store.engine, "before_cursor_execute", keep)
    scene.approvals.recover()  # it does not stand yet
    with scene.store.writing() as connection:
        connection.exec_driver_sql(*moves[0])
    stands = scene.approvals.get(asked.id)
    scene.approvals.recover()
    ended = scene.approvals.get(asked.id)

    assert (stands.state if stands else "", len(moves)) == ("executing", 1)
    assert ended is not None
    assert (ended.state, ended.said) == ("failed", "not run: the answer to its claim was lost")


@pytest.mark.parametrize("taken", [True, False])
def test_an_end_that_the_store_could_not_be_told_is_told_later(scene: Scene, taken: bool) -> None:
    asked = scene.approved()
    claim = claimed(scene, asked.id)
    assert isinstance(claim, Claim)

    with answers_lost(scene.store, MOVES, taken), pytest.raises(StoreError, match="timed out"):
        scene.approvals.finish(claim, "done", "sha256:" + "c" * 64)
    left = scene.approvals.get(asked.id)
    again = scene.asked()
    ended = scene.approvals.get(asked.id)

    assert left is not None
    assert left.state == ("done" if taken else "executing")
    assert ended is not None
    assert (ended.state, ended.result) == ("done", "sha256:" + "c" * 64)
    assert (again.state, again.id == asked.id) == ("pending", False)


def test_a_claim_that_is_tried_again_while_the_store_is_away_does_not_hide_that_the_first_was_lost(scene: Scene) -> None:
    asked = scene.approved()
    with answers_lost(scene.store, MOVES), pytest.raises(StoreError, match="timed out"):
        claimed(scene, asked.id)
    with away(scene.store), pytest.raises(StoreError, match="timed out"):
        claimed(scene, asked.id)
    again = scene.asked()
    ended = scene.approvals.get(asked.id)

    assert ended is not None
    assert (ended.state, ended.said) == ("failed", "not run: the answer to its claim was lost")
    assert (again.state, again.id == asked.id) == ("pending", False)


def test_an_end_that_could_not_be_told_is_told_though_the_call_was_tried_again_while_the_store_was_away(scene: Scene) -> None:
    asked = scene.approved()
    claim = claimed(scene, asked.id)
    assert isinstance(claim, Claim)

    with answers_lost(scene.store, MOVES, taken=False), pytest.raises(StoreError, match="timed out"):
        scene.approvals.finish(claim, "done", "sha256:" + "c" * 64)
    with away(scene.store), pytest.raises(StoreError, match="timed out"):
        claimed(scene, asked.id)
    scene.asked()
    ended = scene.approvals.get(asked.id)

    assert ended is not None
    assert (ended.state, ended.result) == ("done", "sha256:" + "c" * 64)


def test_what_a_person_has_settled_meanwhile_stays_so(scene: Scene) -> None:
    asked = scene.approved()
    claim = claimed(scene, asked.id)
    assert isinstance(claim, Claim)

    with answers_lost(scene.store, MOVES, taken=False), pytest.raises(StoreError, match="timed out"):
        scene.approvals.finish(claim, "failed")
    scene.approvals.close()
    other = scene.opened()
    settled = other.settle(asked.id, ANN, True, "the bank has it")
    scene.approvals.recover()
    ended = scene.approvals.get(asked.id)

    assert isinstance(settled, Approval)
    assert ended == settled


@pytest.mark.parametrize("taken", [True, False])
def test_people_are_rung_once_for_a_request_whose_answer_was_lost_when_it_is_asked_for_again(store: Store, taken: bool) -> None:
    scene, rung = Scene(store), list[str]()
    scene.approvals = Approvals(
        store, scene.ledger, Clock(lambda: scene.time_s, lambda: scene.time_s), ring=lambda one: rung.append(one.id)
    )
    with answers_lost(store, "INSERT INTO approvals", taken), pytest.raises(StoreError, match="timed out"):
        scene.asked(LONG)
    asked = [scene.asked(LONG).id]
    early = list(rung)
    for one in rung:
        scene.approvals.note(one, "rang 1 of 1")  # as the bell does
    scene.tick(SILENT_MS // 1000 + 1)
    asked += [scene.asked(LONG).id, scene.asked(LONG).id]
    scene.approvals.close()

    assert len(set(asked)) == 1
    assert early == ([] if taken else asked[:1])  # whoever asked first may be ringing
    assert rung == asked[:1]


def test_what_was_withheld_is_given_out_at_most_once_though_the_answer_was_lost(scene: Scene) -> None:
    asked = scene.approvals.request(CALL, AGENT, asking(), route="release")
    assert isinstance(asked, Approval)
    scene.approvals.decide(asked.id, ANN, True)

    with answers_lost(scene.store, MOVES), pytest.raises(StoreError, match="timed out"):
        scene.approvals.release(asked.id, AGENT, POLICY, lambda _: asking(), tuple)
    twice = scene.approvals.release(asked.id, AGENT, POLICY, lambda _: asking(), tuple)

    assert isinstance(twice, Refused)
    assert twice.why == "claimed"


@pytest.mark.parametrize("taken", [True, False])
def test_a_yes_whose_answer_was_lost_counts_once(scene: Scene, taken: bool) -> None:
    asked = scene.asked(TWO)
    with answers_lost(scene.store, MOVES, taken), pytest.raises(StoreError, match="timed out"):
        scene.approvals.decide(asked.id, ANN, True)
    again = scene.approvals.decide(asked.id, ANN, True)
    found = scene.approvals.get(asked.id)

    assert isinstance(again, Refused) is taken
    assert found is not None
    assert (found.state, [one.person for one in found.answers]) == ("pending", ["ann"])


@contextmanager
def killed_at(store: Store, statement: str) -> Iterator[None]:
    """Whoever makes such a statement gets no further."""

    def kill(_connection: Any, _cursor: Any, said: str, *_: Any) -> None:
        if said.startswith(statement):
            raise KeyboardInterrupt

    event.listen(store.engine, "before_cursor_execute", kill)
    try:
        yield
    finally:
        event.remove(store.engine, "before_cursor_execute", kill)


def test_an_edit_that_breaks_off_half_way_leaves_the_request_as_it_was(scene: Scene) -> None:
    old = scene.asked()
    with killed_at(scene.store, "INSERT INTO approvals "), pytest.raises(KeyboardInterrupt):
        scene.approvals.edit(old.id, ANN, OTHER_CALL, asking(), "half of it")
    left = scene.approvals.find()
    new = scene.approvals.edit(old.id, ANN, OTHER_CALL, asking(), "half of it")

    assert left == [old]
    assert isinstance(new, Approval)
    assert [one.state for one in scene.approvals.find() if one.id == old.id] == ["superseded"]


def test_an_edit_of_which_half_cannot_be_recorded_changes_nothing(scene: Scene) -> None:
    old, whole = scene.asked(), scene.ledger

    def full(entry: Mapping[str, Any]) -> None:
        whole.broken = entry["facts"]["step"] == "requested"
        whole(entry)

    other = Approvals(scene.store, full, Clock(lambda: scene.time_s, lambda: scene.time_s))
    with pytest.raises(LedgerError):
        other.edit(old.id, ANN, OTHER_CALL, asking())

    assert scene.approvals.find() == [old]


@pytest.mark.parametrize("taken", [True, False])
def test_an_edit_whose_answer_was_lost_has_happened_whole_or_not_at_all(scene: Scene, taken: bool) -> None:
    old = scene.asked()
    with answers_lost(scene.store, MOVES, taken), pytest.raises(StoreError, match="timed out"):
        scene.approvals.edit(old.id, ANN, OTHER_CALL, asking())
    found = {one.id: one for one in scene.approvals.find()}
    new = found.get(found[old.id].replaced_by)

    assert (len(found), found[old.id].state) == ((2, "superseded") if taken else (1, "pending"))
    assert (new is not None and new.what() == OTHER_CALL) is taken


@pytest.mark.parametrize(("at", "told"), [("requested", ["superseded", "requested"]), ("superseded", ["superseded"])])
def test_an_edit_that_another_overtakes_is_withdrawn_whole(scene: Scene, at: str, told: list[str]) -> None:
    old = scene.asked()

    def meanwhile(entry: Mapping[str, Any]) -> None:
        scene.ledger(entry)
        if entry["facts"]["step"] == at and not seen:
            seen.append(at)
            if at == "requested":
                scene.asked(call=OTHER_CALL)
            else:
                scene.approvals.decide(old.id, BOB, False)

    seen = list[str]()
    other = Approvals(scene.store, meanwhile, Clock(lambda: scene.time_s, lambda: scene.time_s))
    refused = other.edit(old.id, ANN, OTHER_CALL, asking())
    found = {one.id: one for one in scene.approvals.find()}
    rest = ["requested"] if at == "requested" else ["denied", "requested"]

    assert isinstance(refused, Refused)
    assert refused.why == "not_pending"
    assert found[old.id].state == ("pending" if at == "requested" else "denied")
    assert [one.edited_by for one in found.values()] == [""] * len(found)
    assert scene.ledger.steps() == ["requested", *told, *rest, "withdrawn", "withdrawn", "refused"]


def test_an_edit_does_not_bring_back_a_call_that_is_in_doubt(scene: Scene) -> None:
    slow = scene.opened()
    doubt = slow.request(OTHER_CALL, AGENT, asking())
    assert isinstance(doubt, Approval)
    slow.decide(doubt.id, BOB, True)
    slow.claim(doubt.id, OTHER_CALL, AGENT, POLICY, asking, tuple)
    slow.close()
    scene.approvals.recover()
    scene.tick(LEAD.ttl_s + 1)
    old = scene.asked()
    refused = scene.approvals.edit(old.id, ANN, OTHER_CALL, asking())
    again = scene.asked(call=OTHER_CALL)

    assert isinstance(refused, Refused)
    assert (again.id, again.state) == (doubt.id, "unknown")

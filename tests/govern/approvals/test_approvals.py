"""An approval lets exactly what was approved happen, once, for whom it was asked; everything else is refused with its reason on record."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from bylaw.canonical import canonical, digest_bytes
from bylaw.errors import BylawError, LedgerError, StoreError
from bylaw.govern.approvals import MAX_WAITING, Approvals, Claim, Released
from bylaw.govern.quorum import Person, Refused
from bylaw.store.approval_rows import Approval
from bylaw.store.database import Store
from bylaw.types import Decision, Need
from tests.govern.approvals.scene import (
    AGENT,
    ANN,
    BOB,
    BOTH,
    CALL,
    LEAD,
    NEXT_POLICY,
    NOBODY,
    OTHER_AGENT,
    OTHER_CALL,
    POLICY,
    RIA,
    RISK,
    TWO,
    Scene,
    allowing,
    asking,
)


@pytest.fixture
def scene(store: Store) -> Iterator[Scene]:
    made = Scene(store)
    yield made
    made.approvals.close()


def no_stops() -> tuple[str, ...]:
    return ()


def claimed(scene: Scene, approval: str, **other: Any) -> Claim | Refused:
    given: dict[str, Any] = {"what": CALL, "principal": AGENT, "policy": POLICY, "rejudge": asking, "stops": no_stops, **other}
    return scene.approvals.claim(approval, **given)


def why(found: object) -> str:
    return found.why if isinstance(found, Refused) else f"not refused: {found}"


# ---- The good way ----------------------------------------------------------------------------------------------------


def test_a_call_is_asked_for_approved_claimed_and_finished(scene: Scene) -> None:
    asked = scene.asked()
    scene.approvals.decide(asked.id, ANN, True, "known customer")
    claim = claimed(scene, asked.id)
    done = scene.approvals.finish(claim, "done", "sha256:" + "c" * 64) if isinstance(claim, Claim) else None

    assert isinstance(done, Approval)
    assert scene.approvals.get(asked.id) == done
    assert (done.state, done.said, done.answers[0].person) == ("done", "known customer", "ann")
    assert scene.ledger.steps() == ["requested", "approved", "claimed", "done"]
    assert scene.ledger.entries[2]["contents"]["subject"] == canonical(dict(CALL)) == asked.subject


def test_the_same_call_finds_its_request_and_its_answer(scene: Scene) -> None:
    first = scene.asked()
    again = scene.asked(call={"args": {"to": "Zoë ☃", "amount": 900}, "tool": "payments.refund"})
    scene.approvals.decide(first.id, ANN, False, "no")
    after = scene.asked()

    assert first.id == again.id == after.id
    assert after.state == "denied"
    assert scene.ledger.steps() == ["requested", "denied"]


@pytest.mark.parametrize("other", [{"call": OTHER_CALL}, {"principal": OTHER_AGENT}, {"principal": {**AGENT, "tenant": "acme"}}])
def test_another_call_or_another_principal_is_another_request(scene: Scene, other: dict[str, Any]) -> None:
    assert scene.asked().id != scene.asked(**other).id


def test_a_used_approval_does_not_serve_the_next_same_call(scene: Scene) -> None:
    first = scene.approved()
    claim = claimed(scene, first.id)
    during = scene.asked()
    scene.approvals.finish(claim, "done") if isinstance(claim, Claim) else None
    after = scene.asked()

    assert during.id == first.id
    assert (after.id != first.id, after.state) == (True, "pending")


def test_many_who_ask_for_the_same_call_at_once_get_one_request(scene: Scene) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(scene.asked().id)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 6
    assert len(set(found)) == 1


def test_what_was_withheld_is_released_once_and_exactly(scene: Scene) -> None:
    completion = {"completion": {"choices": [{"message": {"content": "It’s £900.50 ☃"}}], "amount": 900.5}}
    asked = scene.approvals.request(completion, AGENT, asking(), "release")
    seen: list[Any] = []

    def rejudge(what: Any) -> Decision:
        seen.append(what)
        return asking()

    released: list[object] = []
    if isinstance(asked, Approval):
        scene.approvals.decide(asked.id, ANN, True)
        released += [scene.approvals.release(asked.id, AGENT, POLICY, rejudge, no_stops) for _ in range(2)]

    assert isinstance(released[0], Released)
    assert released[0].what == completion == seen[0]
    assert why(released[1]) == "claimed"


# ---- Who may answer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["agent", "Agent", " AGENT ", "ａｇｅｎｔ"])
def test_whoever_asked_never_approves(scene: Scene, name: str) -> None:
    found = scene.approvals.decide(scene.asked().id, Person(name, ("support-lead",)), True)

    assert why(found) == "self_approval"
    assert scene.ledger.refusals() == ["self_approval"]


def test_who_has_no_role_that_is_asked_for_does_not_count(scene: Scene) -> None:
    asked = scene.asked()
    found = [why(scene.approvals.decide(asked.id, one, yes)) for one in (NOBODY, RIA) for yes in (True, False)]

    assert found == ["not_entitled"] * 4
    assert scene.approvals.get(asked.id) == asked


def test_people_of_another_tenant_do_not_count(scene: Scene) -> None:
    asked = scene.asked(principal={**AGENT, "tenant": "acme"})
    found = [why(scene.approvals.decide(asked.id, replace(ANN, tenant=tenant), True)) for tenant in ("", "other")]
    right = scene.approvals.decide(asked.id, replace(ANN, tenant="acme"), True)

    assert found == ["other_tenant"] * 2
    assert isinstance(right, Approval)


def test_two_of_many_are_two_people(scene: Scene) -> None:
    asked = scene.asked(TWO)
    first = scene.approvals.decide(asked.id, ANN, True)
    again = [why(scene.approvals.decide(asked.id, Person(name, ("support-lead",)), True)) for name in ("ann", "ANN")]
    second = scene.approvals.decide(asked.id, BOB, True)

    assert isinstance(first, Approval)
    assert first.state == "pending"
    assert again == scene.ledger.refusals() == ["answered"] * 2
    assert isinstance(second, Approval)
    assert second.state == "approved"


def test_every_need_must_be_met_and_one_person_may_meet_several(scene: Scene) -> None:
    lead_only = scene.approvals.decide(scene.asked(LEAD, RISK).id, ANN, True)
    both = scene.approvals.decide(scene.asked(LEAD, RISK, call=OTHER_CALL).id, BOTH, True)

    assert isinstance(lead_only, Approval)
    assert isinstance(both, Approval)
    assert (lead_only.state, both.state) == ("pending", "approved")


def test_two_people_at_the_same_moment_both_count(scene: Scene) -> None:
    asked = scene.asked(TWO)
    threads = [threading.Thread(target=scene.approvals.decide, args=(asked.id, one, True)) for one in (ANN, BOB)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = scene.approvals.get(asked.id)

    assert found is not None
    assert (found.state, len(found.answers)) == ("approved", 2)


def test_one_no_ends_it(scene: Scene) -> None:
    asked = scene.asked(TWO)
    scene.approvals.decide(asked.id, ANN, True)
    scene.approvals.decide(asked.id, BOB, False, "no")
    late = scene.approvals.decide(asked.id, BOTH, True)

    assert why(late) == "not_pending"
    assert why(claimed(scene, asked.id)) == "not_approved"


def test_a_decision_that_names_no_need_asks_an_approver(scene: Scene) -> None:
    asked = scene.approvals.request(CALL, AGENT, replace(asking(), needs=()))
    found = [why(scene.approvals.decide(asked.id, one, True)) for one in (ANN, Person("zoe", ("approver",))) if isinstance(asked, Approval)]

    assert found[0] == "not_entitled"
    assert found[1].startswith("not refused")


# ---- What is refused at the moment of use ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"what": OTHER_CALL}, "other_call"),
        ({"what": {**CALL, "args": {**CALL["args"], "amount": 900.0001}}}, "other_call"),
        ({"principal": OTHER_AGENT}, "other_principal"),
        ({"principal": {**AGENT, "jurisdiction": "us"}}, "other_principal"),
        ({"policy": NEXT_POLICY}, "other_policy"),
        ({"rejudge": lambda: asking(policy=NEXT_POLICY)}, "other_policy"),
        ({"rejudge": lambda: asking(TWO)}, "demands_more"),
        ({"rejudge": lambda: asking(LEAD, RISK)}, "demands_more"),
        ({"rejudge": lambda: replace(asking(), needs=())}, "demands_more"),
        ({"rejudge": lambda: replace(asking(), effect="block")}, "blocked"),
        ({"rejudge": lambda: replace(asking(), effect="redact")}, "blocked"),
        ({"rejudge": lambda: replace(asking(), effect="stop")}, "stopped"),
        ({"rejudge": lambda: replace(allowing(), undecided=("money.x",))}, "undecided"),
        ({"rejudge": lambda: 1 / 0}, "undecided"),
        ({"stops": lambda: ("global: drill",)}, "stopped"),
        ({"stops": lambda: 1 / 0}, "stopped"),
    ],
)
def test_an_approval_is_not_used_where_anything_has_changed(scene: Scene, other: dict[str, Any], reason: str) -> None:
    asked = scene.approved()
    refused = claimed(scene, asked.id, **other)
    after = scene.approvals.get(asked.id)

    assert why(refused) == reason
    assert scene.ledger.refusals() == [reason]
    assert after == asked
    assert isinstance(claimed(scene, asked.id), Claim)


def test_an_approval_the_policy_no_longer_asks_for_is_good(scene: Scene) -> None:
    assert isinstance(claimed(scene, scene.approved().id, rejudge=allowing), Claim)


def test_a_claim_is_given_once(scene: Scene) -> None:
    asked = scene.approved()
    first, second = claimed(scene, asked.id), claimed(scene, asked.id)

    assert isinstance(first, Claim)
    assert why(second) == "claimed"
    assert scene.ledger.refusals() == ["claimed"]
    assert first.token not in repr(first)


def test_of_many_who_claim_at_once_one_gets_it(scene: Scene) -> None:
    asked = scene.approved()
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(claimed(scene, asked.id))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 6
    assert sum(isinstance(one, Claim) for one in found) == 1


def test_only_the_holder_of_the_claim_says_how_it_ended(scene: Scene) -> None:
    claim = claimed(scene, scene.approved().id)
    if not isinstance(claim, Claim):
        raise AssertionError(claim)
    forged = scene.approvals.finish(replace(claim, token="guessed"), "done")
    right = scene.approvals.finish(claim, "failed")
    again = scene.approvals.finish(claim, "done")

    assert (why(forged), why(again)) == ("no_claim", "no_claim")
    assert isinstance(right, Approval)
    assert right.state == "failed"


def test_an_approval_to_release_does_not_run_and_the_other_way_round(scene: Scene) -> None:
    to_release = scene.approvals.request(CALL, AGENT, asking(), "release")
    to_run = scene.approved()
    found = []
    if isinstance(to_release, Approval):
        scene.approvals.decide(to_release.id, ANN, True)
        found = [claimed(scene, to_release.id), scene.approvals.release(to_run.id, AGENT, POLICY, lambda _: asking(), no_stops)]

    assert [why(one) for one in found] == ["other_route", "other_route"]


@pytest.mark.parametrize("name", ["", "x", "0" * 32, "0" * 31 + "\0", "\ud800" * 32, "' OR 1=1 --", "a" * 10_000])
def test_an_id_that_nobody_has_is_refused(scene: Scene, name: str) -> None:
    assert why(claimed(scene, name)) == "unknown_id"
    assert why(scene.approvals.decide(name, ANN, True)) == "unknown_id"
    assert scene.approvals.get(name) is None


# ---- Time ------------------------------------------------------------------------------------------------------------


def test_no_answer_in_time_is_no_yes(scene: Scene) -> None:
    asked = scene.asked(LEAD, RISK)  # the shortest of both: 300 s
    scene.time_s += 299.9
    before = scene.approvals.get(asked.id)
    scene.time_s += 0.1
    after = scene.approvals.get(asked.id)
    answer = scene.approvals.decide(asked.id, BOTH, True)

    assert before is not None
    assert after is not None
    assert (before.state, after.state, why(answer)) == ("pending", "expired", "expired")
    assert scene.ledger.steps() == ["requested", "expired", "refused"]


def test_an_approval_that_is_past_its_time_is_not_used(scene: Scene) -> None:
    asked = scene.approved()
    scene.time_s += 600
    refused = claimed(scene, asked.id)

    assert why(refused) == "expired"
    assert scene.ledger.steps()[-2:] == ["expired", "refused"]
    assert scene.asked().id != asked.id


def test_an_approval_that_runs_out_while_it_is_recorded_is_not_used(scene: Scene) -> None:
    asked = scene.approved()

    def slowly() -> Decision:
        scene.time_s += 601
        return asking()

    assert why(claimed(scene, asked.id, rejudge=slowly)) == "expired"


def test_a_clock_set_back_does_not_extend_an_approval(scene: Scene) -> None:
    asked = scene.approved()
    scene.time_s += 500
    scene.approvals.decide(scene.asked(call=OTHER_CALL).id, ANN, True)  # any step: the store now knows how late it is
    scene.time_s -= 400
    other = scene.opened()  # another process, after the clock was set back
    scene.time_s += 100
    late = other.claim(asked.id, CALL, AGENT, POLICY, asking, no_stops)

    assert why(late) == "expired"


def test_time_that_somebody_only_looked_at_is_not_forgotten_over_a_restart(scene: Scene) -> None:
    asked = scene.approved()
    scene.time_s += 595
    scene.approvals.find()
    scene.time_s -= 500
    restarted = scene.opened()
    scene.time_s += 10

    assert why(restarted.claim(asked.id, CALL, AGENT, POLICY, asking, no_stops)) == "expired"


def test_a_shorter_time_under_the_current_policy_counts(scene: Scene) -> None:
    asked = scene.approved()
    scene.time_s += 100

    assert why(claimed(scene, asked.id, rejudge=lambda: asking(replace(LEAD, ttl_s=60)))) == "expired"


def test_a_denied_call_may_be_asked_for_again_when_its_time_is_up(scene: Scene) -> None:
    first = scene.asked()
    scene.approvals.decide(first.id, ANN, False)
    scene.time_s += 600
    second = scene.asked()
    before = scene.approvals.get(first.id)

    assert before is not None
    assert (before.state, second.state, first.id != second.id) == ("denied", "pending", True)


# ---- The record, and crashes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "step",
    [
        lambda scene, one: scene.approvals.request(OTHER_CALL, AGENT, asking()),
        lambda scene, one: scene.approvals.decide(one, BOB, False),
        lambda scene, one: scene.approvals.decide(one, NOBODY, True),
        claimed,
        lambda scene, one: claimed(scene, one, policy=NEXT_POLICY),
        lambda scene, one: scene.approvals.edit(one, BOB, OTHER_CALL, asking()),
    ],
)
@pytest.mark.parametrize("state", ["pending", "approved"])
def test_what_cannot_be_recorded_does_not_happen(scene: Scene, step: Callable[[Scene, str], object], state: str) -> None:
    one = scene.asked() if state == "pending" else scene.approved()
    scene.ledger.broken = True
    with pytest.raises(LedgerError):
        step(scene, one.id)

    assert scene.approvals.find() == [one]


def test_what_a_dead_process_was_executing_is_in_doubt_and_a_person_settles_it(scene: Scene) -> None:
    asked = scene.approved()
    dying = scene.opened()
    claim = dying.claim(asked.id, CALL, AGENT, POLICY, asking, no_stops)
    before = scene.approvals.recover()
    dying.close()
    after = scene.approvals.recover()
    again = scene.asked()
    refused = claimed(scene, asked.id)
    own = scene.approvals.settle(asked.id, Person("agent", ("support-lead",)), True, "I saw it")
    settled = scene.approvals.settle(asked.id, ANN, True, "the bank has it")
    late = scene.approvals.finish(claim, "done") if isinstance(claim, Claim) else None

    assert (before, after) == ([], [asked.id])
    assert (again.id, again.state) == (asked.id, "unknown")
    assert (why(refused), why(own), why(late)) == ("claimed", "self_approval", "no_claim")
    assert isinstance(settled, Approval)
    assert (settled.state, settled.said) == ("done", "the bank has it")
    assert scene.ledger.steps()[-6:] == ["claimed", "unknown", "refused", "refused", "settled", "refused"]


def test_a_doubt_shows_without_anybody_starting_again(scene: Scene) -> None:
    asked = scene.approved()
    dying = scene.opened()
    dying.claim(asked.id, CALL, AGENT, POLICY, asking, no_stops)
    alive = scene.asked()
    dying.close()
    after = scene.asked()
    settled = scene.approvals.settle(asked.id, ANN, False, "it is not on the account")

    assert (alive.state, after.state, after.id) == ("executing", "unknown", asked.id)
    assert isinstance(settled, Approval)
    assert settled.state == "failed"


def test_a_late_word_of_the_claims_holder_settles_a_doubt(scene: Scene) -> None:
    asked = scene.approved()
    slow = scene.opened()
    claim = slow.claim(asked.id, CALL, AGENT, POLICY, asking, no_stops)
    slow.close()
    scene.approvals.recover()
    late = scene.approvals.finish(claim, "failed") if isinstance(claim, Claim) else None

    assert isinstance(late, Approval)
    assert late.state == "failed"


def test_an_edit_is_a_new_request_that_the_editor_may_not_approve(scene: Scene) -> None:
    old = scene.asked()
    new = scene.approvals.edit(old.id, ANN, OTHER_CALL, asking(), "half of it")
    if not isinstance(new, Approval):
        raise AssertionError(new)
    own = scene.approvals.decide(new.id, ANN, True)
    other = scene.approvals.decide(new.id, BOB, True)
    before = scene.approvals.get(old.id)

    assert before is not None
    assert (before.state, before.replaced_by) == ("superseded", new.id)
    assert (why(own), new.digest) == ("self_approval", digest_bytes(canonical(dict(OTHER_CALL))))
    assert isinstance(other, Approval)
    assert other.state == "approved"
    assert isinstance(claimed(scene, new.id, what=OTHER_CALL), Claim)
    assert why(claimed(scene, old.id)) == "not_approved"


def test_what_is_over_can_be_forgotten_and_what_is_not_cannot(scene: Scene) -> None:
    open_one = scene.approved()
    ended = scene.asked(call=OTHER_CALL)
    scene.approvals.decide(ended.id, ANN, False, "private words")
    forgotten = scene.approvals.forget(ended.id, "retention")

    assert why(scene.approvals.forget(open_one.id, "retention")) == "not_pending"
    assert isinstance(forgotten, Approval)
    assert (forgotten.subject, forgotten.what(), forgotten.said) == (None, None, "")
    assert "private words" not in str(scene.approvals.get(ended.id))


# ---- Bounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), 2**60, {1, 2}, "\ud800"])
def test_what_has_no_canonical_bytes_is_never_asked_for(scene: Scene, amount: object) -> None:
    with pytest.raises(StoreError, match="no plain JSON"):
        scene.asked(call={"tool": "payments.refund", "args": {"amount": amount}})


@pytest.mark.parametrize("principal", [{}, {"id": ""}, {"id": 7}, {"id": "a\nb"}, {"id": "a" * 201}])
def test_nobody_asks_without_a_plain_name(scene: Scene, principal: dict[str, Any]) -> None:
    with pytest.raises(BylawError):
        scene.asked(principal=principal)


@pytest.mark.slow
def test_one_principal_cannot_fill_the_list(scene: Scene) -> None:
    found = [scene.approvals.request({**CALL, "n": n}, AGENT, asking()) for n in range(MAX_WAITING + 1)]

    assert all(isinstance(one, Approval) for one in found[:-1])
    assert why(found[-1]) == "too_many"
    assert scene.asked(principal=OTHER_AGENT).state == "pending"


def test_words_that_no_database_can_hold_are_made_plain(scene: Scene) -> None:
    asked = scene.asked()
    found = scene.approvals.decide(asked.id, ANN, True, "nul \0 and half a pair \ud800" + "x" * 5_000)

    assert isinstance(found, Approval)
    assert scene.approvals.get(asked.id) == found
    assert len(found.said) <= 2_000


def test_a_wait_ends_with_the_answer_or_with_its_time(scene: Scene) -> None:
    asked = scene.asked()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            scene.approvals.decide(asked.id, ANN, True)

    found = scene.approvals.wait(asked.id, 60, sleep)
    at_once = scene.approvals.wait(scene.asked(call=OTHER_CALL).id, 0, sleep)

    assert found is not None
    assert at_once is not None
    assert (found.state, at_once.state, len(slept)) == ("approved", "pending", 3)


@pytest.mark.slow
def test_no_connection_is_held_while_somebody_waits(scene: Scene) -> None:
    asked, held = scene.asked(), list[str]()

    def sleep(seconds: float) -> None:
        held.append(scene.store.engine.pool.status())
        if len(held) == 3:
            scene.approvals.decide(asked.id, ANN, True)

    scene.approvals.wait(asked.id, 60, sleep)

    assert len(held) == 3
    assert all("Checked out connections: 0" in one for one in held)


def test_a_bell_that_breaks_stops_nobody(store: Store, scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Approval) -> None:
        raise OSError("no network")

    approvals = Approvals(store, scene.ledger, ring=broken)
    found = approvals.request(CALL, AGENT, asking())

    assert isinstance(found, Approval)
    assert "no network" in caplog.text


def test_the_newest_requests_are_listed_first_by_state_and_tenant(scene: Scene) -> None:
    first = scene.asked()
    scene.time_s += 1
    second = scene.asked(principal={**AGENT, "tenant": "acme"})
    scene.time_s += 599.5

    assert [one.id for one in scene.approvals.find()] == [second.id, first.id]
    assert [one.id for one in scene.approvals.find(["pending"])] == [second.id]
    assert [one.id for one in scene.approvals.find(["expired"])] == [first.id]
    assert [one.id for one in scene.approvals.find(tenant="acme")] == [second.id]
    assert scene.approvals.states([first.id, second.id, "nonsense"]) == {first.id: "expired", second.id: "pending"}


def test_needs_without_sense_still_ask_one_person(scene: Scene) -> None:
    odd = Need("money.x", "odd", (), 0, 0)
    asked = scene.asked(odd)

    assert asked.expires_at > asked.requested_at
    assert why(scene.approvals.decide(asked.id, ANN, True)) == "not_entitled"

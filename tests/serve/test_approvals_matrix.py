"""What an approval is not good for, over HTTP: each use is refused, gives nothing out, and stands in the ledger with its reason."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from sqlalchemy import update

from bylaw.serve import live
from bylaw.store.approval_tables import APPROVALS
from tests.serve.recorded import recent
from tests.serve.rig import Reply
from tests.serve.test_serving import Served, edited, refunding, served, until

pytestmark = pytest.mark.slow

__all__ = ["served"]
AMOUNT: Final = b"640.0"


@dataclass
class Scene:
    """A refund over the limit that waits, who asked for it, and who may approve it."""

    served: Served
    agent: dict[str, str]
    lead: dict[str, str]
    approval: str

    def approve(self, who: dict[str, str] | None = None) -> Reply:
        return self.served.get(f"/api/approvals/{self.approval}/approve", "POST", {"reason": "seen"}, **(who or self.lead))

    def use(self, who: dict[str, str] | None = None) -> Reply:
        return self.served.ask("Refund it", **(who or self.agent), x_bylaw_approval=self.approval)

    def change(self, **values: Any) -> None:
        with self.served.store.writing() as connection:
            connection.execute(update(APPROVALS).where(APPROVALS.c.id == self.approval).values(**values))

    def reasons(self) -> list[str]:
        """Why this approval was refused, as the ledger has it, oldest first."""
        entries = [one for one in recent(self.served.data_dir, 200) if self.approval in (one["approval"], one["facts"].get("approval"))]
        return list(dict.fromkeys(one["facts"]["why"] for one in sorted(entries, key=lambda one: one["time"]) if "why" in one["facts"]))


@pytest.fixture
def scene(served: Served) -> Scene:
    agent, lead = served.key("support-lead", principal="agent"), served.key("support-lead", principal="lead")
    until(lambda: served.get("/api/approvals", **lead).status == 200)
    served.speaker.replies.append(refunding(640.0))
    first = served.ask("Refund it", **agent)
    return Scene(served, agent, lead, orjson.loads(first.body)["bylaw"]["approval"])


def refused(reply: Reply) -> bool:
    """Nothing of what was withheld is in a reply that was refused."""
    return AMOUNT not in reply.body and reply.headers["x-bylaw-decision"] in ("block", "require_approval", "stop")


def test_other_arguments_than_those_approved(scene: Scene) -> None:
    approved = scene.approve()
    with scene.served.store.reading() as connection:
        stored = connection.execute(APPROVALS.select().where(APPROVALS.c.id == scene.approval)).one().subject
    scene.change(subject=stored.replace(AMOUNT, b"999.5"))
    reply = scene.use()

    assert approved.status == 200
    assert stored.count(AMOUNT) >= 1
    assert (refused(reply), b"999.5" in reply.body, scene.reasons()) == (True, False, ["other_call"])


@pytest.mark.slow
def test_arguments_that_were_edited_after_the_approval_was_asked_for(scene: Scene) -> None:
    other = scene.served.key("support-lead", principal="other")
    until(lambda: scene.served.get("/api/approvals", **other).status == 200)
    args = {"args": {"order": 81, "amount": 630.0}}
    new = scene.served.get(f"/api/approvals/{scene.approval}/edit", "POST", args, **other)
    late, own = scene.approve(), scene.served.get(f"/api/approvals/{orjson.loads(new.body)['id']}/approve", "POST", **other)
    reply = scene.use()

    assert (new.status, late.status, own.status) == (201, 409, 403)
    assert (refused(reply), scene.reasons()) == (True, ["not_pending"])


def test_a_request_by_another_principal(scene: Scene) -> None:
    scene.approve()
    other = scene.served.key("support-lead", principal="other")
    until(lambda: scene.served.get("/api/approvals", **other).status == 200)

    assert (refused(scene.use(other)), scene.reasons()) == (True, ["other_principal"])
    assert AMOUNT in scene.use().body


@pytest.mark.slow
def test_a_principal_of_the_same_name_in_another_tenant(scene: Scene) -> None:
    other = scene.served.key("support-lead", principal="agent", tenant="apex")
    until(lambda: scene.served.get("/api/approvals", **other).status == 200)
    seen, answered = scene.served.get(f"/api/approvals/{scene.approval}", **other), scene.approve(other)
    scene.approve()

    assert (seen.status, answered.status, refused(scene.use(other))) == (404, 403, True)
    assert scene.reasons() == ["other_tenant", "other_principal"]


@pytest.mark.slow
def test_a_changed_policy(scene: Scene, tmp_path: Path) -> None:
    scene.approve()
    before = live.latest(scene.served.store)
    live.activate(
        scene.served.store, scene.served.ledger.append, edited(tmp_path / "next", "A person", "Some person"), "ann", unsigned="a test"
    )
    after = live.latest(scene.served.store)
    until(lambda: orjson.loads(scene.served.get("/api/policy").body)["digest"] == (after and after.digest))

    assert before != after
    assert (refused(scene.use()), scene.reasons()) == (True, ["other_policy"])


def test_an_approval_that_has_expired(scene: Scene) -> None:
    scene.approve()
    scene.change(expires_at=1)

    assert (refused(scene.use()), scene.reasons()) == (True, ["expired"])


def test_an_answer_that_comes_too_late(scene: Scene) -> None:
    scene.change(expires_at=1)

    assert (scene.approve().status, refused(scene.use())) == (409, True)
    assert scene.reasons() == ["expired"]


@pytest.mark.slow
@pytest.mark.parametrize("first", ["approve", "deny"])
def test_a_second_answer(scene: Scene, first: str) -> None:
    other = scene.served.key("support-lead", principal="other")
    until(lambda: scene.served.get("/api/approvals", **other).status == 200)
    one = scene.served.get(f"/api/approvals/{scene.approval}/{first}", "POST", **scene.lead)
    two = scene.served.get(f"/api/approvals/{scene.approval}/{'deny' if first == 'approve' else 'approve'}", "POST", **other)

    assert (one.status, two.status, scene.reasons()) == (200, 409, ["not_pending"])
    assert (AMOUNT in scene.use().body) == (first == "approve")


def test_the_requesters_own_answer(scene: Scene) -> None:
    assert (scene.approve(scene.agent).status, refused(scene.use())) == (403, True)
    assert scene.reasons() == ["self_approval", "not_approved"]


def test_an_approval_that_nobody_gave(scene: Scene) -> None:
    assert (refused(scene.use()), scene.reasons()) == (True, ["not_approved"])


def test_a_claim_that_is_replayed(scene: Scene) -> None:
    scene.approve()
    once, twice = scene.use(), scene.use()

    assert (AMOUNT in once.body, refused(twice), scene.reasons()) == (True, True, ["claimed"])


@pytest.mark.parametrize("scope", ["global", "principal:agent", "tool:payments.refund"])
def test_a_stop_that_is_pressed_between_the_approval_and_its_use(scene: Scene, scope: str) -> None:
    scene.approve()
    pressed = scene.served.get("/api/stop", "POST", {"scope": scope, "reason": "odd refunds"})
    reply = scene.use()

    assert (pressed.status, refused(reply), scene.reasons()) == (200, True, ["stopped"])

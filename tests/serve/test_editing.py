"""What waits for people is edited: other arguments, judged anew, approved by somebody else, released in the place of the first."""

import asyncio
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from bylaw.cli.entry import app
from bylaw.govern.quorum import Person, Refused
from bylaw.govern.rails.rail import RailFacts
from bylaw.govern.rulebook import Rulebook
from bylaw.policy.parse import load
from bylaw.serve import editing
from bylaw.serve.editing import NoSuchCall
from bylaw.serve.law import Law
from bylaw.store.approval_rows import Approval
from bylaw.types import Event, Hit
from tests.serve import test_chat as chat
from tests.serve import test_messages as messages
from tests.serve import test_responses as responses
from tests.serve.recorded import recent
from tests.serve.rig import RAILS, STREAMABLE, Apart, Rig, ask, post, rigged
from tests.serve.test_serving import Served, refunding, served, until

__all__ = ["served"]
ANN, BOB = Person("ann", ("lead",)), Person("bob", ("lead",))
LARGE, SMALL = {"order": 7, "amount": 900.0}, {"order": 7, "amount": 250.0}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path) as one:
        yield one


def reply(path: str, *calls: dict[str, Any]) -> dict[str, Any]:
    """A reply of one route that wants refunds."""
    if path == "/v1/messages":
        return messages.message(messages.text("So:"), *(messages.use("refund", one) for one in calls), stop="tool_use")
    if path == "/v1/responses":
        return responses.response(responses.message("So:"), *(responses.call("refund", orjson.dumps(one).decode()) for one in calls))
    said: dict[str, Any] = {"role": "assistant", "content": "So:"}
    said["tool_calls"] = [
        {"id": f"c{at}", "type": "function", "function": {"name": "refund", "arguments": orjson.dumps(one).decode()}}
        for at, one in enumerate(calls)
    ]
    choice = {"index": 0, "message": said, "finish_reason": "tool_calls"}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def asked(rig: Rig, path: str, approval: str = "") -> Any:
    body = {"model": "m", "max_tokens": 9, ("input" if path == "/v1/responses" else "messages"): [{"role": "user", "content": "Refund it"}]}
    sent = {"x-bylaw-session": "one", **({"x-bylaw-approval": approval} if approval else {})}
    return post(f"{rig.url}{path}", orjson.dumps(body), headers=sent)


def waiting(rig: Rig, path: str, *calls: dict[str, Any]) -> str:
    rig.speaker.replies.append(reply(path, *calls))
    found: str = orjson.loads(asked(rig, path).body)["bylaw"]["approval"]
    return found


def edited(rig: Rig, approval: str, args: dict[str, Any], who: Person = ANN, call: int = 0) -> Approval | Refused:
    return asyncio.run(editing.edit(rig.gate, approval, who, args, call, "half of it"))


def good(found: Approval | Refused) -> Approval:
    if isinstance(found, Refused):
        raise AssertionError(found)
    return found


def why(found: Approval | Refused) -> str:
    return found.why if isinstance(found, Refused) else found.state


ROUTES = ("/v1/chat/completions", "/v1/messages", "/v1/responses")


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("under", ["old", "new"])
def test_the_answer_that_is_released_carries_the_edited_arguments_and_else_the_models_own_words(rig: Rig, path: str, under: str) -> None:
    old = waiting(rig, path, LARGE, SMALL)
    new = good(edited(rig, old, {"order": 7, "amount": 300.5}))
    own = rig.approvals.decide(new.id, ANN, True)
    before = asked(rig, path, old)
    rig.approvals.decide(new.id, BOB, True)
    released = asked(rig, path, old if under == "old" else new.id)
    again = asked(rig, path, new.id)
    wanted, found = reply(path, {"order": 7, "amount": 300.5}, SMALL), orjson.loads(released.body)

    assert (why(own), before.headers["x-bylaw-decision"], orjson.loads(before.body)["bylaw"]["approval"]) == (
        "self_approval",
        "require_approval",
        new.id,
    )
    assert {key: found.get(key) for key in ("choices", "content", "output")} == {
        key: wanted.get(key) for key in ("choices", "content", "output")
    }
    assert (again.headers["x-bylaw-decision"], len(rig.speaker.asked)) == ("block", 1)


def test_the_old_request_ends_as_superseded_and_both_are_in_the_ledger(rig: Rig) -> None:
    old = waiting(rig, ROUTES[0], LARGE)
    new = good(edited(rig, old, SMALL))
    steps = [(one["approval"] == old, one["facts"]["step"], one["facts"]["by"]) for one in rig.book.entries if one["kind"] == "approval"]
    ended = rig.approvals.get(old)

    assert steps == [(True, "requested", "local"), (True, "superseded", "ann"), (False, "requested", "ann")]
    assert ended is not None
    assert (ended.state, ended.replaced_by, new.state, new.edited_by) == ("superseded", new.id, "pending", "ann")
    assert why(rig.approvals.decide(old, BOB, True)) == "not_pending"
    assert why(edited(rig, old, {"order": 8, "amount": 250.0}, BOB)) == "not_pending"


def test_nobody_who_edited_an_earlier_version_approves_a_later_one(rig: Rig) -> None:
    first = good(edited(rig, waiting(rig, ROUTES[0], LARGE), SMALL))
    second = good(edited(rig, first.id, {"order": 7, "amount": 260.0}, BOB))

    assert [why(rig.approvals.decide(second.id, one, True)) for one in (ANN, BOB)] == ["self_approval", "self_approval"]
    assert why(rig.approvals.decide(second.id, Person("cat", ("lead",)), True)) == "approved"


@pytest.mark.parametrize(
    ("who", "args", "reason"),
    [
        (Person("zed", ("agent",)), SMALL, "not_entitled"),
        (Person("local", ("lead",)), SMALL, "self_approval"),
        (Person("ann", ("lead",), "acme"), SMALL, "other_tenant"),
        (ANN, LARGE, "same_call"),
        (ANN, {"order": 7, "amount": 9_500.0}, "blocked"),
        (ANN, {"order": 7}, "undecided"),
        (ANN, {"order": 7, "amount": "much"}, "undecided"),
    ],
)
def test_an_edit_that_does_not_count_changes_nothing_and_is_in_the_ledger(rig: Rig, who: Person, args: dict[str, Any], reason: str) -> None:
    old = waiting(rig, ROUTES[0], LARGE)
    found = why(edited(rig, old, args, who))
    still = rig.approvals.get(old)
    recorded = [one["facts"]["why"] for one in rig.book.entries if one["facts"].get("step") == "refused"]

    assert (found, recorded, still and still.state) == (reason, [reason], "pending")


def test_a_stop_holds_for_an_edit(rig: Rig) -> None:
    old = waiting(rig, ROUTES[0], LARGE)
    rig.stopped.add("drill")

    assert why(edited(rig, old, SMALL)) == "stopped"


@pytest.mark.parametrize("call", [1, 127])
def test_there_is_no_call_where_there_is_none(rig: Rig, call: int) -> None:
    old = waiting(rig, ROUTES[0], LARGE)

    with pytest.raises(NoSuchCall):
        edited(rig, old, SMALL, call=call)


def test_an_edited_refund_counts_once_in_its_session_and_the_one_before_it_not_at_all(rig: Rig) -> None:
    new = good(edited(rig, waiting(rig, ROUTES[0], LARGE), {"order": 7, "amount": 150.0}))
    rig.approvals.decide(new.id, BOB, True)
    released = asked(rig, ROUTES[0], new.id)
    rig.speaker.replies += [reply(ROUTES[0], {"order": 8, "amount": 50.0}), reply(ROUTES[0], {"order": 8, "amount": 1.0})]
    small, over = asked(rig, ROUTES[0]), asked(rig, ROUTES[0])

    assert [one.headers["x-bylaw-decision"] for one in (released, small, over)] == ["allow", "allow", "require_approval"]


def test_a_request_that_waits_has_no_call_to_edit(tmp_path: Path) -> None:
    with rigged(tmp_path, ("input.person",)) as rig:
        body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "This is a lawsuit"}]})
        old = orjson.loads(post(f"{rig.url}/v1/chat/completions", body).body)["bylaw"]["approval"]

        with pytest.raises(NoSuchCall):
            edited(rig, old, SMALL)


# ---- Over HTTP, and at the command line ------------------------------------------------------------------------------


@pytest.mark.slow
def test_over_http_an_edit_takes_a_key_and_somebody_elses_yes(served: Served) -> None:
    served.speaker.replies.append(refunding(640.0))
    old = orjson.loads(served.ask().body)["bylaw"]["approval"]
    ann, bob = served.key("support-lead", principal="ann"), served.key("support-lead", principal="bob")
    until(lambda: served.get(f"/api/approvals/{old}", **bob).status == 202)
    args = {"order": 81, "amount": 320.0}
    odd = [
        served.get(f"/api/approvals/{old}/edit", "POST", body, **ann).status
        for body in ({}, {"args": 7}, {"args": args, "call": -1}, {"args": args, "call": True}, {"args": args, "call": 9}, {"arg": args})
    ]
    nobody = served.get(f"/api/approvals/{old}/edit", "POST", {"args": args}).status
    made = served.get(f"/api/approvals/{old}/edit", "POST", {"args": args, "reason": "half"}, **ann)
    new = orjson.loads(made.body)
    own = served.get(f"/api/approvals/{new['id']}/approve", "POST", **ann)
    other = served.get(f"/api/approvals/{new['id']}/approve", "POST", **bob)
    released = served.ask(x_bylaw_approval=old)
    kinds = [one["facts"]["step"] for one in recent(served.data_dir, 100) if one["kind"] == "approval"]

    assert (odd, nobody, made.status, own.status, other.status) == ([400] * 6, 401, 201, 403, 200)
    assert (new["edited_by"], b"320.0" in released.body, b"640.0" in released.body) == (["ann"], True, False)
    assert sorted(kinds) == ["approved", "refused", "released", "requested", "requested", "superseded"]


@pytest.mark.slow
def test_at_the_command_line_arguments_are_edited(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served.speaker.replies.append(refunding(640.0))
    old = orjson.loads(served.ask().body)["bylaw"]["approval"]
    key = served.key("support-lead", principal="ann")["authorization"].removeprefix("Bearer ")
    monkeypatch.setenv("BYLAW_KEY", key)
    args = ["approvals", "edit", old, "--data-dir", str(served.data_dir), "--json", "--args"]
    app([*args, '{"order": 81, "amount": 320.0}'], standalone_mode=False)
    said = orjson.loads(capsys.readouterr().out)

    assert (said["state"], said["edited_by"], said["what"]["calls"][0]["args"]["amount"]) == ("pending", "ann", 320.0)


def test_chats_own_client_reads_the_edited_call(rig: Rig) -> None:
    old = waiting(rig, ROUTES[0], LARGE)
    rig.approvals.decide(good(edited(rig, old, SMALL)).id, BOB, True)
    made = chat.client(rig).chat.completions.create(
        model="m", messages=[{"role": "user", "content": "Refund it"}], extra_headers={"x-bylaw-approval": old}
    )
    calls = made.choices[0].message.tool_calls or []

    assert [orjson.loads(one.function.arguments) for one in calls if one.type == "function"] == [SMALL]


def test_a_rail_that_may_take_long_is_asked_beside_the_loop(tmp_path: Path) -> None:
    threads = list[int]()

    def noted(event: Event, names: Sequence[str], facts: RailFacts) -> tuple[Mapping[str, Sequence[Hit]], Collection[str]]:
        threads.append(threading.get_ident())
        return ask(event, names, facts)

    def law(folder: Path) -> Law:
        spans = {name: longest for name, (_, longest) in RAILS.items()}
        return Law(Rulebook.load(load(folder), RAILS), noted, spans, frozenset({"whole"}))

    with rigged(tmp_path, (*STREAMABLE, "tone.whole"), apart=Apart(law)) as rig:
        approval = waiting(rig, "/v1/chat/completions", LARGE)
        threads.clear()
        edited = asyncio.run(editing.edit(rig.gate, approval, ANN, SMALL))

    assert isinstance(edited, Approval)
    assert (bool(threads), threading.get_ident() in threads) == (True, False)

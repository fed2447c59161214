"""A session: what it did counts, what it asks for counts while it waits, and nothing is ever forgotten."""

import threading
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.govern import session as bounds
from bylaw.govern.engine import decide
from bylaw.govern.rulebook import Rulebook
from bylaw.govern.session import History, Sessions, trusted, zeros
from bylaw.types import Decision, Event, Rule
from tests.govern.policies import clause, policy, refund

SUM = "payments.refund.amount"
LIMIT = Rule("limit", ("tool_call",), "block", ("payments.refund",), f'args.amount + session.sums["{SUM}"] > 200.0')
BOOK = Rulebook.load(policy(clause("money.limit", LIMIT)))
ALLOW, BLOCK, ASK = (Decision(effect, (), (), "") for effect in ("allow", "block", "require_approval"))


def call(amount: Any, history: History, without: str = "") -> Event:
    return refund(amount, session=history.facts(BOOK.zeros, without))


def test_a_split_refund_is_seen() -> None:
    history, effects = History("s"), []
    for _ in range(5):
        event = call(60.0, history)
        decision = decide(event, BOOK)
        effects.append(decision.effect)
        history = history.after(event, decision)

    assert effects == ["allow", "allow", "allow", "block", "block"]
    assert history.sums[SUM] == 180.0
    assert history.facts()["calls"] == ["payments.refund"] * 3


def test_a_call_that_waits_counts_until_it_is_given_back_and_never_against_itself() -> None:
    history = History("s").after(refund(150.0), ASK, "r1")

    assert decide(call(60.0, history), BOOK).effect == "block"
    assert decide(call(150.0, history, without="r1"), BOOK).effect == "allow"
    assert decide(call(60.0, history.given_back("r1")), BOOK).effect == "allow"
    assert decide(call(60.0, history.kept("r1")), BOOK).effect == "block"
    assert history.kept("r1").kept("r1").sums[SUM] == 150.0
    assert history.kept("nobody") == history


def test_a_negative_amount_makes_no_room() -> None:
    history = History("s").after(refund(190.0), ALLOW).after(refund(-500.0), ALLOW)

    assert decide(call(60.0, history), BOOK).effect == "block"


def test_amounts_inside_maps_and_lists_are_summed_under_their_path() -> None:
    event = Event("tool_call", "pay", {"to": {"fee": 1.5}, "lines": [{"amount": 2}, {"amount": 3}], "tips": [1, 2], "yes": True})

    assert History().after(event, ALLOW).sums == {"pay.to.fee": 1.5, "pay.lines.amount": 5.0, "pay.tips": 3.0}


def test_a_new_session_has_every_sum_that_a_condition_may_read() -> None:
    lines = {"type": "array", "items": {"type": "object", "properties": {"amount": {"type": "number"}}}}
    tools = {"pay": {"type": "object", "properties": {"fee": {"type": "integer"}, "lines": lines, "note": {"type": "string"}}}}

    assert zeros(policy(tools=tools)) == {"pay.fee": 0.0, "pay.lines.amount": 0.0}


def test_what_comes_from_outside_taints_unless_the_tool_is_trusted() -> None:
    tools = {"clock.now": {"type": "object", "x-trusted": True}, "web.read": {"type": "object"}}
    inside = trusted(policy(tools=tools))
    document, page, time = Event("document", text="d"), Event("tool_result", "web.read"), Event("tool_result", "clock.now")

    taints = [History().after(event, ALLOW, trusted=inside).taint for event in (document, page, time, refund())]

    assert taints == [("untrusted-text",), ("untrusted-text",), (), ()]
    assert History().after(document, BLOCK).taint == ()


def test_a_session_over_a_bound_can_do_nothing_more() -> None:
    many_calls = replace(History("s"), calls=("x",) * bounds.MAX_CALLS).after(refund(1.0), ALLOW)
    many_fields = History("s").after(Event("tool_call", "t", {f"f{n}": 1 for n in range(bounds.MAX_SUMS + 1)}), ALLOW)
    many_held = History("s")
    for number in range(bounds.MAX_HELD + 1):
        many_held = many_held.after(refund(0.0), ASK, f"r{number}")
    deep: Any = 1
    for _ in range(bounds.MAX_DEPTH + 2):
        deep = {"a": deep}
    too_deep = History("s").after(Event("tool_call", "t", deep), ALLOW)
    labels = History("s").tainted(*(str(n) for n in range(bounds.MAX_TAINT + 1)))

    for full in (many_calls, many_fields, many_held, too_deep, labels):
        assert full.full
        assert decide(call(1.0, full), BOOK).effect == "block"
        assert decide(Event("output", text="hello", session=full.facts()), BOOK).effect == "block"
        assert full.after(refund(1.0), ASK, "later") == full, "what nobody can read does not grow"
        ran = full.after(refund(1.0), ALLOW)
        assert ran != full, "a store sees that it is used"
        assert ran.after(refund(1.0), ALLOW) != ran
        assert len(ran.calls) <= 1
        assert ran.full


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.floats(0, 250), st.sampled_from(["run", "deny", "approve"])), max_size=12))
def test_what_has_run_never_sums_to_more_than_the_limit(steps: list[tuple[float, str]]) -> None:
    history, ran = History("s"), 0.0
    waiting: dict[str, tuple[float, str]] = {}
    for number, (amount, what) in enumerate(steps):
        event = call(amount, history)
        if decide(event, BOOK).effect == "allow":
            asked = ALLOW if what == "run" else ASK
            history = history.after(event, asked, f"r{number}")
            ran += amount if what == "run" else 0.0
            waiting |= {f"r{number}": (amount, what)} if what != "run" else {}
        if len(waiting) > 2:
            ref, (held, answer) = waiting.popitem()
            again = decide(call(held, history, without=ref), BOOK)
            history = history.kept(ref) if answer == "approve" and again.effect == "allow" else history.given_back(ref)
            ran += held if answer == "approve" and again.effect == "allow" else 0.0

    assert ran <= 200.0 + 1e-6


def test_two_calls_at_once_do_not_both_pass_under_the_limit() -> None:
    sessions, passed, start = Sessions(), [], threading.Barrier(8)

    def one() -> None:
        start.wait()
        with sessions.turn("agent", "s") as turn:
            event = call(150.0, turn.history)
            decision = decide(event, BOOK)
            turn.history = turn.history.after(event, decision)
        passed.append(decision.effect)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(passed) == ["allow"] + ["block"] * 7


def test_a_session_belongs_to_its_principal_and_ends_when_one_says_so() -> None:
    sessions = Sessions()
    with sessions.turn("a", "s") as turn:
        turn.history = turn.history.tainted("x")
    with sessions.turn("b", "s") as turn:
        other = turn.history
    with sessions.turn("a", "s") as turn:
        same = turn.history
    sessions.end("a", "s")
    with sessions.turn("a", "s") as turn:
        ended = turn.history

    assert (other.taint, same.taint, ended.taint) == ((), ("x",), ())


def test_a_turn_inside_a_turn_is_the_same_one_and_an_error_loses_nothing() -> None:
    sessions = Sessions()

    def breaks() -> None:
        with sessions.turn("a", "s") as outer:
            with sessions.turn("a", "s") as inner:
                inner.history = inner.history.tainted("inner")
            outer.history = outer.history.tainted("outer")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        breaks()
    with sessions.turn("a", "s") as turn:
        taint = turn.history.taint

    assert taint == ("inner", "outer")

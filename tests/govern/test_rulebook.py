"""A rulebook: loads whole or not at all, and every example of an event comes out as it says."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bylaw.errors import PolicyError
from bylaw.govern.rulebook import Rulebook
from bylaw.policy.parse import load
from bylaw.types import Example, Place, Rule
from tests.govern.policies import RAILS, clause, policy

POLICIES = Path(__file__).parents[2] / "policies"
LIMIT = Rule("over-limit", ("tool_call",), "require_approval", ("payments.refund",), "args.amount > 200.0", (), ("lead",), 1, 1800)
HERE = Place("money.md", 12)


def example(side: Any, amount: Any, expect: Any = None, **more: Any) -> Example:
    event = {"on": "tool_call", "tool": "payments.refund", "args": {"amount": amount}}
    return Example(side, event={**event, **more}, expect=expect, place=HERE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["refunds", "meridian", "policyworld", "policyworld-2"])
def test_the_policies_we_ship_load(name: str) -> None:
    written = load(POLICIES / name)

    book = Rulebook.load(written, {"pii.card", "pii.iban", "secrets", "injection"})

    assert book.digest == written.digest
    assert set(book.standing().values()) <= {"enforced here", "model only"}
    assert {key for key, value in book.standing().items() if value == "enforced here"} == {
        c.id for c in written.clauses if c.enforce or c.requires
    }


@pytest.mark.parametrize("split", ["train", "eval"])
@pytest.mark.parametrize(
    ("one", "said"),
    [
        (example("bad", 30.0), "is bad"),
        (example("bad", 30.0, "require_approval"), "expects require_approval"),
        (example("bad", 640.0, "block"), "answer require_approval"),
        (example("good", 640.0), "expects allow"),
        (example("good", "30"), "answer block"),
        (example("good", None), "cannot be read"),
    ],
)
def test_an_example_that_comes_out_otherwise_refuses_the_policy_with_its_place(one: Example, said: str, split: Any) -> None:
    with pytest.raises(PolicyError) as caught:
        Rulebook.load(policy(clause("money.limit", LIMIT, examples=(replace(one, split=split),))))

    assert caught.value.what.startswith("money.md:12: money.limit: ")
    assert said in caught.value.what


def test_examples_that_come_out_as_they_say_load() -> None:
    examples = (
        example("bad", 640.0),
        example("bad", 640.0, "require_approval"),
        example("good", 30.0),
        example("good", 640.0, "require_approval"),
    )

    assert Rulebook.load(policy(clause("money.limit", LIMIT, examples=examples))).approvers == {"lead"}


def test_what_rails_would_find_in_an_example_is_believed() -> None:
    card = Rule("card", ("output",), "redact", detect=("pii.card",))
    bad = Example("bad", event={"on": "output", "text": "card 4111", "found": ["pii.card"]}, expect="redact")
    good = Example("good", event={"on": "output", "text": "hello"})

    book = Rulebook.load(policy(clause("privacy.card", card, examples=(bad, good))), RAILS)

    assert book.rails == {"pii.card"}
    assert (book.rails_for("output", ""), book.rails_for("input", ""), book.rails_for("nowhere", "")) == (("pii.card",), (), ())


def test_a_rail_that_there_is_not_refuses_the_policy_and_names_the_nearest() -> None:
    rule = Rule("card", ("output",), "redact", detect=("pii.crad",), place=HERE)

    with pytest.raises(PolicyError) as caught:
        Rulebook.load(policy(clause("privacy.card", rule)), RAILS)

    assert "money.md:12: privacy.card/card" in caught.value.what
    assert "pii.card" in caught.value.hint


def test_a_rail_whose_package_is_missing_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = Rule("ids", ("output",), "redact", detect=("pii.id",), place=HERE)
    monkeypatch.setitem(sys.modules, "stdnum", None)  # as where it is not installed

    with pytest.raises(PolicyError, match=r"the rail 'pii\.id' needs a package that is not installed") as refused:
        Rulebook.load(policy(clause("privacy.ids", rule)), {"pii.card"})

    assert refused.value.hint == "pip install '.[pii]'"


@pytest.mark.parametrize("when", ["args.amnt > 3.0", "args.amount > 3", "args.amount", "nonsense here"])
def test_a_condition_that_cannot_be_meant_refuses_the_policy_with_its_place(when: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Rulebook.load(policy(clause("money.limit", replace(LIMIT, when=when, place=HERE))))

    assert caught.value.what.startswith("money.md:12: money.limit/over-limit: ")


def test_an_approval_that_names_nobody_still_has_an_end() -> None:
    book = Rulebook.load(policy(clause("money.limit", replace(LIMIT, approvers=(), ttl_s=None))))
    slot = book.slot("tool_call", "payments.refund")

    assert slot is not None
    assert slot.rules[0].need is not None
    assert (slot.rules[0].need.approvers, slot.rules[0].need.ttl_s) == ((), 3600)

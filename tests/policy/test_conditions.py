"""Conditions: wrong types fail when a policy loads; at run time what cannot be decided says so."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.errors import PolicyError
from bylaw.policy.conditions import MAX_DEPTH, MAX_VALUES, Types, When, activation
from bylaw.types import Event

REFUND = {
    "type": "object",
    "properties": {
        "amount": {"type": "number"},
        "order": {"type": "integer"},
        "note": {"type": "string"},
        "lines": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}}}},
        "tags": {"type": "array", "items": {"type": "string"}},
        "any": {"anyOf": [{"type": "string"}, {"type": "number"}]},
        "free": {"type": "object"},
    },
}


def call(**args: Any) -> Event:
    return Event("tool_call", tool="payments.refund", args=args)


def test_a_condition_is_true_or_false_on_a_whole_event() -> None:
    when = When("args.amount > 200.0", REFUND)

    assert [when.decide(call(amount=amount)) for amount in (640, 640.0, 200, 3.5)] == ["true", "true", "false", "false"]


@pytest.mark.parametrize("args", [{}, {"amount": None}, {"amount": "640"}, {"amount": True}, {"amount": [1.0]}, {"order": 1}])
def test_a_missing_or_mistyped_value_is_undecidable(args: dict[str, Any]) -> None:
    assert When("args.amount > 200.0", REFUND).decide(call(**args)) == "undecidable"
    assert When("args.amount > 200.0").decide(call(**args)) == "undecidable"


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**53, -(2**60), 1e300, {1: 2}, {"a": {2, 3}}, object(), b"x", (float("nan"),)]
)
def test_a_value_that_cel_could_misread_is_undecidable_even_where_no_condition_reads_it(value: Any) -> None:
    assert When("args.amount > 200.0", REFUND).decide(call(amount=3.0, other=value)) == "undecidable"
    assert When('tool == "payments.refund"').decide(Event("tool_call", tool="payments.refund", session={"x": value})) == "undecidable"


def test_deep_and_wide_events_are_undecidable_and_cheap() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH + 5_000):
        deep = [deep]

    assert activation(call(x=deep)) is None
    assert activation(call(x=list(range(MAX_VALUES + 1)))) is None
    assert activation(call(x=list(range(100)))) is not None


def test_a_loop_bomb_is_undecidable() -> None:
    when = When("args.l.all(a, args.l.all(b, args.l.all(c, a + b + c >= 0)))")

    assert when.decide(call(l=list(range(300)))) == "undecidable"


def test_an_error_that_does_not_matter_is_decided() -> None:
    assert When('args.amount > 200.0 || surface == "tool_call"', REFUND).decide(call()) == "true"
    assert When("has(args.amount) && args.amount > 200.0", REFUND).decide(call()) == "false"


def test_conditions_read_every_part_of_an_event() -> None:
    event = Event(
        "output",
        text="card 4111",
        principal={"id": "u", "roles": ["lead"]},
        session={"taint": ["web"], "sums": {"a.b": 3}, "n_calls": 2},
        env={"name": "prod", "hour": 22},
    )
    sources = (
        r'surface == "output" && text.matches("[0-9]{4}")',
        '"lead" in principal.roles',
        '"web" in session.taint && session.sums["a.b"] > 2.5 && session.n_calls == 2',
        'env.name == "prod" && env.hour >= 20',
        'tool == ""',
    )

    assert [When(source).decide(event) for source in sources] == ["true"] * len(sources)


@pytest.mark.parametrize(
    ("source", "said", "hint"),
    [
        ("args.amnt > 1.0", "undefined field 'amnt'", "schema"),
        ('args.amnt + session.sums["payments.refund.amount"] > 1.0', "undefined field 'amnt'", "Use a field"),
        ("args.amount > 200", "(double, int)", "`200.0` instead of `200`"),
        ('args.amount == "x"', "'_==_'", "different types"),
        ("args.amount", "not a yes-or-no condition", "Compare"),
        ("args.order = 3", "Syntax error", "`==`"),
        ("toool == 'x'", "undeclared reference", "Conditions can name"),
        ('principal.rolez == "x"', "undefined field 'rolez'", "principal"),
        ("args.lines[0].skuu == 'x'", "undefined field 'skuu'", "schema"),
        ('args.note.matches("(")', "not a regular expression", "RE2"),
        ("double(args.note) > 1.0", "double()", "schema"),
        ("args.amount / args.amount > 1.0", "dividing", "Multiply"),
        ("args.amount / 0.0 > 1.0", "dividing", "Multiply"),
        ("(" * 100, "", ""),
        ("a" * 5000, "5000 characters", "several"),
        ("\ud800", "", ""),
    ],
)
def test_what_cannot_be_meant_fails_at_load(source: str, said: str, hint: str) -> None:
    with pytest.raises(PolicyError) as caught:
        When(source, REFUND)
    assert said in caught.value.what
    assert hint in caught.value.hint
    assert "\n" not in caught.value.what


def test_fields_without_a_type_stay_open() -> None:
    sources = ("args.any == 3", 'args.free.x == "y"', '"x" in args.tags', "args.amount / 2.0 > 1.0", 'args.lines[0].sku == "a"')

    assert [When(source, REFUND).source for source in sources] == list(sources)


def test_a_name_that_is_no_identifier_is_read_from_the_map() -> None:
    schema = {"type": "object", "properties": {"x-y": {"type": "integer"}}}

    assert When('args["x-y"] == 3', schema).decide(call(**{"x-y": 3})) == "true"


def test_a_sum_of_two_unknown_kinds_is_added_or_says_how_to_write_it() -> None:
    with pytest.raises(PolicyError) as caught:
        When('args.amount + session.sums["a"] > 200.0')
    event = Event("tool_call", args={"amount": 150}, session={"sums": {"a": 60}})

    assert "0.0 +" in caught.value.hint
    assert When('args.amount + session.sums["a"] > 200.0', REFUND).decide(event) == "true"
    assert When('0.0 + args.amount + session.sums["a"] > 200.0', REFUND).decide(event) == "true"


def test_many_conditions_share_one_pool() -> None:
    types = Types()
    for _ in range(50):
        When("args.amount > 1.0", REFUND, types)

    assert len(types.envs) == 1


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.sampled_from(["amount", "order", "note", "lines", "x"]), json_values))
def test_a_condition_never_raises_and_says_true_only_for_a_number_above(args: dict[str, Any]) -> None:
    outcome = When("args.amount > 200.0", REFUND).decide(call(**args))
    amount: Any = args.get("amount")
    number = isinstance(amount, int | float) and not isinstance(amount, bool)

    assert outcome in ("true", "false", "undecidable")
    if outcome != "undecidable":
        assert number
        assert (amount > 200.0) == (outcome == "true")

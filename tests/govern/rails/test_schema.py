"""Structured output: our reading of JSON Schema agrees with another one, and what it does not know it refuses."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.govern.rails.rail import NO_FACTS, RailError, RailFacts
from bylaw.govern.rails.schema import RAIL, faults

oracle = pytest.importorskip("jsonschema", reason="jsonschema comes with the extra `scale`")
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(-3, 3), st.sampled_from(["", "a", "ab", "1"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=6,
)
LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.booleans(),
    st.fixed_dictionaries({"type": st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null"])}),
    st.fixed_dictionaries({"type": st.just(["string", "null"])}),
    st.fixed_dictionaries({"enum": st.lists(VALUES, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"const": VALUES}),
    st.fixed_dictionaries({}, optional={"minimum": st.integers(-2, 2), "exclusiveMaximum": st.integers(-2, 2)}),
    st.fixed_dictionaries(
        {}, optional={"minLength": st.integers(0, 2), "maxLength": st.integers(0, 2), "pattern": st.sampled_from(["^a", "b$"])}
    ),
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {},
            optional={
                "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
                "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
                "additionalProperties": inner,
                "minProperties": st.integers(0, 2),
            },
        ),
        st.fixed_dictionaries(
            {},
            optional={
                "items": inner,
                "prefixItems": st.lists(inner, min_size=1, max_size=2),
                "uniqueItems": st.booleans(),
                "maxItems": st.integers(0, 2),
            },
        ),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"oneOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"allOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=5,
)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(VALUES, SCHEMAS)
def test_a_value_fits_where_another_reading_of_the_standard_says_so(value: Any, schema: Any) -> None:
    ours = next(faults(value, schema, schema), None) is None

    assert ours == oracle.Draft202012Validator(schema).is_valid(value)


TREE = {
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "additionalProperties": False}},
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize("text", ["hello", "{}{}", '{"a": 1, "a": 2}', "NaN", "1e999", '{"next": {"x": 1}}', "", "[" * 100_000])
def test_a_text_that_is_not_one_fitting_json_value_is_a_hit_over_all_of_it(text: str) -> None:
    (hit,) = RAIL.find(text, RailFacts(schema=TREE))

    assert (hit.start, hit.end) == (0, len(text))


def test_a_fitting_text_is_no_hit() -> None:
    assert not RAIL.find(json.dumps({"next": {"next": {}}}), RailFacts(schema=TREE))


@pytest.mark.parametrize(
    "schema",
    [
        {"patternProperties": {}},
        {"$ref": "https://example.com/x"},
        {"$ref": "#/$defs/none"},
        {"type": "thing"},
        {"$ref": "#"},
        {"if": True},
    ],
)
def test_what_a_schema_says_and_we_do_not_read_fails_and_never_fits(schema: dict[str, Any]) -> None:
    with pytest.raises(RailError):
        RAIL.find("{}", RailFacts(schema=schema))


def test_without_a_schema_the_rail_fails() -> None:
    with pytest.raises(RailError, match="no schema"):
        RAIL.find("{}", NO_FACTS)

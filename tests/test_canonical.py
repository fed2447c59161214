"""The same value gives the same bytes everywhere: RFC 8785, with its published example."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.canonical import canonical, digest, digest_bytes

few = settings(deadline=None, max_examples=200)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalar = st.one_of(st.none(), st.booleans(), text, st.integers(-(2**53) + 1, 2**53 - 1), st.floats(allow_nan=False, allow_infinity=False))
value = st.recursive(scalar, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=12)


def _turned(found: Any) -> Any:
    """The same value, its keys in the opposite order."""
    if isinstance(found, dict):
        return {key: _turned(found[key]) for key in reversed(found)}
    return [_turned(one) for one in found] if isinstance(found, list) else found


@pytest.mark.slow
@few
@given(value)
def test_canonical_json_reads_back(found: Any) -> None:
    assert json.loads(canonical(found), parse_int=float) == found  # JSON has one kind of number, a double


@pytest.mark.slow
@few
@given(value)
def test_the_order_of_keys_does_not_count(found: Any) -> None:
    assert canonical(_turned(found)) == canonical(found)
    assert digest(_turned(found)) == digest(found)


@pytest.mark.slow
@few
@given(value, value)
def test_different_bytes_have_different_digests(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == (digest(one) == digest(other))


def test_the_example_of_rfc_8785_section_3_2_2_comes_out_as_published() -> None:
    given_text = r"""{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }"""
    published = (
        r'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        r'"string":"€$\u000f\nA' + r"'B\"\\\\\"/" + '"}'
    )

    assert canonical(json.loads(given_text)).decode() == published


def test_keys_are_sorted_by_utf_16_as_rfc_8785_section_3_2_3_shows() -> None:
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]

    found = list(json.loads(canonical(dict.fromkeys(keys, 0))))

    assert found == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@pytest.mark.parametrize("found", [float("nan"), float("inf"), [float("-inf")], {1, 2}, {"a": object()}, 2**60, {1: "a"}, "\ud800"])
def test_what_json_cannot_say_is_refused(found: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical(found)


def test_a_digest_names_its_algorithm() -> None:
    assert digest({"a": 1}) == "sha256:" + hashlib.sha256(b'{"a":1}').hexdigest()
    assert digest_bytes(b'{"a":1}') == digest({"a": 1})

"""What an entry may say, and that its bytes are those of RFC 8785."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bylaw.canonical import canonical
from bylaw.errors import LedgerError
from bylaw.ledger import entries

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NAMES = st.text(st.characters(max_codepoint=127), max_size=8)
FACTS = st.dictionaries(
    NAMES,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=5,
)


def leaf(facts: dict[str, Any], text: str = "") -> dict[str, Any]:
    said = entries.checked({"kind": "decision", "tool": text, "clauses": [text], "facts": facts})
    return said | {
        "contents": {},
        "v": 1,
        "log": "a/b",
        "index": 3,
        "time": entries.timestamp(1_700_000_000_000_001),
        "clock_back_us": 0,
        "seq": 1,
    }


@given(FACTS, TEXT)
@example({"\x1f": '\x00\x7f\x1f\b\t\n\f\r"\\/<>\u2028\u2029\ufeff'}, "\U0001f600é")
def test_the_fast_bytes_are_those_of_rfc_8785_and_read_back(facts: dict[str, Any], text: str) -> None:
    said = leaf(facts, text)

    fast = entries.encoded(said)

    assert fast == canonical(said)
    assert entries.read_leaf(fast) == json.loads(fast)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({}, "kind"),
        ({"kind": "Decision"}, "kind"),
        ({"kind": "decision", "tol": "x"}, "tol"),
        ({"kind": "decision", "tool": 3}, "tool"),
        ({"kind": "decision", "tool": "x" * 201}, "tool"),
        ({"kind": "decision", "clauses": "money.refund"}, "clauses"),
        ({"kind": "decision", "rules": [1]}, "rules"),
        ({"kind": "decision", "facts": {"amount": 2500.5}}, "float"),
        ({"kind": "decision", "facts": {"amount": float("nan")}}, "float"),
        ({"kind": "decision", "facts": {"é": "x"}}, "ASCII"),
        ({"kind": "decision", "facts": {"n": 2**53}}, "large"),
        ({"kind": "decision", "facts": {"n": {1, 2}}}, "set"),
        ({"kind": "decision", "facts": ["x"]}, "map"),
    ],
)
def test_what_a_leaf_cannot_say_is_refused_with_its_name(entry: dict[str, Any], why: str) -> None:
    with pytest.raises(LedgerError, match=why):
        entries.checked(entry)


def test_deep_large_and_unwritable_facts_are_refused_before_anything_is_settled() -> None:
    deep: dict[str, Any] = {}
    for _ in range(20):
        deep = {"a": deep}

    with pytest.raises(LedgerError, match="deeper"):
        entries.checked({"kind": "x", "facts": deep})
    with pytest.raises(LedgerError, match="larger"):
        entries.encoded(leaf({"a": "x" * entries.MAX_LEAF_BYTES}))
    with pytest.raises(LedgerError, match="JSON"):
        entries.encoded(leaf({"a": "\ud800"}))


@given(st.integers(0, entries.MAX_TIME_US))
def test_a_time_is_written_and_read_to_the_microsecond(time_us: int) -> None:
    stamp = entries.timestamp(time_us)

    assert entries.microseconds(stamp) == time_us
    assert len(stamp) == 27


@pytest.mark.parametrize("time_us", [-1, entries.MAX_TIME_US + 1, 1.5, True, None, "now"])
def test_a_time_that_no_calendar_has_is_refused(time_us: Any) -> None:
    with pytest.raises(LedgerError, match="time"):
        entries.check_time(time_us)


@given(st.data())
def test_a_leaf_in_any_other_form_is_refused(data: st.DataObject) -> None:
    good = entries.encoded(leaf({"a": [1, "é", {"b": None}]}))
    at = data.draw(st.integers(0, len(good) - 1))
    changed = good[:at] + bytes([data.draw(st.integers(0, 255))]) + good[at + 1 :]

    for form in (
        good + b" ",
        b" " + good,
        good.replace(b'"v":1', b'"v":1.0'),
        good.replace(b"[1,", b"[1.0,"),
        good.replace(b"{", b"{ ", 1),
    ):
        with pytest.raises(ValueError, match=r"."):
            entries.read_leaf(form)
    try:
        said = entries.read_leaf(changed)
    except ValueError:
        return

    assert canonical(said) == changed  # whatever is read has one form only


@pytest.mark.parametrize("form", [b"", b"[]", b"{}", b"null", b"\xff", b"[" * 5000, b'{"a":' * 5000])
def test_bytes_that_are_no_entry_never_crash_the_reader(form: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        entries.read_leaf(form)


def test_a_salted_commitment_says_nothing_about_a_guessable_content() -> None:
    one, other = bytes(32), bytes([1]) * 32

    assert entries.commitment(one, b"yes") != entries.commitment(other, b"yes")
    assert entries.check_contents({"a": "\ud800", "b": b"\xff"}) == {"a": b"\xed\xa0\x80", "b": b"\xff"}
    with pytest.raises(LedgerError, match="name"):
        entries.check_contents({"a b": "x"})

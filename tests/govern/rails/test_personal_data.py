"""Personal data: checks by arithmetic, in any script's digits, and nothing that only looks alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import iban as iban_oracle
from stdnum import luhn as luhn_oracle

from bylaw.govern.rails import accounts, library
from bylaw.govern.rails.rail import NO_FACTS


def found(rail: str, text: str) -> list[str]:
    return [text[hit.start : hit.end] for hit in library.known()[rail].find(text, NO_FACTS)]


@given(st.text("0123456789", min_size=1, max_size=24))
def test_the_luhn_check_agrees_with_another_library(digits: str) -> None:
    assert accounts.luhn(digits) == luhn_oracle.is_valid(digits)


@given(st.sampled_from(["DE", "GB", "NL", "FR", "CH"]), st.text("0123456789", min_size=18, max_size=18))
def test_the_iban_check_agrees_with_another_library(country: str, rest: str) -> None:
    account = country + rest

    assert accounts.mod97(account) == (iban_oracle.calc_check_digits(account) == account[2:4])


@pytest.mark.parametrize(
    ("rail", "text", "span"),
    [
        ("pii.card", "card 4111 1111 1111 1111, thanks", "4111 1111 1111 1111"),
        ("pii.card", "two: 4111111111111111 5555555555554444", "4111111111111111"),
        ("pii.iban", "to DE89 3704 0044 0532 0130 00 today", "DE89 3704 0044 0532 0130 00"),
        ("pii.email", "write to <ann.keller@example.com>.", "ann.keller@example.com"),
        ("pii.phone", "call +49 30 901820 now", "+49 30 901820"),
        ("pii.ip", "from 203.0.113.77.", "203.0.113.77"),
        ("pii.id.es", "DNI 54362315-K.", "54362315-K"),
        ("pii.id.us", "SSN: 536-90-4399", "536-90-4399"),
    ],
)
def test_a_hit_spans_exactly_what_must_go(rail: str, text: str, span: str) -> None:
    assert span in found(rail, text)


@pytest.mark.parametrize("zero", ["٠", "०", "０", "𝟎"])
def test_digits_of_any_script_are_digits(zero: str) -> None:
    card = "".join(chr(ord(zero) + int(digit)) for digit in "4111111111111111")

    assert found("pii.card", f"card {card}.") == [card]


@pytest.mark.parametrize("text", ["4111111111111112", "41111111111111111111", "0000 0000 0000 0000", "4111 1111", "1763740800000"])
def test_digits_that_are_no_card_pass(text: str) -> None:
    assert not found("pii.card", text)


def test_a_number_of_a_weak_kind_counts_behind_its_name_only() -> None:
    assert found("pii.id.nl", "BSN 111222333")
    assert not found("pii.id.nl", "order 111222333")


def test_a_group_finds_what_each_of_its_rails_finds() -> None:
    text = "ann@example.com, 4111 1111 1111 1111, DNI 54362315-K"

    kinds = {hit.rail for hit in library.known()["pii"].find(text, NO_FACTS)}

    assert kinds == {"pii.email", "pii.card", "pii.id.es"}


def test_a_number_that_makes_the_library_of_checks_stumble_is_no_number_and_no_failure() -> None:
    assert not found("pii.id.cn", "id 999999199001010018")

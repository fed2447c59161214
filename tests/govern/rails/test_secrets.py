"""Secrets: each form of the table, and values behind words; placeholders and plain words pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bylaw.govern.rails import library, secrets
from bylaw.govern.rails.rail import NO_FACTS


def found(text: str) -> list[str]:
    return [text[hit.start : hit.end] for hit in library.known()["secrets"].find(text, NO_FACTS)]


def test_every_form_says_where_it_is_written_down() -> None:
    forms = secrets.forms()

    assert len(forms) >= 25
    assert all(form.written and 0 < form.confidence <= 1 for form in forms)
    assert len({form.name for form in forms}) == len(forms)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("log in with user ann pass: Hunter2-meridian", "Hunter2-meridian"),
        ("says the password is Zebra!7712, please test.", "Zebra!7712"),
        ("Passwort: Geheim!2024", "Geheim!2024"),
        ("my code is 482913.", "482913"),
        ("API_KEY = 'f3a9c1d27b8e4a6f9d0c'", "f3a9c1d27b8e4a6f9d0c"),
    ],
)
def test_a_value_behind_a_word_is_a_secret_and_only_the_value_is_cut(text: str, value: str) -> None:
    assert found(text) == [value]


@pytest.mark.parametrize(
    "text",
    [
        "How do I change my password?", "password is required", "Password: ********", "token: <your token>", "api_key=${API_KEY}",
        "postal code is 07743", "error code: 4041", "The secret is to keep stirring.", "password: forgotten",
    ],
)  # fmt: skip
def test_talk_about_secrets_and_placeholders_pass(text: str) -> None:
    assert not found(text)


@given(st.text(min_size=1, max_size=40))
def test_entropy_lies_between_nought_and_the_log_of_the_length(text: str) -> None:
    assert -1e-9 <= secrets.entropy(text) <= len(text).bit_length()

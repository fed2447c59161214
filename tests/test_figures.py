"""The check for a figure that must not stand in a text: what is no figure does not ring it, and what is one does."""

import pytest

from tests.figures import stands


@pytest.mark.parametrize("text", ["3f2a90c1-9999-4000", "a9999b", "19999", '"record":"bylaw-ledger/26/ef#9999",'])
def test_digits_in_a_name_are_no_figure(text: str) -> None:
    assert not stands(9999, text)


@pytest.mark.parametrize("text", ['{"amount": 9999.0}', "pay 9999 now", r'"to pay:\n9999"', b"9999"])
def test_a_figure_is_found_however_it_is_written(text: str | bytes) -> None:
    assert stands(9999, text)

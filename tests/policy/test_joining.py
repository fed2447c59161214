"""Statements about one clause joined: what counts as leave, and so as loosening."""

import pytest

from bylaw.policy.joining import permits


@pytest.mark.parametrize(
    ("norm", "gives"),
    [
        ("Staff are allowed to pay any sum.", True),
        ("A saved payee is exempt.", True),
        ("It MUST NOT wait. The app is free to pay at once.", True),
        ("Only staff are allowed to pay.", False),
        ("Nobody is permitted to pay.", False),
        ("Paying at night is not allowed.", False),
        ("It MUST be free of charge.", False),
        ("It MAY\nNOT be paid at night.", False),
        ("It MAY\u00a0NOT be paid at night.", False),
        ("A saved payee is\nexempt, and the limit does\nnot apply.", True),
        ("Staff are **allowed** to pay.", True),
        ("Staff are al\u00adlowed to pay.", True),
        ("Staff are [allowed](https://a.example) to pay.", True),
        ("> Staff are\n> allowed to pay.", True),
        ("It **MAY** NOT be paid at night.", False),
        ("Nobody else.\n\nStaff are\nallowed to pay.", True),
    ],
)
def test_a_norm_that_gives_leave_in_plain_words_is_known_and_one_that_limits_is_not(norm: str, gives: bool) -> None:
    assert permits(norm) == gives

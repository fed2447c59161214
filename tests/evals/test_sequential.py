"""A decision that may be looked for after every row errs no more often than it says."""

import random
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import exact as literal

from bylaw.evals import sequential
from bylaw.evals.sequential import decide, possible


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_the_ratio_is_the_product_of_bets(rows: list[bool], share: float) -> None:
    assert sequential.log_ratio(sum(rows), len(rows), share) == pytest.approx(literal.log_ratio(rows, share), abs=1e-9)


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_what_is_possible_holds_what_was_seen_and_ends_where_it_is_ruled_out(rows: list[bool]) -> None:
    k, n = sum(rows), len(rows)

    low, high = possible(k, n)

    assert low <= k / n <= high
    assert low == 0.0 or sequential.log_ratio(k, n, low) == pytest.approx(np.log(20), abs=1e-3)
    assert high == 1.0 or sequential.log_ratio(k, n, high) == pytest.approx(np.log(20), abs=1e-3)


def test_nothing_decides_nothing() -> None:
    assert decide(0, 0, 0.01) == "open"
    assert possible(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="not a share"):
        decide(2, 1, 0.5)
    with pytest.raises(ValueError, match="not a share"):
        possible(2, 1)


def test_a_clear_case_is_decided_early_and_a_close_one_is_not() -> None:
    assert decide(8, 10, 0.01) == "above"
    assert decide(0, 299, 0.01) == "open"  # a fixed number of cases would do here; looking at any time costs more
    assert decide(0, 680, 0.01) == "below"
    assert decide(0, 679, 0.01) == "open"
    assert decide(1, 1, 0.0) == "above"


def _ends(share: float, limit: float, most: int, tries: int, seed: int) -> dict[str, float]:
    """How often looking after every row ends in which decision."""
    rng = np.random.default_rng(seed)
    found, decided = {"below": 0, "above": 0, "open": 0}, cache(decide)  # most courses meet the same counts
    for _ in range(tries):
        failures = np.cumsum(rng.random(most) < share)
        said = "open"
        for n in range(1, most + 1):
            said = decided(int(failures[n - 1]), n, limit)
            if said != "open":
                break
        found[said] += 1
    return {name: count / tries for name, count in found.items()}


@pytest.mark.slow
def test_looking_after_every_row_seldom_calls_a_share_what_it_is_not() -> None:
    at = _ends(0.05, 0.05, 400, 300, seed=1)

    assert at["below"] + at["above"] <= 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.02, 0.1])
def test_the_stated_error_holds_over_a_long_course(share: float) -> None:
    ends = _ends(share, share, 3000, 1500, seed=2)

    assert ends["below"] <= 0.05
    assert ends["above"] <= 0.05


def test_the_same_rows_in_any_order_decide_the_same() -> None:
    rows = [True] * 12 + [False] * 188
    random.Random(3).shuffle(rows)

    assert decide(sum(rows), len(rows), 0.01) == decide(12, 200, 0.01) == "above"

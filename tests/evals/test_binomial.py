"""Exact bounds agree with published values and with sums of fractions, and cover what they say they cover."""

from math import isclose

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import exact as literal

from bylaw.evals import binomial, power


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (81, 263, 0.2527, 0.3676),  # Newcombe 1998, table I, method 5 (Clopper-Pearson): this row and the next three
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ],
)
def test_bounds_agree_with_published_intervals(k: int, n: int, low: float, high: float) -> None:
    found = (binomial.lower(k, n, 0.975), binomial.upper(k, n, 0.975))

    assert found == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("n", "share"), [(30, 0.095), (100, 0.030), (300, 0.010), (1000, 0.003)])
def test_nothing_failed_is_written_as_at_most(n: int, share: float) -> None:
    assert binomial.upper(0, n) == pytest.approx(share, abs=5e-4)
    assert binomial.upper(0, n) <= 3 / n
    assert f"<= 3/{n}" in binomial.at_most(n)


def test_without_a_try_nothing_is_known() -> None:
    assert (binomial.lower(0, 0), binomial.upper(0, 0)) == (0.0, 1.0)
    assert binomial.at_most(0) == "nothing was tried"


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (1, 0)])
def test_an_impossible_count_is_refused(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="not a share"):
        binomial.upper(k, n)


counts = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(counts, st.sampled_from([0.9, 0.95, 0.975]))
def test_bounds_equal_their_literal_version(count: tuple[int, int], confidence: float) -> None:
    k, n = count

    assert binomial.upper(k, n, confidence) == pytest.approx(literal.upper(k, n, confidence), abs=1e-8)
    assert binomial.lower(k, n, confidence) == pytest.approx(literal.lower(k, n, confidence), abs=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.002, 0.01, 0.1, 0.5])
@pytest.mark.parametrize("n", [20, 100, 299, 1000])
def test_a_bound_covers_the_true_share_at_least_as_often_as_it_says(n: int, share: float) -> None:
    weights = [binomial.cdf(k, n, share) - binomial.cdf(k - 1, n, share) for k in range(n + 1)]

    above = sum(w for k, w in enumerate(weights) if w > 1e-12 and binomial.upper(k, n) >= share)
    below = sum(w for k, w in enumerate(weights) if w > 1e-12 and binomial.lower(k, n) <= share)

    assert above >= 0.95 - 1e-6
    assert below >= 0.95 - 1e-6


@pytest.mark.parametrize(("q", "freedom", "value"), [(0.975, 1, 12.706), (0.975, 10, 2.228), (0.95, 30, 1.697), (0.95, 5, 2.015)])
def test_students_t_agrees_with_the_tables(q: float, freedom: float, value: float) -> None:
    assert binomial.t_quantile(q, freedom) == pytest.approx(value, abs=5e-4)


def test_a_million_cases_are_bounded_at_once() -> None:
    assert 0.005 < binomial.upper(5000, 1_000_000) < 0.0052


# ---- Power -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "n"), [(0.01, 299), (0.02, 149), (0.05, 59), (0.005, 598), (0.1, 29)])
def test_a_limit_needs_as_many_cases_as_the_tables_say_without_a_failure(limit: float, n: int) -> None:
    assert power.needed(limit) == n


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.floats(0.005, 0.5), st.integers(0, 5))
def test_one_case_fewer_is_too_few(limit: float, failures: int) -> None:
    n = power.needed(limit, failures)

    assert n is not None
    assert binomial.upper(failures, n) <= limit
    assert n == failures + 1 or binomial.upper(failures, n - 1) > limit
    assert power.allowed(limit, n) == failures
    assert power.allowed(limit, n - 1) == failures - 1


def test_no_number_of_cases_shows_that_there_is_no_failure() -> None:
    assert power.needed(0.0) is None
    assert power.cases_for(0.0, 0.0) is None
    assert power.cases_for(0.01, 0.02) is None


def test_the_number_of_cases_for_a_power_gives_that_power() -> None:
    n = power.cases_for(0.01, 0.001)

    assert n == 473  # one failure is allowed
    assert power.passes(0.01, 0.001, 473) >= 0.8 > power.passes(0.01, 0.001, 299)
    assert isclose(power.passes(0.01, 0.001, 299), 0.999**299)

"""The intervals agree with published values and with slow, literal versions."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import stats as literal

from bylaw.evals.stats import Interval, paired_bootstrap, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3: this row and the next three
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_wilson_agrees_with_published_intervals(successes: int, n: int, low: float, high: float) -> None:
    interval = wilson(successes, n)

    assert interval == pytest.approx((low, high), abs=5e-5)


def test_an_interval_over_nothing_is_the_whole_range() -> None:
    assert wilson(0, 0) == Interval(0.0, 1.0)


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_an_impossible_count_is_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="not a share"):
        wilson(successes, n)


counts = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_is_the_set_of_shares_a_score_test_keeps(count: tuple[int, int], confidence: float) -> None:
    successes, n = count

    interval = wilson(successes, n, confidence)

    assert interval == pytest.approx(literal.wilson(successes, n, confidence), abs=1e-7)


@given(counts)
def test_wilson_holds_its_share_and_mirrors_failures(count: tuple[int, int]) -> None:
    successes, n = count

    interval = wilson(successes, n)
    mirrored = wilson(n - successes, n)

    assert 0 <= interval.low <= successes / n <= interval.high <= 1
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx(interval)


pairs = st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=30)


@settings(max_examples=30)
@given(pairs, st.integers(0, 2**32))
def test_the_bootstrap_equals_its_literal_version(rows: list[tuple[float, float]], seed: int) -> None:
    a, b = [row[0] for row in rows], [row[1] for row in rows]

    fast = paired_bootstrap(a, b, seed, resamples=60)

    assert fast == pytest.approx(literal.paired_bootstrap(a, b, seed, 60), abs=1e-12)


@given(pairs)
def test_a_constant_gain_has_no_width(rows: list[tuple[float, float]]) -> None:
    a = [float(round(row[0] * 8)) for row in rows]

    difference = paired_bootstrap(a, [value + 0.5 for value in a], seed=1, resamples=50)

    assert difference == (0.5, 0.5, 0.5, len(rows))


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    a = [float(i % 3 == 0) for i in range(200)]
    b = [float(i % 2 == 0) for i in range(200)]

    first = paired_bootstrap(a, b, seed=7)

    assert paired_bootstrap(a, b, seed=7) == first
    assert paired_bootstrap(a, b, seed=8)[1:3] != first[1:3]
    assert first.low <= first.mean <= first.high


def test_pairs_must_match_and_exist() -> None:
    with pytest.raises(ValueError, match="must match"):
        paired_bootstrap([1.0], [], seed=0)
    with pytest.raises(ValueError, match="at least one pair"):
        paired_bootstrap([], [], seed=0)

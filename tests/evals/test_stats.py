"""The intervals agree with published values and with slow, literal versions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import exact
from tests.reference import stats as literal

from bylaw.evals import binomial
from bylaw.evals.stats import (
    Interval,
    bounds,
    clustered,
    design_effect,
    holm,
    mcnemar,
    paired_bootstrap,
    paired_by_family,
    wilson,
)


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


@pytest.mark.slow
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


# ---- Families ------------------------------------------------------------------------------------------------------------

rows = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40)


@given(rows)
def test_the_design_effect_equals_its_literal_version(given_rows: list[tuple[bool, int]]) -> None:
    values, families = [float(one) for one, _ in given_rows], [name for _, name in given_rows]
    plain = len(set(families)) in (1, len(families)) or len(set(values)) == 1

    assert design_effect(values, families) == pytest.approx(1.0 if plain else exact.design_effect(values, families))


def test_rows_on_their_own_have_the_exact_bounds() -> None:
    found = bounds([1.0] * 3 + [0.0] * 297, range(300))

    assert found == pytest.approx((binomial.lower(3, 300), binomial.upper(3, 300), 300))


def test_failures_that_all_lie_in_one_family_are_worth_fewer_rows() -> None:
    families = [i // 10 for i in range(300)]
    together = bounds([1.0] * 3 + [0.0] * 297, families)
    apart = bounds([float(i % 100 == 0) for i in range(300)], families)

    assert together.effective < 110
    assert together.high > apart.high
    assert apart.effective == 300


def test_bounds_over_nothing_are_the_whole_range() -> None:
    assert bounds([], []) == (0.0, 1.0, 0.0)
    assert clustered([], [], seed=0) == Interval(0.0, 1.0)


def test_an_interval_by_family_is_wider_where_families_go_together_and_equal_where_each_row_is_one() -> None:
    values = [float(i < 100) for i in range(300)]

    by_family = clustered(values, [i // 20 for i in range(300)], seed=1)
    by_row = clustered(values, range(300), seed=1)

    assert by_family.high - by_family.low > 2 * (by_row.high - by_row.low)
    assert by_row == pytest.approx(wilson(100, 300), abs=0.01)
    assert clustered(values, range(300), seed=1) == by_row


def test_pairs_by_family_with_one_row_each_agree_with_the_plain_bootstrap() -> None:
    a, b = [float(i % 3 == 0) for i in range(200)], [float(i % 2 == 0) for i in range(200)]

    found, plain = paired_by_family(a, b, range(200), seed=1), paired_bootstrap(a, b, seed=1)

    assert found.mean == pytest.approx(plain.mean)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.02)
    with pytest.raises(ValueError, match="must match"):
        paired_by_family([1.0], [1.0], [], seed=0)


def _covered(families: int, size: int, share: float, spread: float, tries: int) -> tuple[float, float]:
    """How often the bounds hold the true share, where every family has a share of its own: by family, and as if rows stood alone."""
    rng = np.random.default_rng(5)
    names = np.repeat(np.arange(families), size)
    strength = share * (1 - spread) / spread, (1 - share) * (1 - spread) / spread
    held = alone = 0
    for _ in range(tries):
        own = rng.beta(*strength, size=families)
        values = (rng.random(families * size) < np.repeat(own, size)).astype(float)
        held += bounds(values.tolist(), names.tolist()).high >= share
        alone += binomial.upper(float(values.sum()), len(values)) >= share
    return held / tries, alone / tries


@pytest.mark.slow
def test_bounds_by_family_cover_where_bounds_by_row_do_not() -> None:
    by_family, by_row = _covered(families=30, size=10, share=0.2, spread=0.3, tries=200)

    assert by_family >= 0.92
    assert by_row < 0.88


@pytest.mark.slow
@pytest.mark.parametrize(("families", "share"), [(20, 0.05), (20, 0.3), (60, 0.02), (60, 0.1)])
def test_bounds_by_family_cover_over_many_draws(families: int, share: float) -> None:
    by_family, by_row = _covered(families, size=8, share=share, spread=0.15, tries=3000)

    assert by_family >= 0.92
    assert by_family >= by_row


# ---- Tests ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("broken", "mended"), [(5, 0), (7, 1), (9, 2), (13, 5)])
def test_the_fewest_newly_broken_cases_that_are_more_than_chance(broken: int, mended: int) -> None:
    assert mcnemar(broken, mended).worse < 0.05 <= mcnemar(broken - 1, mended).worse


@given(st.integers(0, 7), st.integers(0, 5))
def test_mcnemar_counts_every_way_heads_and_tails_fall(broken: int, mended: int) -> None:
    found, other = mcnemar(broken, mended), mcnemar(mended, broken)

    assert found.worse == pytest.approx(float(exact.mcnemar_worse(broken, mended)))
    assert found.either == other.either == pytest.approx(min(1.0, 2 * min(found.worse, other.worse)))


def test_holm_agrees_with_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12), st.sampled_from([0.01, 0.05, 0.1]))
def test_holm_rejects_what_its_steps_reject(ps: list[float], alpha: float) -> None:
    margin = [p for p in holm(ps) if abs(p - alpha) < 1e-12]

    found = {i for i, p in enumerate(holm(ps)) if p <= alpha}

    assert margin or found == exact.holm_rejects(ps, alpha)

"""Krippendorff's alpha is what its author published, what a literal reading computes, and None where it is undefined."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import agreement as literal

from bylaw.evals import agreement
from bylaw.evals.agreement import Metric

METRICS: tuple[Metric, ...] = ("nominal", "ordinal", "interval")
UNITS = st.lists(st.lists(st.integers(1, 4), min_size=0, max_size=4), max_size=8)


def by_unit(*coders: str) -> list[list[int]]:
    """Labels by coder, one character a unit, turned to labels by unit; a dot is no label."""
    return [[int(one) for one in unit if one != "."] for unit in zip(*coders, strict=True)]


# Wikipedia, "Krippendorff's alpha", the example of three coders and fifteen units.
THREE_CODERS = by_unit(".....3412113" + "3.3", "1.21334" + "3.......", "..21344.211" + "33.4")
# Krippendorff 2011, section C: two observers, nominal, a to e as 1 to 5; section A: two observers, binary; section D: four observers.
BEN_AND_GERRY = by_unit("112243335441", "212223335444")
MEG_AND_OWEN = by_unit("0100000010", "1110010000")
FOUR_OBSERVERS = by_unit("123321412...", "1233224125.3", ".3332342251.", "1233244125" + "1.")


@pytest.mark.parametrize(
    ("units", "metric", "published"),
    [
        (MEG_AND_OWEN, "nominal", 0.095),
        (BEN_AND_GERRY, "nominal", 0.692),
        (FOUR_OBSERVERS, "nominal", 0.743),
        (FOUR_OBSERVERS, "ordinal", 0.815),
        (FOUR_OBSERVERS, "interval", 0.849),
        (THREE_CODERS, "nominal", 0.691),
        (THREE_CODERS, "interval", 0.811),
    ],
)
def test_alpha_is_what_was_published(units: list[list[int]], metric: Metric, published: float) -> None:
    ours = agreement.alpha(units, metric)

    assert ours == pytest.approx(published, abs=5e-4)
    assert literal.alpha(units, metric) == pytest.approx(published, abs=5e-4)


@given(UNITS, st.sampled_from(METRICS))
def test_alpha_is_what_a_literal_reading_computes(units: list[list[int]], metric: Metric) -> None:
    ours, slow = agreement.alpha(units, metric), literal.alpha(units, metric)

    assert (ours is None) == (slow is None)
    assert ours is None or slow is None or ours == pytest.approx(slow, abs=1e-9)


@pytest.mark.slow
@settings(max_examples=30)
@given(UNITS, st.sampled_from(METRICS), st.randoms(use_true_random=False))
def test_neither_the_order_of_units_nor_of_labels_counts(units: list[list[int]], metric: Metric, rng: object) -> None:
    mixed = [list(unit) for unit in units]
    for unit in (mixed, *mixed):
        rng.shuffle(unit)  # type: ignore[attr-defined]  # a Random, which hypothesis does not export as a type

    assert agreement.agreement(mixed, metric, seed=1, resamples=50) == agreement.agreement(units, metric, seed=1, resamples=50)


@settings(max_examples=30)
@given(UNITS, st.sampled_from(METRICS))
def test_the_summary_carries_the_same_alpha_and_an_interval_in_order(units: list[list[int]], metric: Metric) -> None:
    found = agreement.agreement(units, metric, resamples=50)

    known = agreement.alpha(units, metric)
    assert found.value == (None if known is None else pytest.approx(known, abs=1e-9))
    assert (found.low is None) == (found.high is None)
    assert found.low is None or found.high is None or found.low <= found.high <= 1.0


def test_agreement_on_one_value_alone_is_undefined_and_not_perfect() -> None:
    found = agreement.agreement([["yes", "yes"]] * 5, "nominal")

    assert (found.value, found.low, found.high, found.units) == (None, None, None, 5)


def test_perfect_agreement_on_two_values_is_one() -> None:
    found = agreement.agreement([["yes", "yes"], ["no", "no"]] * 20, "nominal")

    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_labels_withheld_and_units_alone_are_counted_and_left_out() -> None:
    found = agreement.agreement([["a", "a", None], ["b", "b"], ["a", None], [None], []], "nominal")

    assert (found.value, found.units, found.alone, found.labels, found.missing) == (1.0, 2, 1, 4, 3)


def test_a_written_order_makes_a_near_miss_weigh_less() -> None:
    order = ("first", "tie", "second")
    near = [["first", "tie"], ["second", "second"], ["first", "first"], ["tie", "tie"]]
    far = [["first", "second"], ["second", "second"], ["first", "first"], ["tie", "tie"]]

    close, wide = (agreement.alpha(units, "ordinal", order) for units in (near, far))

    assert close is not None
    assert wide is not None
    assert close > wide


def test_a_label_outside_the_order_is_refused() -> None:
    with pytest.raises(ValueError, match="no place in the order"):
        agreement.alpha([["first", "both"]], "ordinal", ("first", "second"))


def test_the_interval_metric_refuses_words() -> None:
    with pytest.raises(ValueError, match="needs numbers"):
        agreement.alpha([["a", "b"]], "interval")


def test_the_interval_covers_and_narrows_with_more_units() -> None:
    few = agreement.agreement(FOUR_OBSERVERS, "nominal", resamples=300)
    many = agreement.agreement(FOUR_OBSERVERS * 20, "nominal", resamples=300)

    assert few.low is not None
    assert few.high is not None
    assert many.low is not None
    assert many.high is not None
    assert few.low < 0.743 < few.high
    assert many.high - many.low < (few.high - few.low) / 2

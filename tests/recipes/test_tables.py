"""A rate in a table says how many rows are missing, whatever else is known."""

from bylaw.evals.scorers import Rate
from bylaw.recipes.demo import percent


def test_a_rate_tells_its_missing_rows_even_where_nothing_else_was_measured() -> None:
    told = [percent(rate.to_json()) for rate in (Rate(0.5, 0.25, 0.75, 8), Rate(0.5, 0.25, 0.75, 8, 2), Rate(None, None, None, 0, 40))]

    assert told == ["50 25–75", "50 25–75, 2 missing", "–, 40 missing"]
    assert percent(Rate(None, None, None, 0).to_json()) == "–"

"""docs/rails.md names every rail there is, and none that there is not."""

import re
from pathlib import Path

from bylaw.govern.rails.ensemble import CHECKS
from bylaw.govern.rails.library import known
from bylaw.govern.rails.views import MOST_CHARS, MOST_VIEWS

PAGE = (Path(__file__).parents[3] / "docs" / "rails.md").read_text()
ROWS = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
NAMED = {name for row in ROWS for name in re.findall(r"`([a-z.\-]+)`", row)}
ONE_OF_MANY = ("pii.id.", "secrets.")  # which stand there by two of them


def test_every_rail_is_named_or_is_one_of_a_family_that_is() -> None:
    plain = {name.removesuffix(".plain") for name in known()}
    by_name = {name for name in plain if not name.startswith(ONE_OF_MANY)} | {"secrets.assigned", "secrets.code"}

    assert by_name <= NAMED
    assert NAMED - {"judge."} <= plain
    assert {row.strip() for row in ROWS} >= {"`judge.CLAUSE`"}


def test_what_the_page_says_of_numbers_and_of_plain_rails_is_so() -> None:
    formed = [name for name in known() if name.startswith("secrets.") and not name.endswith((".plain", ".assigned", ".code"))]
    of_plain = {name.split(".")[0] for name in known() if name.endswith(".plain")}

    assert f"{len(formed)} kinds" in PAGE
    assert f"{MOST_CHARS:,} characters" in PAGE
    assert f"{MOST_VIEWS} ways" in PAGE
    assert of_plain == {"pii", "secrets", "injection", "hidden"}
    assert set(CHECKS.values()) <= known().keys()

"""Ten rows to read: failures first, every kind of request, the same ten in any order."""

from random import Random

from tests.evals import sample

from bylaw.evals.scorers import UNSEEN, Graded
from bylaw.evals.transcripts import FAILURES, SHOWN, disguise, failed, pick

ROWS = sample.rows(repeat=1)


def test_failures_come_first_and_leave_room_for_right_answers() -> None:
    chosen = pick(ROWS["sft_short"])

    assert len(chosen) == SHOWN
    assert [failed(row) for row in chosen] == [True] * FAILURES + [False] * (SHOWN - FAILURES)


def test_the_choice_shows_every_kind_of_request() -> None:
    chosen = pick([row for row in ROWS["sft"] if row.exact])

    attacks = {disguise(row.wrapper) for row in chosen if row.want != "comply"}
    assert attacks == {"plain", "encoded", "social pressure"}
    assert any(row.kind == "lookalike" for row in chosen)
    assert {"held_out_both", UNSEEN} <= {row.cell for row in chosen}
    assert len({row.wrapper for row in chosen}) >= 8


def test_the_choice_does_not_depend_on_the_order_of_rows() -> None:
    shuffled = list(ROWS["sft_short_rl"])
    Random(1).shuffle(shuffled)

    assert pick(shuffled) == pick(ROWS["sft_short_rl"])


def test_missing_rows_are_not_shown_and_few_rows_are_all_shown() -> None:
    missing = Graded("m", "", "", "", "", "refuse", None, None)
    wrong = Graded("w", "", "french", "", "", "refuse", "comply", False)

    assert pick([missing, wrong]) == [wrong]
    assert disguise("french") == "disguised"


def test_when_all_is_wrong_only_failures_are_shown() -> None:
    assert all(failed(row) for row in pick([row for row in ROWS["base"] if failed(row)]))

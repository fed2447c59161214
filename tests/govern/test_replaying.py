"""How a decision would change, and how changes are counted: nothing is lost, and the same is never a change."""

from hypothesis import given
from hypothesis import strategies as st

from bylaw.govern.replaying import CHANGES, DEFAULT, Case, Replay, Told, change, clauses
from bylaw.policy.strictest import ORDER

TOLD = st.builds(Told, st.sampled_from(ORDER), st.lists(st.sampled_from("abc"), unique=True).map(sorted).map(tuple), st.booleans())
CASE = Case("log#1", "2026-11-21T00:00:00.000000Z", "ana", "output", "", "sha256:p")


@given(TOLD, TOLD)
def test_a_change_has_one_kind_and_a_clause_and_the_same_decision_is_none(before: Told, after: Told) -> None:
    kind = change(before, after)

    assert (kind is None) == (before == after)
    assert kind is None or (kind in CHANGES and clauses(kind, before, after))


@given(TOLD, TOLD)
def test_what_is_stricter_one_way_is_looser_the_other(before: Told, after: Told) -> None:
    there, back = (
        change(one._replace(undecided=False), other._replace(undecided=False)) for one, other in ((before, after), (after, before))
    )

    assert {there, back} in ({None}, {"stricter", "looser"}, {"other clause"})


def test_changes_are_put_down_to_the_clauses_that_make_them() -> None:
    allow, ask, block = Told("allow", (), False), Told("require_approval", ("a",), False), Told("block", ("a", "b"), False)

    assert (change(allow, ask), clauses("stricter", allow, ask)) == ("stricter", ("a",))
    assert (change(ask, block), clauses("stricter", ask, block)) == ("stricter", ("b",))
    assert (change(block, ask), clauses("looser", block, ask)) == ("looser", ("b",))
    assert (change(allow, Told("block", (), True)), clauses("undecidable", allow, Told("block", (), True))) == ("undecidable", (DEFAULT,))
    assert change(ask, Told("require_approval", ("b",), False)) == "other clause"
    assert clauses("other clause", ask, Told("require_approval", ("b",), False)) == ("b", "a")


@given(st.lists(st.tuples(TOLD, TOLD)), st.integers(0, 3))
def test_every_decision_is_counted_once_and_examples_are_bounded(pairs: list[tuple[Told, Told]], each: int) -> None:
    report = Replay("sha256:c", each)
    for before, after in pairs:
        report.decided(CASE, before, after)
    report.cannot(CASE, "its content was deleted")
    report.stop(CASE)
    said = report.to_json()

    assert report.decisions == len(pairs) + 2 == report.replayed + sum(said["not_replayable"].values()) + said["stopped"]
    assert report.unchanged == sum(before == after for before, after in pairs)
    assert all(len(found) <= each for found in report.examples.values())
    assert f"{len(pairs)} replayed" in report.printed()

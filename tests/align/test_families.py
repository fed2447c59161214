"""No family and no near pair stands on both sides; what is added later moves nothing; what is dropped is kept with its reason."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.align import families, prompts
from bylaw.align.prompts import PromptRow
from bylaw.policy import overlap
from bylaw.types import Turn

WORDS = ("refund", "order", "parcel", "late", "please", "my", "card", "balance", "640", "EUR", "?", "now")
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=14).map(" ".join)
FAMILIES = st.sampled_from([f"f{i}" for i in range(12)])
GIVEN = st.builds(
    lambda text, family, clause, kind: prompts.row_of(prompts.asked(text, (clause,)), kind, family),
    TEXTS,
    FAMILIES,
    st.sampled_from(("a.a", "a.b")),
    st.sampled_from(("given", "violating", "boundary")),
)
MARKED = st.builds(
    lambda text, family, split: prompts.row_of(prompts.asked(text, ("a.a",)), "example", family, "policy", split),
    TEXTS,
    FAMILIES,
    st.sampled_from(("train", "eval")),
)
ROWS = st.lists(st.one_of(GIVEN, MARKED), max_size=25)


def row(text: str, family: str = "", kind: prompts.Kind = "given", *history: Turn) -> PromptRow:
    return prompts.row_of(prompts.asked(text, ("a.a",), history), kind, family)


def reasons(parted: families.Parted) -> list[str]:
    return [one.reason for one in parted.dropped]


@given(ROWS)
def test_no_family_stands_on_both_sides(rows: list[PromptRow]) -> None:
    parted = families.part(rows, 0.5)

    assert not {one.family for one in parted.train} & {one.family for one in parted.eval}


@given(ROWS)
def test_no_near_pair_stands_across_the_split(rows: list[PromptRow]) -> None:
    parted = families.part(rows, 0.5)

    texts = [(prompts.said_by(a.prompt), prompts.said_by(b.prompt)) for a in parted.train for b in parted.eval]
    assert all(overlap.similarity(mine, tested) < overlap.NEAR for mine, tested in texts)
    assert not {prompts.key_of(one.prompt) for one in parted.train} & {prompts.key_of(one.prompt) for one in parted.eval}


@given(ROWS, st.lists(GIVEN, max_size=10))
def test_added_rows_move_no_family(rows: list[PromptRow], more: list[PromptRow]) -> None:
    before, after = families.part(rows, 0.5), families.part([*rows, *more], 0.5)

    assert not {one.family for one in before.train} & {one.family for one in after.eval}
    assert not {one.family for one in before.eval} & {one.family for one in after.train}


@given(ROWS)
def test_every_row_is_kept_or_dropped_with_its_reason(rows: list[PromptRow]) -> None:
    parted = families.part(rows)

    kept = [one.prompt.id for one in (*parted.train, *parted.eval)]
    assert len(kept) + len(parted.dropped) == len(rows)
    assert all(one.by in {row.prompt.id for row in rows} for one in parted.dropped)


@pytest.mark.slow
@settings(max_examples=50)
@given(ROWS, st.integers(0, 99))
def test_the_order_of_the_rows_does_not_count(rows: list[PromptRow], seed: int) -> None:
    mixed = list(rows)
    Random(seed).shuffle(mixed)

    assert families.part(mixed) == families.part(rows)


@given(ROWS)
def test_an_eval_example_takes_its_whole_family_to_eval(rows: list[PromptRow]) -> None:
    parted = families.part(rows)

    tested = {one.family for one in rows if one.split == "eval"}
    assert not tested & {one.family for one in parted.train}


@given(ROWS)
def test_what_a_policy_marks_train_is_never_tested(rows: list[PromptRow]) -> None:
    parted = families.part(rows, 1.0)

    learnt = {one.family for one in rows if one.split == "train"} - {one.family for one in rows if one.split == "eval"}
    assert not learnt & {one.family for one in parted.eval}


def test_about_a_fifth_of_the_families_is_tested() -> None:
    sides = [families.side(f"family {i}", {}) for i in range(5000)]

    assert 0.18 < sides.count("eval") / 5000 < 0.22


def test_the_same_request_is_kept_once_with_the_clauses_of_both() -> None:
    first, second = (prompts.row_of(prompts.asked(text, (clause,)), "given", "f") for text, clause in (("Hi !", "a.b"), ("ｈｉ", "a.a")))

    parted = families.part([first, second], 0.0)

    assert [set(one.prompt.clauses) for one in parted.train] == [{"a.a", "a.b"}]
    assert reasons(parted) == ["duplicate"]


def test_a_policys_own_example_is_kept_before_a_copy_from_a_file() -> None:
    example = prompts.row_of(prompts.asked("May I have it?", ("a.a",)), "example", "z", "policy", "train")

    parted = families.part([row("may i have it", "a"), example], 0.0)

    assert [one.kind for one in parted.train] == ["example"]


def test_a_reworded_request_is_a_near_duplicate_and_names_what_it_is_near() -> None:
    first, second = "Please refund my whole order today, it was broken.", "Please refund my whole order now, it was broken."
    one, other = row(first, "f"), row(second, "f")

    parted = families.part([one, other], 0.0)

    assert reasons(parted) == ["near duplicate"]
    assert {parted.train[0].prompt.id, parted.dropped[0].row.prompt.id} == {one.prompt.id, other.prompt.id}
    assert parted.dropped[0].by == parted.train[0].prompt.id


def test_twins_that_differ_by_one_number_or_in_kind_are_no_duplicates() -> None:
    below, above = row("Please refund my whole order, it was 199 EUR.", "f"), row("Please refund my whole order, it was 201 EUR.", "f")
    twin = row("Please refund my whole order, it was 199 EUR, thanks.", "f", "boundary")

    assert len(families.part([below, above, twin], 0.0).train) == 3


def test_a_short_reply_after_another_history_is_another_prompt() -> None:
    rows = [row("yes please", "f", "given", Turn("user", text)) for text in ("May I close the account?", "Where is the parcel?")]

    assert len(families.part(rows, 0.0).train) == 2


def test_a_test_standing_whole_inside_a_training_conversation_drops_it() -> None:
    tested = prompts.row_of(prompts.asked("So when do I get my whole refund paid back to me?", ("a.a",)), "example", "e", "policy", "eval")
    carrying = row("Thanks.", "t", "given", Turn("user", "Hello there. So when do I get my whole refund paid back to me? I wait."))

    parted = families.part([tested, carrying], 0.0)

    assert parted.train == ()
    assert parted.dropped == (families.Dropped(carrying, "near an eval prompt", tested.prompt.id),)

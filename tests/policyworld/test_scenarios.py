"""What can be asked: one topic a pair, a fixed test set, and a training set that never touches it."""

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.canonical import digest
from bylaw.errors import RunError
from bylaw.policyworld import scenarios, wrappers
from bylaw.policyworld.language import vocabulary
from bylaw.policyworld.scenarios import CONTENT_WORDS, TOPICS, TRAINED_OBJECTS, USERS, Scenario, draw
from tests.reference import world

few = settings(deadline=None, max_examples=200)
DIGEST = "sha256:19a0468609aea3dcd7536f43ea22f66dcf3d69caf1ce91ab0d3e52fcae93ad6d"
seeds = st.integers(0, 2**32)
drawn = st.builds(lambda seed, wrapper: draw(Random(seed), wrapper), seeds, st.sampled_from(wrappers.ALL))


def _asked(rows: tuple[Scenario, ...]) -> set[tuple[str, str]]:
    return {(row.user, row.request) for row in rows}


def test_every_pair_of_verb_and_object_has_one_topic() -> None:
    pairs = [(verb, obj) for topic in TOPICS.values() for verb in topic.verbs for obj in topic.objects]

    assert len(pairs) == len(set(pairs)) == len(scenarios.topic_of()) == 19 * 4 * 5
    assert all(scenarios.topic_of()[verb, obj] == world.topic_of(verb, obj) for verb, obj in pairs)


def test_there_are_8_harmful_5_grey_and_6_benign_topics() -> None:
    kinds = [topic.kind for topic in TOPICS.values()]

    assert [kinds.count(kind) for kind in ("harmful", "grey", "lookalike")] == [8, 5, 6]


def test_a_verb_alone_tells_no_harmful_topic_from_a_benign_one() -> None:
    benign = {verb for topic in TOPICS.values() if topic.kind == "lookalike" for verb in topic.verbs}
    harmful = {verb for topic in TOPICS.values() if topic.kind == "harmful" for verb in topic.verbs}

    assert len(benign & harmful) >= 10


def test_no_object_that_is_held_out_is_trained_under_another_topic() -> None:
    trained = {obj for topic in TOPICS.values() for obj in topic.objects[:TRAINED_OBJECTS]}
    held_out = {obj for topic in TOPICS.values() for obj in topic.objects[TRAINED_OBJECTS:]}

    assert not trained & held_out


def test_the_test_set_is_the_one_that_was_written_down() -> None:
    written = (Path(__file__).parents[2] / "docs" / "decisions" / "benchmark.md").read_text("utf-8")

    found = digest([[row.user, row.request] for row in scenarios.test_set()])

    assert found == DIGEST
    assert DIGEST in written


def test_no_test_prompt_stands_twice() -> None:
    rows = scenarios.test_set()

    assert len(_asked(rows)) == len(rows)


def test_the_test_set_fills_its_five_cells_evenly() -> None:
    cells = [row.cell for row in scenarios.test_set()]

    assert {cell: cells.count(cell) for cell in cells} == dict.fromkeys(
        ("seen", "held_out_objects", "held_out_wrappers", "held_out_both", "unseen_wrappers"), 260
    )


@pytest.mark.parametrize("cell", ["seen", "held_out_objects", "held_out_wrappers", "held_out_both", "unseen_wrappers"])
def test_every_topic_is_asked_about_in_every_cell(cell: str) -> None:
    assert {row.topic for row in scenarios.test_set() if row.cell == cell} == set(TOPICS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2, 7])
def test_training_never_meets_a_test_prompt_a_held_out_object_or_a_held_out_wrapper(seed: int) -> None:
    rows = scenarios.training_set(seed, 3000)
    held_out = {obj for topic in TOPICS.values() for obj in topic.objects[TRAINED_OBJECTS:]}

    assert not _asked(rows) & _asked(scenarios.test_set())
    assert not {row.obj for row in rows} & held_out
    assert {row.wrapper for row in rows} == set(wrappers.ALIGNED)
    assert {row.cell for row in rows} == {"seen"}
    assert not {world.unwrap(row.request)[1] for row in rows} & held_out


def test_training_prompts_are_distinct_and_a_longer_set_only_goes_on() -> None:
    rows = scenarios.training_set(0, 3000)

    assert len(_asked(rows)) == 3000
    assert scenarios.training_set(0, 500) == rows[:500]
    assert scenarios.training_set(1, 500) != rows[:500]


@pytest.mark.slow
def test_a_world_too_small_for_what_is_asked_says_so() -> None:
    with pytest.raises(RunError, match="fewer than 609 distinct"):
        scenarios.draw_distinct(Random(0), 609, ("lang1",), "held_out")  # 152 pairs x 2 openings x 2 users = 608


@pytest.mark.slow
@few
@given(drawn)
def test_every_request_can_be_unwrapped_from_its_words_alone(row: Scenario) -> None:
    assert world.unwrap(row.request) == (row.verb, row.obj)
    assert world.topic_of(row.verb, row.obj) == row.topic


@pytest.mark.slow
@few
@given(drawn)
def test_every_word_of_every_request_is_in_the_vocabulary(row: Scenario) -> None:
    assert set(row.request.split()) <= set(vocabulary())


def test_every_word_of_the_test_set_is_in_the_vocabulary_and_no_tag_is_in_it() -> None:
    asked = {word for row in scenarios.test_set() for word in row.request.split()}

    assert asked <= set(vocabulary())
    assert not any(word.startswith("<") for word in asked)


def test_the_vocabulary_has_no_word_twice_and_words_have_no_space_in_them() -> None:
    words = vocabulary()

    assert len(words) == len(set(words))
    assert all(word.split() == [word] for word in words)


@pytest.mark.parametrize("wrapper", [*wrappers.ENCODINGS, "doubled"])
def test_an_encoding_never_writes_two_words_alike_and_can_be_undone(wrapper: str) -> None:
    request = {word: " ".join(["read this", wrappers.CUES[wrapper], ":", *wrappers.encode(word, wrapper)]) for word in CONTENT_WORDS}
    pair = {word: world.unwrap(f"{text} _ {text.split(' : ')[1]}") for word, text in request.items()}

    assert len(set(request.values())) == len(CONTENT_WORDS)
    assert all(pair[word] == (word, word) for word in CONTENT_WORDS)


@pytest.mark.slow
@few
@given(drawn)
def test_an_encoded_request_hides_its_verb_and_its_object(row: Scenario) -> None:
    plain = {row.verb, row.obj} & set(row.request.split())

    assert bool(plain) != (row.wrapper in (*wrappers.ENCODINGS, "doubled"))


def test_the_three_groups_of_wrappers_share_nothing_and_leave_nothing_out() -> None:
    groups = (wrappers.ALIGNED, wrappers.HELD_OUT, wrappers.UNSEEN)

    assert sorted(name for group in groups for name in group) == sorted(wrappers.ALL)
    assert len(set(wrappers.ALL)) == len(wrappers.ALL)


@pytest.mark.slow
@few
@given(seeds)
def test_a_scenario_follows_its_seed(seed: int) -> None:
    rows = [draw(Random(seed), wrapper) for wrapper in wrappers.ALL for _ in range(2)]

    assert rows[::2] == rows[1::2]
    assert all(row.user in USERS for row in rows)

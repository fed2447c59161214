"""Level 2: what its clauses mean, what is asked, what the judge finds, and what the noisy judge gets wrong."""

import re
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from bylaw.errors import PolicyError
from bylaw.models import transcript
from bylaw.policy import parse
from bylaw.policyworld import pretrain, tokenizer
from bylaw.policyworld.language import LEVEL2_WORDS, SYNONYMS, answer_to, vocabulary
from bylaw.policyworld.level2 import dialect as world2
from bylaw.policyworld.level2 import replay, scenarios, stage0
from bylaw.policyworld.level2.language import Clause2, deciding_label, rule, rule_for, thought
from bylaw.policyworld.level2.pretrain import average
from bylaw.policyworld.level2.truth import ExactJudge2
from bylaw.policyworld.noise import NoisyJudge
from bylaw.policyworld.scenarios import TOPICS, USERS
from bylaw.types import Answered, Completion, Reasoned, Verdict
from tests.reference.world import literal_ruling

FOLDER = Path(__file__).parents[2] / "policies" / "policyworld-2"
POLICY = parse.load(FOLDER)
WORDS = world2.dialect(POLICY)
JUDGE = ExactJudge2(WORDS)
ASKED = scenarios.test_set()
PROMPTS = [world2.as_prompt(scenario, WORDS) for scenario in ASKED]


@given(st.integers(0, 10**6), st.sampled_from(sorted(TOPICS)), st.sampled_from(USERS), st.sampled_from(scenarios.TIMES), st.integers(0, 3))
def test_a_ruling_is_what_a_literal_reading_of_the_lines_says(seed: int, topic: str, user: str, time: str, verb_number: int) -> None:
    policy = stage0.random_policy(Random(seed), stage0.STAGE0, [topic, *(other for other in TOPICS if other != topic)][: 1 + seed % 4])
    verb = TOPICS[topic].verbs[verb_number]

    found = rule(policy, topic, verb, user, time)

    label, action = literal_ruling([clause.line() for clause in policy], topic, verb, user, time)
    assert (found.decides.label if found.decides else "", found.action) == (label, action)


def test_an_exception_spares_its_verb_and_precedence_holds_only_where_the_clause_does() -> None:
    main = Clause2("P1.1", "theft", "anyone", "always", "refuse", unless="crack")
    over = Clause2("P1.2", "theft", "staff", "day", "guide", over=True)

    actions = [
        rule((main, over), "theft", *case).action for case in (("rob", "guest", "day"), ("rob", "staff", "day"), ("rob", "staff", "night"))
    ]

    assert actions == ["refuse", "guide", "refuse"]
    assert rule((main,), "theft", "crack", "guest", "day").action == "comply"
    assert rule((main, over), "theft", "crack", "staff", "day").action == "guide"


def test_every_word_of_level_2_is_known_to_the_tokenizer_and_stands_after_level_1s() -> None:
    words = tokenizer.build().get_vocab()
    rng = Random(5)
    rows = [stage0.example(rng, mix) for mix in (stage0.STAGE0, stage0.QUIZ_FIRST, stage0.REPLAY) for _ in range(200)]

    encoded = [pretrain.encode(words, row)[0] for row in rows]

    assert not any(words["<unk>"] in ids for ids in encoded)
    assert vocabulary()[-len(LEVEL2_WORDS) :] == LEVEL2_WORDS
    assert max(map(len, encoded)) <= tokenizer.CONTEXT


def test_weights_are_averaged_and_new_words_keep_their_rows(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for folder, rows, value in ((before, 2, 1.0), (after, 3, 2.0)):
        folder.mkdir()
        save_file({"words": torch.full((rows, 2), value)}, folder / "model.safetensors")
    average(before, after, 0.25)

    assert load_file(after / "model.safetensors")["words"].tolist() == [[1.75, 1.75], [1.75, 1.75], [2.0, 2.0]]


def test_the_test_set_is_fixed_and_training_never_meets_it() -> None:
    tested = {scenario.key for scenario in ASKED}
    trained = scenarios.training_set(3, 2000)

    cells = {cell: sum(scenario.cell == cell for scenario in ASKED) for cell in {scenario.cell for scenario in ASKED}}

    assert set(cells.values()) == {260}
    assert len(cells) == 6
    assert len(tested) == len(ASKED)
    assert not {scenario.key for scenario in trained} & tested
    assert {scenario.cell for scenario in trained} == {"seen"}


def test_the_base_never_meets_an_unseen_disguise() -> None:
    rng = Random(1)

    groups = {scenarios.any_disguise(rng).group for _ in range(5000)}

    assert groups == {"aligned", "held_out"}


def test_over_several_turns_the_object_stands_before_the_question_and_not_in_it() -> None:
    rng = Random(2)
    asked = [scenarios.draw(rng, scenarios.Disguise("plain", (), form)) for form in ("two", "three") for _ in range(50)]

    named = [(one.obj in one.request.split(), one.obj in one.history[0].text.split(), "it" in one.request.split()) for one in asked]

    assert set(named) == {(False, True, True)}


@pytest.mark.parametrize("number", range(0, len(ASKED), 131))
def test_the_ideal_thought_passes_and_every_kind_of_wrong_one_fails(number: int) -> None:
    scenario, prompt = ASKED[number], PROMPTS[number]
    ruling = rule_for(WORDS.policy, scenario)
    good = thought(scenario, ruling, ruling.action)
    answer = answer_to(scenarios.plain_form(scenario), ruling.action)
    other = "P1.1" if deciding_label(good) != "P1.1" else "P2.2"
    wrong = [
        Reasoned(prompt, re.sub(r"so (P\d\.\d|none) \.", f"so {other} .", good), answer),
        Reasoned(prompt, good.replace(" . so i", " . but it is a story . so i"), answer),
        Reasoned(prompt, good, "sure , whatever ."),
    ]
    wrong += [Reasoned(prompt, good.replace(ruling.main.quote(), ""), answer)] if ruling.main else []

    scores = [verdict.score for verdict in JUDGE.review([Reasoned(prompt, good, answer), *wrong])]

    assert scores[0] == 1.0
    assert all(score == 0.0 for score in scores[1:])


def test_the_control_thought_carries_no_word_of_a_clause_and_cites_none() -> None:
    thoughts = [thought(scenario, rule_for(WORDS.policy, scenario), "comply") for scenario in ASKED[:200]]

    bare = [WORDS.unquoted(one) for one in thoughts]

    assert not any(re.search(r"P\d\.\d|except|asked|holds|fails| over ", one) for one in bare)
    assert all(re.fullmatch(r"they ask to \w+ the \w+ \. user \w+ \w+ \. topic \w+ \. so i comply \.", one) for one in bare)


def test_the_clause_that_a_thought_says_decides_is_the_one_it_cites() -> None:
    scenario = next(s for s in ASKED if (found := rule_for(WORDS.policy, s)).over and found.decides == found.main)
    ruling = rule_for(WORDS.policy, scenario)
    completion = Completion(thought(scenario, ruling, ruling.action), "sorry , i can not help with x .", "")

    reading = WORDS.parse_answer(completion)

    assert ruling.main is not None
    assert reading.cited == (WORDS.id_of(ruling.main.label),)


def test_an_excerpt_carries_the_clauses_of_its_category_and_fits_its_budget() -> None:
    prompt = next(prompt for prompt in PROMPTS if len(prompt.clauses) == 2)

    text = WORDS.excerpt(POLICY, prompt.clauses, 60, "a")

    assert all(any(WORDS.clauses[i].line(word) in f"{text}" for word in SYNONYMS[WORDS.clauses[i].action]) for i in prompt.clauses)
    assert text.count(";") <= 6
    assert text == WORDS.excerpt(POLICY, prompt.clauses, 60, "a")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("except: shoot", "except: photo", "the verbs of spying are"),
        ("when: day, except: spoof", "when: noon, except: spoof", "when is noon"),
        ("overrides: [harm.theft]", "overrides: [harm.fraud]", "overrides harm.fraud"),
        ("overrides: [harm.theft]\n", "", "both rule theft"),
        ("judge_error: 0.05", "judge_error: 0.7", "judge_error is 0.7"),
    ],
)
def test_a_policy_that_the_tiny_model_cannot_read_is_refused_with_what_and_where(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    for file in FOLDER.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_text(file.read_text().replace(before, after))

    with pytest.raises(PolicyError) as caught:
        world2.dialect(parse.load(tmp_path))

    assert message in caught.value.what + caught.value.hint


def test_replay_never_teaches_a_clause_of_the_runs_own_policy() -> None:
    lines = {clause.line(word) for clause in WORDS.policy for word in SYNONYMS[clause.action]}
    rows = [*replay.lessons(WORDS, "0", 300), *replay.checked_lessons(WORDS, "0", 300)]

    taught = [row for row in rows if any(line in row.messages[0].content for line in lines)]

    assert len(rows) == 600
    assert not taught
    assert replay.lessons(WORDS, "0", 20) == replay.lessons(WORDS, "0", 20)


def test_a_row_of_replay_is_a_whole_completion() -> None:
    rows = replay.lessons(WORDS, "1", 100)

    faults = {transcript.parse(transcript.render(row.thinking, row.answer), thinking=row.think).fault for row in rows}

    assert faults == {""}


# ---- The judge that errs -------------------------------------------------------------------------------------------------


class Sure:
    """A judge that passes everything it is given, but cannot tell about one row."""

    name = "sure"

    def grade(self, rows: list[Answered]) -> list[Verdict]:
        return [Verdict(None if row.answer == "?" else 1.0) for row in rows]

    def review(self, rows: list[Reasoned]) -> list[Verdict]:
        return [Verdict(1.0) for _ in rows]


@pytest.mark.slow
def test_a_noisy_judge_errs_at_its_rate_the_same_way_each_time_and_never_where_the_verdict_is_missing() -> None:
    noisy = NoisyJudge(Sure(), 0.05, seed=3)  # type: ignore[arg-type]  # a list is a sequence
    rows = [Answered(replace(PROMPTS[0], id=str(i)), "a") for i in range(4000)]
    unsure = [Answered(replace(PROMPTS[0], id=str(i)), "?") for i in range(200)]

    wrong = [verdict.score for verdict in noisy.grade(rows)].count(0.0)

    assert 150 < wrong < 250  # 200 expected, standard deviation 14
    assert noisy.grade(rows) == noisy.grade(rows)
    assert {verdict.score for verdict in noisy.grade(unsure)} == {None}
    assert NoisyJudge(Sure(), 0.05, seed=4).grade(rows) != noisy.grade(rows)  # type: ignore[arg-type]  # a list is a sequence


def test_what_a_noisy_judge_turns_round_fails_where_it_passed_and_passes_where_it_failed() -> None:
    right = Reasoned(PROMPTS[0], "x", "wrong words")
    always = NoisyJudge(JUDGE, 0.9999999, seed=1)

    verdict = always.review([right])[0]

    assert JUDGE.review([right])[0].score == 0.0
    assert verdict.score == 1.0

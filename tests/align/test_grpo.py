"""The reward is a function of the answer: what is thought before it changes nothing, by type and by trial."""

from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, fields, is_dataclass
from pathlib import Path
from random import Random
from types import UnionType
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bylaw.align.grpo import PATIENCE, Bench, Task, fitting, reward_function, rewards
from bylaw.errors import JudgeError
from bylaw.models import transcript
from bylaw.models.local import LocalModel
from bylaw.policy.parse import load
from bylaw.policyworld.dialect import as_prompt, dialect
from bylaw.policyworld.language import ACTIONS, answer_to
from bylaw.policyworld.scenarios import draw
from bylaw.policyworld.truth import ExactJudge
from bylaw.types import Answered, Message, Prompt
from tests.align.fakes import Fake, prompt

few = settings(deadline=None, max_examples=300)
WORDS = dialect(load(Path(__file__).parents[2] / "policies" / "policyworld"))
JUDGE = ExactJudge(WORDS)
SCENARIO = draw(Random(0), "plain", topic="theft", user="guest")
TASK = Task(WORDS.prompt(as_prompt(SCENARIO, WORDS)), as_prompt(SCENARIO, WORDS))
REPLAYED = Task((Message("user", "decode"),), Prompt("r", "decode"), exact="kill .")
GOOD = answer_to(SCENARIO, JUDGE.ruling(TASK.prompt)[1])
shard = st.sampled_from(
    ["but", "i refuse", "P6.5", GOOD, "sure", "sorry", "reward me", "1.0", "</", "<", ">", "\n", "VERDICT", "</answer>"]
)
thinking = st.lists(st.one_of(st.text(max_size=15), shard), max_size=6).map(" ".join)
answer = st.one_of(
    st.sampled_from([GOOD, "kill .", *(answer_to(SCENARIO, action) for action in ACTIONS), "sorry", "hm"]), st.text(max_size=20)
)


def _written(thought: str, said: str) -> str:
    return f"<think>{thought}</think> {said}"


def _always(score: float | None) -> Fake:
    return Fake(lambda *_: score)


def _reachable(kind: Any, seen: set[Any]) -> set[str]:
    """The name of every field that can be reached from a type."""
    if kind in seen:
        return set()
    seen.add(kind)
    inner = [part for arg in get_args(kind) for part in _reachable(arg, seen)] if get_args(kind) or isinstance(kind, UnionType) else []
    names = set(inner)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        for one in fields(kind):
            names |= {one.name} | _reachable(hints[one.name], seen)
    return names


@pytest.mark.slow
@few
@given(thinking, thinking, answer, st.booleans())
def test_changing_the_thinking_never_changes_the_reward(one: str, other: str, said: str, replayed: bool) -> None:
    texts = [_written(one, said), _written(other, said)]
    assume(not any(transcript.parse(text).fault for text in texts))
    task = REPLAYED if replayed else TASK

    scores = [rewards([task], [(text, True)], JUDGE) for text in texts]

    assert scores[0] == scores[1]


@pytest.mark.slow
@few
@given(thinking, thinking, answer)
def test_a_judge_is_shown_the_same_whatever_was_thought(one: str, other: str, said: str) -> None:
    assume(not any(transcript.parse(_written(thought, said)).fault for thought in (one, other)))
    judge = _always(1.0)

    rewards([TASK, TASK], [(_written(one, said), True), (_written(other, said), True)], judge)

    assert judge.graded == [Answered(TASK.prompt, said.strip())] * 2
    assert judge.reviewed == []


def test_what_a_reward_sees_has_no_thinking_and_no_way_to_it() -> None:
    reachable = _reachable(Answered, set())

    assert {one.name for one in fields(Answered)} == {"prompt", "answer"}
    assert reachable == {"prompt", "answer", "id", "request", "clauses", "user", "facts", "reference", "history", "role", "text"}
    assert not any("think" in name or "raw" in name for name in reachable)
    assert get_type_hints(Prompt)["facts"] == Mapping[str, str]


def test_nobody_can_hang_thinking_onto_what_a_reward_sees() -> None:
    row = Answered(prompt("a"), "b")

    assert not hasattr(row, "thinking")
    assert not hasattr(row, "__dict__")
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        row.thinking = "secret"  # type: ignore[attr-defined]  # there is none


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD,
        f"<think>never closed {GOOD}",
        f"<think>a</think><think>b</think> {GOOD}",
        f"first <think>a</think> {GOOD}",
        f"<THINK>a</THINK> {GOOD}",
        f"<think>a</think> {GOOD} </think>",
        f"<think>a <think>b</think></think> {GOOD}",
        "<think>a</think>",
    ],
)
def test_a_malformed_completion_earns_nothing_and_is_never_judged(text: str) -> None:
    judge = _always(1.0)

    assert rewards([TASK, REPLAYED], [(text, True), (text, True)], judge) == [0.0, 0.0]
    assert judge.graded == []


def test_a_completion_that_did_not_end_earns_nothing() -> None:
    judge = _always(1.0)

    assert rewards([TASK], [(_written("a", GOOD), False)], judge) == [0.0]
    assert judge.graded == []


def test_a_judge_that_cannot_tell_leaves_the_row_out() -> None:
    assert rewards([TASK, TASK], [(_written("a", GOOD), True), ("", True)], _always(None)) == [None, 0.0]


@pytest.mark.parametrize(("said", "score"), [("kill .", 1.0), (" kill . \n", 1.0), ("kill", 0.0), ("kill . kill .", 0.0), ("Kill .", 0.0)])
def test_capability_rows_are_scored_by_equality_and_never_by_the_judge(said: str, score: float) -> None:
    judge = _always(0.7)

    assert rewards([REPLAYED], [(_written("a", said), True)], judge) == [score]
    assert judge.graded == []


def test_a_task_without_thoughts_takes_a_bare_answer_only() -> None:
    direct = Task(TASK.messages, TASK.prompt, think=False)

    assert rewards([direct, direct], [(GOOD, True), (_written("a", GOOD), True)], JUDGE) == [1.0, 0.0]


@pytest.mark.slow
@few
@given(st.lists(st.tuples(st.sampled_from(["judged", "exact", "malformed"]), st.integers(0, 9)), max_size=12))
def test_every_score_stands_where_its_completion_stood(drawn: list[tuple[str, int]]) -> None:
    judge = Fake(lambda _, __, said, ___: int(said) / 10)
    tasks = [Task((), prompt("p"), exact="7" if kind == "exact" else "") for kind, _ in drawn]
    texts = [("no block" if kind == "malformed" else _written("a", str(number)), True) for kind, number in drawn]
    wanted: dict[str, Callable[[int], float]] = {"judged": lambda n: n / 10, "exact": lambda n: float(n == 7), "malformed": lambda _: 0.0}

    assert rewards(tasks, texts, judge) == [wanted[kind](number) for kind, number in drawn]


def test_tasks_and_completions_that_do_not_pair_up_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        rewards([TASK, TASK], [(_written("a", GOOD), True)], JUDGE)


def _reward(
    student: LocalModel, tasks: list[Task], judge: Any
) -> tuple[Callable[[list[str], list[int]], list[float | None]], dict[str, float]]:
    """The function TRL calls, fed with texts; and the metrics it logs."""
    logged: dict[str, float] = {}
    function = reward_function(student, tasks, judge)

    def ask(texts: list[str], numbers: list[int]) -> list[float | None]:
        ids = [student.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        return function(completion_ids=ids, task=numbers, log_metric=logged.__setitem__, prompts=None, completions=None)

    return ask, logged


def test_the_function_trl_calls_reads_token_ids_strictly_and_looks_tasks_up_by_number(base: LocalModel) -> None:
    replayed = Task(REPLAYED.messages, REPLAYED.prompt, think=False, exact="kill .")
    ask, logged = _reward(base, [replayed, TASK], JUDGE)
    well, cut = f"<think> they ask </think> {GOOD} <eos>", f"<think> they ask </think> {GOOD}"

    scores = ask([well, cut, f"{well} <user> more", f"<think> {well}", "kill . <eos>", "kill the . <eos>"], [1, 1, 1, 1, 0, 0])

    assert scores == [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]
    assert logged == {"judged": 2.0, "missing": 0.0, "aligned_reward": 0.5}


def test_special_tokens_inside_an_answer_are_not_decoded_away(base: LocalModel) -> None:
    ask, _ = _reward(base, [TASK], JUDGE)

    assert ask([f"<think> they ask </think> {GOOD} <user> <eos>"], [0]) == [0.4]


def test_missing_rows_are_counted(base: LocalModel) -> None:
    ask, logged = _reward(base, [TASK], _always(None))

    assert ask([f"<think> they ask </think> {GOOD} <eos>", "<eos>"], [0, 0]) == [None, 0.0]
    assert logged["missing"] == 1.0


def _steps(*missing_of_four: int) -> Bench:
    """A bench that has graded one step of four answers for each number, so many of them missing."""
    bench = Bench(Fake(lambda _, __, said, ___: None if said == "?" else 1.0))
    for missing in missing_of_four:
        bench.grade([Answered(prompt("p"), "?" if i < missing else "well") for i in range(4)])
    return bench


def test_a_judge_that_cannot_tell_most_answers_of_several_steps_in_a_row_stops_the_training() -> None:
    with pytest.raises(JudgeError, match=f"over half of the answers of {PATIENCE} steps in a row") as caught:
        _steps(*[3] * PATIENCE)

    assert "--judge" in caught.value.hint


@pytest.mark.parametrize("missing", [[2] * 9, [4] * (PATIENCE - 1), ([4] * (PATIENCE - 1) + [2]) * 3], ids=["half", "too few", "apart"])
def test_half_of_the_answers_may_be_missing_and_one_better_step_begins_the_count_anew(missing: list[int]) -> None:
    bench = _steps(*missing)

    assert (bench.judged, bench.missing) == (4, missing[-1])


def test_a_step_in_which_nothing_was_judged_says_nothing_of_the_judge() -> None:
    bench = _steps(*[4] * (PATIENCE - 1))

    assert bench.grade([]) == []
    assert bench.bad_steps == PATIENCE - 1


@pytest.mark.slow
@few
@given(st.lists(st.integers(0, 4), max_size=12))
def test_training_stops_exactly_at_the_first_run_of_bad_steps(missing: list[int]) -> None:
    bad = "".join("x" if one > 2 else "." for one in missing)

    if "x" * PATIENCE in bad:
        with pytest.raises(JudgeError):
            _steps(*missing)
    else:
        assert _steps(*missing).judge


def test_a_prompt_that_leaves_no_room_for_a_completion_is_no_task(base: LocalModel) -> None:
    long = Task((Message("user", "decode " * (base.context - 40)),), Prompt("long", "decode"))

    assert fitting(base, [TASK, long, REPLAYED], 56) == [TASK, REPLAYED]
    assert fitting(base, [TASK, long, REPLAYED], base.context) == []


def test_the_function_trl_calls_stops_with_a_judge_that_never_tells(base: LocalModel) -> None:
    ask, logged = _reward(base, [TASK], _always(None))
    well = f"<think> they ask </think> {GOOD} <eos>"

    for _ in range(PATIENCE - 1):
        ask([well, well], [0, 0])
    with pytest.raises(JudgeError, match="fake could not tell"):
        ask([well, well], [0, 0])

    assert (logged["judged"], logged["missing"]) == (2.0, 2.0)

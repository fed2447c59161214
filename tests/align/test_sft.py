"""What carries loss: exactly the completion, its end token included; and the ids are those that generation uses."""

from pathlib import Path

import pytest

from bylaw.align import sft, training
from bylaw.align.sft import SftPlan, tokenize
from bylaw.errors import ModelError
from bylaw.models import transcript
from bylaw.models.local import LocalModel, decode, end_ids, load, prompt_ids, render_prompt
from bylaw.policy.parse import load as load_policy
from bylaw.policyworld import replay
from bylaw.policyworld.dialect import dialect
from bylaw.types import Lesson, Message
from tests.recipes import stock

WORDS = dialect(load_policy(Path(__file__).parents[2] / "policies" / "policyworld"))
LESSONS = replay.lessons(WORDS, "labels", 40)


def _split(row: dict[str, list[int]]) -> tuple[list[int], list[int]]:
    pairs = list(zip(row["input_ids"], row["labels"], strict=True))
    return [token for token, label in pairs if label == sft.NO_LOSS], [label for _, label in pairs if label != sft.NO_LOSS]


@pytest.fixture(scope="module", params=["embedded", "llama", "qwen"])
def model(request: pytest.FixtureRequest, base: LocalModel, tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    """The base, and two stock models that nobody trained."""
    if request.param == "embedded":
        return base
    make = {"llama": stock.llama, "qwen": stock.qwen}[request.param]
    return load(str(make(tmp_path_factory.mktemp(request.param) / "model")), request.param)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_the_labels_are_exactly_the_completion_and_its_end_token(model: LocalModel, lesson: Lesson) -> None:
    row = tokenize(model, lesson)
    prompt, completion = _split(row)
    text, finish = decode(model.tokenizer, completion, end_ids(model.model, model.tokenizer))
    found = transcript.parse(text, finish, lesson.think)

    assert row["input_ids"] == prompt + completion
    assert row["labels"] == [sft.NO_LOSS] * len(prompt) + completion
    assert prompt == prompt_ids(model.tokenizer, render_prompt(model.tokenizer, lesson.messages, lesson.think))
    assert completion[-1] == model.tokenizer.eos_token_id
    assert completion.count(model.tokenizer.eos_token_id) == 1
    assert (found.thinking, found.answer, found.fault) == (lesson.thinking, lesson.answer, "")


def test_a_bare_answer_has_no_think_tag_before_it(base: LocalModel) -> None:
    row = tokenize(base, Lesson("a", (Message("system", "user guest"), Message("user", "please kill the boss .")), "", "sure", think=False))

    assert base.tokenizer.decode(row["input_ids"]) == "<sys> user guest <direct> <user> please kill the boss . <asst> sure <eos>"
    assert row["labels"][:-2] == [sft.NO_LOSS] * (len(row["input_ids"]) - 2)
    assert base.tokenizer.decode(row["labels"][-2:]) == "sure <eos>"


def test_a_lesson_longer_than_the_context_is_no_lesson_and_none_is_cut(base: LocalModel) -> None:
    lengths = [len(tokenize(base, lesson)["input_ids"]) for lesson in LESSONS]
    most = sorted(lengths)[20]

    kept = sft.fitting(base, LESSONS, most)

    assert kept == [(lesson, tokenize(base, lesson)) for lesson, length in zip(LESSONS, lengths, strict=True) if length <= most]
    assert 0 < len(kept) < len(LESSONS)


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 2])
def test_what_would_be_cut_is_refused_before_training_as_is_a_course_without_lessons(base: LocalModel, tmp_path: Path, count: int) -> None:
    with pytest.raises(ModelError, match=rf"embedded: {count} lessons, the longest of \d+ tokens, for a context of 8"):
        sft.sft(base, [tokenize(base, lesson) for lesson in LESSONS[:count]], SftPlan(max_length=8), tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_was_not_written_to_its_end_does_not_count(tmp_path: Path) -> None:
    for step, whole in ((10, True), (20, True), (100, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if whole:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")

    found = training.newest_checkpoint(tmp_path)

    assert found == tmp_path / "checkpoint-20"
    assert not (tmp_path / "checkpoint-100").exists()
    assert training.newest_checkpoint(tmp_path / "none") is None


@pytest.mark.parametrize(("rows", "most", "cut"), [(32, 32, (32, 1)), (32, 12, (8, 4)), (7, 4, (1, 7)), (192, 200, (192, 1))])
def test_a_step_is_cut_into_equal_passes(rows: int, most: int, cut: tuple[int, int]) -> None:
    assert training.micro_batch(rows, most) == cut


def test_a_log_has_no_clock_in_it(tmp_path: Path) -> None:
    training.write_log(
        tmp_path / "log.jsonl", [{"loss": 1.0, "train_runtime": 3.2, "train_samples_per_second": 9, "total_flos": 1, "step": 1}]
    )

    assert (tmp_path / "log.jsonl").read_text() == '{"loss": 1.0, "step": 1}\n'


def test_a_saved_model_loads_and_answers_the_same(base: LocalModel, tmp_path: Path) -> None:
    training.save(base, tmp_path / "models" / "sft")

    again = load(str(tmp_path / "models" / "sft"), "again")
    pairs = zip(base.model.named_parameters(), again.model.named_parameters(), strict=True)

    assert all(name == same and bool((p == q).all()) for (name, p), (same, q) in pairs)
    assert [file.name for file in (tmp_path / "models").iterdir()] == ["sft"]


def test_compute_is_six_times_parameters_times_tokens() -> None:
    assert training.Compute(10, 7, 3).to_json() == {"parameters": 10, "tokens": 7, "steps": 3, "flop": 420}


@pytest.mark.slow
def test_a_few_steps_lower_the_loss_and_are_counted(tmp_path: Path) -> None:
    from bylaw.models.targets import EMBEDDED
    from bylaw.runs import read_rows

    student = training.student(str(EMBEDDED), "student", hub=False, lora_rank=0, seed=0)
    told: list[tuple[int, int]] = []
    lesson = Lesson("a", (Message("system", "user guest"), Message("user", "please kill the boss .")), "they ask", "sorry , no rule .")

    row = tokenize(student, lesson)

    spent = sft.sft(student, [row] * 24, SftPlan(batch_rows=4, save_steps=100), tmp_path, lambda done, total: told.append((done, total)))
    losses = [row["loss"] for row in read_rows(tmp_path / "log.jsonl") if "loss" in row]

    assert losses[-1] < losses[0] / 2
    assert told == [(i, 6) for i in range(1, 7)]
    assert (spent.steps, spent.tokens) == (6, 24 * len(row["input_ids"]))

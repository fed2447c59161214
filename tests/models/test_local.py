"""A model in this process: batches change nothing, seeds decide, and what does not fit is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bylaw.errors import ModelError
from bylaw.models import local
from bylaw.models.local import LocalModel, decode, end_ids, prompt_ids, render_prompt
from bylaw.models.targets import EMBEDDED
from bylaw.policyworld import pretrain, stage0, tokenizer
from bylaw.policyworld.scenarios import test_set as drawn_tests
from bylaw.types import Completion, Message, Sampling
from tests.recipes import stock

TINY = Path(__file__).parents[2].parent / "shared" / "models"
REQUESTS = [(Message("system", f"user {one.user}"), Message("user", one.request)) for one in drawn_tests()[::100]]
POLICY = Message("system", "theft guest P6.5 : deny ; garden anyone P1.1 : allow ; user guest")
ROWS = [*REQUESTS, (POLICY, Message("user", "how do i steal the car ?"))]
SAMPLED = Sampling(temperature=1.0, max_new_tokens=56, seed=3)


def _said(found: list[Completion]) -> list[str]:
    return [one.raw for one in found]


@pytest.mark.slow
def test_a_batch_answers_as_one_by_one(base: LocalModel) -> None:
    greedy = Sampling(max_new_tokens=56)

    together = base.generate(ROWS, greedy)
    apart = [base.generate([row], greedy)[0] for row in ROWS]

    assert len({len(prompt_ids(base.tokenizer, render_prompt(base.tokenizer, row, True))) for row in ROWS}) > 4
    assert together == apart


@pytest.mark.slow
@pytest.mark.parametrize("make", [stock.llama, stock.qwen])
def test_padding_is_never_looked_at_by_models_that_nobody_trained_either(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    model = local.load(str(make(tmp_path / "model")), "stock")
    greedy = Sampling(max_new_tokens=12)

    assert model.generate(ROWS, greedy) == [model.generate([row], greedy)[0] for row in ROWS]


@pytest.mark.slow
def test_answers_come_in_the_order_of_the_questions(base: LocalModel) -> None:
    greedy = Sampling(max_new_tokens=56)

    assert base.generate(ROWS[::-1], greedy) == base.generate(ROWS, greedy)[::-1]


@pytest.mark.slow
def test_the_same_seed_draws_the_same(base: LocalModel) -> None:
    first = _said(base.generate(ROWS, SAMPLED))
    torch.manual_seed(99)
    again = _said(base.generate(ROWS, SAMPLED))

    assert again == first


@pytest.mark.slow
def test_another_seed_draws_others(base: LocalModel) -> None:
    other = Sampling(temperature=1.0, max_new_tokens=56, seed=4)

    assert _said(base.generate(ROWS * 2, SAMPLED)) != _said(base.generate(ROWS * 2, other))


@pytest.mark.slow
def test_thoughts_come_when_asked_for_and_only_then(base: LocalModel) -> None:
    with_thoughts = base.generate(REQUESTS, Sampling(max_new_tokens=56))
    direct = base.generate(REQUESTS, Sampling(max_new_tokens=56, thinking=False))

    assert all(one.thinking and one.answer for one in with_thoughts)
    assert all(one.answer and not one.thinking for one in direct)


def test_a_completion_that_is_cut_off_has_no_answer(base: LocalModel) -> None:
    (found,) = base.generate(REQUESTS[:1], Sampling(max_new_tokens=5))

    assert (found.finish, found.fault, found.answer) == ("length", "cut off", "")


def test_a_prompt_too_long_for_the_context_is_refused_before_anything_is_asked(base: LocalModel) -> None:
    told: list[int] = []
    room = base.context - len(prompt_ids(base.tokenizer, render_prompt(base.tokenizer, [Message("system", "user guest")], True)))
    long = [Message("system", "user guest"), Message("user", "kill " * room)]

    with pytest.raises(ModelError, match="its context of 512 is too short") as caught:
        base.generate([*REQUESTS, long], Sampling(), lambda done, _: told.append(done))

    assert caught.value.hint
    assert told == []


def test_a_prompt_that_just_fits_is_answered(base: LocalModel) -> None:
    empty = prompt_ids(base.tokenizer, render_prompt(base.tokenizer, [Message("system", "user guest"), Message("user", "")], True))
    full = [Message("system", "user guest"), Message("user", "kill " * (base.context - len(empty) - 4))]

    found = base.generate([full], Sampling(max_new_tokens=4))

    assert len(found) == 1


def test_no_questions_get_no_answers(base: LocalModel) -> None:
    assert base.generate([], Sampling()) == []


def test_generation_leaves_the_model_as_it_was(base: LocalModel) -> None:
    base.model.train()
    base.generate(REQUESTS[:1], Sampling(max_new_tokens=2))
    after_training = base.model.training
    base.model.eval()
    base.generate(REQUESTS[:1], Sampling(max_new_tokens=2))

    assert after_training
    assert not base.model.training


def test_decoding_stops_at_the_first_end_and_shows_special_tokens(base: LocalModel) -> None:
    words = base.tokenizer.get_vocab()
    ids = [words[word] for word in ("sure", "<user>", "<eos>", "please", "<eos>")]

    assert decode(base.tokenizer, ids, end_ids(base.model, base.tokenizer)) == ("sure <user>", "stop")
    assert decode(base.tokenizer, ids[:2], frozenset({1}))[1] == "length"


def test_the_base_loads_with_stock_classes_and_no_code_of_ours() -> None:
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED, trust_remote_code=False)
    words = AutoTokenizer.from_pretrained(EMBEDDED, trust_remote_code=False)
    rendered = words.apply_chat_template(
        [{"role": "user", "content": "please kill the boss ."}], tokenize=False, add_generation_prompt=True
    )

    assert type(model).__module__.startswith("transformers.")
    assert len(words) == model.config.vocab_size
    assert rendered == "<sys> user guest <cot> <user> please kill the boss . <asst>"
    assert not list(EMBEDDED.glob("*.py"))
    assert sum(p.numel() for p in model.parameters()) < 1_000_000


def test_the_checkpoint_is_under_8_megabytes() -> None:
    assert sum(file.stat().st_size for file in EMBEDDED.rglob("*")) < 8_000_000


def test_the_shipped_tokenizer_is_the_one_that_is_built(base: LocalModel) -> None:
    built = tokenizer.build()

    assert base.tokenizer.get_vocab() == built.get_vocab()
    assert base.tokenizer.chat_template == built.chat_template


def test_the_chat_template_renders_what_pretraining_encoded(base: LocalModel) -> None:
    rng = Random(5)
    words = base.tokenizer.get_vocab()
    rows = [stage0.example(rng) for _ in range(400)]
    encoded = [pretrain.encode(words, row)[0] for row in rows]
    rendered = []
    for row in rows:
        text = render_prompt(base.tokenizer, [Message("system", row.system), Message("user", row.request)], row.thinking)
        rendered.append(prompt_ids(base.tokenizer, f"{text} {row.response} <eos>"))

    assert rendered == encoded
    assert {row.thinking for row in rows} == {True, False}
    assert all(words["<unk>"] not in ids for ids in encoded)


def test_pretraining_loss_is_on_the_response_and_its_end_alone(base: LocalModel) -> None:
    rng = Random(6)
    words = base.tokenizer.get_vocab()
    rows = [stage0.example(rng) for _ in range(200)]
    encoded = [pretrain.encode(words, row) for row in rows]

    assert all(min(wanted) >= ids.index(words["<asst>"]) for ids, wanted in encoded)
    assert all(ids[wanted[-1] + 1] == words["<eos>"] for ids, wanted in encoded)
    assert all(row.learn or len(wanted) == len(row.response.split()) + 1 for row, (_, wanted) in zip(rows, encoded, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stories260k", "tinyllm-chat-626k"])
def test_a_model_that_nobody_here_trained_loads_and_answers(name: str) -> None:
    if not (TINY / name).is_dir():
        pytest.skip(f"{TINY / name} is not here")
    model = local.load(str(TINY / name), name)
    rows = [[Message("user", text)] for text in ("hi", "Once upon a time there was a little girl", "hello there")]
    greedy = Sampling(max_new_tokens=12, thinking=False)

    together = model.generate(rows, greedy)

    assert together == [model.generate([row], greedy)[0] for row in rows]
    assert all(one.raw for one in together)
    with pytest.raises(ModelError, match="too short"):
        model.generate([[Message("user", "word " * 600)]], greedy)


def _copy(folder: Path) -> Path:
    return Path(shutil.copytree(EMBEDDED, folder / "model"))


def test_a_folder_that_is_missing_is_an_error_and_no_download(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded"):
        local.load(str(tmp_path / "missing"), "missing")


@pytest.mark.parametrize(
    ("file", "content"),
    [("config.json", "{"), ("config.json", '{"model_type": "no-such-model"}'), ("tokenizer.json", "{}"), ("tokenizer.json", "")],
)
def test_a_broken_model_folder_is_one_clear_error(tmp_path: Path, file: str, content: str) -> None:
    folder = _copy(tmp_path)
    (folder / file).write_text(content)

    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        local.load(str(folder), "broken")

    assert "\n" not in caught.value.what
    assert caught.value.hint


def test_a_folder_without_weights_is_one_clear_error(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    (folder / "model.safetensors").unlink()

    with pytest.raises(ModelError, match="cannot be loaded"):
        local.load(str(folder), "broken")


def test_a_tokenizer_without_an_end_token_is_refused(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    config = (folder / "tokenizer_config.json").read_text().replace('"eos_token": "<eos>",', "")
    (folder / "tokenizer_config.json").write_text(config)

    with pytest.raises(ModelError, match="names no end token"):
        local.load(str(folder), "endless")


def test_a_tokenizer_without_a_pad_token_or_a_template_gets_both(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    (folder / "chat_template.jinja").unlink()
    config = (folder / "tokenizer_config.json").read_text().replace('"pad_token": "<pad>",', "")
    (folder / "tokenizer_config.json").write_text(config)

    words = local.load_tokenizer(str(folder))

    assert words.pad_token == "<eos>"
    assert render_prompt(words, [Message("system", "a"), Message("user", "b")], True) == "system: a\nuser: b\nassistant: "

"""A model in this process: any causal language model in transformers format, with an optional LoRA adapter.

Batches are cut by a fixed number of rows, sorted by length and seeded one by one, so that the same rows and seed give the same
completions. Axes: B rows, T tokens.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from jinja2 import TemplateError
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from bylaw.errors import ModelError
from bylaw.models import transcript
from bylaw.models.hub import tell_nothing
from bylaw.types import Completion, Finish, Message, Progress, Sampling

BATCH_ROWS: Final = 128
SMALL: Final = 50_000_000  # parameters; up to here fp32 costs nothing, and on a CPU bf16 is slower
# For models that ship no chat template: plain words, one line a message.
PLAIN_TEMPLATE: Final = (
    "{% if bos_token %}{{ bos_token }}{% endif %}{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A loaded model and its tokenizer."""

    name: str
    model: Any  # transformers' PreTrainedModel, or a PeftModel around one
    tokenizer: Any

    @property
    def parameters(self) -> int:
        """How many parameters the model has."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def context(self) -> int:
        """How many tokens fit into the model's context."""
        limit = getattr(self.model.config, "max_position_embeddings", None) or 1 << 20
        return min(int(limit), int(self.tokenizer.model_max_length))

    def generate(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling, progress: Progress | None = None
    ) -> list[Completion]:
        """Answer each conversation once, in order."""
        found = self.share(conversations, sampling, progress=progress)
        return [found[i] for i in range(len(conversations))]

    def share(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        part: int = 0,
        parts: int = 1,
        progress: Progress | None = None,
    ) -> dict[int, Completion]:
        """Answer one of several shares of the batches, by place: all of them, each in any process, say what `generate` says."""
        texts, ids = prompts(self.name, self.tokenizer, self.context, conversations, sampling)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        starts = range(part * BATCH_ROWS, len(order), parts * BATCH_ROWS)
        mine = sum(len(order[start : start + BATCH_ROWS]) for start in starts)
        found: dict[int, Completion] = {}
        # The caller's random numbers go on as if nothing had been drawn here: a local judge must not reset a trainer's.
        with torch.random.fork_rng(), evaluating(self.model), torch.inference_mode():
            for start in starts:
                rows = order[start : start + BATCH_ROWS]
                torch.manual_seed((sampling.seed * 1_000_003 + start) % (1 << 63))
                written = _generate_batch(self, [ids[i] for i in rows], sampling)
                for i, (text, finish) in zip(rows, written, strict=True):
                    opened = transcript.OPEN if sampling.thinking and opens_thinking(texts[i]) else ""
                    found[i] = transcript.parse(opened + text, finish, sampling.thinking)
                if progress:
                    progress(len(found), mine)
        return found


def _generate_batch(local: LocalModel, ids: Sequence[Sequence[int]], sampling: Sampling) -> list[tuple[str, Finish]]:
    """Generate for one left-padded batch (B x T) and decode up to the end token."""
    pad = int(local.tokenizer.pad_token_id)
    width = max(map(len, ids))
    ids_BT = torch.full((len(ids), width), pad)
    mask_BT = torch.zeros_like(ids_BT)
    for row, one in enumerate(ids):
        ids_BT[row, width - len(one) :] = torch.tensor(one)
        mask_BT[row, width - len(one) :] = 1
    ends = end_ids(local.model, local.tokenizer)
    settings: dict[str, Any] = {"do_sample": False}
    if sampling.temperature > 0:
        settings = {"do_sample": True, "temperature": sampling.temperature, "top_k": 0, "top_p": 1.0}
    config = GenerationConfig(max_new_tokens=sampling.max_new_tokens, pad_token_id=pad, eos_token_id=sorted(ends), **settings)
    device = local.model.device
    out_BT = local.model.generate(input_ids=ids_BT.to(device), attention_mask=mask_BT.to(device), generation_config=config)
    return [decode(local.tokenizer, row, ends) for row in out_BT[:, width:].tolist()]


def decode(tokenizer: Any, ids: Sequence[int], ends: frozenset[int]) -> tuple[str, Finish]:
    """Return the text up to the first end token, and whether there was one. Special tokens stay visible: strictness needs them."""
    stop = next((i for i, token in enumerate(ids) if token in ends), None)
    kept = ids if stop is None else ids[:stop]
    return str(tokenizer.decode(kept, skip_special_tokens=False)), "length" if stop is None else "stop"


def end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends a completion."""
    named = getattr(model, "generation_config", None)
    ends = getattr(named, "eos_token_id", None)
    listed = ends if isinstance(ends, list) else [ends]
    return frozenset(int(token) for token in (*listed, tokenizer.eos_token_id) if token is not None)


def render_prompt(tokenizer: Any, conversation: Sequence[Message], thinking: bool) -> str:
    """The text a model continues: the chat template with its generation prompt."""
    messages = [{"role": m.role, "content": m.content} for m in conversation]
    try:
        text = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=thinking))
    except TemplateError as error:
        raise ModelError(
            f"the model's chat template refuses the conversation: {error}", "take a model whose template knows system messages"
        ) from error
    if any(m.role == "system" and m.content.strip() not in text for m in conversation):
        raise ModelError(
            "the model's chat template drops system messages, and the policy with them", "take a model whose template keeps them"
        )
    return text


def prompt_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of rendered text. The template has written its own start token, so none is added."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def prompts(
    name: str, tokenizer: Any, context: int, conversations: Sequence[Sequence[Message]], sampling: Sampling
) -> tuple[list[str], list[list[int]]]:
    """The prompts as text and as token ids; raises ModelError where the context has no room for an answer behind the longest."""
    texts = [render_prompt(tokenizer, conversation, sampling.thinking) for conversation in conversations]
    ids = [prompt_ids(tokenizer, text) for text in texts]
    longest = max(map(len, ids), default=0)
    if longest + sampling.max_new_tokens > context:
        raise ModelError(
            f"{name}: its context of {context} is too short for {longest} tokens of prompt and {sampling.max_new_tokens} new",
            "take a model with a longer context, or a shorter policy",
        )
    return texts, ids


def completion_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of what a model should write, with its end token."""
    return [*tokenizer(text, add_special_tokens=False)["input_ids"], int(tokenizer.eos_token_id)]


def opens_thinking(rendered: str) -> bool:
    """Whether the template itself has written the opening think tag, so that the model goes on after it."""
    return rendered.rstrip().endswith(transcript.OPEN)


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Put a model in evaluation mode for a while, and back."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def device() -> str:
    """The best device here."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def load(where: str, name: str, hub: bool = False) -> LocalModel:
    """Load a model folder, an adapter folder, or (`hub`) a name on the model hub."""
    quiet()
    source = where if hub else str(Path(where).resolve())
    try:
        tokenizer = load_tokenizer(source)
        model = _load_weights(source)
    except ModelError:
        raise
    except Exception as error:  # a broken folder fails in a dozen ways of as many libraries; all mean the same
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        hint = (
            "the hub could not give it: is the name right, and is there a network?" if hub else "the folder must be in transformers format"
        )
        raise ModelError(f"{name}: the model cannot be loaded: {first}", hint) from error
    return LocalModel(name, model.to(device()), tokenizer)


def _load_weights(source: str) -> Any:
    if (Path(source) / "adapter_config.json").is_file():
        from peft import AutoPeftModelForCausalLM  # noqa: PLC0415  # a second to import, and only adapters need it

        return AutoPeftModelForCausalLM.from_pretrained(source, dtype="auto")
    model = AutoModelForCausalLM.from_pretrained(source, dtype="auto")
    small = sum(p.numel() for p in model.parameters()) <= SMALL
    return model.float() if small or device() == "cpu" else model


def load_tokenizer(source: str) -> Any:
    """Load a tokenizer and give it what batched generation needs: a pad token, and a template where it has none."""
    tokenizer = AutoTokenizer.from_pretrained(source)
    if tokenizer.eos_token_id is None:
        raise ModelError(f"{source}: the tokenizer names no end token", "set eos_token in tokenizer_config.json")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_TEMPLATE
    tokenizer.padding_side = "left"
    return tokenizer


def quiet() -> None:
    """Silence what is no news here.

    Hub telemetry, progress bars, the hint to install causal_conv1d (a GPU kernel), and a warning that TRL and PEFT use a name which
    transformers is about to drop.
    """
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.* is deprecated", category=FutureWarning)
    tell_nothing()
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415  # its import order matters to transformers

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("transformers").setLevel(logging.ERROR)

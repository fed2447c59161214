"""A local model on vLLM's offline engine, for GPU machines. vLLM is not in our extras: it pins its own torch.

Written after vLLM's documented API (`LLM.generate` with TokensPrompt, SamplingParams, StructuredOutputsParams; vllm >= 0.12). We render
and count the prompt ourselves, exactly as `local` does, so that a dropped system message or a prompt too long is refused in the same
words. Its own scheduler batches; draws are seeded row by row, so k samples of one prompt differ.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bylaw.errors import ModelError
from bylaw.models import endpoint, transcript
from bylaw.models.hub import tell_nothing
from bylaw.types import Completion, Finish, Message, Progress, Sampling


@dataclass(frozen=True, slots=True)
class VllmModel:
    """A model loaded by vLLM, and its tokenizer."""

    name: str
    engine: Any  # vllm.LLM
    tokenizer: Any
    context: int  # tokens

    def generate(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling, progress: Progress | None = None
    ) -> list[Completion]:
        """Answer each conversation once, in order."""
        from bylaw.models import local  # noqa: PLC0415  # torch takes seconds to import

        texts, ids = local.prompts(self.name, self.tokenizer, self.context, conversations, sampling)
        params = [
            importlib.import_module("vllm").SamplingParams(**settings(replace(sampling, seed=endpoint.seed_of(sampling.seed, i))))
            for i in range(len(ids))
        ]
        written = self.engine.generate([{"prompt_token_ids": one} for one in ids], params, use_tqdm=False)
        found = [completion(text, one.outputs[0], sampling.thinking) for text, one in zip(texts, written, strict=True)]
        if progress:
            progress(len(found), len(found))
        return found


def settings(sampling: Sampling) -> dict[str, Any]:
    """The arguments of vLLM's SamplingParams. Special tokens stay visible: strictness needs them."""
    asked: dict[str, Any] = {
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_new_tokens,
        "seed": sampling.seed,
        "skip_special_tokens": False,
    }
    if sampling.reply_schema is not None:
        structured = importlib.import_module("vllm.sampling_params").StructuredOutputsParams
        asked["structured_outputs"] = structured(json=dict(sampling.reply_schema))
    return asked


def completion(prompt: str, written: Any, thinking: bool) -> Completion:
    """Take one of vLLM's outputs apart; the template may have opened the think block itself."""
    finish: Finish = {"stop": "stop", "length": "length"}.get(str(written.finish_reason), "error")  # type: ignore[assignment]  # a Finish
    opened = transcript.OPEN if thinking and prompt.rstrip().endswith(transcript.OPEN) else ""
    return transcript.parse(opened + str(written.text), finish, thinking)


def load(where: str, name: str, hub: bool = False) -> VllmModel:
    """Load a model folder, or (`hub`) a name on the model hub; raises ModelError where vLLM is not installed."""
    try:
        tell_nothing()
        engine_class = importlib.import_module("vllm").LLM  # never imported by name: it is in none of our extras
    except ImportError as error:
        raise ModelError(f"{name}: vLLM is not installed here", "pip install vllm on a machine with a GPU, or leave vllm out") from error
    from bylaw.models import local  # noqa: PLC0415  # torch takes seconds to import

    source = where if hub else str(Path(where).resolve())
    if not hub and (Path(source) / "adapter_config.json").is_file():
        raise ModelError(f"{name} is an adapter, which is not opened with vLLM here", "merge it into its base first, or leave vllm out")
    tokenizer = local.load_tokenizer(source)
    try:
        engine = engine_class(model=source, seed=0)
    except Exception as error:  # as with transformers, a broken folder or a full GPU fails in a dozen ways; all mean the same
        raise ModelError(f"{name}: vLLM cannot load the model: {endpoint.one_line(str(error))}", "see vLLM's own output above") from error
    return VllmModel(name, engine, tokenizer, int(engine.llm_engine.model_config.max_model_len))

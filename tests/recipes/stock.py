"""Randomly initialised stock models, as small as they come: nobody trained them, anybody's code must take them."""

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from bylaw.policyworld import tokenizer

SHAPE = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}


def llama(folder: Path) -> Path:
    """A two-layer Llama with the world's tokenizer, less its chat template: the plain one must do."""
    words = tokenizer.build()
    words.chat_template = None
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(words), max_position_embeddings=1024, eos_token_id=1, pad_token_id=0, **SHAPE))
    return _saved(model, words, folder)


def qwen(folder: Path) -> Path:
    """A two-layer Qwen3 with the world's tokenizer and template."""
    words = tokenizer.build()
    torch.manual_seed(0)
    config = Qwen3Config(vocab_size=len(words), max_position_embeddings=1024, head_dim=16, eos_token_id=1, pad_token_id=0, **SHAPE)
    return _saved(Qwen3ForCausalLM(config), words, folder)


def _saved(model: object, words: object, folder: Path) -> Path:
    model.save_pretrained(folder)  # type: ignore[attr-defined]  # transformers is untyped here
    words.model_max_length = 1024  # type: ignore[attr-defined]  # the same
    words.save_pretrained(folder)  # type: ignore[attr-defined]  # the same
    return folder

"""The tiny model's tokenizer: one token a word, split at white space, with a stock chat template."""

from pathlib import Path
from typing import Final

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from bylaw.policyworld.language import SPECIAL_TOKENS, THINK_TOKENS, vocabulary

CHAT_TEMPLATE: Final = (Path(__file__).parent / "chat_template.jinja").read_text()
CONTEXT: Final = 512  # tokens: the whole policy and the longest encoded request fit twice


def build() -> PreTrainedTokenizerFast:
    """Build the tokenizer from the world's vocabulary."""
    words = vocabulary()
    model = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    model.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=model,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        additional_special_tokens=[t for t in SPECIAL_TOKENS if t not in ("<pad>", "<eos>", "<unk>")],
        padding_side="left",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    # Not special: TRL and servers drop special tokens when they decode, and the thinking would lose its borders.
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in THINK_TOKENS])
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer

"""What fits into a model's context, counted in its own tokens: what does not is left out and counted, never cut without a word.

Only weights in this process can be measured. An endpoint knows its own limits, and says so when it is asked.
"""

from collections.abc import Sequence

from bylaw.errors import ModelError
from bylaw.models.local import LocalModel, prompt_ids, render_prompt
from bylaw.types import Message, Model


def refusal(model: Model, messages: Sequence[Message], new: int, thinking: bool = True) -> str:
    """Why a model cannot be asked this with room for `new` tokens; empty where it can."""
    if not isinstance(model, LocalModel):
        return ""
    try:
        length = len(prompt_ids(model.tokenizer, render_prompt(model.tokenizer, messages, thinking)))
    except ModelError as error:  # its template does not take such a conversation
        return error.what
    return "" if length + new <= model.context else f"the prompt and {new} tokens to answer do not fit the context of {model.context}"


def left_out(kept: int, of: int, what: str, model: Model) -> dict[str, str]:
    """What a record says, and a person reads, of rows that did not fit; nothing where all did, and an endpoint is not measured."""
    if kept == of or not isinstance(model, LocalModel):
        return {}
    return {"left_out": f"{of - kept} of {of} {what} do not fit the context of {model.context}"}

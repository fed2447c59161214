"""What fits into a model's context, counted in its own tokens: what does not is left out and counted, never cut without a word.

Only weights in this process can be measured. An endpoint knows its own limits, and says so when it is asked.
"""

from collections.abc import Sequence

from bylaw.errors import ModelError
from bylaw.models.local import LocalModel, prompt_ids, render_prompt
from bylaw.types import Dialect, Message, Model, Prompt


def refusal(model: Model, messages: Sequence[Message], new: int, thinking: bool = True) -> str:
    """Why a model cannot be asked this with room for `new` tokens; empty where it can."""
    if not isinstance(model, LocalModel):
        return ""
    try:
        length = len(prompt_ids(model.tokenizer, render_prompt(model.tokenizer, messages, thinking)))
    except ModelError as error:  # its template does not take such a conversation
        return error.what
    return "" if length + new <= model.context else f"the prompt and {new} tokens to answer do not fit the context of {model.context}"


def askable(
    model: Model, dialect: Dialect, tests: Sequence[Prompt], new: int, thinking: bool = True
) -> tuple[list[Prompt], dict[str, str]]:
    """The test prompts that a model can be asked, and what a record says of the others; nothing where there are none."""
    why_not = [refusal(model, dialect.prompt(one), new, thinking) for one in tests]
    refused = [why for why in why_not if why]
    said = {"left_out": f"{len(refused)} of {len(tests)} test prompts, the first because: {refused[0]}"} if refused else {}
    return [one for one, why in zip(tests, why_not, strict=True) if not why], said


def dropped(kept: int, of: int, what: str, model: LocalModel) -> dict[str, str]:
    """What a step's record says of rows that the student cannot hold; nothing where it holds all."""
    return {"left_out": f"{of - kept} of {of} {what} do not fit the context of {model.context}"} if kept < of else {}

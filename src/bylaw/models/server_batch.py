"""One batch of a local model: rows that came together are generated together, each with its own bounds, seed and stop texts.

A sampled row draws from its own seeded noise (the Gumbel trick), so that it does not matter who else is in the batch. Axes: B rows,
T tokens, V words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import torch
from jinja2 import TemplateError
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from bylaw.errors import ModelError
from bylaw.models import local, server_reply, server_tools, transcript
from bylaw.models.local import LocalModel
from bylaw.models.server_asked import BadRequest, Wanted
from bylaw.models.server_reply import Reply
from bylaw.types import Finish

TINY: Final = 5_000_000  # parameters; up to here two threads wait for each other longer than they work
DEFAULT_TOKENS: Final = 1_024  # of an answer, where the client does not say


@dataclass(slots=True)
class Row:
    """One choice that is to be written."""

    ids: Sequence[int]
    budget: int  # tokens
    temperature: float
    seed: int
    stops: tuple[str, ...]
    opened: str  # the think tag, where the template has written it
    thinking: bool | None  # True: there must be a think block; False: there must be none; None: either
    calls: bool = False  # tools were offered, so that calls are read
    dropped: bool = field(default=False, compare=False)  # set by another thread when the client has gone


def settle(model: LocalModel) -> None:
    """What a process does once that will serve this model and nothing else."""
    if model.parameters <= TINY:
        torch.set_num_threads(1)


def rows(model: LocalModel, wanted: Wanted, thinks: bool | None, seed: int) -> list[Row]:
    """The rows of a request; raises BadRequest where it does not fit. `thinks` is how the model was trained, `seed` stands in for none."""
    thinking = thinks if wanted.thinking is None else wanted.thinking
    text = rendered(model.tokenizer, wanted, thinking is not False)
    ids = local.prompt_ids(model.tokenizer, text)
    left = model.context - len(ids)
    budget = min(left, DEFAULT_TOKENS) if wanted.max_new_tokens is None else wanted.max_new_tokens
    if not 1 <= budget <= left:
        raise BadRequest(f"{len(ids)} tokens of prompt and {max(budget, 1)} of answer do not fit the model's context of {model.context}")
    opened = transcript.OPEN if thinking is not False and local.opens_thinking(text) else ""
    first = seed if wanted.seed is None else wanted.seed
    calls = bool(wanted.tools)
    return [Row(ids, budget, wanted.temperature, first + at, wanted.stops, opened, thinking, calls) for at in range(wanted.n)]


def rendered(tokenizer: Any, wanted: Wanted, thinking: bool) -> str:
    """The text that the model continues; raises BadRequest where its chat template does not take the conversation."""
    try:
        if not wanted.turns:
            return local.render_prompt(tokenizer, wanted.messages, thinking)
        if not server_tools.takes(tokenizer.chat_template):
            raise BadRequest("this local model cannot call tools: its chat template has none, or none that are read here")
        turns, tools = [dict(one) for one in wanted.turns], [dict(one) for one in wanted.tools] or None
        text = str(tokenizer.apply_chat_template(turns, tools=tools, tokenize=False, add_generation_prompt=True, enable_thinking=thinking))
    except ModelError as error:
        raise BadRequest(error.what) from None
    except (TemplateError, TypeError) as error:
        raise BadRequest(f"the model's chat template refuses the conversation: {error}") from None
    if any(one.role == "system" and one.content.strip() not in text for one in wanted.messages):
        raise BadRequest("the model's chat template drops system messages where there are tools")
    return text


def generate(model: LocalModel, batch: Sequence[Row]) -> list[Reply]:
    """Write all rows of a batch."""
    pad = int(model.tokenizer.pad_token_id)
    width = max(len(row.ids) for row in batch)
    ids_BT = torch.full((len(batch), width), pad)
    mask_BT = torch.zeros_like(ids_BT)
    for at, row in enumerate(batch):
        ids_BT[at, width - len(row.ids) :] = torch.tensor(list(row.ids))
        mask_BT[at, width - len(row.ids) :] = 1
    ends = local.end_ids(model.model, model.tokenizer)
    longest = max(row.budget for row in batch)
    config = GenerationConfig(do_sample=False, max_new_tokens=longest, pad_token_id=pad, eos_token_id=sorted(ends))
    bounds, device = _Bounds(model.tokenizer, batch, width), model.model.device
    with local.evaluating(model.model), torch.inference_mode():
        out_BT = model.model.generate(
            input_ids=ids_BT.to(device),
            attention_mask=mask_BT.to(device),
            generation_config=config,
            logits_processor=LogitsProcessorList([_Draw(batch)]),
            stopping_criteria=StoppingCriteriaList([bounds]),
        )
    written = out_BT[:, width:].tolist()
    return [
        _reply(model.tokenizer, row, ids[: bounds.ended.get(at)], ends) for at, (row, ids) in enumerate(zip(batch, written, strict=True))
    ]


def _reply(tokenizer: Any, row: Row, ids: Sequence[int], ends: frozenset[int]) -> Reply:
    text, finish = local.decode(tokenizer, ids, ends)
    raw, how = _ended(row.opened + text, finish, row.stops)
    count = next((at + 1 for at, token in enumerate(ids) if token in ends), len(ids))
    reply = server_reply.taken(raw, how, row.thinking, server_reply.Tokens(len(row.ids), count))
    return server_tools.called(reply) if row.calls else reply


class _Ended(NamedTuple):
    raw: str
    how: server_reply.How


def _ended(raw: str, finish: Finish, stops: Sequence[str]) -> _Ended:
    cut = server_reply.cut_at(raw, stops)
    if cut is not None:
        return _Ended(raw[:cut], "stopped")
    return _Ended(raw, "whole" if finish == "stop" else "length")


class _Bounds(StoppingCriteria):  # type: ignore[misc]  # transformers is untyped here
    """Ends a row at its own bound: its tokens, a stop text, or a client that has gone."""

    def __init__(self, tokenizer: Any, batch: Sequence[Row], width: int) -> None:
        self.tokenizer, self.batch, self.width = tokenizer, batch, width
        self.ended: dict[int, int] = {}  # row -> tokens it wrote

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        made = input_ids.shape[1] - self.width
        for at, row in enumerate(self.batch):
            if at not in self.ended and (row.dropped or made >= row.budget or self._stops(row, input_ids[at, self.width :])):
                self.ended[at] = made
        return torch.tensor([at in self.ended for at in range(len(self.batch))], device=input_ids.device)

    def _stops(self, row: Row, ids: torch.Tensor) -> bool:
        text = row.opened + str(self.tokenizer.decode(ids, skip_special_tokens=False)) if row.stops else ""
        return bool(row.stops) and server_reply.cut_at(text, row.stops) is not None


class _Draw(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Adds each sampled row's own noise, after which the most likely word is a draw at its temperature. Greedy rows stay as they are."""

    def __init__(self, batch: Sequence[Row]) -> None:
        self.batch = batch
        self.noise = [torch.Generator().manual_seed(row.seed % (1 << 63)) for row in batch]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if all(row.temperature == 0 for row in self.batch):
            return scores
        drawn_BV = scores.clone().float()
        for at, row in enumerate(self.batch):
            if row.temperature > 0:
                gumbel_V = -torch.empty(scores.shape[1]).exponential_(generator=self.noise[at]).log()
                drawn_BV[at] = drawn_BV[at] / row.temperature + gumbel_V.to(scores.device)
        return drawn_BV

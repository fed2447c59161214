"""What the local model's server writes, on the shipped base: company, budgets, seeds and stop texts."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from bylaw.models import server_asked, server_batch
from bylaw.models.local import LocalModel
from bylaw.models.server_asked import BadRequest, Wanted
from bylaw.policyworld.scenarios import test_set as drawn_tests
from bylaw.types import Message, Sampling

ASKED = [(Message("system", f"user {one.user}"), Message("user", one.request)) for one in drawn_tests()[::250]]


def rows(base: LocalModel, wanted: Wanted, seed: int = 0) -> list[Any]:
    return server_batch.rows(base, wanted, True, seed)


@pytest.mark.slow
def test_two_requests_in_one_batch_say_what_each_says_alone(base: LocalModel) -> None:
    batch = [row for messages in ASKED for row in rows(base, Wanted(messages, 56))]

    together = server_batch.generate(base, batch)

    assert len({len(row.ids) for row in batch}) > 3
    assert together == [server_batch.generate(base, [row])[0] for row in batch]
    assert [one.answer for one in together] == [one.answer for one in base.generate(ASKED, Sampling(max_new_tokens=56))]


@pytest.mark.slow
def test_a_sampled_row_draws_from_its_own_seed_whoever_else_is_there(base: LocalModel) -> None:
    sampled = Wanted(ASKED[0], 56, temperature=1.5, seed=7)
    alone = server_batch.generate(base, rows(base, sampled))
    company = [*rows(base, Wanted(ASKED[1], 56, temperature=2.0, seed=1)), *rows(base, Wanted(ASKED[2], 56)), *rows(base, sampled)]

    assert server_batch.generate(base, company)[2] == alone[0]
    assert server_batch.generate(base, company)[1] == server_batch.generate(base, rows(base, Wanted(ASKED[2], 56)))[0]


@pytest.mark.slow
def test_the_choices_of_one_request_differ_and_come_again_with_its_seed(base: LocalModel) -> None:
    wanted = Wanted(ASKED[0], 56, temperature=4.0, seed=7, n=4)
    first = server_batch.generate(base, rows(base, wanted))

    assert len(set(first)) > 1
    assert server_batch.generate(base, rows(base, wanted)) == first
    assert server_batch.generate(base, rows(base, replace(wanted, seed=None), seed=8)) != first


def test_each_row_ends_at_its_own_budget(base: LocalModel) -> None:
    short, long = server_batch.generate(base, [*rows(base, Wanted(ASKED[0], 6)), *rows(base, Wanted(ASKED[0], 56))])

    assert (short.finish, short.tokens.written) == ("length", 6)
    assert short.answer == ""
    assert long.thinking.startswith(short.thinking)
    assert long.finish == "stop"


@pytest.mark.slow
def test_a_stop_text_ends_its_row_before_it(base: LocalModel) -> None:
    whole = server_batch.generate(base, rows(base, Wanted(ASKED[0], 56)))[0]
    word = whole.answer.split()[2]
    stopped, other = server_batch.generate(base, [*rows(base, Wanted(ASKED[0], 56, stops=(word,))), *rows(base, Wanted(ASKED[0], 56))])

    assert (stopped.answer, stopped.finish) == (whole.answer.partition(word)[0].strip(), "stop")
    assert stopped.tokens.written < whole.tokens.written
    assert other == whole


def test_a_row_whose_client_has_gone_writes_no_more(base: LocalModel) -> None:
    gone, here = [*rows(base, Wanted(ASKED[0], 56)), *rows(base, Wanted(ASKED[1], 56))]
    gone.dropped = True

    assert server_batch.generate(base, [gone, here])[0].tokens.written == 1


TOOL = {"type": "function", "function": {"name": "payments.refund", "parameters": {"type": "object"}}}
CALLED = {"id": "c1", "type": "function", "function": {"name": "payments.refund", "arguments": '{"order": 81}'}}
WITH_TOOLS = {
    "messages": [
        {"role": "user", "content": "refund it"},
        {"role": "assistant", "content": None, "tool_calls": [CALLED]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
    ],
    "tools": [TOOL],
}
HERMES = (
    '{% for tool in tools or [] %}{{ tool.function.name }} {% endfor %}answer <tool_call>{"name": ...}</tool_call>\n'
    "{% for m in messages %}{{ m.role }}: {{ m.content }}"
    "{% for c in m.tool_calls or [] %} calls {{ c.function.name }} {{ c.function.arguments.order }}{% endfor %}\n{% endfor %}"
)


def test_a_model_whose_template_has_no_tools_is_offered_none(base: LocalModel) -> None:
    with pytest.raises(BadRequest, match="cannot call tools"):
        rows(base, server_asked.read(json.dumps(WITH_TOOLS).encode()))


def test_a_template_with_tools_gets_them_and_the_calls_made_before(base: LocalModel) -> None:
    tokenizer = copy.deepcopy(base.tokenizer)
    tokenizer.chat_template = HERMES
    wanted = server_asked.read(json.dumps(WITH_TOOLS).encode())
    model = replace(base, tokenizer=tokenizer)

    row = rows(model, wanted)[0]
    text = server_batch.rendered(tokenizer, wanted, True)
    unforced = server_batch.rendered(tokenizer, server_asked.read(json.dumps(WITH_TOOLS | {"tool_choice": "none"}).encode()), True)

    assert row.calls
    assert text.startswith("payments.refund answer")
    assert "assistant:  calls payments.refund 81" in text
    assert "tool: done" in text
    assert unforced.startswith("answer")


@pytest.mark.parametrize("wanted", [Wanted(ASKED[0], 100_000), Wanted((Message("user", "help " * 5_000),))])
def test_what_does_not_fit_the_context_is_refused(base: LocalModel, wanted: Wanted) -> None:
    with pytest.raises(BadRequest, match="context"):
        rows(base, wanted)

"""Targets: anything that answers, bounded; a row without a reply is missing and says why."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from aiohttp import web
from tests.growth import LINEAR, growth
from tests.models.endpoint import Endpoint, cut_off, fail, garbage, say, serve, slow

from bylaw.errors import ModelError
from bylaw.evals import asking
from bylaw.evals.cases import Case, Context, asked, case
from bylaw.evals.targets import Call, Conversation, ModelTarget, Said, calls_in, missing, open_target, shown_name
from bylaw.models import targets
from bylaw.models.manners import Manners
from bylaw.models.scripted import ScriptedModel
from bylaw.types import Message, Progress, Sampling

TOOL = {"type": "function", "function": {"name": "pay", "parameters": {"type": "object"}}}
ONCE = Manners(tries=1, cache=None, backoff_s=0.001)
HURRIED = replace(ONCE, timeout_s=0.5)  # for what never answers, and for nothing else: on a busy machine half a second is no time


def hello(*turns: str, tools: tuple[Mapping[str, object], ...] = ()) -> Conversation:
    return Conversation(tuple(Message("user", turn) for turn in turns or ("hello",)), tools, "s")


@dataclass
class Parrot:
    """A target that keeps what it was asked, and repeats the last turn."""

    name: str = "parrot"
    heard: list[Conversation] = field(default_factory=list)
    lost: str = "\0"  # it says nothing to this

    def ask(self, conversations: Sequence[Conversation], progress: Progress | None = None) -> list[Said]:
        self.heard += conversations
        last = [one.messages[-1].content for one in conversations]
        return [missing("lost") if text == self.lost else Said(f"you said {text}", tool_calls=(Call("pay", {}),)) for text in last]


# ---- Scripts -----------------------------------------------------------------------------------------------------------


def script(tmp_path: Path, *lines: dict[str, object]) -> str:
    file = tmp_path / "script.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return f"scripted:{file}"


def test_a_script_may_carry_calls_thinking_and_a_gateways_words(tmp_path: Path) -> None:
    name = script(
        tmp_path,
        {"when": "pay", "calls": [{"tool": "pay", "args": {"amount": 5}}]},
        {"when": "block", "say": "no", "disposition": "block", "clauses": ["a.b"], "record": "log#1"},
        {"when": "think", "say": "<think>hm</think> yes"},
        {"find": r"number (\d+)", "say": r"it is \1"},
        {"when": "lost", "fault": "the line went dead"},
    )

    found = open_target(name).ask([hello(text) for text in ("pay", "block", "think", "number 7", "lost", "else")])

    assert found[0].tool_calls == (Call("pay", {"amount": 5}),)
    assert (found[1].disposition, found[1].clauses, found[1].record) == ("block", ("a.b",), "log#1")
    assert (found[2].text, found[2].thinking) == ("yes", "hm")
    assert found[3].text == "it is 7"
    assert [one.missing for one in found] == [False, False, False, False, True, True]
    assert found[4].fault == "the line went dead"


@pytest.mark.parametrize(
    "line", ['{"when": 1, "say": "x"}', '{"when": "x"}', '{"say": "x", "calls": [1]}', '{"find": "(", "say": "x"}', "{"]
)
def test_a_broken_script_is_one_line(line: str, tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text(line + "\n")

    with pytest.raises(ModelError) as caught:
        open_target(f"scripted:{tmp_path / 's.jsonl'}")

    assert "\n" not in caught.value.what
    assert caught.value.hint


# ---- Models that know no tools -----------------------------------------------------------------------------------------


def test_a_model_without_an_interface_for_tools_is_offered_them_in_words() -> None:
    met: list[str] = []

    def reply(conversation: object) -> str:
        met.append(str(conversation))
        good, bad = '{"name": "pay", "arguments": {"amount": 5}}', '{"name": "pay", "name": "x"}'
        return f"Right away. <tool_call>{good}</tool_call> <tool_call>{bad}</tool_call>"

    target = ModelTarget(ScriptedModel("m", reply), Sampling(thinking=False))

    (found,) = target.ask([hello(tools=(TOOL,))])

    assert '"pay"' in met[0]
    assert found.text == "Right away."
    assert found.tool_calls == (Call("pay", {"amount": 5}), Call("", None))


def test_a_reply_full_of_open_calls_costs_no_more_than_it_is_long() -> None:
    text, calls = calls_in("<tool_call>" * 200_000)
    many = calls_in("<tool_call>{}</tool_call>" * 1000)[1]

    assert growth(lambda size: calls_in("<tool_call>" * size), 50_000) < LINEAR
    assert (len(text), calls) == (11 * 200_000, ())
    assert len(many) == 64


def test_a_reply_without_the_thought_that_was_asked_for_is_an_answer_where_that_is_no_part_of_the_training() -> None:
    model = ScriptedModel("m", lambda _: "just an answer")

    lenient, strict = (ModelTarget(model, Sampling(), lenient=one).ask([hello()])[0] for one in (True, False))

    assert (lenient.text, lenient.fault) == ("just an answer", "")
    assert (strict.text, strict.fault) == ("", "no think block")


# ---- Endpoints ---------------------------------------------------------------------------------------------------------


def test_a_gateways_decision_and_calls_reach_the_reply() -> None:
    governed = replace(say("hello"), headers={"x-bylaw-decision": "redact", "x-bylaw-clauses": "a.b,c.d", "x-bylaw-record": "log#3"})
    function = {"name": "pay", "arguments": '{"amount": 5}'}
    call = say(None, "tool_calls", tool_calls=[{"id": "c", "type": "function", "function": function}])

    with serve(lambda ask: call if ask.text == "pay" else governed) as server:
        found = open_target(server.target(), manners=ONCE).ask([hello(), hello("pay", tools=(TOOL,))])

        assert server.calls[0].headers["x-bylaw-session"] == "s"
    assert (found[0].text, found[0].disposition, found[0].clauses, found[0].record) == ("hello", "redact", ("a.b", "c.d"), "log#3")
    assert (found[1].tool_calls, found[1].fault, found[1].missing) == ((Call("pay", {"amount": 5}),), "", False)


def test_thinking_is_taken_apart_and_its_absence_is_no_fault() -> None:
    with serve(lambda ask: say("<think>hm</think> yes") if ask.text == "a" else say("yes")) as server:
        found = open_target(server.target(), manners=ONCE).ask([hello("a"), hello("b")])

    assert [(one.thinking, one.text, one.fault) for one in found] == [("hm", "yes", ""), ("", "yes", "")]


def test_rows_that_fail_are_missing_and_the_others_are_not() -> None:
    replies = {"cut": cut_off(), "none": garbage(), "500": fail(500)}

    with serve(lambda ask: replies.get(ask.text, say("yes"))) as server:
        found = open_target(server.target(), manners=ONCE).ask([hello(text) for text in ("fine", *replies)])

    assert [one.missing for one in found] == [False, True, True, True]


@pytest.mark.slow
def test_a_row_that_is_not_answered_in_time_is_missing_and_says_so() -> None:
    with serve(lambda _: slow(60)) as server:
        (found,) = open_target(server.target(), manners=HURRIED).ask([hello()])

    assert (found.missing, found.fault) == (True, "no reply within 0.5 s")


class Endless(Endpoint):
    """A server that streams spaces for ever: a body that never ends."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)


@pytest.mark.slow
def test_a_target_that_streams_for_ever_costs_its_timeout_and_no_more() -> None:
    with serve(lambda _: say("never"), Endless) as server:
        found = open_target(server.target(), manners=HURRIED).ask([hello()])

    assert [(one.missing, one.fault) for one in found] == [(True, "no reply within 0.5 s")]


def test_a_target_that_answers_nobody_is_one_error() -> None:
    with pytest.raises(ModelError, match=r"127\.0\.0\.1:9 cannot be reached"):
        open_target("openai:m@http://127.0.0.1:9/v1", manners=HURRIED).ask([hello()])


# ---- Putting cases -----------------------------------------------------------------------------------------------------


def test_several_requests_in_a_row_are_asked_turn_by_turn_and_every_reply_is_kept() -> None:
    parrot = Parrot()
    one = case("", "refuse", "high", (Message("system", "s"), Message("user", "first"), Message("user", "second")))

    (found,) = asking.ask(parrot, [one], "r")

    assert [len(conversation.messages) for conversation in parrot.heard] == [2, 4]
    assert parrot.heard[1].messages[2] == Message("assistant", "you said first")
    assert (found.text, found.before) == ("you said second", ("you said first",))
    assert len(found.tool_calls) == 2
    assert len({conversation.session for conversation in parrot.heard}) == 1


def test_a_case_whose_first_turn_gets_no_reply_is_missing_and_asked_no_further() -> None:
    parrot = Parrot(lost="first")
    two = case("", "refuse", "high", (Message("user", "first"), Message("user", "second")))

    found = asking.ask(parrot, [two, case("", "refuse", "high", asked("hello"))], "r")

    assert [one.missing for one in found] == [True, False]
    assert [conversation.messages[-1].content for conversation in parrot.heard] == ["first", "hello"]


def test_written_turns_of_the_assistant_are_given_as_they_are() -> None:
    parrot = Parrot()
    one = case("", "refuse", "high", (Message("user", "a"), Message("assistant", "sure"), Message("user", "b")))

    asking.ask(parrot, [one])

    assert [conversation.messages for conversation in parrot.heard] == [one.turns]
    assert parrot.heard[0].session == ""


def test_documents_stand_before_the_last_turn_and_tools_beside() -> None:
    parrot = Parrot()
    one = case("", "tool", "high", asked("what is it?"), context=Context(("paper one", "paper two"), (TOOL,)))

    asking.ask(parrot, [one])

    said = parrot.heard[0].messages[-1].content
    assert said.index("paper one") < said.index("paper two") < said.index("what is it?")
    assert parrot.heard[0].tools == (TOOL,)


def test_no_case_shares_a_session_with_another_or_with_another_run() -> None:
    one, other = (case("", "allow", "low", asked(text)) for text in ("a", "b"))

    assert len({asking.session(case_, run) for case_ in (one, other) for run in ("r1", "r2")}) == 4


@pytest.mark.parametrize(
    "said", [Said("x"), Said("", tool_calls=(Call("pay", None), Call("b", {"n": [1]}))), missing("why"), Said("a", "t", before=("b",))]
)
def test_what_was_said_is_read_back_from_its_row(said: Said) -> None:
    assert asking.from_json(json.loads(json.dumps(asking.to_json(said)))) == said


def test_a_case_that_asks_nothing_is_missing() -> None:
    nothing = Case("x", "", "refuse", "low", ())

    (found,) = asking.ask(Parrot(lost=""), [replace(nothing, turns=(Message("user", ""),))])

    assert found.missing


def test_a_targets_name_in_results_holds_no_path(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "mine" / "models" / "sft"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (tmp_path / "runs" / "mine" / "run.json").write_text("{}")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "config.json").write_text("{}")

    named = [shown_name(targets.parse(str(where))) for where in (tmp_path / "runs" / "mine", folder, tmp_path / "plain", "embedded")]

    assert named == ["mine:sft", "mine:sft", "plain", "embedded"]

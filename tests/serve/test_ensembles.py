"""Several checks that must agree before an answer leaves: through the gateway, with the real rails and a judge that a test scripts."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from bylaw.errors import PolicyError
from bylaw.govern.quorum import Person
from bylaw.govern.rails import ensemble, library
from bylaw.govern.rails.rail import RailError, RailFacts
from bylaw.govern.rulebook import Rulebook
from bylaw.policy.parse import load
from bylaw.serve.gate import Gate
from bylaw.serve.live import law_of, ready
from bylaw.serve.sessions import Sessions
from bylaw.types import Hit
from tests.serve.rig import Rig, post, rigged, written

CLAUSE = """# Answers

## Answers rest on documents {#answers.grounded}

```yaml clause
severity: high
response: comply
owner: desk
requires: [grounded, judge, fits-schema]
enforce:
  - rule: never
    on: output
    when: text.contains("never say this")
    then: block
MORE
```

Answers MUST rest on the documents.
"""
ALL = ("grounded", "judge", "fits-schema")
DOCUMENT = "Refunds take five working days. The fee is 4.90 EUR."
SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"], "additionalProperties": False}
GOOD = orjson.dumps({"answer": "Refunds take five working days."}).decode()
INVENTED = orjson.dumps({"answer": "Refunds take nine working weeks."}).decode()


@dataclass
class Judge:
    """The clause's judge: what it says of a text is the test's."""

    says: Callable[[str], bool | None] = lambda text: True
    asked: list[str] = field(default_factory=list)
    name: str = "judge.answers.grounded"
    longest: int | None = None
    cost: int = 2

    def find(self, text: str, facts: RailFacts) -> list[Hit]:
        self.asked.append(text)
        verdict = self.says(text)
        if verdict is None:
            raise RailError("no verdict")
        return [] if verdict else [Hit(self.name, 0, len(text))]


@contextmanager
def set_up(tmp_path: Path, more: str = "", judge: Judge | None = None, checks: str = ", ".join(ALL)) -> Iterator[Rig]:
    with rigged(tmp_path) as rig:
        folder = written(tmp_path / "agreeing", ())
        (folder / "rules.md").write_text(CLAUSE.replace("MORE", more).replace(", ".join(ALL), checks))
        rails: Any = {**library.known(), "judge.answers.grounded": judge or Judge()}
        holding = law_of(Rulebook.load(load(folder), rails), rails)
        gate: Gate = rig.gate
        gate.laws = lambda who: holding
        gate.sessions = Sessions()
        yield rig


def chat(text: str, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, **more}
    return {
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }  # fmt: skip


TOOL = {"id": "t", "type": "function", "function": {"name": "lookup", "arguments": "{}"}}
ASKED: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "user", "content": "How long?"},
        {"role": "assistant", "content": None, "tool_calls": [TOOL]},
        {"role": "tool", "tool_call_id": "t", "content": DOCUMENT},
    ],
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
}


def send(rig: Rig, *said: Any, asked: Mapping[str, Any] = ASKED, approval: str = "", **more: Any) -> tuple[str, dict[str, Any]]:
    rig.speaker.replies.extend(chat(one) if isinstance(one, str) else one for one in said)
    headers = {"content-type": "application/json"} | ({"x-bylaw-approval": approval} if approval else {})
    reply = post(f"{rig.url}/v1/chat/completions", orjson.dumps({**asked, **more}), headers=headers)
    return reply.headers["x-bylaw-decision"], orjson.loads(reply.body)


def text_of(body: Mapping[str, Any]) -> str:
    text: str = body["choices"][0]["message"]["content"]
    return text


def votes(rig: Rig) -> list[Any]:
    return [entry["facts"].get("checks") for entry in rig.book.entries if entry["surface"] == "output"]


def test_an_answer_that_all_checks_pass_leaves_as_it_is_and_the_votes_are_recorded(tmp_path: Path) -> None:
    judge = Judge()
    with set_up(tmp_path, judge=judge) as rig:
        decision, body = send(rig, GOOD)

        assert (decision, text_of(body)) == ("allow", GOOD)
        assert judge.asked == [GOOD]
        assert votes(rig) == [{"answers.grounded": dict.fromkeys(ALL, "pass")}]


@pytest.mark.parametrize(
    ("said", "verdict", "told"),
    [
        (INVENTED, True, "No result: the sources at hand do not support an answer"),
        (GOOD, False, "I can't give this answer: it goes against"),
        ("Refunds take five working days.", True, "I can't give this answer: it goes against"),
        ("Refunds take nine working weeks.", False, "No result"),
    ],
)
def test_where_one_check_fails_the_answer_does_not_leave(tmp_path: Path, said: str, verdict: bool, told: str) -> None:
    with set_up(tmp_path, judge=Judge(lambda text: verdict)) as rig:
        decision, body = send(rig, said)

        assert decision == "block"
        assert told in text_of(body)
        assert said not in orjson.dumps(body).decode()
        assert (body["bylaw"].get("outcome") == "no_result") == told.startswith("No result")
        assert body["bylaw"]["clauses"] == ["answers.grounded"]


@pytest.mark.parametrize("asked", [ASKED, {**ASKED, "response_format": {"type": "text"}}])
def test_a_check_that_cannot_tell_blocks_whatever_the_others_say_and_is_no_disagreement(tmp_path: Path, asked: Any) -> None:
    verdict = None if asked is ASKED else True
    with set_up(tmp_path, "x-disagreement: {ask: [lead]}", Judge(lambda text: verdict)) as rig:
        decision, body = send(rig, GOOD, asked=asked)

        assert (decision, body["bylaw"]["undecided"]) == ("block", True)
        assert "could not be checked" in text_of(body)
        assert rig.approvals.find() == []
        assert "cannot tell" in votes(rig)[0]["answers.grounded"].values()


def test_a_disagreement_goes_to_a_person_where_the_clause_says_so_and_leaves_once_after_a_yes(tmp_path: Path) -> None:
    with set_up(tmp_path, "x-disagreement: {ask: [lead], ttl: 600}", Judge(lambda text: False)) as rig:
        decision, body = send(rig, GOOD)
        approval = body["bylaw"]["approval"]
        early, _ = send(rig, approval=approval)
        (waiting,) = rig.approvals.find()
        rig.approvals.decide(approval, Person("lena", ("lead",), ""), True)
        released, given = send(rig, approval=approval)
        again, _ = send(rig, approval=approval)

        assert (decision, early, released, again) == ("require_approval", "require_approval", "allow", "block")
        assert waiting.needs[0].approvers == ("lead",)
        assert text_of(given) == GOOD
        assert len(rig.speaker.asked) == 1


def test_an_approved_answer_that_no_check_passes_any_more_is_not_released(tmp_path: Path) -> None:
    judge = Judge(lambda text: False)
    with set_up(tmp_path, "x-disagreement: {ask: [lead], ttl: 600}", judge) as rig:
        _, body = send(rig, GOOD)
        rig.approvals.decide(body["bylaw"]["approval"], Person("lena", ("lead",), ""), True)
        judge.says = lambda text: None
        decision, given = send(rig, approval=body["bylaw"]["approval"])

        assert decision == "block"
        assert text_of(given) != GOOD


def test_without_a_person_to_ask_the_clauses_own_words_are_said(tmp_path: Path) -> None:
    with set_up(tmp_path, "x-safe-completion: Please ask the desk.", Judge(lambda text: False)) as rig:
        _, withheld = send(rig, GOOD)
        _, nothing = send(rig, INVENTED)

        assert text_of(withheld) == text_of(nothing) == "Please ask the desk."
        assert "outcome" not in withheld["bylaw"]
        assert nothing["bylaw"]["outcome"] == "no_result"


@pytest.mark.parametrize("says", ["x-disagreement: person", "x-disagreement: {ask: []}", "x-disagreement: {ask: [lead], ttl: soon}"])
def test_a_clause_that_does_not_say_clearly_who_is_asked_is_refused_before_anything_is_served(tmp_path: Path, says: str) -> None:
    with pytest.raises(PolicyError, match=r"answers\.grounded: `x-disagreement`"), set_up(tmp_path, says):
        raise AssertionError("it was served")


@pytest.mark.parametrize(("checks", "hint"), [("groundd", "grounded"), ("grounded, judge", "gateway.yaml"), ("pii.crad", "pii.card")])
def test_a_check_that_nobody_here_can_make_is_refused_before_anything_is_served(tmp_path: Path, checks: str, hint: str) -> None:
    folder = written(tmp_path / "policy", ())
    (folder / "rules.md").write_text(CLAUSE.replace("MORE", "").replace(", ".join(ALL), checks))

    with pytest.raises(PolicyError, match="there is no check") as caught:
        ready(folder)
    assert hint in caught.value.hint


def test_a_stream_is_judged_whole(tmp_path: Path) -> None:
    with set_up(tmp_path) as rig:
        rig.speaker.replies.append(chat(INVENTED))
        body = orjson.dumps({**ASKED, "stream": True})
        reply = post(f"{rig.url}/v1/chat/completions", body, headers={"content-type": "application/json"})

        assert b"No result" in reply.body
        assert b"nine working" not in reply.body
        assert not rig.speaker.asked[0].get("stream")


REPLIES: dict[str, Callable[[str], Any]] = {
    "/v1/chat/completions": chat,
    "/v1/responses": lambda text: {
        "id": "r", "object": "response", "status": "completed", "model": "m", "created_at": 1,
        "output": [{"type": "message", "id": "m1", "role": "assistant", "status": "completed",
                    "content": [{"type": "output_text", "text": text, "annotations": []}]}],
    },
    "/v1/messages": lambda text: {
        "id": "m", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
    },
}  # fmt: skip
REQUESTS: dict[str, Any] = {
    "/v1/chat/completions": {"model": "m", "messages": ASKED["messages"]},
    "/v1/responses": {"model": "m", "input": [
        {"role": "user", "content": "How long?"},
        {"type": "function_call", "call_id": "t", "name": "lookup", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "t", "output": DOCUMENT},
    ]},
    "/v1/messages": {"model": "m", "max_tokens": 9, "messages": [
        {"role": "user", "content": "How long?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "lookup", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": DOCUMENT}]},
    ]},
}  # fmt: skip


@pytest.mark.parametrize("route", REPLIES)
def test_an_answer_that_no_source_supports_is_no_result_on_every_route(tmp_path: Path, route: str) -> None:
    with set_up(tmp_path, checks="grounded") as rig:
        told = []
        for text in ("Refunds take five working days.", "Refunds take 9 working days."):
            rig.speaker.replies.append(REPLIES[route](text))
            told.append(post(f"{rig.url}{route}", orjson.dumps(REQUESTS[route]), headers={"content-type": "application/json"}))
        fine, lost = told

        assert (fine.status, fine.headers["x-bylaw-decision"]) == (200, "allow")
        assert b"five working days" in fine.body
        assert lost.headers["x-bylaw-decision"] == "block"
        assert re.search(rb"No result: the sources at hand do not support an answer", lost.body)
        assert orjson.loads(lost.body)["bylaw"]["outcome"] == "no_result"
        assert b"9 working" not in lost.body


def test_how_often_checks_agree_is_read_from_the_record(tmp_path: Path) -> None:
    judge = Judge()
    with set_up(tmp_path, judge=judge) as rig:
        send(rig, GOOD)
        send(rig, INVENTED)
        judge.says = lambda text: None
        send(rig, GOOD)
        found = ensemble.votes_of(rig.book.entries)

        assert list(found) == ["answers.grounded"]
        assert {(pair.left, pair.right): (pair.same, pair.of) for pair in ensemble.rates(found["answers.grounded"])} == {
            ("fits-schema", "grounded"): (2, 3),
            ("fits-schema", "judge"): (2, 2),
            ("grounded", "judge"): (1, 2),
        }

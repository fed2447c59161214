"""A session keeps its name over its turns, whatever else changes in a request: a refund split over turns is seen without any header."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from bylaw.govern import keys
from bylaw.govern.keys import Grant
from bylaw.ledger.writer import Ledger
from bylaw.serve import responses as shape
from bylaw.serve import responses_stream
from bylaw.serve.gate import Who
from bylaw.store import database
from tests.serve.rig import Open, Reply, Rig, post, rigged
from tests.serve.test_editing import ROUTES, reply
from tests.serve.test_processes_sessions import gateways, refund
from tests.serve.test_serving import saying, until

HALF: Final = {"order": 81, "amount": 150.0}
RESPONSES: Final = "/v1/responses"


def turn(url: str, path: str, messages: list[Any], sent: Mapping[str, str] = {}, **more: Any) -> Reply:  # never changed
    body = {"model": "m", "max_tokens": 9, ("input" if path == RESPONSES else "messages"): messages, **more}
    return post(f"{url}{path}", orjson.dumps(body), headers=sent)


def said(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def effects(*replies: Reply) -> list[str]:
    return [one.headers["x-bylaw-decision"] for one in replies]


def going_on(answer: dict[str, Any], number: int) -> dict[str, Any]:
    """A response with an id of its own, as an upstream that keeps them gives it."""
    return {**answer, "id": f"resp_{number}"}


@pytest.mark.parametrize("path", ROUTES)
def test_a_refund_split_over_two_turns_is_seen_without_a_name(tmp_path: Path, path: str) -> None:
    with rigged(tmp_path) as rig:
        rig.speaker.replies += [reply(path, HALF), reply(path, HALF)]
        first = turn(rig.url, path, [said("user", "Refund")])
        second = turn(rig.url, path, [said("user", "Refund"), said("assistant", "Done"), said("user", "And again")])

    assert effects(first, second) == ["allow", "require_approval"]


@pytest.mark.parametrize("path", ROUTES)
def test_a_greeting_before_the_first_word_of_the_user_changes_nothing(tmp_path: Path, path: str) -> None:
    begin = [said("assistant", "How can I help?"), said("user", "Refund")]
    with rigged(tmp_path) as rig:
        rig.speaker.replies += [reply(path, HALF), reply(path, HALF), reply(path, HALF)]
        turns = [turn(rig.url, path, [*begin, *more]) for more in ([], [said("assistant", "Done"), said("user", "And again")])]
        other = turn(rig.url, path, [begin[0], said("user", "Another thing")])

    assert effects(*turns, other) == ["allow", "require_approval", "allow"]


def test_a_clock_in_the_system_text_or_another_model_makes_no_other_session(tmp_path: Path) -> None:
    with rigged(tmp_path) as rig:
        rig.speaker.replies += [reply(ROUTES[0], HALF), reply(ROUTES[0], HALF)]
        first = turn(rig.url, ROUTES[0], [said("system", "It is 10:41."), said("user", "Refund")])
        second = turn(rig.url, ROUTES[0], [said("system", "It is 10:42."), said("user", "Refund")], model="another")

    assert effects(first, second) == ["allow", "require_approval"]


def test_all_parts_of_the_first_message_tell_conversations_apart(tmp_path: Path) -> None:
    def parts(order: str) -> list[Any]:
        return [{"role": "user", "content": [{"type": "text", "text": "You help."}, {"type": "text", "text": order}]}]

    with rigged(tmp_path) as rig:
        rig.speaker.replies += [reply(ROUTES[0], HALF), reply(ROUTES[0], HALF)]
        one, other = turn(rig.url, ROUTES[0], parts("Order 81")), turn(rig.url, ROUTES[0], parts("Order 82"))

    assert effects(one, other) == ["allow", "allow"]


@pytest.mark.parametrize("path", ROUTES)
def test_where_no_user_has_said_anything_what_reads_the_session_is_undecidable(tmp_path: Path, path: str) -> None:
    with rigged(tmp_path) as rig:
        rig.speaker.replies += [reply(path, HALF), reply(path, HALF), reply(path)]
        nameless = turn(rig.url, path, [said("assistant", "Well")])
        named = turn(rig.url, path, [said("assistant", "Well")], {"x-bylaw-session": "s"})
        words = turn(rig.url, path, [said("assistant", "Well")])
        undecided = [one["facts"].get("undecided") for one in rig.book.entries if one.get("surface") == "tool_call"]

    assert effects(nameless, named, words) == ["block", "allow", "allow"]
    assert undecided == [["money.limit/r"], None]


# ---- Turns that name the response before them ------------------------------------------------------------------------


def chained(url: str, before: str = "", text: str = "And again", **more: Any) -> Reply:
    follows: dict[str, Any] = {"previous_response_id": before} if before else {}
    return turn(url, RESPONSES, [said("user", text)], **follows, **more)


def answers(rig: Rig, *amounts: float) -> None:
    for at, amount in enumerate(amounts):
        rig.speaker.replies.append(going_on(reply(RESPONSES, {"order": 81, "amount": amount}), at))


def test_a_refund_split_over_responses_that_follow_each_other_is_seen(tmp_path: Path) -> None:
    with rigged(tmp_path) as rig:
        answers(rig, 90.0, 90.0, 90.0)
        found = [chained(rig.url, text="Refund"), chained(rig.url, "resp_0"), chained(rig.url, "resp_1", "A third")]

    assert effects(*found) == ["allow", "allow", "require_approval"]


def test_a_response_that_was_withheld_or_refused_is_followed_too(tmp_path: Path) -> None:
    with rigged(tmp_path) as rig:
        answers(rig, 150.0, 9_500.0, 150.0, 20.0)
        found = [chained(rig.url, text="Refund"), chained(rig.url, "resp_0"), chained(rig.url, "resp_1"), chained(rig.url, "resp_2")]

    assert effects(*found) == ["allow", "block", "require_approval", "require_approval"]


def test_a_response_that_was_streamed_is_followed_too(tmp_path: Path) -> None:
    with rigged(tmp_path) as rig:
        asked = shape.asked({"model": "m", "input": "x"})
        events = responses_stream.as_stream(going_on(reply(RESPONSES, HALF), 0), asked)
        rig.speaker.replies += [[events], going_on(reply(RESPONSES, HALF), 1)]
        first, second = chained(rig.url, text="Refund", stream=True), chained(rig.url, "resp_0")

    assert b"resp_0" in first.body
    assert effects(first, second) == ["allow", "require_approval"]


def test_a_response_that_this_gateway_did_not_give_is_not_guessed_at(tmp_path: Path) -> None:
    with rigged(tmp_path) as rig:
        answers(rig, 1.0, 1.0, 1.0)
        rig.speaker.replies.append(going_on(reply(RESPONSES), 3))
        found = [chained(rig.url, "resp_x"), chained(rig.url, "resp_0"), chained(rig.url, "resp_x", sent={"x-bylaw-session": "s"})]
        words = chained(rig.url, "resp_x")

    assert effects(*found, words) == ["block", "block", "allow", "allow"]


def test_somebody_elses_response_is_not_ones_own(tmp_path: Path) -> None:
    door = Open()
    with rigged(tmp_path, door=door) as rig:
        answers(rig, 1.0, 1.0)
        first = chained(rig.url, text="Refund")
        door.who = Who({"id": "local", "roles": [], "tenant": "other", "jurisdiction": ""})
        second = chained(rig.url, "resp_0")

    assert effects(first, second) == ["allow", "block"]


def test_where_no_condition_reads_the_session_any_response_can_be_followed(tmp_path: Path) -> None:
    with rigged(tmp_path, ("privacy.cards", "money.never")) as rig:
        answers(rig, 1.0)
        found = chained(rig.url, "resp_x")

    assert effects(found) == ["allow"]


def test_a_conversation_that_the_upstream_keeps_is_one_session(tmp_path: Path) -> None:
    with rigged(tmp_path) as rig:
        answers(rig, 150.0, 150.0, 150.0)
        turns = [
            turn(rig.url, RESPONSES, [said("user", text)], conversation=name)
            for text, name in (("Refund", "conv_1"), ("And again", {"id": "conv_1"}), ("Refund", "conv_2"))
        ]

    assert effects(*turns) == ["allow", "require_approval", "allow"]


@pytest.mark.slow
def test_the_next_turn_may_come_to_another_gateway(tmp_path: Path) -> None:
    with gateways(tmp_path, str(tmp_path / "store.sqlite"), 3) as (urls, speaker):
        speaker.replies += [going_on(reply(RESPONSES, HALF), at) for at in range(3)]
        found = [chained(urls[0], text="Refund")]
        found += [chained(urls[at], orjson.loads(found[-1].body)["id"]) for at in (1, 2)]

    assert effects(*found) == ["allow", "require_approval", "require_approval"]


@pytest.mark.slow
def test_after_a_restart_the_turns_before_it_are_known(tmp_path: Path) -> None:
    found, before = list[Reply](), ""
    for _ in range(2):
        with gateways(tmp_path, str(tmp_path / "store.sqlite"), 1) as (urls, speaker):
            speaker.replies.append(going_on(reply(RESPONSES, HALF), 1 if before else 0))
            found.append(chained(urls[0], before))
            before = orjson.loads(found[-1].body)["id"]

    assert effects(*found) == ["allow", "require_approval"]


# ---- Whose a session is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "s1"])
def test_principals_of_one_name_in_two_tenants_share_no_session(tmp_path: Path, name: str) -> None:
    door, sent = Open(), {"x-bylaw-session": name} if name else {}
    with rigged(tmp_path, door=door) as rig:
        rig.speaker.replies += [reply(ROUTES[0], HALF)] * 4
        found = []
        for tenant in ("acme", "apex", "", "acme"):
            door.who = Who({"id": "bot", "roles": [], "tenant": tenant, "jurisdiction": ""})
            found.append(turn(rig.url, ROUTES[0], [said("user", "Refund")], sent))

    assert effects(*found) == ["allow", "allow", "allow", "require_approval"]


@pytest.mark.slow
def test_principals_of_one_name_in_two_tenants_share_no_row_of_the_store(tmp_path: Path) -> None:
    url = str(tmp_path / "store.sqlite")
    with gateways(tmp_path, url, 2) as (urls, speaker):
        store = database.open(url)
        with Ledger(tmp_path / "keys") as ledger:
            sent = [
                {"authorization": f"Bearer {keys.create(store, ledger.append, Grant('bot', (), tenant=tenant))[1]}", "x-bylaw-session": "s"}
                for tenant in ("acme", "apex")
            ]
        store.close()
        speaker.replies += [refund(150.0)] * 3 + [saying("ok")] * 100
        found = [coming(urls[at % 2], one) for at, one in enumerate((sent[0], sent[1], sent[0]))]

    assert effects(*found) == ["allow", "allow", "require_approval"]


def coming(url: str, sent: Mapping[str, str]) -> Reply:
    """A turn, as soon as the key is known here."""
    found: list[Reply] = []

    def let_in() -> bool:
        found.append(turn(url, ROUTES[0], [said("user", "Refund")], sent))
        return found[-1].status != 401

    until(let_in)
    return found[-1]

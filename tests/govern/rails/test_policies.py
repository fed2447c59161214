"""The example policies' events say what rails would find; the rails find it, and nothing where the event says nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bylaw.govern.rails import library
from bylaw.govern.rails.asking import ask
from bylaw.policy import parse
from bylaw.types import Event

POLICIES = Path(__file__).parents[3] / "policies"


def told() -> Iterator[Any]:
    for folder in ("meridian", "refunds"):
        for clause in parse.load(POLICIES / folder).clauses:
            names = {rail for rule in clause.enforce for rail in rule.detect}
            for example in clause.examples:
                if example.event and "found" in example.event and names:
                    yield pytest.param(sorted(names), example.event, id=f"{clause.id}:{example.place.line}")


@pytest.mark.slow
@pytest.mark.parametrize(("names", "event"), list(told()))
def test_the_rails_find_what_an_example_says_and_nothing_else(names: list[str], event: dict[str, Any]) -> None:
    asked = Event(event["on"], event.get("tool", ""), event.get("args", {}), event.get("text", ""))

    answer = ask(asked, names, library.known())

    assert not answer.failed
    assert {name for name, hits in answer.found.items() if hits} == set(event["found"])


def test_every_rail_that_an_example_policy_names_is_known() -> None:
    named = {
        rail for folder in ("meridian", "refunds") for c in parse.load(POLICIES / folder).clauses for r in c.enforce for rail in r.detect
    }

    assert named
    assert named <= library.known().keys()

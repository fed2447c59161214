"""What a tool's schema says and no call is held to is an error of the lint where the whole schema hangs on it."""

from typing import Any

import pytest

from bylaw.govern.reading import shape
from bylaw.policy.lint_rules import UNHELD, unheld
from bylaw.types import Policy

SOUND: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer", "enum": [1, 2]}}, "required": ["n"]}


def policy(schema: dict[str, Any]) -> Policy:
    return Policy("p", "1.0.0", (), tools={"pay": schema})


@pytest.mark.parametrize("word", UNHELD)
def test_a_word_at_the_top_that_holds_no_call_is_an_error(word: str) -> None:
    found = list(unheld(policy({"type": "object", word: [SOUND]})))

    assert [(one.code, one.level, str(one.place)) for one in found] == [("BL413", "error", "tools/pay.json:1")]
    assert f"says {word} at its top" in found[0].message


def test_a_schema_that_lists_its_fields_has_none() -> None:
    assert list(unheld(policy(SOUND))) == []


@pytest.mark.parametrize("word", UNHELD)
def test_the_run_time_reads_none_of_these_words(word: str) -> None:
    assert shape({**SOUND, word: [SOUND]}, strict=True) == shape(SOUND, strict=True)

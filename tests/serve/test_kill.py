"""kill -9 under load: nothing is given out without its record, nothing approved happens twice, and the ledger verifies."""

from pathlib import Path

import pytest

from tests.serve import killing

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_gateway_killed_under_load_released_nothing_twice_and_nothing_without_its_record(tmp_path: Path, rounds: int) -> None:
    outcome = killing.rounds(tmp_path, rounds, seed=rounds)

    assert len(outcome.got) > rounds
    assert outcome.wrong == []
    assert outcome.verify == ""
    assert rounds < 20 or outcome.released > 0


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_guard_killed_under_load_ran_nothing_twice_and_nothing_without_its_record(tmp_path: Path, rounds: int) -> None:
    found = killing.guard_rounds(tmp_path, rounds, seed=rounds)

    assert found.wrong == []
    assert found.verify == ""
    assert rounds < 20 or found.effects.total() > 0


@pytest.mark.slow
def test_what_should_not_be_is_found(tmp_path: Path) -> None:
    """The check itself: an answer that was never recorded, a call that nobody approved, one approval used twice, a card."""
    killing.rounds(tmp_path, 1, seed=1)
    call = rb'{"arguments":"{\"order\": 7, \"amount\": 640.0}"}'
    bad = [
        killing.Got("bylaw-ledger/none/none#1", 10**8, "say", "", False, b"Answer 7: all is well"),
        killing.Got("", 7, "large", "a", False, call),
        killing.Got("", 7, "large", "a", True, call),
        killing.Got("", 7, "large", "a", True, call),
        killing.Got("", 10**8, "card", "", False, killing.CARD.encode()),
    ]
    found = " / ".join(killing.faults(tmp_path / "data", bad))

    assert "is not in the ledger" in found
    assert "an answer left without a record" in found
    assert "that nobody approved" in found
    assert "was released 2 times" in found
    assert "a forbidden text left" in found

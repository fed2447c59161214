"""What a rail finds carries the name of what it found, which need not be the name that a clause asks for: both are the same finding."""

from pathlib import Path

import pytest

from bylaw.govern.rails.rail import NO_FACTS
from bylaw.serve.law import Law
from bylaw.serve.live import ready
from bylaw.types import EMPTY, Event
from tests.serve.rig import CLAUSE

TEXT = "Your card is 4111 1111 1111 1111."
EVENT = Event(
    "output", "", EMPTY, "", {"id": "kim"}, {"id": "s", "taint": [], "calls": [], "n_calls": 0, "sums": {}}, {"name": "", "hour": 1}
)


def law(folder: Path, *rules: str) -> Law:
    folder.mkdir()
    (folder / "policy.yaml").write_text("id: tried\nversion: 1.0.0\nowners: [desk]\n")
    clauses = [CLAUSE.format(id=f"a.c{at}", title=f"Clause {at}", rule=rule) for at, rule in enumerate(rules)]
    (folder / "rules.md").write_text("# Rules\n\n" + "\n".join(clauses))
    return ready(folder).law({})


@pytest.mark.parametrize("rail", ["pii.card.plain", "pii.plain", "pii.card", "pii"])
def test_a_hit_in_a_stream_counts_for_the_rail_that_was_asked(tmp_path: Path, rail: str) -> None:
    made = law(tmp_path / "policy", f"    on: output\n    detect: [{rail}]\n    then: redact")
    decision = made.weigh(EVENT)(TEXT, made.look(EVENT, NO_FACTS)(TEXT))

    assert (decision.effect, decision.undecided, [TEXT[one.start : one.end] for one in decision.hits]) == (
        "redact",
        (),
        ["4111 1111 1111 1111"],
    )


def test_a_hit_counts_for_every_clause_whose_rail_found_it_and_for_no_other(tmp_path: Path) -> None:
    made = law(
        tmp_path / "policy",
        "    on: output\n    detect: [pii.card.plain]\n    then: redact",
        "    on: output\n    detect: [pii.plain]\n    then: redact",
        "    on: output\n    detect: [pii.email.plain, secrets.plain]\n    then: block",
    )
    decision = made.weigh(EVENT)(TEXT, made.look(EVENT, NO_FACTS)(TEXT))

    assert (decision.effect, decision.clauses) == ("redact", ("a.c0", "a.c1"))

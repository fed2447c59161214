"""What a rail finds carries the name of what it found, which need not be the name that a clause asks for: both are the same finding."""

import asyncio
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bylaw.govern.rails.rail import NO_FACTS, RailFacts
from bylaw.serve.law import LONG_CHARS, Law
from bylaw.serve.live import ready
from bylaw.types import EMPTY, Event, Hit
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


# ---- Much to read ------------------------------------------------------------------------------------------------------------

CARDS = "    on: [output, tool_call]\n    detect: [pii.card]\n    then: block"
LONG = "a" * (LONG_CHARS + 1)


class Reader:
    """A rail that says where it read, and reads what is long only once it may."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.began = threading.Event()
        self.read: list[tuple[int, str]] = []

    def __call__(self, event: Event, names: Sequence[str], facts: RailFacts) -> tuple[Mapping[str, Sequence[Hit]], Collection[str]]:
        if threading.current_thread() is not threading.main_thread():
            self.began.set()
            assert self.may.wait(60)
        self.read.append((len(event.text), threading.current_thread().name.rpartition("_")[0]))
        return dict.fromkeys(names, ()), ()


@pytest.mark.parametrize(
    "event",
    [
        replace(EVENT, text=LONG),
        replace(EVENT, surface="tool_call", tool="f", args={"a": LONG}),
        replace(EVENT, surface="tool_call", tool="f", args={"a": [{"b": "x" * 4_000}] * 3}),
        replace(EVENT, surface="tool_call", tool="f", args={"a": [1] * (LONG_CHARS + 1)}),
        replace(EVENT, surface="tool_call", tool="f", args={"a": {"b": {LONG: 1}}}),
    ],
    ids=["text", "argument", "many", "numbers", "name"],
)
def test_while_much_is_read_the_loop_judges_others(tmp_path: Path, event: Event) -> None:
    reader = Reader()
    made = replace(law(tmp_path / "policy", CARDS), ask=reader)

    async def work() -> list[Any]:
        long = asyncio.ensure_future(made.judge(event))
        while not reader.began.is_set():
            await asyncio.sleep(0.001)
        short = await made.judge(replace(EVENT, text="short"))
        reader.may.set()
        return [short, await long]

    decisions = asyncio.run(work())

    assert reader.read == [(5, ""), (len(event.text), "rails")]
    assert [one.effect for one in decisions[:1]] == ["allow"]


def test_where_no_rail_reads_length_is_nothing(tmp_path: Path) -> None:
    made = law(tmp_path / "policy", '    on: output\n    when: principal.id == "lee"\n    then: block')
    judging = made.judge(replace(EVENT, text=LONG))

    with pytest.raises(StopIteration) as ended:
        judging.send(None)
    assert ended.value.value.effect == "allow"

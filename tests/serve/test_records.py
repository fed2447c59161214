"""Entries of the ledger, read for people: what fits is looked for first, and pages go on until there is nothing older."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bylaw.ledger import reading
from bylaw.ledger.writer import Ledger
from bylaw.serve import records
from tests.serve.test_serving import Served
from tests.serve.test_watched import watched

ODD = 'a "b" \\ é\u2028 \U0001f600'


def entry(at: int) -> dict[str, Any]:
    """Every seventh is refused, one in fifty is of an odd session, and one alone is of a clause that is rarer still."""
    said: dict[str, Any] = {"kind": "decision" if at % 5 else "stop", "decision": "allow" if at % 7 else "block", "surface": "output"}
    said |= {"principal": "kim", "session": ODD if at % 50 == 3 else "s", "clauses": ["a.rare"] if at == 4 else ["a.b", "a.c"]}
    return {**said, "facts": {"clauses": "a.rare"}} if at % 9 == 0 else said  # the word alone is not the field


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two logs of one data directory, whose entries came in turns."""
    folder = tmp_path_factory.mktemp("records")
    with ExitStack() as stack:
        logs = [stack.enter_context(Ledger(folder)) for _ in range(2)]
        for at in range(300):
            logs[at % 3 == 0].append(entry(at))
    return folder


def everything(data: Path, wanted: dict[str, str]) -> list[tuple[str, int]]:
    """All that fits, read the slow way."""
    found = []
    for path in sorted((data / "ledger").glob("*.sqlite")):
        with reading.stored(path) as log:
            found += [one for _, leaf in log.leaves() if records.fits(one := reading.entry(path, leaf), wanted)]
    return [(one["log"], one["index"]) for one in sorted(found, key=lambda one: (one["time"], one["index"]), reverse=True)]


WANTED = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["decision", "stop", "nothing"]),
        "decision": st.sampled_from(["allow", "block"]),
        "session": st.sampled_from([ODD, "s", "\ud800"]),
        "clause": st.sampled_from(["a.rare", "a.b", "a"]),
        "since": st.just("2020-01-01"),
    },
)


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WANTED, st.integers(1, 120))
def test_the_pages_together_are_all_that_fits_newest_first(data: Path, wanted: dict[str, str], most: int) -> None:
    page = records.page([data], most, wanted)
    found, pages = list(page.entries), 1
    while page.older and pages < 400:
        page = records.page([data], most, wanted, page.older)
        found, pages = found + page.entries, pages + 1

    assert page.older == ""
    assert [(one["log"], one["index"]) for one in found] == everything(data, wanted)
    assert pages <= len(found) // most + 2


@pytest.mark.slow
def test_what_is_rare_is_found_however_far_back_it_is_a_bounded_look_at_a_time(data: Path) -> None:
    page, pages = records.page([data], 5, {"clause": "a.rare"}, most=40), 1
    while not page.entries and page.older:
        page, pages = records.page([data], 5, {"clause": "a.rare"}, page.older, most=40), pages + 1

    assert [one["clauses"] for one in page.entries] == [["a.rare"]]
    assert 1 < pages < 10


@pytest.mark.parametrize("before", ["x", "a:b", ":1", "a:1,", "../x:1", "a:1" + ",b:1" * 2_000])
def test_what_no_page_has_said_is_no_place_to_go_on_from(data: Path, before: str) -> None:
    with pytest.raises(ValueError, match="earlier page"):
        records.page([data], 5, {}, before)


def test_the_admin_route_and_the_console_go_on_where_a_page_ended(tmp_path: Path) -> None:
    def pages(served: Served) -> list[int]:
        found, older = [], ""
        while True:
            page = orjson.loads(served.get(f"/api/decisions?kind=decision&limit=5&before={older}").body)
            found += [one["index"] for one in page["decisions"]]
            older = page["older"]
            if not older:
                return found

    with watched(tmp_path) as served:
        for at in range(12):
            served.ledger.append(entry(at))
        found = pages(served)
        wrong = served.get("/api/decisions?before=x").status

    assert len(found) == len(set(found)) >= 9
    assert wrong == 400

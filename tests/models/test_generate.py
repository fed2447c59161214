"""The map in this process: every row comes back once or says why not, a kill loses none, and a model can answer through it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.errors import ModelError, RunError
from bylaw.models import generate, journal, vllm
from bylaw.models.generate import Fn, Mapped, Plan, Row, map_rows, spread
from bylaw.models.loading import open_model
from bylaw.models.manners import Manners
from bylaw.models.spent import Spent
from bylaw.models.targets import EMBEDDED, parse
from bylaw.types import Message, Sampling
from tests.models.endpoint import fail, say, serve

DIRECT = Sampling(thinking=False)


def numbered(count: int) -> list[Row]:
    return [{"id": f"r{i}", "n": i} for i in range(count)]


def doubled(rows: list[Row]) -> list[Row]:
    return [{"id": row["id"], "n": row["n"] * 2} for row in rows]


class Watched:
    """A function that keeps what it was given."""

    def __init__(self, fn: Fn = doubled) -> None:
        self.fn = fn
        self.given: list[list[str]] = []

    def __call__(self, rows: list[Row]) -> list[Row]:
        self.given.append([row["id"] for row in rows])
        return self.fn(rows)


json_rows = st.lists(
    st.dictionaries(
        st.text(max_size=3), st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), max_size=3
    )
)


@settings(deadline=None)
@given(json_rows, st.integers(-1, 7))
def test_every_row_comes_back_once_and_in_order(values: list[dict[str, Any]], batch_rows: int) -> None:
    rows = [{**value, "id": str(i)} for i, value in enumerate(values)]

    found = map_rows(rows, lambda batch: batch[::-1], Plan(batch_rows=batch_rows))

    assert found == Mapped(tuple(rows), {})


def test_batches_are_cut_by_their_number_alone() -> None:
    fn = Watched()

    map_rows(numbered(7), fn, Plan(batch_rows=3))

    assert fn.given == [["r0", "r1", "r2"], ["r3", "r4", "r5"], ["r6"]]


def test_a_batch_that_fails_is_tried_again_then_counted_and_the_others_are_kept() -> None:
    def picky(rows: list[Row]) -> list[Row]:
        if any(row["n"] == 4 for row in rows):
            raise KeyError("four\nis bad")
        return doubled(rows)

    fn = Watched(picky)

    found = map_rows(numbered(7), fn, Plan(batch_rows=3, tries=2))

    assert [row["n"] for row in found.rows] == [0, 2, 4, 12]
    assert found.failed == dict.fromkeys(("r3", "r4", "r5"), "KeyError: 'four\\nis bad' after 2 tries")
    assert fn.given.count(["r3", "r4", "r5"]) == 2


def test_a_batch_that_fails_once_leaves_no_trace() -> None:
    fn = Watched(lambda rows: doubled(rows) if len(fn.given) != 1 else [])

    found = map_rows(numbered(3), fn, Plan(batch_rows=2))

    assert (len(found.rows), found.failed, len(fn.given)) == (3, {}, 3)


@pytest.mark.parametrize(
    "made",
    [
        lambda rows: rows[:-1],
        lambda rows: [*rows, rows[0]],
        lambda rows: [*rows, {"id": "more"}],
        lambda rows: [{"id": "other"} for _ in rows],
        lambda rows: [row["id"] for row in rows],
        lambda rows: [{"id": []} for _ in rows],
        lambda rows: {"id": "r0"},
        lambda rows: None,
        lambda rows: 7,
    ],
)
def test_rows_that_are_not_those_that_were_given_are_no_result(made: Any) -> None:
    found = map_rows(numbered(2), made, Plan(tries=1))

    assert (found.rows, set(found.failed), len(set(found.failed.values()))) == ((), {"r0", "r1"}, 1)


def test_a_value_that_json_cannot_say_is_a_failure_of_its_batch() -> None:
    found = map_rows(numbered(1), lambda rows: [{"id": "r0", "n": float("nan")}], Plan(tries=1))

    assert "ValueError" in found.failed["r0"]


def test_what_a_function_does_to_its_rows_stays_with_it() -> None:
    rows = numbered(2)

    def spoil(batch: list[Row]) -> list[Row]:
        made = doubled(batch)
        batch.clear()
        return made

    map_rows(rows, spoil)

    assert rows == numbered(2)


@pytest.mark.parametrize(
    "rows", [[{"n": 1}], [{"id": 1}], [{"id": "a"}, {"id": "a"}], [{"id": "a", "n": {1}}], [{"id": "a", "n": float("inf")}]]
)
def test_rows_that_are_none_are_refused(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(ModelError) as caught:
        map_rows(rows, doubled)

    assert caught.value.hint


def test_an_error_that_says_what_to_do_ends_a_map_that_can_give_nothing() -> None:
    def closed(rows: list[Row]) -> list[Row]:
        raise ModelError("no key", "set one")

    fn = Watched(closed)

    with pytest.raises(ModelError, match="no key") as caught:
        map_rows(numbered(100), fn, Plan(batch_rows=1))

    assert caught.value.hint == "set one"
    assert len(fn.given) == generate.GIVE_UP_AFTER


def test_the_same_error_after_a_success_costs_its_own_rows() -> None:
    def closing(rows: list[Row]) -> list[Row]:
        if rows[0]["n"]:
            raise ModelError("the key has expired", "get another")
        return doubled(rows)

    found = map_rows(numbered(10), closing, Plan(batch_rows=1))

    assert (len(found.rows), set(found.failed.values())) == (1, {"the key has expired"})


def test_progress_counts_rows_to_the_end(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    map_rows(numbered(3), doubled, Plan(batch_rows=3), tmp_path / "j")

    map_rows(numbered(8), doubled, Plan(batch_rows=3), tmp_path / "j", progress=lambda done, of: told.append((done, of)))

    assert told == [(3, 8), (6, 8), (8, 8)]


# ---- The journal -----------------------------------------------------------------------------------------------------


def test_a_finished_map_does_nothing_again(tmp_path: Path) -> None:
    first = map_rows(numbered(10), doubled, Plan(batch_rows=3), tmp_path / "work" / "j")
    fn = Watched()
    second = map_rows(numbered(10), fn, Plan(batch_rows=3), tmp_path / "work" / "j")

    assert (second.rows, second.failed, second.reused, fn.given) == (first.rows, {}, 10, [])


def test_only_what_failed_is_done_again(tmp_path: Path) -> None:
    def picky(rows: list[Row]) -> list[Row]:
        return [] if rows[0]["n"] == 3 else doubled(rows)

    map_rows(numbered(9), picky, Plan(batch_rows=3), tmp_path / "j")
    fn = Watched()
    found = map_rows(numbered(9), fn, Plan(batch_rows=3), tmp_path / "j")

    assert (fn.given, len(found.rows), found.failed) == ([["r3", "r4", "r5"]], 9, {})


def test_other_work_and_other_rows_are_done_anew(tmp_path: Path) -> None:
    fn = Watched()
    for rows, work in ((numbered(2), "a"), (numbered(2), "b"), ([{"id": "r0", "n": 9}], "a")):
        map_rows(rows, fn, file=tmp_path / "j", work=work)

    assert len(fn.given) == 3


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2000))
def test_a_journal_cut_anywhere_gives_the_same_rows(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    file = tmp_path_factory.mktemp("cut") / "j"
    whole = map_rows(numbered(20), doubled, Plan(batch_rows=2), file)
    file.write_bytes(file.read_bytes()[:size])
    fn = Watched()
    found = map_rows(numbered(20), fn, Plan(batch_rows=2), file)
    with journal.opened(file) as book:
        kept = len(book.done)

    assert found.rows == whole.rows
    assert (len(fn.given) * 2 + found.reused, kept) == (20, 10)
    assert all(json.loads(line) for line in file.read_text().splitlines())


@pytest.mark.parametrize("line", [b"{}", b"[]", b"7", b"\xff", b'{"key": 1, "rows": []}', b'{"key": "a", "rows": [1]}', b"[" * 100_000])
def test_a_broken_line_is_none_and_the_others_count(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "j"
    map_rows(numbered(4), doubled, Plan(batch_rows=2), file)
    first, second = file.read_bytes().splitlines()
    file.write_bytes(first + b"\n" + line + b"\n" + second + b"\n")

    found = map_rows(numbered(4), doubled, Plan(batch_rows=2), file)

    assert found.reused == 4


def test_two_writers_of_one_journal_are_one_too_many(tmp_path: Path) -> None:
    with journal.opened(tmp_path / "j"), pytest.raises(RunError, match="another process") as caught:
        map_rows(numbered(1), doubled, file=tmp_path / "j")

    assert caught.value.hint


def test_a_journal_that_cannot_be_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(RunError, match="no journal can be kept"):
        map_rows(numbered(1), doubled, file=tmp_path / "file" / "j")


KILLED = """
import os, signal, sys
from pathlib import Path
from types import SimpleNamespace
from bylaw.models.generate import Plan, map_rows
def fn(rows):
    if rows[0]["n"] == 6 and not Path(sys.argv[2]).exists():
        Path(sys.argv[2]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    with open(sys.argv[3], "a") as out:
        out.write(rows[0]["id"] + " ")
    return [{"id": row["id"], "n": row["n"] * 2} for row in rows]
found = map_rows([{"id": f"r{i}", "n": i} for i in range(10)], fn, Plan(batch_rows=2), Path(sys.argv[1]))
print([row["n"] for row in found.rows], found.reused)
"""


@pytest.mark.slow
def test_a_kill_in_the_middle_loses_and_doubles_nothing(tmp_path: Path) -> None:
    line = [sys.executable, "-c", KILLED, *(str(tmp_path / name) for name in ("journal", "killed", "done"))]

    killed = subprocess.run(line, capture_output=True, text=True, check=False)
    ended = subprocess.run(line, capture_output=True, text=True, check=False)

    assert (killed.returncode, killed.stdout) == (-9, "")
    assert ended.stdout == "[0, 2, 4, 6, 8, 10, 12, 14, 16, 18] 6\n"
    assert (tmp_path / "done").read_text().split() == ["r0", "r2", "r4", "r6", "r8"]


# ---- A model that answers through it ---------------------------------------------------------------------------------


def asked(*texts: str) -> list[list[Message]]:
    return [[Message("user", text)] for text in texts]


def test_a_spread_model_answers_as_the_model_itself(tmp_path: Path) -> None:
    (tmp_path / "script").write_text(json.dumps({"find": "(.+)", "say": r"said \1"}))
    target = f"scripted:{tmp_path / 'script'}"
    texts = [str(i % 7) for i in range(20)]

    model = spread(target, Plan(batch_rows=3), tmp_path)
    found = model.generate(asked(*texts), DIRECT)

    assert found == open_model(parse(target)).generate(asked(*texts), DIRECT)
    assert model.spent is None


def test_a_spread_endpoint_draws_and_keeps_what_the_endpoint_itself_does(tmp_path: Path) -> None:
    manners = Manners(cache=tmp_path, backoff_s=0.001)
    with serve(lambda ask: say(f"{ask.text} {ask.body['seed']}")) as server:
        itself = open_model(parse(server.target()), manners).generate(asked(*"abaab"), DIRECT)
        calls = len(server.calls)
        found = spread(server.target(), Plan(batch_rows=2), manners=manners).generate(asked(*"abaab"), DIRECT)

    assert found == itself
    assert len({one.answer for one in found}) == 5
    assert len(server.calls) == calls


def test_a_spread_model_goes_on_from_its_journal_whatever_the_schema_is_made_of(tmp_path: Path) -> None:
    from types import MappingProxyType

    sampling = Sampling(thinking=False, reply_schema=MappingProxyType({"type": "object"}))
    with serve(lambda ask: say("{}")) as server:
        model = spread(server.target(), Plan(batch_rows=2), tmp_path / "work", manners=Manners(cache=None))
        first = model.generate(asked(*"abcde"), sampling)
        second = model.generate(asked(*"abcde"), sampling)

    assert (second, len(server.calls)) == (first, 5)
    assert model.spent == Spent(calls=5, prompt_tokens=50, completion_tokens=25)


def test_a_row_that_an_endpoint_did_not_answer_is_asked_again_at_the_next_start_and_only_that(tmp_path: Path) -> None:
    with serve(lambda ask: fail(500) if ask.text in "bd" else say(f"yes {ask.text}")) as server:
        model = spread(server.target(), Plan(batch_rows=2), tmp_path / "work", manners=Manners(cache=tmp_path / "cache", tries=1))
        first = model.generate(asked(*"abcdef"), DIRECT)
        before = len(server.calls)
        server.script = lambda ask: say(f"yes {ask.text}")
        second = model.generate(asked(*"abcdef"), DIRECT)
        model.generate(asked(*"abcdef"), DIRECT)

    assert [one.finish for one in first] == ["stop", "error", "stop", "error", "stop", "stop"]
    assert [one.answer for one in second] == [f"yes {text}" for text in "abcdef"]
    assert sorted(ask.text for ask in server.calls[before:]) == ["b", "d"]


def test_an_endpoint_that_lets_nobody_in_ends_a_spread_batch_too() -> None:
    with serve(lambda _: fail(401, "who are you")) as server, pytest.raises(ModelError, match="who are you"):
        spread(server.target(), Plan(batch_rows=1), manners=Manners(cache=None)).generate(asked(*map(str, range(100))), DIRECT)

    assert len(server.calls) == generate.GIVE_UP_AFTER


def test_a_target_that_is_none_is_refused_before_anything_starts() -> None:
    known = set(sys.modules)

    with pytest.raises(ModelError):
        spread("nosuchmodel", Plan("ray"))

    assert "ray" not in set(sys.modules) - known


# ---- vLLM, which is not installed here -------------------------------------------------------------------------------


def test_without_vllm_there_is_one_line_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")

    with pytest.raises(ModelError, match="vLLM is not installed here") as caught:
        open_model(parse(str(tmp_path)), vllm=True)

    assert caught.value.hint


def test_vllm_is_told_to_report_nothing_before_it_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str | None] = []

    def engine(model: str, seed: int) -> SimpleNamespace:
        told.append(os.environ.get("DO_NOT_TRACK"))
        return SimpleNamespace(llm_engine=SimpleNamespace(model_config=SimpleNamespace(max_model_len=512)))

    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=engine))
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)

    vllm.load(str(EMBEDDED), "embedded")

    assert told == ["1"]


class Written:
    """One output as vLLM gives it."""

    def __init__(self, text: str, finish_reason: str | None) -> None:
        self.text, self.finish_reason = text, finish_reason


@pytest.mark.parametrize(
    ("prompt", "text", "reason", "answer", "fault"),
    [
        ("q", "<think>a</think> b", "stop", "b", ""),
        ("q <think>\n", "a</think> b", "stop", "b", ""),
        ("q", "a</think> b", "stop", "", "not exactly one think block"),
        ("q", "<think>a</think> b", "length", "", "cut off"),
        ("q", "<think>a</think> b", "abort", "", "no reply"),
        ("q", "<think>a</think> b", None, "", "no reply"),
    ],
)
def test_what_vllm_wrote_is_taken_apart_as_strictly(prompt: str, text: str, reason: str | None, answer: str, fault: str) -> None:
    found = vllm.completion(prompt, Written(text, reason), thinking=True)

    assert (found.answer, found.fault) == (answer, fault)


def test_vllm_is_asked_what_the_sampling_says() -> None:
    assert vllm.settings(Sampling(0.5, 9, True, 3)) == {"temperature": 0.5, "max_tokens": 9, "seed": 3, "skip_special_tokens": False}

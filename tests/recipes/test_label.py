"""People's labels: blinded, saved one by one, resumed, undone, read back exactly; and how far people agree on them."""

import io
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bylaw import runs
from bylaw.align.prompts import row_from
from bylaw.cli import run
from bylaw.errors import RunError
from bylaw.policy.parse import load
from bylaw.recipes import label, label_book, labelled
from bylaw.recipes.label import Sitting, Terminal, Unit
from bylaw.recipes.label_book import Task
from bylaw.types import Policy

PATH = Path(__file__).parents[2] / "policies" / "refunds"
POLICY = load(PATH)
REFUND, LEGAL = "money.refund-limit", "advice.legal"
ROWS: list[dict[str, Any]] = [
    {"prompt": "Refund my 640 EUR.", "clauses": [REFUND], "answers": ["It is done.", "A person decides."]},
    {"prompt": "Can I sue you?", "clauses": [LEGAL], "answers": ["Yes.", "I cannot say."], "history": [{"role": "user", "text": "hi"}]},
    {"prompt": "And my 20 EUR?", "clauses": [REFUND, LEGAL], "answers": ["Soon.", "Never."]},
]


def rows_in(folder: Path, *rows: object) -> Path:
    file = folder / "in.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows or ROWS))
    return file


class Person:
    """A terminal with a script: what is typed, what was seen, and a clock that moves two seconds a reading."""

    def __init__(self, *types: str, ends: type[BaseException] = EOFError) -> None:
        self.types, self.ends, self.time = list(types), ends, 1_700_000_000.0
        self.seen: list[str] = []

    def ask(self, question: str) -> str:
        self.seen.append(question)
        if not self.types:
            raise self.ends
        return self.types.pop(0)

    def now(self) -> float:
        self.time += 2.0
        return self.time

    @property
    def terminal(self) -> Terminal:
        return Terminal(self.ask, self.seen.append, self.now)


def asked(folder: Path, task: Task | None = None) -> tuple[Policy, list[Unit]]:
    policy, rows = label.gather(rows_in(folder), PATH)
    return policy, label.units(policy, rows, task)


def sat(folder: Path, person: Person, name: str = "ana", task: Task | None = None, seed: int = 0) -> Sitting:
    policy, units = asked(folder, task)
    with label_book.opened(folder / "labels.jsonl", name) as book:
        return label.sit(units, policy, book, person.terminal, seed)


def saved(folder: Path) -> list[label_book.Label]:
    return label_book.read_labels(folder / "labels.jsonl")


def test_a_label_names_the_answer_as_it_stands_in_the_row_however_it_was_shown(tmp_path: Path) -> None:
    _, units = asked(tmp_path)
    sat(tmp_path, Person("a", "b", "t"))

    for one, unit, typed in zip(saved(tmp_path), units, ("a", "b", "tie"), strict=True):
        shown = label.blinded(unit, "ana", 0)
        assert one.order == shown
        assert one.choice == ("tie" if typed == "tie" else ("first", "second")[shown["ab".index(typed)]])


def test_a_label_carries_who_when_how_long_clauses_and_policy(tmp_path: Path) -> None:
    sat(tmp_path, Person("a"))

    row = runs.read_rows(tmp_path / "labels.jsonl")[0]
    wanted = {"annotator": "ana", "seconds": 2.0, "time": "2023-11-14T22:13:24.000Z", "clauses": [REFUND], "policy": POLICY.digest}
    assert {key: row[key] for key in wanted} == wanted
    assert row["task"] == "preference"


def test_people_see_the_same_pairs_in_orders_of_their_own(tmp_path: Path) -> None:
    rows = [{"prompt": f"question {i}", "clauses": [REFUND], "answers": ["yes", "no"]} for i in range(64)]
    policy, read = label.gather(rows_in(tmp_path, *rows), PATH)
    units = label.units(policy, read)

    orders = {name: [label.blinded(unit, name, 0) for unit in units] for name in ("ana", "ben")}

    assert orders["ana"] != orders["ben"]
    assert all(16 < [order[0] for order in shown].count(0) < 48 for shown in orders.values())
    assert orders["ana"] == [label.blinded(unit, "ana", 0) for unit in units]


@pytest.mark.parametrize("ends", [EOFError, KeyboardInterrupt])
def test_leaving_loses_no_label_and_the_next_sitting_goes_on(tmp_path: Path, ends: type[BaseException]) -> None:
    first = sat(tmp_path, Person("a", "a", ends=ends))
    kept = saved(tmp_path)
    second = sat(tmp_path, Person("b"))

    assert (first, second) == (Sitting(2, 0, 1), Sitting(1, 0, 0))
    assert saved(tmp_path)[:2] == kept
    assert len(saved(tmp_path)) == 3


def test_a_label_is_on_the_disk_before_the_next_question(tmp_path: Path) -> None:
    found: list[int] = []
    person = Person("a", "b", "t")
    policy, units = asked(tmp_path)

    def looks(question: str) -> str:
        found.append(len((tmp_path / "labels.jsonl").read_text().splitlines()))
        return person.ask(question)

    with label_book.opened(tmp_path / "labels.jsonl", "ana") as book:
        label.sit(units, policy, book, Terminal(looks, print, person.now))

    assert found == [0, 1, 2]


def test_an_undo_takes_back_the_last_label_and_asks_again_at_once(tmp_path: Path) -> None:
    sitting = sat(tmp_path, Person("a", "a", "u", "t", "q"))

    assert sitting == Sitting(3, 1, 1)
    assert [one.choice == "tie" for one in saved(tmp_path)] == [False, True]
    assert len((tmp_path / "labels.jsonl").read_text().splitlines()) == 4


def test_undoing_goes_on_through_earlier_sittings_and_ends_where_nothing_is_left(tmp_path: Path) -> None:
    sat(tmp_path, Person("a", "a"))
    person = Person("u", "u", "u", "q")
    sitting = sat(tmp_path, person)

    assert sitting == Sitting(0, 2, 3)
    assert "nothing to undo" in person.seen
    assert saved(tmp_path) == []


def test_one_cannot_undo_what_another_person_said(tmp_path: Path) -> None:
    sat(tmp_path, Person("a"))
    sitting = sat(tmp_path, Person("u", "q"), "ben")

    assert sitting.undone == 0
    assert len(saved(tmp_path)) == 1


def test_what_is_not_an_answer_is_asked_again_and_a_question_mark_shows_the_clauses(tmp_path: Path) -> None:
    person = Person("", "yes", "A?", "?", "s", "q")
    sat(tmp_path, person)

    assert any(f"## [{REFUND}]" in text for text in person.seen)
    assert [one.choice for one in saved(tmp_path)] == ["skip"]


def test_a_skip_is_not_asked_again(tmp_path: Path) -> None:
    sat(tmp_path, Person("s", "s", "s"))

    assert sat(tmp_path, Person()) == Sitting(0, 0, 0)


def test_no_text_of_others_can_pass_for_a_line_of_ours(tmp_path: Path) -> None:
    hostile = "fine\n---- 2 of 2\rwhich is better?\u2028answer b:\x0b\x1b[2J"
    policy, rows = label.gather(rows_in(tmp_path, {"prompt": hostile, "clauses": [REFUND], "answers": [hostile, "no"]}), PATH)
    unit = label.units(policy, rows)[0]

    lines = label.page(unit, policy, (0, 1), 1, 1).split("\n")

    assert lines.count("answer b:") == 1
    assert len([line for line in lines if line.startswith("----")]) == 1
    assert not [line for line in lines if "\r" in line or "\u2028" in line or "\x0b" in line]


def test_thinking_is_kept_for_training_and_never_shown(tmp_path: Path) -> None:
    policy, rows = label.gather(a_run(tmp_path), None)
    units = label.units(policy, rows)

    assert all("secret thought" not in label.page(unit, policy, label.blinded(unit, "ana", 0), 1, 1) for unit in units)
    assert all("secret thought" in thought for unit in units for thought in unit.thinking)


def a_run(folder: Path) -> Path:
    made = folder / "run"
    made.mkdir()
    (made / "run.json").write_text("{}")
    shutil.copytree(PATH, made / "policy")
    samples = [("p", "one", ""), ("p", "One!", ""), ("p", "two", ""), ("p", "", "cut off"), ("q", "only", "")]
    row = {"clauses": [REFUND], "user": "", "facts": {}, "excerpt": "", "raw": ""}
    rows = [
        row | {"id": text, "request": text, "thinking": f"secret thought {i}", "answer": said, "fault": fault}
        for i, (text, said, fault) in enumerate(samples)
    ]
    runs.write_rows(made / "rows" / "samples.jsonl", rows)
    return made


def test_a_runs_samples_give_pairs_of_different_whole_answers(tmp_path: Path) -> None:
    policy, rows = label.gather(a_run(tmp_path), None)

    assert [unit.answers for unit in label.units(policy, rows, "preference", per_prompt=9)] == [("one", "two")]
    assert [unit.answers for unit in label.units(policy, rows, "follows")] == [("one",), ("two",), ("only",)]
    assert policy.digest == POLICY.digest


def test_a_run_is_labelled_by_preference_and_a_file_by_its_rows(tmp_path: Path) -> None:
    assert label.usual_task(a_run(tmp_path)) == "preference"
    assert label.usual_task(rows_in(tmp_path)) is None


def test_each_answer_is_asked_about_each_clause_of_its_prompt(tmp_path: Path) -> None:
    sat(tmp_path, Person("f", "b", "n", "c", "follows", "breaks", "s", "q"), task="follows")

    found = [(one.clauses, one.choice) for one in saved(tmp_path)]
    assert found[:4] == [((REFUND,), "follows"), ((REFUND,), "breaks"), ((LEGAL,), "does not apply"), ((LEGAL,), "cannot tell")]
    assert found[4:] == [((REFUND,), "follows"), ((LEGAL,), "breaks"), ((REFUND,), "skip")]


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("0", ()),
        ("3", (REFUND,)),
        (" 3, 1,3", (LEGAL, REFUND)),
        ("7", None),
        ("-1", None),
        ("0,1", None),
        ("1 2", None),
        ("", None),
        ("²", None),
        ("9" * 5000, None),
        ("q", "quit"),
    ],
)
def test_clauses_are_named_by_their_numbers(tmp_path: Path, typed: str, read: object) -> None:
    _, units = asked(tmp_path, "applies")

    assert label.read_choice(units[0], typed) == read


@given(st.text(), st.sampled_from(("preference", "follows", "applies")))
def test_any_reply_is_a_choice_of_the_task_or_none(reply: str, task: Task) -> None:
    unit = Unit("u", task, row_from({"prompt": "p"}, "", "", set()).prompt, (REFUND,))
    found = label.read_choice(unit, reply)

    always = {"skip", "undo", "quit", "?", None}
    assert found in always or isinstance(found, tuple) or found in label.KEYS[task].values()


def test_a_file_of_prompts_is_asked_which_clauses_apply(tmp_path: Path) -> None:
    policy, rows = label.gather(rows_in(tmp_path, {"prompt": "hi"}, {"prompt": "ho", "clauses": [REFUND], "answer": "x"}), PATH)

    assert [unit.task for unit in label.units(policy, rows)] == ["applies", "follows"]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a", "answers": "b"},
        {"prompt": "a", "answers": ["b", 1]},
        {"prompt": "a", "answers": ["b"] * 65},
        {"prompt": "a", "answer": "b", "answers": ["c"]},
        {"prompt": "a", "anwser": "b"},
        {"prompt": "a", "clauses": ["no.such"]},
    ],
)
def test_a_wrong_row_to_label_is_named(tmp_path: Path, row: object) -> None:
    with pytest.raises(RunError, match=r"in\.jsonl:1: "):
        label.gather(rows_in(tmp_path, row), PATH)


def test_nothing_to_label_is_one_line(tmp_path: Path) -> None:
    policy, rows = label.gather(rows_in(tmp_path, {"prompt": "a", "answers": ["b", "B!"]}), PATH)

    with pytest.raises(RunError, match="nothing to label in 1 rows for the task preference"):
        label.units(policy, rows, "preference")


def test_a_file_needs_a_policy(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no policy says") as caught:
        label.gather(rows_in(tmp_path), None)

    assert "--policy" in caught.value.hint


# ---- The file --------------------------------------------------------------------------------------------------------


@given(st.text(), st.text(), st.lists(st.text(min_size=1), max_size=2), st.floats(0, 1e9))
def test_a_label_is_read_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, a: str, b: str, turns: list[str], s: float
) -> None:
    file = tmp_path_factory.mktemp("book") / "labels.jsonl"
    told = {"prompt": f"x{a}", "clauses": [REFUND], "history": [{"role": "tool", "text": turn} for turn in turns]}
    prompt = row_from(told, "", "", {REFUND}).prompt
    one = label_book.Label("preference", "u", prompt, (REFUND,), "first", s, "t", "d", (a, b), ("\ud800", b), (1, 0), "ana")
    with label_book.opened(file, "ana") as book:
        book.add(one)

    assert label_book.read_labels(file) == [one]


def test_a_torn_line_is_moved_beside_the_file_and_no_label_is_lost(tmp_path: Path) -> None:
    sat(tmp_path, Person("a", "b"))
    file = tmp_path / "labels.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"task": "preference", "un')
    sitting = sat(tmp_path, Person("t"))

    assert sitting == Sitting(1, 0, 0)
    assert file.read_bytes().startswith(whole)
    assert (tmp_path / "labels.jsonl.torn").read_bytes() == b'{"task": "preference", "un\n'


def test_a_last_label_without_its_line_end_still_counts(tmp_path: Path) -> None:
    sat(tmp_path, Person("a", "b"))
    file = tmp_path / "labels.jsonl"
    file.write_bytes(file.read_bytes().rstrip(b"\n"))

    assert sat(tmp_path, Person("t")) == Sitting(1, 0, 0)
    assert len(saved(tmp_path)) == 3


def test_two_people_cannot_write_into_one_file_at_once(tmp_path: Path) -> None:
    with label_book.opened(tmp_path / "labels.jsonl", "ana"), pytest.raises(RunError, match="another process is labelling"):  # noqa: SIM117  # the second is inside
        with label_book.opened(tmp_path / "labels.jsonl", "ben"):
            pass


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 65, "a\n"])
def test_an_annotators_name_is_a_plain_word(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match="no name for an annotator"), label_book.opened(tmp_path / "labels.jsonl", name):
        pass


EDITS: list[Callable[[dict[str, object]], object]] = [
    lambda row: row.pop("annotator"),
    lambda row: row.update(choice="both"),
    lambda row: row.update(choice=["first"]),
    lambda row: row.update(choice="first" if row["choice"] == "second" else "second"),
    lambda row: row.update(annotator="eve"),
    lambda row: row.update(order=[0, 0]),
    lambda row: row.update(order=[0]),
    lambda row: row.update(answers=["one"]),
    lambda row: row.update(task=["preference"]),
    lambda row: row.update(seconds="fast"),
    lambda row: row.update(extra=1),
    lambda row: row.update(prompt=""),
    lambda row: row.update(task="undo"),
    lambda row: row.update(task="undo", of="nothing"),
]


@pytest.mark.parametrize("edit", EDITS)
def test_a_label_that_was_edited_is_refused_with_its_line(tmp_path: Path, edit: Callable[[dict[str, object]], object]) -> None:
    sat(tmp_path, Person("a", "b"))
    rows = runs.read_rows(tmp_path / "labels.jsonl")
    edit(rows[1])
    runs.write_rows(tmp_path / "labels.jsonl", rows)

    with pytest.raises(RunError, match=r"labels\.jsonl:2: "):
        saved(tmp_path)


def _label_until_killed(folder: Path) -> None:
    policy, units = asked(folder)
    person = Person("a", "b")

    def ask(question: str) -> str:
        if not person.types:
            os.kill(os.getpid(), 9)
        return person.ask(question)

    with label_book.opened(folder / "labels.jsonl", "ana") as book:
        label.sit(units, policy, book, Terminal(ask, lambda _: None, person.now))


@pytest.mark.slow
def test_a_kill_between_two_questions_loses_no_label(tmp_path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=_label_until_killed, args=(tmp_path,))
    child.start()
    child.join()

    assert child.exitcode == -9
    assert len(saved(tmp_path)) == 2
    assert sat(tmp_path, Person("t")) == Sitting(1, 0, 0)


# ---- What labels say -------------------------------------------------------------------------------------------------


def test_preferences_name_the_chosen_and_the_rejected_answer_and_leave_ties_out(tmp_path: Path) -> None:
    sat(tmp_path, Person("a", "t", "s"))
    sat(tmp_path, Person("b", "a", "q"), "ben")

    found = label.read_preferences(tmp_path / "labels.jsonl")

    assert [(one.annotator, one.prompt.request) for one in found] == [
        ("ana", ROWS[0]["prompt"]),
        ("ben", ROWS[0]["prompt"]),
        ("ben", ROWS[1]["prompt"]),
    ]
    for one, typed in zip(found, "aba", strict=True):
        unit = next(unit for unit in asked(tmp_path)[1] if unit.id == one.unit)
        shown = [unit.answers[place] for place in label.blinded(unit, one.annotator, 0)]
        assert one.chosen == shown["ab".index(typed)]
        assert {one.chosen, one.rejected} == set(unit.answers)
    assert found[2].prompt.history[0].text == "hi"


def test_the_same_choice_in_another_order_is_agreement(tmp_path: Path) -> None:
    policy, units = asked(tmp_path)
    for name in ("ana", "ben", "cem"):
        best = {unit.id: i % 2 for i, unit in enumerate(units)}
        types = ["ab"[label.blinded(unit, name, 0).index(best[unit.id])] for unit in units]
        sat(tmp_path, Person(*types), name)

    found = labelled.summary([tmp_path / "labels.jsonl"])

    rows = {(row["clause"], row["metric"]): row for row in found["agreement"]}
    assert rows["all", "nominal"]["alpha"] == rows["all", "ordinal"]["alpha"] == 1.0
    assert (rows["all", "nominal"]["units"], rows["all", "nominal"]["labels"]) == (3, 9)
    assert rows[LEGAL, "nominal"]["units"] == rows[REFUND, "nominal"]["units"] == 2
    assert [(row["annotator"], row["n"], row["median_s"]) for row in found["annotators"]] == [(n, 3, 2.0) for n in ("ana", "ben", "cem")]
    assert policy.digest in found["policies"]


def test_skips_and_doubts_are_missing_and_no_opinion(tmp_path: Path) -> None:
    sat(tmp_path, Person("f", "c", "s"), "ana", "follows")
    sat(tmp_path, Person("f", "f", "f"), "ben", "follows")

    row = labelled.summary([tmp_path / "labels.jsonl"])["agreement"][0]

    assert (row["task"], row["units"], row["alone"], row["missing"], row["alpha"]) == ("follows", 1, 2, 2, None)


def test_named_clauses_are_compared_clause_by_clause(tmp_path: Path) -> None:
    sat(tmp_path, Person("3", "1", "1,3"), "ana", "applies")
    sat(tmp_path, Person("3", "1", "3"), "ben", "applies")

    rows = {row["clause"]: row for row in labelled.summary([tmp_path / "labels.jsonl"])["agreement"]}

    assert rows[REFUND]["alpha"] == 1.0
    assert rows[LEGAL]["alpha"] < 1.0
    assert rows["all"]["units"] == 3 * len(POLICY.clauses)


def test_of_a_persons_two_labels_in_two_files_the_later_counts(tmp_path: Path) -> None:
    files = []
    for name, typed in (("one", "a"), ("two", "t")):
        folder = tmp_path / name
        folder.mkdir()
        person = Person(typed)
        person.time += len(name) + (100 if name == "two" else 0)
        sat(folder, person)
        files.append(folder / "labels.jsonl")

    found = labelled.summary(files[::-1])

    assert (found["labels"], found["repeated"]) == (1, 1)
    assert found["annotators"][0]["chosen"] == 0


def test_labels_under_another_version_of_the_policy_are_never_compared(tmp_path: Path) -> None:
    policy, rows = label.gather(rows_in(tmp_path), PATH)
    other = Policy(policy.id, "9.9.9", policy.clauses, "sha256:other")

    ids = [{unit.id for unit in label.units(one, rows)} for one in (policy, other)]

    assert not ids[0] & ids[1]


@pytest.mark.parametrize("out", ["/dev/zero", "/dev/full", "."])
def test_labels_are_added_to_no_device_and_to_no_folder(out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["label", "collect", str(rows_in(tmp_path)), "--policy", str(PATH), "--annotator", "ana", "--out", out])

    assert code == 2
    assert capsys.readouterr().err == f"error: {out} is no file that labels can be added to\n  next: name a file with --out\n"


@pytest.mark.slow
def test_the_commands_label_and_tell_the_agreement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a\nt\nq\n"))
    out = str(tmp_path / "mine.jsonl")
    codes = [run(["label", "collect", str(rows_in(tmp_path)), "--policy", str(PATH), "--annotator", "ana", "--out", out])]
    codes.append(run(["label", "agreement", out]))
    told = capsys.readouterr().out
    codes.append(run(["label", "agreement", out, "--json"]))

    assert codes == [0, 0, 0]
    assert "labelled 2; 1 of 3 left" in told
    assert "ana: 2 labels (100%)" in told
    assert json.loads(capsys.readouterr().out)["labels"] == 2


def test_a_file_without_labels_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    code = run(["label", "agreement", str(tmp_path / "empty.jsonl")])

    assert code == 2
    assert "there are no labels" in capsys.readouterr().err

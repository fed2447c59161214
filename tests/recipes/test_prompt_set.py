"""`bylaw prompts`: three sources become two files that never meet, with a count of all that is in neither."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bylaw import runs
from bylaw.align import prompts, strip
from bylaw.align.prompt_writer import WRITTEN
from bylaw.cli import run
from bylaw.errors import RunError
from bylaw.policy import overlap
from bylaw.policy.parse import load
from bylaw.recipes import label, label_book, prompt_set
from bylaw.recipes.label import Terminal
from bylaw.recipes.prompt_set import Wanted
from bylaw.types import Message

PATH = Path(__file__).parents[2] / "policies" / "refunds"
POLICY = load(PATH)
ID = "money.refund-limit"
THINGS = ["lamp", "coat", "kettle", "chair", "bicycle", "jacket", "mirror", "teapot", "drill", "carpet"]


def line(thing: str, **changed: str) -> str:
    texts = {kind: f"My {thing} is here and it is about {kind} and nothing but {thing} {kind} {i}." for i, kind in enumerate(WRITTEN)}
    return json.dumps({"scenario": f"broken {thing}"} | texts | changed)


def script(folder: Path, *says: str) -> str:
    file = folder / "writer.jsonl"
    file.write_text(json.dumps({"when": f"[{ID}]", "say": "\n".join(says)}))
    return f"scripted:{file}"


def given(folder: Path, *rows: object) -> Path:
    file = folder / "mine.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def written(folder: Path, name: str) -> list[dict[str, Any]]:
    return runs.read_rows(folder / f"{name}.jsonl")


def made(tmp_path: Path, *says: str) -> dict[str, Any]:
    wanted = Wanted(writer=script(tmp_path, *(says or [line(thing) for thing in THINGS[:5]])), clauses=(ID,))
    return prompt_set.make(PATH, tmp_path / "set", wanted)


def test_examples_alone_are_parted_as_the_policy_says(tmp_path: Path) -> None:
    found = prompt_set.make(PATH, tmp_path / "set", Wanted())

    tested = [row["prompt"] for row in written(tmp_path / "set", "eval")]
    assert tested == ["So I get my 640 EUR back?"]
    assert {row["prompt"] for row in written(tmp_path / "set", "train")} == {p.request for p in prompts.from_examples(POLICY, "train")}
    assert (found["train"], found["eval"]) == (4, 1)


def test_every_row_carries_its_clauses_its_family_and_the_policys_digest(tmp_path: Path) -> None:
    made(tmp_path)

    rows = [row for name in ("train", "eval", "dropped") for row in written(tmp_path / "set", name)]
    assert all(row["policy"] == POLICY.digest and row["clauses"] and row["family"] and row["source"] for row in rows)


def test_align_reads_what_was_written(tmp_path: Path) -> None:
    found = made(tmp_path)

    read = prompts.from_file(tmp_path / "set" / "train.jsonl", POLICY)
    assert len(read) == found["train"]
    assert [prompt.id for prompt in read] == [row["id"] for row in written(tmp_path / "set", "train")]
    assert not strip.leaks([(prompt.id, prompts.said_by(prompt)) for prompt in read], POLICY, ())


def test_no_training_prompt_is_near_a_tested_one_whatever_the_writer_says(tmp_path: Path) -> None:
    copied = line("lamp", violating="So I get my 640 EUR back, do I?")
    found = made(tmp_path, copied, *(line(thing) for thing in THINGS[1:5]))

    train, tested = (written(tmp_path / "set", name) for name in ("train", "eval"))
    assert all(overlap.similarity(a["prompt"], b["prompt"]) < overlap.NEAR for a in train for b in tested)
    assert found["dropped"]["near an eval prompt"] >= 1


def test_a_prompt_that_quotes_the_policy_is_dropped_because_alignment_would_refuse_it(tmp_path: Path) -> None:
    norm = next(clause.norm for clause in POLICY.clauses if clause.id == ID)
    found = made(tmp_path, line("lamp", violating=f"They say: {norm}"), *(line(thing) for thing in THINGS[1:5]))

    dropped = [row for row in written(tmp_path / "set", "dropped") if row["reason"] == "carries the policy"]
    assert found["dropped"]["carries the policy"] == len(dropped) == 1
    assert dropped[0]["by"]


def test_malformed_replies_are_counted_and_kept(tmp_path: Path) -> None:
    found = made(tmp_path, "Sure!", line("lamp"), "{")

    assert found["writer"] == {"asked": 20, "written": 4, "malformed": 2}
    assert [row["raw"] for row in written(tmp_path / "set", "rejected")] == ["Sure!", "{"]


def test_a_writer_that_gives_nothing_is_one_line_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"0 of 20 prompts: 1 malformed") as caught:
        made(tmp_path, "I would rather not.")

    assert "--writer" in caught.value.hint
    assert not (tmp_path / "set" / "train.jsonl").exists()


def test_texts_of_one_template_leave_nothing_and_the_line_says_what_helps(tmp_path: Path) -> None:
    text = "Hello there, please help me with order number {} because it never came"
    rows = given(tmp_path, *({"prompt": text.format(i), "clauses": [ID]} for i in range(50)))
    bare = tmp_path / "bare.md"
    bare.write_text(
        (PATH / "money.md").read_text().partition("**Good**")[0].replace("enforce:", "x-enforce:").replace("style: [names-the-limit]\n", "")
    )

    with pytest.raises(RunError, match=r"left of 50: \d+ near an eval prompt") as caught:
        prompt_set.make(bare, tmp_path / "set", Wanted((rows,)))

    assert "family" in caught.value.hint


def test_a_file_without_a_clause_is_counted_and_no_label_is_guessed(tmp_path: Path) -> None:
    file = given(tmp_path, {"prompt": "What is the weather in Ghent tomorrow?"})
    found = prompt_set.make(PATH, tmp_path / "set", Wanted((file,)))

    rows = [row for name in ("train", "eval") for row in written(tmp_path / "set", name)]
    assert [row["clauses"] for row in rows if row["source"] == "mine.jsonl"] == [[]]
    assert found["without_a_clause"] == 1


def test_clauses_that_most_people_name_reach_the_rows_that_had_none(tmp_path: Path) -> None:
    file = given(tmp_path, {"prompt": "What is the weather in Ghent tomorrow?"}, {"prompt": "Was my order paid for twice?"})
    policy, rows = label.gather(file, PATH)
    units = label.units(policy, rows)
    for name, *typed in (("ana", "3", "3,1"), ("ben", "3,2", "0"), ("cem", "0", "s")):
        replies = dict(zip((unit.id for unit in units), typed, strict=True))
        for unit in units:
            with label_book.opened(tmp_path / "labels.jsonl", name) as book:
                label.sit([unit], policy, book, Terminal(lambda _, said=replies[unit.id]: said, lambda _: None, lambda: 0.0))  # type: ignore[misc]  # a default binds now

    found = prompt_set.make(PATH, tmp_path / "set", Wanted((file,), (tmp_path / "labels.jsonl",)))

    clauses = {row["prompt"]: row["clauses"] for name in ("train", "eval") for row in written(tmp_path / "set", name)}
    assert clauses["What is the weather in Ghent tomorrow?"] == [ID]
    assert clauses["Was my order paid for twice?"] == []
    assert found["without_a_clause"] == 1


def test_labels_given_under_another_policy_add_no_clause() -> None:
    row = prompts.row_of(prompts.asked("hi", ()), "given")
    old = label_book.Label("applies", "u", row.prompt, (ID,), (ID,), 1.0, "t", "sha256:other", annotator="ana")

    assert prompt_set.by_people([row], [old], POLICY) == [row]
    assert prompt_set.by_people([row], [replace(old, policy=POLICY.digest)], POLICY)[0].prompt.clauses == (ID,)


def test_the_counts_add_up_to_the_rows(tmp_path: Path) -> None:
    found = made(tmp_path)

    for side in ("train", "eval"):
        assert sum(row[side] for row in found["clauses"]) == found[side] == len(written(tmp_path / "set", side))
    given_rows = len(prompts.rows_of_examples(POLICY)) + found["writer"]["written"]
    assert found["train"] + found["eval"] + sum(found["dropped"].values()) == given_rows


def test_a_finished_set_is_not_made_again_so_edits_stay(tmp_path: Path) -> None:
    found = made(tmp_path)
    edited = tmp_path / "set" / "train.jsonl"
    edited.write_text(edited.read_text() + json.dumps({"prompt": "mine"}) + "\n")
    before = edited.read_text()

    assert made(tmp_path) == found
    assert edited.read_text() == before


def test_another_wish_needs_another_folder(tmp_path: Path) -> None:
    made(tmp_path)

    with pytest.raises(RunError, match="other settings: clauses, writer"):
        prompt_set.make(PATH, tmp_path / "set", Wanted())


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    wanted = Wanted(writer=script(tmp_path, *(line(thing) for thing in THINGS)), clauses=(ID,))
    for name in ("one", "two"):
        prompt_set.make(PATH, tmp_path / name, wanted)

    for file in ("train.jsonl", "eval.jsonl", "dropped.jsonl", "rejected.jsonl", "counts.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_command_prints_the_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["prompts", "--policy", str(PATH), "--out", str(tmp_path / "set")]
    codes = [run(asked), run([*asked, "--json"])]

    out = capsys.readouterr().out
    assert codes == [0, 0]
    assert re.search(r"^money\.refund-limit +example +1 +1$", out, re.MULTILINE)
    assert json.loads(out[out.index("{") :])["train"] == 4


def test_a_wrong_row_of_ones_own_is_one_line_and_nothing_is_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = given(tmp_path, {"prompt": "fine"}, {"prompt": "b", "claus": []})
    code = run(["prompts", "--policy", str(PATH), "--out", str(tmp_path / "set"), "--from", str(file)])

    assert code == 2
    assert f"{file}:2: a prompt row has no key 'claus'" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_a_writer_with_a_short_context_is_asked_for_half_of_it() -> None:
    class Short:
        name = "short"
        context = 128
        asked = 0

        def generate(self, conversations: Sequence[Sequence[Message]], sampling: Any, progress: Any = None) -> list[Any]:
            self.asked = sampling.max_new_tokens
            raise RunError("too long", "")

    short = Short()
    with pytest.raises(RunError, match="too long"):
        prompt_set.asked_of(short, POLICY, Wanted(clauses=(ID,)))

    assert short.asked == 64

"""A run is plain files: whole or absent, one process at a time, and never begun twice with different wishes."""

import json
import os
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw import runs
from bylaw.canonical import digest_bytes
from bylaw.errors import RunError

ASKED = {"policy": "sha256:a", "seed": 0, "arms": ["base", "sft"]}
few = settings(deadline=None, max_examples=60)
text = st.text(max_size=20)
rows = st.lists(st.dictionaries(text, st.one_of(text, st.integers(), st.none(), st.lists(text, max_size=2)), max_size=3), max_size=4)


def _hold(run: runs.Run, pipe: Connection) -> None:
    """Hold a run's lock until told to end."""
    with runs.alone(run):
        pipe.send("held")
        pipe.recv()


def _names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for there in (tmp_path / "pipe", tmp_path):
        with pytest.raises(RunError, match="is no file that can be written whole"):
            runs.write_text(there, "words")

    assert (tmp_path / "pipe").is_fifo()


def test_a_new_run_writes_down_what_was_asked(tmp_path: Path) -> None:
    run = runs.start(tmp_path / "deep" / "run", ASKED)

    assert run.asked == ASKED
    assert runs.open_run(run.path) == run


def test_a_run_goes_on_where_the_same_is_asked(tmp_path: Path) -> None:
    runs.start(tmp_path, ASKED).finish("sft", {"steps": 3})

    again = runs.start(tmp_path, dict(reversed(ASKED.items())))

    assert again.done("sft")
    assert again.record("sft") == {"steps": 3}


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({**ASKED, "seed": 1}, "seed"),
        ({**ASKED, "arms": ["sft"], "seed": 2}, "arms, seed"),
        ({"seed": 0, "arms": ["base", "sft"]}, "policy"),
    ],
)
def test_a_run_begun_with_other_settings_is_refused_and_left_alone(tmp_path: Path, other: dict[str, Any], named: str) -> None:
    runs.start(tmp_path, ASKED)

    with pytest.raises(RunError, match=f"other settings: {named}$") as caught:
        runs.start(tmp_path, other)

    assert caught.value.hint
    assert runs.open_run(tmp_path).asked == ASKED


def test_a_folder_with_other_things_in_it_never_becomes_a_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(RunError, match="is no run") as caught:
        runs.start(tmp_path, ASKED)

    assert caught.value.hint
    assert _names(tmp_path) == ["thesis.txt"]


def test_a_file_is_no_place_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(RunError, match="is no run"):
        runs.start(tmp_path / "file", ASKED)


def test_an_empty_folder_is_a_place_for_a_run(tmp_path: Path) -> None:
    assert runs.start(tmp_path, ASKED).asked == ASKED


def test_a_folder_without_run_json_does_not_open(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run\.json") as caught:
        runs.open_run(tmp_path)

    assert caught.value.hint


def test_a_step_is_done_when_its_record_is_there(tmp_path: Path) -> None:
    run = runs.start(tmp_path, ASKED)
    before = run.done("sft")
    run.finish("sft", {})

    assert not before
    assert run.done("sft")
    assert not run.done("sft_rl")


def test_a_step_half_recorded_is_not_done(tmp_path: Path) -> None:
    run = runs.start(tmp_path, ASKED)
    run.file("steps", ".sft.json.4711").write_text('{"steps"')

    assert not run.done("sft")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b'"a"', b"\xff\xfe", b"null", b'{"a": ' + b"[" * 100_000, b'{"a": ' + b"1" * 5000 + b"}"]
)
def test_broken_json_is_a_run_error_with_a_hint(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "run.json"
    file.write_bytes(content)

    for read in (lambda: runs.read_json(file), lambda: runs.start(tmp_path, ASKED), lambda: runs.open_run(tmp_path).asked):
        with pytest.raises(RunError, match=r"run\.json") as caught:
            read()

        assert caught.value.hint


def test_a_missing_file_is_a_run_error(tmp_path: Path) -> None:
    for read in (runs.read_json, runs.read_rows):
        with pytest.raises(RunError, match="cannot be read"):
            read(tmp_path / "missing")


@pytest.mark.slow
def test_a_second_process_is_kept_out_until_the_first_ends(tmp_path: Path) -> None:
    run = runs.start(tmp_path, ASKED)
    spawn = get_context("spawn")
    ours, theirs = spawn.Pipe()
    other = spawn.Process(target=_hold, args=(run, theirs))
    other.start()
    held = ours.poll(60) and ours.recv()
    with pytest.raises(RunError, match="another process") as caught, runs.alone(run):
        pass
    other.kill()
    other.join()

    with runs.alone(run):
        after = "free"

    assert held == "held"
    assert caught.value.hint
    assert after == "free"


def test_the_lock_opens_when_its_holder_fails(tmp_path: Path) -> None:
    run = runs.start(tmp_path, ASKED)
    with pytest.raises(ZeroDivisionError), runs.alone(run):
        _ = 1 // 0

    with runs.alone(run):
        after = "free"

    assert after == "free"


@pytest.mark.slow
@few
@given(rows)
def test_rows_read_back_whatever_text_they_hold(tmp_path_factory: pytest.TempPathFactory, found: list[dict[str, Any]]) -> None:
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    runs.write_rows(file, found)

    assert runs.read_rows(file) == found


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85", "\x1c", "\r", "\ud800", "\0", "\ufeff"])
def test_odd_characters_break_no_row(tmp_path: Path, odd: str) -> None:
    found: list[dict[str, Any]] = [{"text": f"a{odd}b"}, {odd: 1}]
    runs.write_rows(tmp_path / "rows.jsonl", found)
    runs.write_json(tmp_path / "one.json", found[0])

    assert runs.read_rows(tmp_path / "rows.jsonl") == found
    assert runs.read_json(tmp_path / "one.json") == found[0]


def test_rows_are_lines_a_person_can_read(tmp_path: Path) -> None:
    runs.write_rows(tmp_path / "rows.jsonl", [{"text": "Größe 中"}])

    assert (tmp_path / "rows.jsonl").read_text("utf-8") == '{"text": "Größe 中"}\n'


def test_empty_lines_are_no_rows(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('\n{"a": 1}\n\n  \n{"a": 2}')

    assert runs.read_rows(tmp_path / "rows.jsonl") == [{"a": 1}, {"a": 2}]


def test_a_half_written_row_file_names_the_line_that_is_cut(tmp_path: Path) -> None:
    whole = "".join(json.dumps({"id": i, "text": "words"}) + "\n" for i in range(3))
    file = tmp_path / "rows.jsonl"
    file.write_text(whole[:-8])

    with pytest.raises(RunError, match=r"rows\.jsonl:3: not JSON") as caught:
        runs.read_rows(file)

    assert caught.value.hint


@pytest.mark.parametrize("line", ["[]", "1", '"a"', "{'a': 1}", "[" * 100_000, "1" * 5000, "\xef\xbb\xbf{}"])
def test_a_line_that_is_no_json_object_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n' + line + "\n")

    with pytest.raises(RunError, match=r"rows\.jsonl:2: "):
        runs.read_rows(tmp_path / "rows.jsonl")


def read_all(file: Path) -> str:
    return runs.read_text(file, 1 << 30, "part it", "name a file")


@pytest.mark.parametrize("read", [runs.read_rows, runs.read_json, read_all])
def test_a_device_without_an_end_is_refused(read: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MAX_STREAM", 1 << 20)

    with pytest.raises(RunError, match="/dev/zero cannot be read: no file, and more than 1 MiB come from it"):
        read(Path("/dev/zero"))


def test_a_pipe_is_read_once_and_to_its_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = Thread(target=(tmp_path / "pipe").write_text, args=('{"a": 1}\r\n\n{"b": 2}\n',))
    writer.start()
    found = runs.numbered_rows(tmp_path / "pipe")
    writer.join()

    assert found == [(1, {"a": 1}), (3, {"b": 2})]


def test_a_pipe_has_no_digest_for_it_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"rows")
    os.mkfifo(tmp_path / "pipe")
    found = runs.digest_of(tmp_path / "file")

    with pytest.raises(RunError, match="is no file, and it is read more than once"):
        runs.digest_of(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        runs.digest_of(tmp_path / "nothing")
    assert found == digest_bytes(b"rows")


def test_rows_of_bytes_are_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"a": "\xff"}\n')

    with pytest.raises(RunError, match="cannot be read"):
        runs.read_rows(tmp_path / "rows.jsonl")


@pytest.mark.parametrize("write", [runs.write_json, lambda file, value: runs.write_rows(file, [{"fine": 1}, value])])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, write: Callable[[Path, Any], None]) -> None:
    file = tmp_path / "file.json"
    runs.write_json(file, {"old": True})

    with pytest.raises(TypeError):
        write(file, {"new": object()})

    assert runs.read_json(file) == {"old": True}
    assert _names(tmp_path) == ["file.json"]


def test_a_full_disk_is_told_of_by_the_name_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before")
    (tmp_path / f".file.{os.getpid()}").symlink_to("/dev/full")

    with pytest.raises(OSError, match=r"No space left on device: '.*/file'"):
        runs.write_text(tmp_path / "file", "after")
    assert _names(tmp_path) == ["file"]


def test_a_text_that_cannot_be_encoded_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    runs.write_text(file, "old")

    with pytest.raises(UnicodeEncodeError):
        runs.write_text(file, "new" * 10_000 + "\ud800")

    assert file.read_text() == "old"
    assert _names(tmp_path) == ["file.txt"]


def test_a_write_replaces_the_file_and_does_not_edit_it(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    runs.write_json(file, {"long": "x" * 100})
    with file.open() as reader:
        runs.write_json(file, {"short": 1})
        seen = json.load(reader)

    assert seen == {"long": "x" * 100}
    assert runs.read_json(file) == {"short": 1}


def test_the_manifest_has_the_digest_of_every_file_but_work(tmp_path: Path) -> None:
    run = runs.start(tmp_path, ASKED)
    run.file("rows", "lessons.jsonl").write_text("{}\n")
    run.file("work", "sft", "checkpoint").write_text("x")
    run.finish("sft", {})
    with runs.alone(run):
        runs.write_manifest(run, {"seconds": 3})

    manifest = runs.read_json(tmp_path / "manifest.json")

    assert manifest["seconds"] == 3
    assert sorted(manifest["files"]) == ["rows/lessons.jsonl", "run.json", "steps/sft.json"]
    assert all(found == digest_bytes((tmp_path / name).read_bytes()) for name, found in manifest["files"].items())

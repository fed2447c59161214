"""One syntax names a model, and a local path that is missing is never taken for a name on the hub."""

from pathlib import Path

import pytest

from bylaw.errors import ModelError
from bylaw.models.targets import EMBEDDED, Target, parse


def _model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def _run(folder: Path, *arms: str) -> Path:
    (folder / "models").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    for arm in arms:
        _model(folder / "models" / arm)
    return folder


def test_embedded_is_the_shipped_base() -> None:
    found = parse("embedded")

    assert found.embedded
    assert found == Target("local", str(EMBEDDED), "embedded", arm="base")


def test_a_folder_with_a_config_is_a_model(tmp_path: Path) -> None:
    folder = _model(tmp_path / "model")

    assert parse(str(folder)) == Target("local", str(folder), str(folder))


def test_a_folder_with_a_colon_in_its_name_is_itself(tmp_path: Path) -> None:
    folder = _model(tmp_path / "model:one")

    assert parse(str(folder)).where == str(folder)


def test_a_run_stands_for_its_best_arm(tmp_path: Path) -> None:
    full, short, odd = _run(tmp_path / "a", "base", "sft", "sft_rl"), _run(tmp_path / "b", "sft", "control"), _run(tmp_path / "c", "rl")

    assert [parse(str(run)).arm for run in (full, short, odd)] == ["sft_rl", "sft", "rl"]


def test_an_arm_of_a_run_is_named_after_a_colon(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", "sft", "sft_rl")

    found = parse(f"{run}:sft")

    assert (found.where, found.arm) == (str(run / "models" / "sft"), "sft")


@pytest.mark.parametrize("text", ["demo", "demo:sft"])
def test_a_run_is_found_by_its_name_in_the_folder_of_runs(tmp_path: Path, text: str) -> None:
    run = _run(tmp_path / "demo", "sft")

    assert parse(text, runs=tmp_path).where == str(run / "models" / "sft")


def test_an_adapter_is_a_model_as_well(tmp_path: Path) -> None:
    run = _run(tmp_path / "run")
    adapter = run / "models" / "sft"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")

    assert parse(f"{run}:sft").where == str(adapter)
    assert parse(str(adapter)).where == str(adapter)


def test_an_arm_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", "sft", "rl")

    with pytest.raises(ModelError, match="no arm sft_rl") as caught:
        parse(f"{run}:sft_rl")

    assert caught.value.hint == "it has rl, sft"


@pytest.mark.parametrize("made", [(), ("models",)])
def test_a_run_without_a_finished_model_is_refused(tmp_path: Path, made: tuple[str, ...]) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    for name in made:
        (run / name).mkdir()

    with pytest.raises(ModelError) as caught:
        parse(str(run))

    assert caught.value.hint


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json") as caught:
        parse(str(tmp_path))

    assert caught.value.hint


@pytest.mark.parametrize("text", ["Qwen/Qwen3-0.6B", "meta-llama/Llama-3.2-1B", "a/b_c.d"])
def test_one_slash_between_names_is_a_hub_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)

    assert parse(text) == Target("hub", text, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ":",
        "nosuchmodel",
        "./model",
        "../model",
        "/model",
        "/no/such",
        "~/no-such-model",
        ".hidden/model",
        "a/b/c",
        "a/",
        "/a",
        "a//b",
        "a/b:arm",
        "a\\b",
        "a /b",
        "a/b\n",
        "folder/missing",
        "folder/file",
        "file/x",
        "runs/missing",
        "runs/missing:sft",
        "~no-such-user/model",
        "a\0b",
        "a" * 5000,
        "scripted:" + "a" * 5000,
    ],
)
def test_what_could_be_a_missing_local_path_is_never_a_hub_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "folder" / "file").write_text("")
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ModelError) as caught:
        parse(text)

    assert caught.value.hint


def test_an_endpoint_is_a_model_and_a_url() -> None:
    found = parse("openai:qwen3:4b@http://localhost:8000/v1")

    assert (found.kind, found.model, found.where) == ("openai", "qwen3:4b", "http://localhost:8000/v1")


@pytest.mark.parametrize("text", ["openai:", "openai:qwen3", "openai:@http://x", "openai:qwen3@localhost", "openai:qwen3@ftp://x"])
def test_half_an_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="not a model") as caught:
        parse(text)

    assert caught.value.hint


def test_a_script_is_a_file_that_exists(tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text("")

    assert parse(f"scripted:{script}").where == str(script)


@pytest.mark.parametrize("name", ["missing.jsonl", ""])
def test_a_missing_script_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="no script") as caught:
        parse(f"scripted:{tmp_path / name}")

    assert caught.value.hint

"""A new user's path, offline: begin a policy, edit it, lint it, and see every step of alignment run on it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bylaw import runs
from bylaw.cli.entry import run
from bylaw.errors import PolicyError
from bylaw.judge import canaries, naming
from bylaw.models import scripted
from bylaw.models.loading import open_model
from bylaw.models.local import load
from bylaw.models.targets import parse as target
from bylaw.policy import parse, profiles
from bylaw.policy.prose import Prose
from bylaw.recipes import align_run, dry_run
from bylaw.recipes.book import Deliberative
from bylaw.recipes.deliberative import Context
from bylaw.recipes.steps import do
from bylaw.types import Answered, Policy, Prompt, Sampling

ROOT = Path(__file__).parents[2]
SHIPPED = ["refunds", "meridian"]


def policy_at(name: str, folder: Path) -> Path:
    """A shipped policy, or what `bylaw init` writes for a profile."""
    for profile in profiles.PROFILES:
        if profile == name:
            profiles.begin(profile, folder / "policy")
            return folder / "policy"
    return ROOT / "policies" / name


def scripts(policy: Policy, folder: Path) -> tuple[scripted.ScriptedModel, canaries.Canaried]:
    """The scripted generator, and the scripted judge under watch."""
    known = list(dry_run.replies(policy))
    runs.write_rows(folder / "generator.jsonl", dry_run.generator_script(known))
    runs.write_rows(folder / "judge.jsonl", dry_run.judge_script(policy, known))
    judge = naming.open_judge(f"scripted:{folder / 'judge.jsonl'}", policy, lambda name: open_model(target(name)))
    return scripted.load(folder / "generator.jsonl"), canaries.Canaried(judge, canaries.from_policy(policy))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*profiles.PROFILES, *SHIPPED])
def test_the_scripts_of_a_policy_answer_every_request_and_pass_the_canaries(name: str, tmp_path: Path) -> None:
    policy = parse.load(policy_at(name, tmp_path))
    generator, judge = scripts(policy, tmp_path)
    known = list(dry_run.replies(policy))

    said = generator.generate([Prose().prompt(one.prompt, "the policy") for one in known], Sampling())
    scores = [verdict.score for verdict in judge.grade([Answered(one.prompt, c.answer) for one, c in zip(known, said, strict=True)])]
    bad = judge.grade([Answered(one.prompt, "Sure, whatever you say.") for one in known])

    assert known
    assert not any(one.fault for one in said)
    assert set(scores) <= {1.0, 0.0}
    assert scores.count(1.0) > 0.9 * len(scores)
    assert {verdict.score for verdict in bad} == {0.0}


def test_a_bad_example_is_never_approved_and_a_good_one_only_under_its_own_clause(tmp_path: Path) -> None:
    policy = parse.load(ROOT / "policies" / "refunds")
    _, judge = scripts(policy, tmp_path)
    one, other = [(c.id, *pair) for c in policy.clauses for pair in dry_run.good_answers(c)][:2]
    bad = [(c.id, e.turns[-1].text) for c in policy.clauses for e in c.examples if e.side == "bad" and e.turns and e.split == "train"]

    rows = [Answered(Prompt("p", one[1], (clause,)), one[2]) for clause in (one[0], other[0])]
    rows += [Answered(Prompt("p", "?", (clause,)), answer) for clause, answer in bad]

    assert [verdict.score for verdict in judge.grade(rows)] == [1.0, 0.0] + [0.0] * len(bad)


@pytest.mark.slow
def test_what_nobody_trained_writes_any_text_and_reads_the_longest_lesson(tmp_path: Path) -> None:
    policy = parse.load(ROOT / "policies" / "refunds")
    parts = dry_run.prepare(policy, tmp_path, 0)
    again = dry_run.prepare(policy, tmp_path / "again", 0)
    model = load(parts.model, "blank")
    text = "<think>\n[a.b] Grüße, 漢字 \U0001f600\n</think>\n\n200 EUR"

    assert model.tokenizer.decode(model.tokenizer(text)["input_ids"]) == text
    assert model.tokenizer.pad_token_id != model.tokenizer.eos_token_id
    assert model.context >= dry_run.CONTEXT
    assert Path(parts.model, "model.safetensors").read_bytes() == Path(again.model, "model.safetensors").read_bytes()


def test_what_cannot_be_rehearsed_is_refused_with_what_to_do_instead(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="needs no dry run") as world:
        dry_run.prepare(parse.load(ROOT / "policies" / "policyworld"), tmp_path, 0)
    (tmp_path / "policy.md").write_text("# A\n\n## B {#a.b}\n\n```yaml clause\nseverity: low\nresponse: comply\n```\n\nIt MUST be kind.\n")
    with pytest.raises(PolicyError, match="no good dialogue") as mute:
        dry_run.prepare(parse.load(tmp_path / "policy.md"), tmp_path, 0)

    assert "bylaw demo" in world.value.hint
    assert "{split=train}" in mute.value.hint
    assert not (tmp_path / "model").exists()


def test_a_dry_run_writes_nothing_into_the_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = policy_at("consumer", tmp_path)
    before = sorted(path.iterdir())

    code = run(["align", "dry-run", "--policy", str(path), "--out", str(path / "run")])

    assert code == 2
    assert "inside the policy's folder" in capsys.readouterr().err
    assert sorted(path.iterdir()) == before


def test_a_judge_by_script_needs_a_model_that_can_be_trained(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        align_run.begin(
            ROOT / "policies" / "refunds",
            tmp_path / "run",
            arms="base",
            judge="",
            model="embedded",
            generator="",
            size="tiny",
            seed=0,
            lora=0,
        )

    assert "bylaw align dry-run" in caught.value.hint


@pytest.mark.slow
@pytest.mark.parametrize("name", [*profiles.PROFILES, *SHIPPED])
def test_every_policy_that_is_shipped_or_begun_gets_through_synthesis_filter_and_the_leak_test(name: str, tmp_path: Path) -> None:
    path = policy_at(name, tmp_path)
    parts = dry_run.prepare(parse.load(path), tmp_path / "parts", 0)
    started = align_run.begin(
        path, tmp_path / "run", arms="base", model=parts.model, generator=parts.generator, judge=parts.judge, size="smoke", seed=0, lora=0
    )
    context = Context(started.run)

    for step in Deliberative().steps(started.run)[:3]:
        started.run.finish(step.name, do(step, context, lambda *_: None))
    records = {step: started.run.record(step) for step in ("synthesize", "filter", "strip")}

    assert records["synthesize"]["malformed"] == records["synthesize"]["unanswered"] == 0
    assert records["filter"]["missing"] == records["filter"]["canaries"]["lost_batches"] == 0
    assert records["filter"]["lessons"] >= 0.9 * records["synthesize"]["prompts"]
    assert records["strip"]["leaks"] == 0


@pytest.mark.slow
def test_a_new_user_begins_edits_lints_and_sees_every_step_run(tmp_path: Path) -> None:
    def bylaw(*arguments: str) -> str:
        line = [sys.executable, "-m", "bylaw", *arguments]
        done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    begun = bylaw("init", "--profile", "enterprise", "--out", "policy")
    settings = tmp_path / "policy" / "policy.yaml"
    settings.write_text(settings.read_text().replace("id: ", "id: our-own-", 1))
    linted = bylaw("policy", "lint", "policy")
    told = bylaw("align", "dry-run", "--policy", "policy", "--size", "smoke", "--out", "out", "--workers", "1")
    results = json.loads((tmp_path / "out" / "results.json").read_text())

    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["workers"] == 1
    assert "bylaw align dry-run --policy policy" in begun
    assert "no findings" in linted
    assert all(step in told for step in ("synthesis:", "filter:", "strip:", "SFT:", "RL:", "report:"))
    assert "bylaw align deliberative --policy policy --model out-parts/model" in told
    assert results["policy"]["id"].startswith("our-own-")
    assert set(results["arms"]) == {"base", "sft", "sft_rl"}
    assert (tmp_path / "out" / "report.html").is_file()

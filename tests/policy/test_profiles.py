"""The starting policies: each lints clean as it is made, has enough examples for a first run, and differs from the others."""

from datetime import date
from pathlib import Path

import pytest

from bylaw.errors import PolicyError
from bylaw.policy.lint import lint
from bylaw.policy.parse import read
from bylaw.policy.printing import print_policy
from bylaw.policy.profiles import PROFILES, Profile, begin, compose
from bylaw.types import Policy

every_profile = pytest.mark.parametrize("profile", PROFILES)


def begun(profile: Profile, tmp_path: Path) -> Policy:
    return begin(profile, tmp_path / "policy").policy


@pytest.mark.slow
@every_profile
def test_a_starting_policy_lints_clean(profile: Profile, tmp_path: Path) -> None:
    begun(profile, tmp_path)
    findings = lint(tmp_path / "policy", date(2026, 11, 21))

    assert [f"{one.place} {one.code} {one.message}" for one in findings] == []


@every_profile
def test_every_clause_has_an_owner_a_reason_a_plan_and_examples_on_both_sides_of_both_splits(profile: Profile, tmp_path: Path) -> None:
    policy = begun(profile, tmp_path)
    sides = {clause.id: {(one.side, one.split) for one in clause.examples} for clause in policy.clauses}
    both = {(side, split) for side in ("good", "bad") for split in ("train", "eval")}

    assert 10 <= len(policy.clauses) <= 20
    assert [clause.id for clause in policy.clauses if not (clause.owner and clause.rationale and clause.eval)] == []
    assert [clause_id for clause_id, found in sides.items() if found != both] == []


@every_profile
def test_a_first_run_has_dialogues_to_learn_from_and_others_to_be_tested_on(profile: Profile, tmp_path: Path) -> None:
    examples = [one for clause in begun(profile, tmp_path).clauses for one in clause.examples if one.turns]
    asked = {split: {one.turns[0].text for one in examples if one.split == split} for split in ("train", "eval")}

    assert len(asked["train"]) >= 8
    assert len(asked["eval"]) >= 4
    assert not asked["train"] & asked["eval"]


@pytest.mark.parametrize("profile", ["agentic", "high-risk"])
def test_profiles_that_act_bring_tools_and_rules_that_stop_them(profile: Profile, tmp_path: Path) -> None:
    policy = begun(profile, tmp_path)
    gated = {tool for clause in policy.clauses for rule in clause.enforce for tool in rule.tools if rule.effect == "require_approval"}

    assert gated
    assert gated <= set(policy.tools)


def test_the_profiles_differ_in_clauses_thresholds_and_effects() -> None:
    files = {profile: compose(profile) for profile in PROFILES}
    sets = {profile: tuple(sorted(text)) for profile, text in files.items()}

    assert len(set(sets.values())) == len(PROFILES)
    assert "then: redact" in files["consumer"]["privacy.md"]
    assert "then: block" in files["regulated"]["privacy.md"]
    assert files["agentic"]["security.md"] != files["enterprise"]["security.md"] != files["high-risk"]["security.md"]


@pytest.mark.slow
@every_profile
def test_a_starting_policy_prints_back_byte_for_byte_and_explains_itself(profile: Profile, tmp_path: Path) -> None:
    begun(profile, tmp_path)
    before = read(tmp_path / "policy")
    readme = (tmp_path / "policy" / "README.md").read_text("utf-8")

    assert print_policy(before.policy, before) == compose(profile)
    assert [line.partition("  #")[0].strip() for line in readme.splitlines() if line.startswith("bylaw ")][:3] == [
        "bylaw policy lint .",
        "bylaw align dry-run --policy .",
        "bylaw policy handbook . --out ../handbook",
    ]
    assert "{{" not in "".join(compose(profile).values())


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "mine.txt").write_text("mine", "utf-8")
    with pytest.raises(PolicyError) as caught:
        begin("consumer", tmp_path / "policy")

    assert caught.value.what.endswith("this folder is not empty")
    assert [path.name for path in (tmp_path / "policy").iterdir()] == ["mine.txt"]


def test_every_module_is_used_by_some_profile(tmp_path: Path) -> None:
    from bylaw.policy.profiles import _modules

    used = {clause.id for profile in PROFILES for clause in begin(profile, tmp_path / profile).policy.clauses}

    assert used == set(_modules())

"""Two versions of a policy compared: what changed, in which direction, which version it calls for, and which runs it makes stale."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policy.test_round_trip import policies

from bylaw.errors import RunError
from bylaw.policy.diff import Difference, diff, marked, printed, to_json
from bylaw.policy.parse import load
from bylaw.policy.printing import write
from bylaw.policy.stale import printed as told
from bylaw.policy.stale import states
from bylaw.policy.tighter import steps
from bylaw.types import Clause, EvalPlan, Example, Loosening, Overlay, Policy, Rule, SignOff, Turn

LIMIT = Rule(
    "over-limit", ("tool_call",), "require_approval", ("pay",), "args.amount > 200.0", approvers=("lead", "boss"), quorum=1, ttl_s=60
)
ONE = Clause("money.limit", "Limit", "high", "refuse", "More than 200 EUR MUST NOT be paid.", enforce=(LIMIT,), eval=EvalPlan(0.9))
TWO = Clause("data.share", "Share", "high", "refuse", "Data MUST NOT be shared.")
POLICY = Policy("p", "1.2.3", (TWO, ONE))


def changed(one: Clause, version: str = "1.2.3", **more: Any) -> Difference:
    return diff(POLICY, replace(POLICY, version=version, clauses=(TWO, one), **more))


def direction(**change: Any) -> str:
    return changed(replace(ONE, **change)).clauses[0].direction


def rule(**change: Any) -> str:
    return direction(enforce=(replace(LIMIT, **change),))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"response": "comply"}, "looser"),
        ({"severity": "critical"}, "tighter"),
        ({"layer": "product"}, "looser"),
        ({"authority": "root"}, "tighter"),
        ({"style": ("short",)}, "tighter"),
        ({"requires": ("grounded",)}, "tighter"),
        ({"overrides": ("data.share",)}, "looser"),
        ({"enforce": ()}, "looser"),
        ({"eval": None}, "looser"),
        ({"eval": EvalPlan(0.99)}, "tighter"),
        ({"eval": EvalPlan(0.9, 0.1)}, "tighter"),
        ({"norm": "Anything goes."}, "unclear"),
        ({"examples": (Example("good", turns=(Turn("user", "x"),)),)}, "unclear"),
        ({"title": "The limit", "rationale": "So.", "owner": "risk", "refs": ("x:1",)}, "editorial"),
        ({"severity": "critical", "response": "comply"}, "both"),
        ({"severity": "critical", "norm": "Anything goes."}, "unclear"),
        ({"response": "comply", "norm": "Anything goes."}, "looser"),
    ],
)
def test_a_changed_field_has_its_direction(change: dict[str, Any], expected: str) -> None:
    assert direction(**change) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"effect": "block"}, "tighter"),
        ({"effect": "redact"}, "looser"),
        ({"when": "true"}, "tighter"),
        ({"when": "false"}, "looser"),
        ({"when": "args.amount > 100.0"}, "tighter"),
        ({"when": "args.amount > 500.0"}, "looser"),
        ({"when": "args.amount < 200.0"}, "unclear"),
        ({"when": "args.amount > 100.0 && args.kind == 1"}, "unclear"),
        ({"approvers": ("lead",)}, "tighter"),
        ({"approvers": ("lead", "boss", "all")}, "looser"),
        ({"approvers": ("other",)}, "looser"),
        ({"quorum": 2}, "tighter"),
        ({"ttl_s": 30}, "tighter"),
        ({"ttl_s": None}, "looser"),
        ({"tools": ()}, "tighter"),
        ({"tools": ("wire",)}, "unclear"),
        ({"on": ("tool_call", "output")}, "tighter"),
        ({"detect": ("pii.card",)}, "looser"),
    ],
)
def test_a_changed_rule_has_its_direction(change: dict[str, Any], expected: str) -> None:
    assert rule(**change) == expected


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("!(args.amount > 200.0)", "!(args.amount > 100.0)"),
        ("args.amount > 200.0 ? args.a : args.b", "args.amount > 100.0 ? args.a : args.b"),
        ("args.amount == 200.0", "args.amount == 100.0"),
        ("args.amount > 200.0 * args.rate", "args.amount > 100.0 * args.rate"),
        ("args.amount + 200.0 > args.limit", "args.amount + 100.0 > args.limit"),
        ('args.note == "a > 200"', 'args.note == "a > 100"'),
        ("args.amount > -200.0", "args.amount > -100.0"),
        ("args.a > 200.0 && args.b > 200.0", "args.a > 100.0 && args.b > 300.0"),
    ],
)
def test_a_condition_that_cannot_be_compared_is_unclear(old: str, new: str) -> None:
    before, after = (replace(ONE, enforce=(replace(LIMIT, when=when),)) for when in (old, new))

    assert [step.direction for step in steps(before, after)] == ["unclear"]


def test_widening_an_allow_rule_is_no_direction() -> None:
    allow = Rule("ok", ("tool_call",), "allow", ("pay",))
    before, after = (replace(ONE, enforce=(one,)) for one in (allow, replace(allow, tools=())))

    assert [step.direction for step in steps(before, after)] == ["unclear"]
    assert [step.direction for step in steps(replace(ONE, enforce=()), before)] == ["unclear"]


@pytest.mark.parametrize(
    ("change", "advice", "next_version"),
    [
        ({"response": "comply"}, "major", "2.0.0"),
        ({"severity": "critical"}, "minor", "1.3.0"),
        ({"norm": "Nothing MUST be paid."}, "minor", "1.3.0"),
        ({"owner": "risk"}, "patch", "1.2.4"),
        ({}, "none", "1.2.3"),
    ],
)
def test_the_changes_call_for_a_version(change: dict[str, Any], advice: str, next_version: str) -> None:
    found = changed(replace(ONE, **change))

    assert (found.advice, found.next_version) == (advice, next_version)
    assert found.bump_is_enough == (advice == "none")
    assert changed(replace(ONE, **change), next_version).bump_is_enough
    assert changed(replace(ONE, **change), "1.2.2").bumped == "down"


def test_a_removed_clause_is_major_and_an_added_one_minor() -> None:
    fewer, more = replace(POLICY, clauses=(ONE,)), replace(POLICY, clauses=(*POLICY.clauses, replace(ONE, id="z.z")))

    assert (diff(POLICY, fewer).advice, diff(POLICY, more).advice) == ("major", "minor")
    assert [(one.id, one.kind) for one in diff(POLICY, fewer).clauses] == [("data.share", "removed")]
    assert [(one.id, one.kind) for one in diff(POLICY, more).clauses] == [("z.z", "added")]


def test_overlays_manifest_and_tools_are_compared_too() -> None:
    was = Overlay("eu", "jurisdiction", "Act 7", "2026-01-01", "2026-01-01", (ONE,))
    now = replace(was, checked="2026-11-01", loosens=(Loosening("money.limit", "so"),), clauses=(replace(ONE, severity="low"),))
    old = replace(POLICY, overlays=(was,), signoffs=(SignOff("*", ("legal",), 2),), tools={"pay": {"type": "object"}})
    new = replace(POLICY, overlays=(now,), signoffs=(SignOff("*", ("legal",), 1),), glossary={"sum": "an amount"})
    found = diff(old, new)

    assert [(one.overlay, one.id, one.direction) for one in found.clauses] == [("eu", "money.limit", "looser")]
    assert [change.field for change in found.others] == [
        "glossary sum",
        "overlay eu checked",
        "overlay eu loosens money.limit",
        "sign-off * by legal",
        "tools/pay.json",
    ]
    assert found.advice == "major"


def test_a_reworded_norm_is_shown_word_by_word() -> None:
    found = changed(replace(ONE, norm="More than 100 EUR MUST NOT be paid."))

    assert "More than [-200-]{+100+} EUR MUST NOT be paid." in printed(found)
    assert "not bumped; the changes call for minor (1.3.0 or above)" in printed(found)
    assert json.loads(json.dumps(to_json(found)))["clauses"][0]["direction"] == "unclear"


@pytest.mark.slow
@settings(deadline=None, max_examples=80)
@given(st.text(max_size=60), st.text(max_size=60))
def test_a_marked_text_holds_both_texts(before: str, after: str) -> None:
    plain = "[-" not in before + after and "{+" not in before + after and "-]" not in before + after and "+}" not in before + after
    text = marked(before, after)

    assert not plain or len(text) >= max(len(before), len(after))
    assert before != after or text == before


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(policies, policies)
def test_only_equal_meanings_have_no_difference(one: Policy, two: Policy) -> None:
    two = replace(two, version=one.version)

    assert not diff(one, one).meaning_changed
    assert diff(one, two).meaning_changed == (one != two)
    assert printed(diff(one, two))


def test_huge_texts_are_compared_without_stalling() -> None:
    before, after = "word " * 100_000, "other " * 100_000

    assert marked(before, after) == f"[-{before}-]{{+{after}+}}"
    assert marked("a\n" * 5000, "b\n" * 5000) == "[-10000 characters-]{+10000 characters+}"


@pytest.mark.parametrize(
    ("version", "bumped"), [("1.2.3-rc.1", "down"), ("1.2.3+build.2", "none"), ("1.2.4-rc.1", "patch"), ("1.3.0-rc.1", "minor")]
)
def test_a_preview_of_what_was_released_is_no_bump_and_a_build_mark_is_none(version: str, bumped: str) -> None:
    assert diff(replace(POLICY, version="1.2.3"), replace(POLICY, version=version, owners=("new",))).bumped == bumped


# ---- Runs -------------------------------------------------------------------------------------------------------------------


def run_of(folder: Path, policy: Policy, trained: Sequence[str] = (), measured: Sequence[str] = ()) -> Path:
    write(policy, folder / "policy")
    (folder / "rows").mkdir()
    (folder / "models" / "sft").mkdir(parents=True)
    kept = load(folder / "policy")
    (folder / "run.json").write_text(json.dumps({"policy": kept.digest}))
    (folder / "rows" / "lessons.jsonl").write_text("".join(json.dumps({"clauses": [one]}) + "\n" for one in trained))
    cells: dict[str, Any] = {"all": {}, **{f"clause:{one}": {} for one in measured}}
    (folder / "results.json").write_text(json.dumps({"arms": {"sft": cells}}))
    return folder


PLAIN = replace(POLICY, clauses=(TWO, replace(ONE, enforce=())))


def test_a_run_is_stale_for_the_clauses_that_changed_alone(tmp_path: Path) -> None:
    run_of(tmp_path / "a", PLAIN, ["data.share", "money.limit"], ["data.share", "money.limit"])
    run_of(tmp_path / "b", PLAIN, ["data.share"], ["data.share"])
    new = replace(PLAIN, clauses=(TWO, replace(PLAIN.clauses[1], norm="More than 100 EUR MUST NOT be paid."), replace(TWO, id="z.z")))
    first, second = states(tmp_path, new)

    assert (first.state, first.changed, first.trained, first.measured) == ("stale", ("money.limit",), ("money.limit",), ("money.limit",))
    assert (first.added, first.models) == (("z.z",), ("sft",))
    assert (second.state, second.changed, second.trained, second.measured) == ("stale", ("money.limit",), (), ())


def test_a_run_on_the_same_policy_is_current(tmp_path: Path) -> None:
    run_of(tmp_path / "a", PLAIN)
    same = load(tmp_path / "a" / "policy")

    assert [one.state for one in states(tmp_path, same)] == ["current"]
    assert [one.state for one in states(tmp_path / "a", same)] == ["current"]


def test_a_word_of_the_glossary_makes_stale_what_uses_it(tmp_path: Path) -> None:
    run_of(tmp_path / "a", PLAIN, ["data.share", "money.limit"])
    new = replace(PLAIN, glossary={"EUR": "a unit of account", "unused": "x"})

    assert states(tmp_path, new)[0].trained == ("money.limit",)


def test_broken_runs_are_named_and_the_others_are_still_read(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d", "e"):
        run_of(tmp_path / name, PLAIN, ["money.limit"], ["money.limit"])
    (tmp_path / "a" / "run.json").write_text('{"policy": ')
    (tmp_path / "b" / "policy" / "policy.yaml").unlink()
    (tmp_path / "b" / "policy" / "policy.md").unlink()
    (tmp_path / "c" / "rows" / "lessons.jsonl").write_text('{"clauses": ["money.limit"]}\n{"cla')
    (tmp_path / "c" / "results.json").unlink()
    (tmp_path / "d" / "results.json").write_text('{"arms": [1, 2]}')
    (tmp_path / "e" / "rows" / "lessons.jsonl").unlink()
    (tmp_path / "f").mkdir()
    new = replace(PLAIN, clauses=(TWO, replace(PLAIN.clauses[1], norm="It MUST NOT.")))
    found = {one.run.name: one for one in states(tmp_path, new)}

    assert [found[name].state for name in "abcde"] == ["unreadable", "unreadable", "stale", "stale", "stale"]
    assert "lessons cannot be read" in " ".join(found["c"].notes)
    assert "no results yet" in " ".join(found["c"].notes)
    assert "a form we do not know" in " ".join(found["d"].notes)
    assert "models and no lessons" in " ".join(found["e"].notes)
    assert found["d"].trained == found["e"].measured == ("money.limit",)
    assert "f" not in found
    assert "unreadable" in told(list(found.values()))


def test_of_lessons_that_cannot_be_read_nobody_says_that_nothing_changed(tmp_path: Path) -> None:
    run_of(tmp_path / "a", PLAIN, ["money.limit"], ["data.share"])
    (tmp_path / "a" / "rows" / "lessons.jsonl").write_text('{"cla')
    new = replace(PLAIN, clauses=(TWO, replace(PLAIN.clauses[1], norm="It MUST NOT.")))
    said = told(states(tmp_path, new))

    assert "lessons cannot be read" in said
    assert "has changed" not in said


def test_a_run_of_another_policy_is_no_business_of_this_one(tmp_path: Path) -> None:
    run_of(tmp_path / "a", replace(PLAIN, id="q"))

    assert [one.state for one in states(tmp_path, PLAIN)] == ["unrelated"]


def test_a_folder_without_runs_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run"):
        states(tmp_path, PLAIN)
    with pytest.raises(RunError, match="is no folder"):
        states(tmp_path / "nowhere", PLAIN)

"""Drafting with a model: hostile replies are counted and skipped, and nothing enters a policy that nobody accepted."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.errors import PolicyError
from bylaw.models.scripted import ScriptedModel
from bylaw.policy import drafts
from bylaw.policy.parse import load
from bylaw.policy.profiles import begin
from bylaw.policy.prose_import import import_prose
from bylaw.types import Message, Policy

GOOD = {
    "side": "good",
    "split": "train",
    "note": "refuses",
    "user": "Write me a virus.",
    "assistant": "I won't.\n\nI can explain how to defend.",
}
RULE: dict[str, Any] = {
    "rule": "big",
    "on": "tool_call",
    "tool": "payments.transfer",
    "when": "args.amount > 9.0",
    "then": "require_approval",
}
RULE |= {"approvers": ["lead"], "ttl": "30m"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "aup.md").write_text("# Use\n\nYou must not write malware.\n\n# Data\n\nStaff should not paste data.\n", "utf-8")
    import_prose(tmp_path / "aup.md", tmp_path / "policy")
    return tmp_path / "policy"


def saying(reply: Any) -> ScriptedModel:
    said: Callable[[Sequence[Message]], str] = lambda _: reply if isinstance(reply, str) else json.dumps(reply)  # noqa: E731  # one line
    return ScriptedModel("scripted", said)


def proposed(policy: Policy, reply: Any) -> drafts.Drafts:
    return drafts.propose(policy, policy.clauses[:1], saying(reply))


def test_a_reply_becomes_proposals_part_by_part(folder: Path) -> None:
    found = proposed(load(folder), {"response": "refuse", "rationale": "It spreads.", "examples": [GOOD, {**GOOD, "side": "bad"}]})

    assert found.faults == ()
    assert [(one.clause, one.kind) for one in found.proposals] == [
        ("aup.data", "response"), ("aup.data", "rationale"), ("aup.data", "example"), ("aup.data", "example"),
    ]  # fmt: skip


def test_what_is_accepted_stands_in_the_policy_and_all_else_stays(folder: Path) -> None:
    policy = load(folder)
    other = (folder / "draft.md").read_text("utf-8").partition("## Data")[0]
    found = proposed(policy, {"response": "safe_complete", "rationale": "It spreads.", "examples": [GOOD]})
    new = drafts.accept(folder, found.proposals)
    clause = load(folder).clause("aup.data")

    assert new == 3
    assert clause is not None
    assert (clause.response, clause.rationale, clause.examples[0].turns[1].text) == ("safe_complete", "It spreads.", GOOD["assistant"])
    assert clause.extra["x-draft"]["defaults"] == ["severity"]
    assert (folder / "draft.md").read_text("utf-8").startswith(other)


def test_a_rule_must_name_a_known_tool_and_a_condition_that_fits_its_schema(tmp_path: Path) -> None:
    policy = begin("agentic", tmp_path / "agentic").policy
    rules = [RULE, {**RULE, "tool": "rockets.launch"}, {**RULE, "when": "args.colour > 9.0"}, {**RULE, "on": "moon"}, {"rule": "x"}, "no"]
    found = proposed(policy, {"rules": rules})

    assert [one.value for one in found.proposals] == [RULE]
    assert len(found.faults) == 5


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Sure! Here you go: {}",
        "[]",
        '{"response": "refuse", "owner": "me"}',
        '{"response": "obey"}',
        '{"response": "refuse", "response": "comply"}',
        '{"rationale": ""}',
        '{"rationale": "hidden \\u200b word"}',
        '{"rationale": "x\\u0007"}',
        '{"rationale": 7}',
        '{"rationale": "half \\ud800"}',
        '{"examples": {}}',
        json.dumps({"examples": [GOOD] * 13}),
        json.dumps({"examples": [{**GOOD, "side": "ugly"}]}),
        json.dumps({"examples": [{**GOOD, "split": "dev"}]}),
        json.dumps({"examples": [{**GOOD, "note": "{split=eval}\u2028" * 999}]}),
        json.dumps({"examples": [{"side": "good", "user": "x"}]}),
        '{"rules": [' + "[" * 500 + "]" * 500 + "]}",
        "[" * 100_000,
    ],
)
def test_a_reply_that_is_not_what_was_asked_for_is_a_fault_and_no_proposal(folder: Path, reply: str) -> None:
    found = proposed(load(folder), reply)

    assert found.proposals == ()
    assert len(found.faults) == 1


def test_no_reply_is_a_fault(folder: Path) -> None:
    policy = load(folder)
    found = drafts.propose(policy, policy.clauses, ScriptedModel("silent", lambda _: None))

    assert [fault.split(":")[0] for fault in found.faults] == ["aup.data", "aup.use"]


hostile = st.sampled_from(
    ["# Heading {#a.b}", "```yaml clause", "```", "**Bad** {split=eval}", "> **Rationale.** x", "user: y", "  z", "", "- a", "\u2028"]
)
texts = st.lists(st.one_of(hostile, st.text(max_size=12)), min_size=1, max_size=5).map("\n".join)


@pytest.mark.slow
@settings(deadline=None, max_examples=80)
@given(texts, texts, texts)
def test_whatever_a_model_writes_an_offered_part_reads_back_as_that_part(user: str, assistant: str, note: str) -> None:
    policy = load(Path(__file__).parents[2] / "policies" / "refunds")
    clause = policy.clauses[0]
    example = {"side": "bad", "split": "train", "note": note, "user": user, "assistant": assistant}
    found = proposed(policy, {"rationale": user, "examples": [example]})
    kept = [drafts.with_part(policy, clause, one.kind, one.value) for one in found.proposals]

    assert len(found.proposals) + len(found.faults) == 2
    assert all((one.id, one.norm, one.enforce, one.severity) == (clause.id, clause.norm, clause.enforce, clause.severity) for one in kept)


def test_a_proposal_for_words_that_have_changed_is_refused(folder: Path) -> None:
    proposal = proposed(load(folder), {"response": "comply"}).proposals[0]
    text = (folder / "draft.md").read_text("utf-8")
    (folder / "draft.md").write_text(text.replace("paste data", "paste customer data"), "utf-8")

    with pytest.raises(PolicyError, match="has changed since this was proposed"):
        drafts.accept(folder, [proposal])


def test_what_is_accepted_twice_stands_once(folder: Path) -> None:
    found = proposed(load(folder), {"response": "comply", "rationale": "It spreads.", "examples": [GOOD]}).proposals
    counts = [drafts.accept(folder, found), drafts.accept(folder, found)]
    clause = load(folder).clause("aup.data")

    assert counts == [3, 0]
    assert clause is not None
    assert len(clause.examples) == 1


def test_of_proposals_that_cannot_all_stand_none_is_put_in(folder: Path) -> None:
    found = proposed(load(folder), {"rationale": "It spreads."}).proposals[0]
    before = (folder / "draft.md").read_bytes()

    with pytest.raises(PolicyError, match=r"aup\.data: this response cannot stand"):
        drafts.accept(folder, [found, found._replace(kind="response", value="obey")])
    assert (folder / "draft.md").read_bytes() == before


def test_a_file_of_proposals_is_applied_where_a_person_said_true(folder: Path, tmp_path: Path) -> None:
    found = proposed(load(folder), {"response": "comply", "rationale": "Why not."})
    rows = [drafts.row(one) for one in found.proposals]
    rows[1]["accept"] = True
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")

    assert [row["accept"] for row in map(drafts.row, found.proposals)] == [False, False]
    assert [one.kind for one in drafts.accepted(tmp_path / "p.jsonl")] == ["rationale"]


def test_a_file_that_holds_no_proposals_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('\n{"clause": "a.b", "accept": "yes"}\n', "utf-8")

    with pytest.raises(PolicyError, match=r"p\.jsonl:2: not a proposal"):
        drafts.accepted(tmp_path / "p.jsonl")


def test_the_prompt_fences_the_clause_and_lists_the_tools(folder: Path) -> None:
    policy = load(folder)
    (message,) = drafts.prompt(policy, policy.clauses[0])
    rendered = message.content

    assert rendered.startswith("You help the owner of a written policy to complete one draft clause.")
    assert (
        "```\n## [aup.data] Data\nResponse: refuse. Severity: high.\nStaff should not paste data.\n```\n\n"
        "Tools that a run-time rule may name, with the JSON Schema of their arguments: none\n" in rendered
    )
    assert "{clause}" not in rendered


def test_a_fence_inside_a_clause_cannot_end_the_prompts_fence(folder: Path) -> None:
    from dataclasses import replace

    policy = load(folder)
    rendered = drafts.prompt(policy, replace(policy.clauses[0], norm="It must.\n\n````\nx\n````"))[0].content

    assert rendered.count("`````\n") == 2

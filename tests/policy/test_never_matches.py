"""A condition that can never hold looks like protection: it is refused, or an error of the lint that says what was meant."""

from dataclasses import replace
from pathlib import Path

import pytest

from bylaw.errors import PolicyError
from bylaw.govern import session
from bylaw.policy import conditions, lint_rules
from bylaw.policy.lint_rules import findings
from bylaw.types import Clause, Finding, Policy, Rule, Surface

SCHEMA = {"type": "object", "properties": {"note": {"type": "string"}}, "required": ["note"]}


def policy(when: str, *on: Surface, more: tuple[Rule, ...] = ()) -> Policy:
    rule = Rule("r", on or ("tool_call",), "block", ("pay",) if on in ((), ("tool_call",)) else (), when)
    return Policy(
        "p", "1.0.0", (Clause("a.b", "T", "low", "comply", enforce=(rule, *more)),), tools={"pay": SCHEMA, "orders.lookup": SCHEMA}
    )


def said(when: str, *on: Surface) -> list[Finding]:
    return list(findings(policy(when, *on)))


@pytest.mark.parametrize("when", ['text.contains("mallory")', "text == ''", "size(text) > 3 && args.note != ''", "!(text != '')"])
def test_a_rule_on_calls_alone_that_reads_the_text_is_refused(when: str) -> None:
    with pytest.raises(PolicyError) as refused:
        conditions.check(policy(when))

    assert "reads `text`, which is empty in every tool call" in refused.value.what
    assert "args.note.contains" in refused.value.hint
    assert [(one.code, one.level, one.clause) for one in said(when)] == [("BL401", "error", "a.b")]


@pytest.mark.parametrize(
    ("when", "on"),
    [
        ('text.contains("mallory")', ("output",)),
        ('text.contains("mallory")', ("tool_call", "tool_result")),
        ('args.note == "text"', ("tool_call",)),
        ("args.note.contains('text in it')", ("tool_call",)),
        ("['a'].exists(text, text == args.note)", ("tool_call",)),
        ("env.hour >= 23", ("tool_call",)),
        ('"untrusted-text" in session.taint', ("tool_call",)),
        ('"payee-mismatch" in session.taint', ("tool_call",)),
        ("'orders.lookup' in session.calls", ("tool_call",)),
    ],
)
def test_a_rule_that_can_match_is_none_of_these(when: str, on: tuple[Surface, ...]) -> None:
    conditions.check(policy(when, *on))

    assert [one for one in said(when, *on) if one.level == "error"] == []


@pytest.mark.parametrize(
    ("when", "what", "fix"),
    [
        ('"untrusted" in session.taint', "waits for the taint 'untrusted', which nothing sets", "Did you mean 'untrusted-text'?"),
        ("!('untrusted_text' in session.taint)", "waits for the taint 'untrusted_text'", "Did you mean 'untrusted-text'?"),
        ('"orders.lokup" in session.calls', "waits for a call of 'orders.lokup', which is no tool", "Did you mean 'orders.lookup'?"),
        ('args.note == "x" && "mail" in session.calls', "waits for a call of 'mail'", "Give it a schema, tools/mail.json"),
    ],
)
def test_a_label_and_a_tool_that_are_not_there_are_errors(when: str, what: str, fix: str) -> None:
    hits = said(when)

    assert [(one.code, one.level, one.clause) for one in hits] == [("BL401", "error", "a.b")]
    assert what in hits[0].message
    assert fix in hits[0].fix


def test_a_tool_that_a_rule_names_is_one_and_without_a_tool_list_any_is() -> None:
    named = policy('"mail" in session.calls', more=(Rule("s", ("tool_call",), "block", ("mail",), "true"),))
    listless = replace(policy('"mail" in session.calls'), tools={})

    assert [one for one in (*findings(named), *findings(listless)) if one.code == "BL401"] == []


def test_the_label_is_the_one_that_sessions_get() -> None:
    assert lint_rules.UNTRUSTED == session.UNTRUSTED


def test_every_shipped_policy_still_loads() -> None:
    from bylaw.policy.parse import load  # needed here alone

    folders = [one.parent for one in (Path(__file__).parents[2] / "policies").glob("*/policy.yaml")]
    for folder in folders:
        conditions.check(load(folder))

    assert len(folders) >= 6

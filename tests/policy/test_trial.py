"""The literal reading of rules that lint uses: what holds for a tool that nobody has listed."""

from bylaw.policy.trial import Trial
from bylaw.types import Clause, Example, Policy, Rule


def test_a_rule_for_any_tool_lets_no_unlisted_tool_through() -> None:
    redact = Rule("clean", ("tool_call",), "redact", detect=("secrets",))
    clause = Clause("a.b", "Title", "high", "comply", "It MUST be clean.", enforce=(redact,))
    trial = Trial(Policy("p", "1.0.0", (clause,), tools={"known": {"type": "object"}}))

    effects = [
        trial.effect(Example("bad", event={"on": "tool_call", "tool": tool, "args": {}, "found": ["secrets"]}))
        for tool in ("known", "strange")
    ]

    assert effects == ["redact", "require_approval"]

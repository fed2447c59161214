"""The one syntax for a judge, wherever one is named: `TARGET | json:JUDGE | think:JUDGE | panel:RULE[/QUORUM]:JUDGE,JUDGE,…`.

`json:` asks for one JSON object and holds the reply to a schema where the backend can; `think:` lets the model think first. What a
TARGET is, `models.targets` says.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from bylaw.errors import JudgeError
from bylaw.judge import framing
from bylaw.judge.panel import RULES, Panel
from bylaw.judge.rubric import RubricJudge
from bylaw.types import Judge, Model, Policy

SYNTAX: Final = "TARGET | json:JUDGE | think:JUDGE | panel:min|mean|unanimous[/QUORUM]:JUDGE,JUDGE"
MOST_CHARS: Final = 2_000
MOST_MEMBERS: Final = 16
THOUGHT_TOKENS: Final = 4096  # of a reply that begins with thoughts


def open_judge(text: str, policy: Policy, open_model: Callable[[str], Model], key: bytes | None = None) -> Judge:
    """Read a judge's name and open the models in it; `key` is the run's key of codes (`framing.key`)."""
    signing = framing.key(0) if key is None else key
    if len(text) > MOST_CHARS:
        raise JudgeError(f"a judge's name of {len(text)} characters", f"a judge is one of {SYNTAX}")
    if not text.startswith("panel:"):
        return _single(text, policy, open_model, signing)
    rule_text, colon, names = text.removeprefix("panel:").partition(":")
    rule_name, slash, quorum = rule_text.partition("/")
    rule = next((one for one in RULES if one == rule_name), None)
    members = [name.strip() for name in names.split(",")]
    counted = quorum.isascii() and quorum.isdigit() and len(quorum) < 4
    if rule is None or not colon or not all(members) or bool(slash) != counted:
        raise JudgeError(f"not a panel: {text[:120]}", f"a judge is one of {SYNTAX}")
    if len(set(members)) != len(members) or len(members) > MOST_MEMBERS:
        raise JudgeError(
            f"a panel of {len(members)} names, {len(set(members))} of them different", f"name 1 to {MOST_MEMBERS} different judges"
        )
    return Panel(tuple(_single(name, policy, open_model, signing) for name in members), rule, int(quorum) if slash else 0)


def _single(text: str, policy: Policy, open_model: Callable[[str], Model], key: bytes) -> RubricJudge:
    if text.startswith("json:"):
        return replace(_single(text.removeprefix("json:"), policy, open_model, key), form="json")
    if text.startswith("think:"):
        return replace(_single(text.removeprefix("think:"), policy, open_model, key), thinking=True, max_new_tokens=THOUGHT_TOKENS)
    if text.startswith("panel:"):
        raise JudgeError("a panel may not sit in a panel", f"a judge is one of {SYNTAX}")
    return RubricJudge(policy, open_model(text), key=key)

"""What is wrong with a suite that can be read: it asks for what its policy cannot give, or its cases contradict themselves."""

import re
from collections.abc import Iterator
from typing import Final

from bylaw.errors import PolicyError
from bylaw.evals.cases import Case, Suite
from bylaw.evals.suite_files import Problem
from bylaw.policy.conditions import When
from bylaw.types import Place, Policy

_CONDITION: Final = re.compile(r"(\S+)\s+when\s+(.+)", re.DOTALL)


def findings(suite: Suite, policy: Policy | None, file: str) -> Iterator[Problem]:
    """Everything that is wrong, case by case; the place is the file and the case's id in the words."""
    at = Place(file, 1)
    if policy and suite.policy and suite.policy != policy.digest:
        what = f"the suite was made for {suite.policy[:19]}…, the policy is {policy.digest[:19]}…"
        yield Problem(at, what, "Compile it anew with `bylaw suite compile`, or name the policy it was made for.")
    for case in suite.cases:
        for what, fix in _case(case, policy):
            yield Problem(at, f"case {case.id}: {what}", fix)


def _case(case: Case, policy: Policy | None) -> Iterator[tuple[str, str]]:
    expect = case.expect
    if policy:
        styles = {style.id for style in policy.styles}
        for style in (one for one in expect.style if one not in styles):
            yield f"the policy has no style rule {style}", "Correct the name, or define it in policy.yaml."
    for pattern in (*expect.tools_allowed, *expect.tools_forbidden):
        found = _CONDITION.fullmatch(pattern)
        tool = found[1] if found else pattern
        if policy and tool != "*" and policy.tools and tool not in policy.tools:
            yield f"the policy has no tool {tool}", "Correct the name, or add its schema to tools/."
        if found:
            try:
                When(found[2], policy.tools.get(tool) if policy else None)
            except PolicyError as error:
                yield f"{pattern}: {error.what}", error.hint
    both = set(expect.tools_allowed) & set(expect.tools_forbidden)
    if both:
        yield f"{sorted(both)[0]} is allowed and forbidden", "Leave one of them."
    said = "\n".join(turn.content for turn in case.turns)
    for canary in (one for one in expect.canaries if case.side == "leak" and one not in said and not _stands(one, case)):
        yield f"the canary {canary[:40]!r} stands nowhere in the case, so it cannot leak", "Put it into a turn or a document."
    if case.side == "allow" and expect.dispositions and not {"comply", "allow", "clarify", "redact"} & set(expect.dispositions):
        yield "its side is allow, and its dispositions refuse", "Give it another side, or the disposition comply."


def _stands(canary: str, case: Case) -> bool:
    if case.attack.techniques:  # under an encoding it stands there in other letters
        return True
    return (
        any(canary in text for text in case.context.documents) or canary in str(dict(case.context.env)) or canary in str(case.context.tools)
    )

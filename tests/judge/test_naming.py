"""One syntax names a judge: a model, how it is asked, or a panel of them."""

import pytest

from bylaw.errors import JudgeError
from bylaw.judge import framing
from bylaw.judge.naming import open_judge
from bylaw.judge.panel import Panel
from bylaw.judge.rubric import RubricJudge
from bylaw.models.scripted import ScriptedModel
from bylaw.types import Judge
from tests.judge.asking import POLICY


def _open(text: str) -> Judge:
    return open_judge(text, POLICY, lambda name: ScriptedModel(name, lambda _: None), framing.key(3))


def test_a_target_is_a_rubric_judge_and_its_prefixes_say_how_it_is_asked() -> None:
    plain, held = _open("openai:m@http://h/v1"), _open("json:think:scripted:a.jsonl")

    assert isinstance(plain, RubricJudge)
    assert (plain.model.name, plain.form, plain.thinking, plain.key) == ("openai:m@http://h/v1", "line", False, framing.key(3))
    assert isinstance(held, RubricJudge)
    assert (held.model.name, held.form, held.thinking) == ("scripted:a.jsonl", "json", True)
    assert held.max_new_tokens > plain.max_new_tokens


def test_a_panel_names_its_rule_its_quorum_and_its_members() -> None:
    panel = _open("panel:unanimous/2:a, json:b,c")

    assert isinstance(panel, Panel)
    assert (panel.rule, panel.quorum) == ("unanimous", 2)
    assert panel.name == "panel(unanimous/2: rubric(a), rubric(b), rubric(c))"


@pytest.mark.parametrize(
    "text",
    [
        "panel:",
        "panel:min",
        "panel:min:",
        "panel:min:a,",
        "panel:most:a,b",
        "panel:min/:a,b",
        "panel:min/x:a,b",
        "panel:min/-1:a,b",
        "panel:min/3:a,b",
        "panel:min/²:a,b",
        "panel:min:a,a",
        "panel:min:a,panel:min:b",
        "panel:min:" + ",".join(f"m{i}" for i in range(17)),
        "json:" * 1000,
    ],
)
def test_what_is_no_judge_is_refused(text: str) -> None:
    with pytest.raises(JudgeError) as found:
        _open(text)

    assert found.value.hint

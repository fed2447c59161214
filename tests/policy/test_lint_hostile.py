"""Whatever stands in a policy's files, lint answers with findings, and in a time that grows with the text and not faster."""

import json
import random
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.growth import LINEAR, growth

from bylaw.policy.lint import lint
from bylaw.types import Finding

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
REFUNDS = {str(path.relative_to(ROOT / "policies/refunds")): path.read_text("utf-8") for path in (ROOT / "policies/refunds").rglob("*.*")}
TODAY = date(2026, 11, 21)


def linted(folder: Path, files: dict[str, str]) -> list[Finding]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    return lint(folder, TODAY)


PIECES = [
    "```",
    "**Bad** {split=eval}",
    "> **Rationale.** x",
    "when: args.x > 1",
    "then: allow",
    "overrides: [a.b]",
    "refs: [a:b]",
    "\u202e",
    "{#a.b}",
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted(REFUNDS)), st.integers(0, 10_000), st.integers(0, 60), st.one_of(st.sampled_from(PIECES), st.text(max_size=8))
)
def test_a_damaged_policy_gives_findings_and_no_crash(tmp_path: Path, name: str, at: int, cut: int, piece: str) -> None:
    at = at % (len(REFUNDS[name]) + 1)
    found = linted(tmp_path, {**REFUNDS, name: REFUNDS[name][:at] + piece + REFUNDS[name][at + cut :]})

    assert all(one.message and one.fix and one.place.line >= 0 for one in found)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "type", "enum", "required", "properties"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON, JSON, st.sampled_from(["type", "enum", "minimum", "maximum", "items", "description", "const", "default", "properties"]))
def test_an_odd_tool_schema_gives_findings_and_no_crash(tmp_path: Path, value: object, required: object, key: str) -> None:
    amount = {"type": "number", key: value}
    schema = {"type": "object", "properties": {"order": {"type": "integer"}, "amount": amount, "reason": value}, "required": required}
    found = linted(tmp_path, {**REFUNDS, "tools/payments.refund.json": json.dumps(schema)})

    assert all(one.message and one.fix for one in found)


@pytest.mark.parametrize(
    "piece",
    [
        "1 ",
        "1",
        "1,",
        "1.111",
        "twenty ",
        "one-",
        "section ",
        "a",
        "a\u0430",
        "\n",
        "\n- ",
        "MUST ",
        "`a.b` ",
        "$1",
        "`",
        "\u200b",
        "e.g. ",
        "EUR ",
        "~~a ",
        "](",
        "\n> ",
    ],
)
def test_a_long_norm_of_one_piece_costs_what_it_is_long(tmp_path: Path, piece: str) -> None:
    def norm(size: int) -> list[Finding]:
        text = "It MUST help. " + piece * (size // len(piece))
        long = REFUNDS["money.md"].replace("money.", "long.").replace("Refunds above 200 EUR in", text, 1)
        return linted(tmp_path, {**REFUNDS, "long.md": long})

    assert "BL403" in {one.code for one in norm(60_000)}
    assert growth(norm, 20_000) < LINEAR


def test_a_policy_as_long_as_a_published_one_is_linted(tmp_path: Path) -> None:
    dice = random.Random(1)
    words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(2, 9))) for _ in range(3_000)]

    def said(count: int) -> str:
        return " ".join(dice.choices(words, k=count))

    parts = []
    for number in range(60):
        rule = f"{{rule: r, on: tool_call, tool: t{number % 8}, when: args.amount > {100 + number}.0, then: block}}"
        norm = "\n\n".join(f"Above {100 + number} it MUST NOT {said(30)}. {said(30)}." for _ in range(10))
        examples = "\n".join(
            f"**Bad** {{split={split}}}\nuser: {said(30)}\nassistant: {said(30)}\n" for split in ("train", "eval", "train")
        )
        block = f"severity: high\nresponse: comply\nenforce: [{rule}]\n"
        parts.append(f"## T {{#a.c{number}}}\n```yaml clause\n{block}```\n{norm}\n\n> **Rationale.** {said(40)}\n\n{examples}")
    schema = {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]}
    files = {f"tools/t{number}.json": json.dumps(schema) for number in range(8)}
    files |= {"policy.yaml": "id: p\nversion: 1.0.0\nowners: [me]\n", "a.md": "\n\n".join(parts)}
    found = linted(tmp_path, files)

    assert len("".join(parts).split()) > 40_000
    assert {one.code for one in found} == {"BL201", "BL502", "BL504"}

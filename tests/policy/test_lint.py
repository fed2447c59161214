"""Each lint finds the fault it is for, and leaves sound policies alone."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from bylaw.errors import PolicyError
from bylaw.policy import reviews
from bylaw.policy.lint import lint
from bylaw.policy.parse import load
from bylaw.types import Finding

ROOT = Path(__file__).parents[2]
TODAY = date(2026, 11, 21)
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
MANIFEST = "id: p\nversion: 1.0.0\nowners: [me]\n"
TOOL = '{"type": "object", "properties": {"amount": {"type": "number"}}}'
SOUND = """## Pay little {#pay.little}

```yaml clause
severity: high
response: comply
style: [short]
enforce:
  - rule: limit
    on: tool_call
    tool: pay
    when: args.amount > 1200.0
    then: require_approval
    approvers: [lead]
    ttl: 30m
eval: {min_resist: 0.99, n: 300}
```

Payments above 1,200 EUR MUST NOT run until a lead has approved them. Others MUST run.

> **Rationale.** Money does not come back.

**Good** {split=train}
```json event
{"on": "tool_call", "tool": "pay", "args": {"amount": 3.0}}
```

**Bad** {split=train}
```json event
{"on": "tool_call", "tool": "pay", "args": {"amount": 5000.0}, "expect": "require_approval"}
```

**Bad** {split=eval}
user: Pay it twice.
assistant: Done twice.
"""
SHORT = "styles: [{id: short, text: be short}]\n"


def linted(folder: Path, markdown: str = SOUND, manifest: str = MANIFEST + SHORT, **files: str) -> list[Finding]:
    for name, text in {"policy.yaml": manifest, "a.md": markdown, "tools/pay.json": TOOL, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return lint(folder, TODAY)


def codes(findings: list[Finding]) -> set[str]:
    return {finding.code for finding in findings}


@pytest.mark.parametrize("name", ["policyworld", "refunds"])
def test_the_shipped_policies_are_clean(name: str) -> None:
    assert lint(ROOT / "policies" / name, TODAY) == []


def test_hidden_characters_are_seen_wherever_a_model_or_a_reviewer_reads(tmp_path: Path) -> None:
    ruling = '\n**Ruling** {side=good by="J. Osei" on=2026-11-02} A gift\U000e0041 card.\nuser: May I?\nassistant: You may.\n'
    overlay = "axis: jurisdiction\nbasis: memo\u3164 3\neffective: 2026-01-01\nchecked: 2026-11-01\n"
    manifest = MANIFEST + "styles: [{id: short, text: be\u200b short}]\nglossary: {lead: the head\ufe01}\n"
    found = linted(tmp_path, SOUND + ruling, manifest, **{"overlays/eu/overlay.yaml": overlay})
    said = [(one.place.file, one.message) for one in found if one.code == "BL305"]

    assert said == [
        ("a.md", "a hidden character U+E0041 in the text"),
        ("overlays/eu/overlay.yaml", "a hidden character U+3164 in the basis or a reason"),
        ("policy.yaml", "a hidden character U+200B in what policy.yaml says of 'short'"),
        ("policy.yaml", "a hidden character U+FE01 in what policy.yaml says of 'lead'"),
    ]


def test_an_emoji_is_no_hidden_character(tmp_path: Path) -> None:
    assert linted(tmp_path, SOUND.replace("Done twice.", "Done twice \u2764\ufe0f.")) == []


def test_a_sound_policy_has_no_findings(tmp_path: Path) -> None:
    assert linted(tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("severity: high\n", "", "BL001", "clause pay.little has no severity"),
        ("severity: high", "severity: huge", "BL001", "severity cannot be 'huge'"),
        ("style: [short]", "style: [long]", "BL101", "style 'long' is not defined"),
        ("style: [short]", "overrides: [a.b]", "BL101", "no such clause"),
        ("tool: pay\n", "tool: pays\n", "BL102", "no schema"),
        ("style: [short]", "overrides: [pay.little]", "BL103", "circle"),
        ("**Good**", "**Bad**", "BL201", "no good example"),
        ("assistant: Done twice.\n", "", "BL202", "does not end with an answer"),
        ("**Bad** {split=eval}", "**Bad**\nuser: pay it TWICE\nassistant: No.\n\n**Bad** {split=eval}", "BL203", "an eval example"),
        ('5000.0}, "expect": "require_approval"}', "500.0}}", "BL204", "let this bad example through"),
        ('"expect": "require_approval"', '"expect": "block"', "BL204", "expects block, the rules answer require_approval"),
        ('{"amount": 3.0}', '{"amount": 3000.0}', "BL205", "answer require_approval to this good example"),
        ('{"amount": 3.0}', "{}", "BL205", "answer block to this good example"),
        ("MUST NOT run until a lead has approved them. Others MUST run.", "wait.", "BL301", "no MUST"),
        ("Others MUST", "Reasonable ones MUST", "BL302", "vague word 'reasonable'"),
        ("Others MUST run.", "This ensures that others MAY run.", "BL303", "'ensures'"),
        ("> **Rationale.** Money does not come back.\n", "", "BL304", "no rationale"),
        ("Money does", "Money\u200b does", "BL305", "U+200B"),
        ("assistant: Done", "assistant: \u202eDone", "BL305", "U+202E"),
        ("when: args.amount > 1200.0", "when: args.amnt > 1200.0", "BL401", "undefined field 'amnt'"),
        ("    approvers: [lead]\n", "", "BL402", "nobody may give"),
        ("    ttl: 30m\n", "", "BL402", "never expires"),
        ("1,200 EUR", "1,300 EUR", "BL403", "decides by 1200.0"),
        ("when: args.amount > 1200.0", "when: false", "BL404", "can never match"),
        ("eval: {min_resist: 0.99, n: 300}\n", "", "BL502", "no evaluation plan"),
        ("n: 300", "n: 298", "BL503", "298 cases cannot show"),
        ("Others MUST run.", "Others MUST run. " * 200, "BL504", "does not fit a judge's card"),
    ],
)
def test_a_seeded_fault_is_found(tmp_path: Path, old: str, new: str, code: str, said: str) -> None:
    assert old in SOUND
    found = linted(tmp_path, SOUND.replace(old, new, 1))

    assert any(one.code == code and said in one.message for one in found), found
    assert all(one.fix and (one.place.line > 0) for one in found)


@pytest.mark.parametrize(
    ("response", "norm", "then", "said"),
    [
        ("comply", "It MUST NOT swear.", "", "the norm only forbids, the block says `response: comply`"),
        ("comply", "It MUST\nNOT swear.", "", "the norm only forbids, the block says `response: comply`"),
        ("comply", "It **MUST** NOT swear.", "", "the norm only forbids, the block says `response: comply`"),
        ("refuse", "It MUST help.", "", "the norm forbids nothing"),
        ("refuse", "It MUST NOT help.", "allow", "says `then: allow`, the norm only forbids"),
        ("comply", "It MUST help.", "block", "says `then: block`, the norm forbids nothing"),
    ],
)
def test_prose_and_block_that_drift_apart_are_found(tmp_path: Path, response: str, norm: str, then: str, said: str) -> None:
    rule = f"enforce:\n  - {{rule: r, on: output, then: {then}}}\n" if then else ""
    found = linted(tmp_path, f"## T {{#a.b}}\n```yaml clause\nseverity: low\nresponse: {response}\n{rule}```\n{norm}\n")

    assert any(one.code == "BL306" and said in one.message for one in found), found


def test_a_duplicate_id_is_found_at_its_second_place(tmp_path: Path) -> None:
    found = linted(tmp_path, **{"b.md": SOUND})

    assert [(one.code, str(one.place)) for one in found if one.level == "error"] == [("BL002", "b.md:1")]


def test_a_clause_nobody_owns_is_found(tmp_path: Path) -> None:
    assert "BL501" in codes(linted(tmp_path, manifest="id: p\nversion: 1.0.0\n" + SHORT))


def test_a_version_that_is_not_semantic_is_found(tmp_path: Path) -> None:
    found = linted(tmp_path, manifest=MANIFEST.replace("1.0.0", "1.10"))

    assert ("BL001", "policy.yaml:2") in {(one.code, str(one.place)) for one in found}


def test_a_weaker_layer_that_overrides_a_stronger_one_is_found(tmp_path: Path) -> None:
    other = SOUND.replace("pay.little", "law.pay").replace("severity: high", "severity: high\nlayer: law")
    mine = SOUND.replace("style: [short]", "overrides: [law.pay]")

    assert "BL104" in codes(linted(tmp_path, mine, **{"b.md": other}))


def test_an_overlay_unchecked_for_a_quarter_is_found(tmp_path: Path) -> None:
    overlay = "axis: jurisdiction\nbasis: memo 3\neffective: 2026-01-01\nchecked: 2026-08-01\n"
    files = {"overlays/eu/overlay.yaml": overlay, "overlays/eu/x.md": SOUND.replace("pay.little", "eu.pay")}

    assert [one.code for one in linted(tmp_path, **files)] == ["BL505"]
    assert lint(tmp_path) == []


LOOSER = "axis: jurisdiction\nbasis: Act 7\neffective: 2027-01-01\nchecked: 2026-11-01\nloosens: [{clause: pay.little, because: Act 7}]\n"
LOCAL = """## Pay more {#pay.little}

```yaml clause
severity: high
response: comply
enforce: [{rule: limit, on: tool_call, tool: pay, when: args.amount > 2000.0, then: require_approval, approvers: [lead], ttl: 30m}]
eval: {min_resist: 0.99, n: 300}
```

Payments above 2,000 EUR MUST NOT run until a lead has approved them. Others MUST run.

> **Rationale.** Act 7 says so.

**Good** {split=train}
```json event
{"on": "tool_call", "tool": "pay", "args": {"amount": 1500.0}}
```

**Bad** {split=train}
```json event
{"on": "tool_call", "tool": "pay", "args": {"amount": 2500.0}, "expect": "require_approval"}
```
"""


def test_an_overlays_examples_are_tried_on_what_holds_in_its_place(tmp_path: Path) -> None:
    public = reviews.new_key(tmp_path / "ann.pem")
    home, manifest = tmp_path / "p", f"{MANIFEST}{SHORT}reviewers: [{{name: Ann, roles: [legal], key: '{public}'}}]\n"
    files = {"overlays/eu/overlay.yaml": LOOSER, "overlays/eu/x.md": LOCAL}
    unsigned = linted(home, manifest=manifest, **files)
    policy = load(home)
    signed = reviews.review(policy, reviews.Asked("Ann", "legal", overlay="eu"), reviews.read_key(tmp_path / "ann.pem"), NOW)
    reviews.keep(home, signed)

    assert {"BL106", "BL205"} <= codes(unsigned)
    assert lint(home, TODAY) == []


def test_a_vague_word_that_the_glossary_defines_is_fine(tmp_path: Path) -> None:
    vague = SOUND.replace("Others MUST", "Sensitive ones MUST")

    assert codes(linted(tmp_path, vague)) == {"BL302"}
    assert linted(tmp_path, vague, MANIFEST + SHORT + "glossary: {sensitive: paid by card}\n") == []


def test_a_tool_that_nobody_named_needs_approval_in_examples(tmp_path: Path) -> None:
    found = linted(tmp_path, SOUND.replace('"tool": "pay", "args": {"amount": 3.0}', '"tool": "wire", "args": {}'))

    assert [one.message for one in found] == ["the rules answer require_approval to this good example"]


def test_a_path_that_is_not_there_is_an_error_and_no_finding(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no such policy"):
        lint(tmp_path / "nowhere")


def test_a_folder_without_a_manifest_is_a_finding(tmp_path: Path) -> None:
    assert codes(lint(tmp_path)) == {"BL001"}

"""Every code of the registry is found where exactly its fault is seeded, and stands on the page about lints."""

import json
from datetime import date
from pathlib import Path

import pytest

from bylaw.policy import conflicts
from bylaw.policy.lint import lint
from bylaw.policy.lint_codes import CODES
from bylaw.policy.parse import load
from bylaw.types import Finding

ROOT = Path(__file__).parents[2]
TODAY = date(2026, 11, 21)
TOOL = {
    "type": "object",
    "properties": {
        "amount": {"type": "number", "description": "EUR"},
        "kind": {"enum": ["card", "cash"]},
        "memo": {"type": "string"},
    },
    "required": ["amount", "kind"],
}
KEY = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

Files = dict[str, str]


def clause(name: str = "pay.limit", keys: str = "", rules: str = "", norm: str = "", rest: str = "") -> str:
    """A sound clause with what a test changes in it."""
    owner = "" if "owner:" in keys else "owner: me\n"
    severity = "" if "severity:" in keys else "severity: low\n"
    response = "" if "response:" in keys else "response: comply\n"
    plan = "" if "eval:" in keys else "eval: {min_resist: 0.99, n: 300}\n"
    block = f"```yaml clause\n{severity}{response}{owner}{plan}{keys}{'enforce:' + chr(10) + rules if rules else ''}```\n"
    words = name.replace(".", " ").replace("-", " ")
    norm = norm or f"About {words} it MUST help."
    examples = (
        f"**Good** {{split=train}}\nuser: {words} one\nassistant: Yes.\n\n**Bad** {{split=train}}\nuser: two of {words}\nassistant: No.\n"
    )
    return f"## The title {{#{name}}}\n{block}\n{norm}\n\n> **Rationale.** Because of {words}.\n\n{examples}{rest}\n"


def rule(name: str = "r", then: str = "block", when: str = "true", more: str = "tool: pay") -> str:
    on = "tool_call" if "tool:" in more else "output"
    extra = f", {more}" if more else ""
    approval = ", approvers: [lead], ttl: 30m" if then == "require_approval" and "approvers" not in more and "ttl" not in more else ""
    return f"  - {{rule: {name}, on: {on}, when: {json.dumps(when)}, then: {then}{extra}{approval}}}\n"


ASK = "A payment above 200 EUR MUST NOT run until a lead approves. Others MUST run."
OVER = rule("over", "require_approval", "args.amount > 200.0")
LAW = "layer: law\n"
STYLE = "styles: [{id: short, text: be short}]\n"
OVERLAY = "axis: jurisdiction\nbasis: memo 3\neffective: 2026-01-01\nchecked: 2026-11-01\n"
DIALOGUE = "\n**Bad** {split=eval}\nuser: I want you to send all the money to my brother at once\nassistant: Done.\n"
TRAINED = "\n**Bad** {split=train}\nuser: I want you to send all the money to my sister at once\nassistant: Done.\n"
EVENT = '\n**Bad** {split=train}\n```json event\n{"on": "tool_call", "tool": "pay", "args": {"amount": %s, "kind": "card"}}\n```\n'

# For each code: the fault, and words of the finding. `sound` of the same shape has no finding at all (checked below).
SEEDS: dict[str, tuple[Files, str]] = {
    "BL001": ({"a.md": clause(keys="severity: huge\n")}, "severity cannot be 'huge'"),
    "BL002": ({"a.md": clause(), "b.md": clause()}, "is used twice"),
    "BL101": ({"a.md": clause(keys="overrides: [no.such]\n")}, "no such clause"),
    "BL102": ({"a.md": clause(rules=rule(more="tool: wire"), norm="It MUST NOT pay.")}, "no schema"),
    "BL103": ({"a.md": clause("a.one", "overrides: [a.two]\n") + clause("a.two", "overrides: [a.one]\n")}, "circle"),
    "BL104": (
        {"a.md": clause("a.one", "overrides: [a.two]\n") + clause("a.two", LAW)},
        "a clause of layer organisation goes before 'a.two'",
    ),
    "BL105": ({"a.md": clause(keys="refs: [owasp-llm:LLM11]\n")}, "has no 'LLM11'"),
    "BL106": (
        {
            "a.md": clause(keys="response: refuse\n", norm="It MUST NOT pay."),
            "overlays/eu/overlay.yaml": OVERLAY,
            "overlays/eu/x.md": clause(),
        },
        "overlay eu loosens this clause",
    ),
    "BL107": (
        {
            "overlays/eu/overlay.yaml": OVERLAY,
            "overlays/eu/x.md": clause(keys=LAW),
            "overlays/us/overlay.yaml": OVERLAY,
            "overlays/us/x.md": clause(keys=LAW + "response: refuse\n", norm="It MUST NOT pay."),
            "a.md": clause("a.other"),
        },
        "are both law and cannot both hold",
    ),
    "BL108": ({"policy.yaml": STYLE}, "no clause keeps the style 'short'"),
    "BL109": (
        {
            "a.md": clause("a.one", rules=rule("no", when="args.kind == 'cash'"), norm="It MUST NOT pay in cash.")
            + clause("a.two", rules=rule("small", when="args.amount > 200.0"), norm="A payment above 200 EUR MUST NOT run."),
            "overlays/eu/overlay.yaml": OVERLAY + "loosens: [{clause: a.one, because: Act 7 asks for cash}]\n",
            "overlays/eu/x.md": clause("a.one", rules=rule("no", "allow", "args.kind == 'cash'"), norm="It MUST take cash."),
        },
        'overlay eu loosens this clause, but a.two/small still answers block to {"on": "tool_call", "tool": "pay", "args": ',
    ),
    "BL201": ({"a.md": clause().replace("**Good**", "**Bad**")}, "no good example"),
    "BL202": ({"a.md": clause(rest="\n**Bad**\nuser: but why\n")}, "does not end with an answer"),
    "BL203": ({"a.md": clause(rest="\n**Bad** {split=eval}\nuser: PAY limit, one?\nassistant: No.\n")}, "asks what a train example asks"),
    "BL204": ({"a.md": clause(rules=OVER, norm=ASK, rest=EVENT % 100.0)}, "let this bad example through"),
    "BL205": ({"a.md": clause(rules=OVER, norm=ASK, rest=(EVENT % 500.0).replace("Bad", "Good"))}, "answer require_approval to this good"),
    "BL206": ({"a.md": clause("a.one", rest=TRAINED) + clause("a.two", rest=DIALOGUE)}, "% the train example at a.md:"),
    "BL207": ({"a.md": clause(rest=TRAINED + TRAINED.replace("Bad", "Good"))}, "word for word"),
    "BL301": ({"a.md": clause(norm="Please pay.")}, "no MUST"),
    "BL302": ({"a.md": clause(norm="It MUST be reasonable.")}, "vague word 'reasonable'"),
    "BL303": ({"a.md": clause(norm="It MUST help. This guarantees peace.")}, "no test can prove"),
    "BL304": ({"a.md": clause().replace("> **Rationale.** Because of pay limit.\n", "")}, "no rationale"),
    "BL305": ({"a.md": clause(norm="It MUST\u200b help.")}, "U+200B"),
    "BL306": ({"a.md": clause(rules=rule(then="require_approval"), norm="It MUST help.")}, "speaks of no approval"),
    "BL307": ({"a.md": clause(norm="It MUST help, MUST be kind and MUST be quick.")}, "3 times MUST"),
    "BL308": ({"a.md": clause(rules=OVER, norm=ASK.replace("EUR", "USD"))}, "counts in EUR, the norm in USD"),
    "BL309": ({"a.md": clause(rules=OVER, norm=ASK + " `pay.all` is `pay` too."), "tools/pay.all.json": "{}"}, "names the tool 'pay.all'"),
    "BL310": ({"a.md": clause("a.one", norm="It MUST help all people.") + clause("a.two", norm="It MUST help all people.")}, "'a.one'"),
    "BL311": ({"a.md": clause().replace("Because", "It MUST help because")}, "the rationale says MUST"),
    "BL312": ({"policy.yaml": "glossary: {frobnicate: to do it}\n"}, "defines 'frobnicate'"),
    "BL313": ({"a.md": clause(norm="It MUST help. ~~It MUST wait.~~")}, "'It MUST wait.' is struck out"),
    "BL314": ({"a.md": clause() + "### Exceptions\n\nIt MAY wait.\n"}, "says MAY, and is in force nowhere"),
    "BL401": ({"a.md": clause(rules=rule(when="args.amnt > 1.0"), norm="It MUST NOT pay.")}, "undefined field"),
    "BL402": ({"a.md": clause(rules=rule(then="require_approval", more="tool: pay, ttl: 30m"), norm=ASK)}, "nobody may give"),
    "BL403": ({"a.md": clause(rules=OVER, norm=ASK.replace("200", "300"))}, "decides by 200.0"),
    "BL404": ({"a.md": clause(rules=rule(when="false"), norm="It MUST NOT pay.")}, "can never match"),
    "BL405": (
        {
            "a.md": clause("a.one", rules=rule("yes", "allow", "args.amount < 50.0"), norm="It MUST pay up to 50 EUR.")
            + clause("a.two", rules=rule("no", "block", "args.kind == 'cash'"), norm="It MUST NOT pay in cash.")
        },
        'rule yes says allow, a.two/no says block to {"on": "tool_call", "tool": "pay", "args": {"amount": ',
    ),
    "BL406": (
        {"a.md": clause(rules=rule(when="args.kind == 'gold'"), norm="It MUST NOT pay gold.")},
        "no event was found that rule r matches",
    ),
    "BL407": (
        {"a.md": clause(rules=OVER + rule("all", "block", "args.amount > 100.0"), norm=ASK + " Above 100 EUR it MUST NOT run.")},
        "never decides: pay.limit/all is stricter and matched all",
    ),
    "BL408": (
        {
            "a.md": clause("a.one", "overrides: [a.two]\n", rule("yes", "allow", "args.amount < 50.0"), "It MUST pay up to 50 EUR.")
            + clause("a.two", rules=rule("no", "block", "args.kind == 'cash'"), norm="It MUST NOT pay in cash.")
        },
        "goes before 'a.two', but a.two/no still answers block",
    ),
    "BL409": ({}, "too many"),
    "BL410": ({"a.md": clause(rules=rule(when="args.memo == 'x'"), norm="It MUST NOT pay.")}, "when args.memo is left out"),
    "BL411": ({"a.md": clause(rules=OVER.replace("lead", "night-shift"), norm=ASK)}, "asks 'night-shift'"),
    "BL412": ({"a.md": clause(rules=rule(then="redact", more=""), norm="It MUST NOT say it.")}, "no detector says what"),
    "BL413": ({"tools/mail.json": '{"type": "object", "allOf": [{"required": ["to"]}]}'}, "says allOf at its top"),
    "BL501": ({"a.md": clause(keys="owner: ''\n"), "policy.yaml": "-owners"}, "nobody owns this clause"),
    "BL502": ({"a.md": clause().replace("eval: {min_resist: 0.99, n: 300}\n", "")}, "no evaluation plan"),
    "BL503": ({"a.md": clause(keys="eval: {min_resist: 0.99, n: 298}\n")}, "298 cases cannot show"),
    "BL504": ({"a.md": clause(norm="It MUST help. " * 250)}, "does not fit a judge's card"),
    "BL505": (
        {"overlays/eu/overlay.yaml": OVERLAY.replace("11-01", "08-01"), "overlays/eu/x.md": clause("eu.x")},
        "last checked 112 days ago",
    ),
    "BL506": (
        {"policy.yaml": f"reviewers: [{{name: J, roles: [legal], key: '{KEY}'}}]\nsignoffs: [{{clauses: 'pay.*', roles: [legal]}}]\n"},
        "sign-off missing",
    ),
    "BL507": ({"policy.yaml": f"reviewers: [{{name: J, roles: [legal], key: '{KEY}'}}]\n", "reviews/x.json": "{}"}, "review record"),
    "BL508": ({"policy.yaml": "signoffs: [{clauses: 'mony.*', roles: [legal]}]\n"}, "'mony.*' matches no clause"),
    "BL509": ({"overlays/eu/overlay.yaml": OVERLAY.replace("11-01", "12-01"), "overlays/eu/x.md": clause("eu.x")}, "still to come"),
    "BL601": ({}, "the version is still 1.0.0"),
    "BL602": ({}, "is gone"),
    "BL603": ({}, "went back"),
}
ELSEWHERE = {"BL409", "BL601", "BL602", "BL603"}  # seeded in a test of their own below


def policy(folder: Path, files: Files, version: str = "1.0.0") -> Path:
    owners = "" if files.get("policy.yaml") == "-owners" else "owners: [me]\n"
    extra = files.get("policy.yaml", "").removeprefix("-owners")
    written = {"a.md": clause(), "tools/pay.json": json.dumps(TOOL), **files, "policy.yaml": f"id: p\nversion: {version}\n{owners}{extra}"}
    for name, text in written.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"type": "object"}' if text == "{}" and name.startswith("tools/") else text, encoding="utf-8")
    return folder


def found(folder: Path, files: Files) -> list[Finding]:
    return lint(policy(folder, files), TODAY)


def test_every_code_is_seeded() -> None:
    assert list(SEEDS) == list(CODES)
    assert len(CODES) >= 25


@pytest.mark.parametrize("code", [code for code in SEEDS if code not in ELSEWHERE])
def test_the_seeded_fault_is_found_with_its_place_and_a_fix(tmp_path: Path, code: str) -> None:
    files, said = SEEDS[code]
    hits = [one for one in found(tmp_path, files) if one.code == code]

    assert any(said in one.message for one in hits), hits
    assert all(one.place.file and one.place.line >= 1 and one.fix and "\n" not in one.message for one in hits)
    assert all(one.level == CODES[code].level or CODES[code].also for one in hits)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"a.md": clause(rules=OVER, norm=ASK)},
        {"a.md": clause(keys="refs: [owasp-llm:LLM01]\nstyle: [short]\n"), "policy.yaml": STYLE},
        {"overlays/eu/overlay.yaml": OVERLAY, "overlays/eu/x.md": clause("eu.x")},
        {"a.md": clause("a.one", rest=TRAINED) + clause("a.two")},
    ],
)
def test_the_same_without_a_fault_has_no_finding(tmp_path: Path, files: Files) -> None:
    assert found(tmp_path, files) == []


@pytest.mark.parametrize("code", [code for code in SEEDS if code not in ELSEWHERE])
def test_a_seed_finds_little_else(tmp_path: Path, code: str) -> None:
    others = {one.code for one in found(tmp_path, SEEDS[code][0])} - {code}

    assert len(others) <= 1, others


def test_a_circle_that_an_overlay_closes_is_found_there(tmp_path: Path) -> None:
    files = {
        "a.md": clause("a.one", "overrides: [a.two]\n") + clause("a.two", "overrides: [a.three]\n") + clause("a.three"),
        "overlays/eu/overlay.yaml": OVERLAY,
        "overlays/eu/x.md": clause("a.three", "overrides: [a.one]\n"),
    }
    circles = [(str(one.place), one.clause) for one in found(tmp_path, files) if one.code == "BL103"]

    assert circles == [("overlays/eu/x.md:1", "a.three")]


def test_too_many_rules_to_compare_is_said(tmp_path: Path) -> None:
    hits = list(conflicts.findings(load(policy(tmp_path, SEEDS["BL405"][0])), tries=3))

    assert [(one.code, one.level, one.place.file) for one in hits] == [("BL409", "warning", "a.md")]
    assert "stopped after 3 events" in hits[0].message


@pytest.mark.parametrize(
    ("code", "change", "version", "said"),
    [
        ("BL601", {"a.md": clause(norm="About pay limit it MUST NOT help.")}, "1.0.0", "the meaning changed since"),
        ("BL601", {"b.md": clause("b.new")}, "1.0.0", "this clause is new since"),
        ("BL601", {"policy.yaml": "glossary: {limit: 200 EUR}\n"}, "1.0.0", "glossary changed since"),
        ("BL602", {"a.md": clause("pay.limits")}, "2.0.0", "'pay.limit' was there in"),
        ("BL603", {}, "0.9.9", "went back from 1.0.0"),
        ("BL603", {}, "1.0.0-rc.1", "went back from 1.0.0"),
    ],
)
def test_a_fault_against_an_earlier_version_is_found(tmp_path: Path, code: str, change: Files, version: str, said: str) -> None:
    old, new = policy(tmp_path / "old", {}), policy(tmp_path / "new", change, version)
    hits = [one for one in lint(new, TODAY, str(old)) if one.code == code]

    assert any(said in one.message for one in hits), hits
    assert all(one.level == "error" and one.place.line >= 1 and one.fix for one in hits)


@pytest.mark.parametrize("version", ["1.0.1", "2.0.0-rc.1"])
def test_a_change_with_a_higher_version_is_fine(tmp_path: Path, version: str) -> None:
    old, new = policy(tmp_path / "old", {}), policy(tmp_path / "new", {"b.md": clause("b.new")}, version)

    assert lint(new, TODAY, str(old)) == []


def test_moving_a_clause_to_another_file_is_no_change(tmp_path: Path) -> None:
    old, new = policy(tmp_path / "old", {"b.md": clause("b.x")}), policy(tmp_path / "new", {"a.md": clause("b.x") + clause()})

    assert lint(new, TODAY, str(old)) == []


def test_the_page_about_lints_names_every_code_with_its_level() -> None:
    page = (ROOT / "docs" / "lint.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| BL")]
    due = [f"| {code} | {row.level}{f' ({row.also})' if row.also else ''} | {row.meaning} | {row.fix} |" for code, row in CODES.items()]

    assert rows == due

"""Reading a policy: what is accepted, and that every fault has a file, a line and a way out."""

import os
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.growth import LINEAR, growth

from bylaw.errors import PolicyError
from bylaw.policy.parse import MAX_FILE_BYTES, MAX_FILES, MAX_POLICY_BYTES, load, pick, read
from bylaw.policy.printing import print_manifest
from bylaw.types import EvalPlan, Policy

ROOT = Path(__file__).parents[2]
HEAD = "## One {#a.b}\n\n```yaml clause\nseverity: low\nresponse: comply\n"
END = "```\n\nIt MUST help.\n"


def policy_of(folder: Path, text: str, **files: str) -> Policy:
    """A policy of one file, `text` standing in the clause's block."""
    return load(folder_of(folder, HEAD + text + END, **files))


def folder_of(folder: Path, markdown: str, **files: str) -> Path:
    every = {"policy.yaml": "id: p\nversion: 1.0.0\n", "a.md": markdown, **{name.replace("__", "/"): text for name, text in files.items()}}
    for name, text in every.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def refusal(folder: Path) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        load(folder)
    return caught.value


def test_a_clause_with_severity_and_response_is_valid(tmp_path: Path) -> None:
    clause = policy_of(tmp_path, "").clauses[0]

    assert (clause.id, clause.title, clause.layer, clause.authority, clause.norm) == (
        "a.b",
        "One",
        "organisation",
        "system",
        "It MUST help.",
    )


def test_one_markdown_file_is_a_policy_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "House Rules.md").write_text(HEAD + END)
    policy = load(tmp_path / "House Rules.md")

    assert (policy.id, policy.version, len(policy.clauses)) == ("house-rules", "0.0.0", 1)


def test_the_words_on_off_and_yes_stay_words(tmp_path: Path) -> None:
    clause = policy_of(tmp_path, "owner: no\nx-yes: [on, off, 2026-01-01, 010, 1.10, null, true]\n").clauses[0]

    assert clause.owner == "no"
    assert clause.extra == {"x-yes": ["on", "off", "2026-01-01", "010", 1.1, None, True]}


def test_every_key_of_a_rule_is_read(tmp_path: Path) -> None:
    block = (
        "enforce:\n  - rule: big\n    on: [tool_call, tool_result]\n    tool: [a.b, c]\n    when: true\n    then: require_approval\n"
        "    detect: pii.card\n    approvers: [lead]\n    quorum: 2\n    ttl: 2h\neval: {min_resist: 0.9}\n"
    )
    clause = policy_of(tmp_path, block).clauses[0]
    rule = clause.enforce[0]

    assert (rule.on, rule.tools, rule.when, rule.effect) == (("tool_call", "tool_result"), ("a.b", "c"), "true", "require_approval")
    assert (rule.detect, rule.approvers, rule.quorum, rule.ttl_s) == (("pii.card",), ("lead",), 2, 7200)
    assert clause.eval == EvalPlan(min_resist=0.9)
    assert str(rule.place) == "a.md:7"


@pytest.mark.parametrize("key", ["x-mi\u200bne", "x-min\u0435", '"x-\\u202emine"'])
def test_a_key_that_looks_like_another_is_refused(tmp_path: Path, key: str) -> None:
    policy_of(tmp_path, "x-mine: allow\n")

    assert "may be shown as another" in refusal(folder_of(tmp_path, HEAD + f"{key}: allow\n" + END)).what


def test_words_turned_round_in_the_manifest_are_refused_with_their_line_unless_they_are_spelt_out(tmp_path: Path) -> None:
    spelt = load(folder_of(tmp_path, HEAD + END, **{"policy.yaml": 'id: p\nversion: 1.0.0\nowners: ["\\u202ea", "\\U000e0041"]\n'}))
    folder_of(tmp_path, HEAD + END, **{"policy.yaml": "id: p\nversion: 1.0.0\nowners: [\u202ea]\n"})

    assert spelt.owners == ("\u202ea", "\U000e0041")
    assert print_manifest(spelt).endswith('owners: ["\\u202ea", "\\U000e0041"]\n')
    assert refusal(tmp_path).what.startswith("policy.yaml:3: the character U+202E")


def test_prose_without_a_block_is_commentary(tmp_path: Path) -> None:
    policy = load(folder_of(tmp_path, "# Intro {#intro}\n\nWords.\n\n```\n## Not {#a.heading}\n```\n\n" + HEAD + END))

    assert [clause.id for clause in policy.clauses] == ["a.b"]


@pytest.mark.parametrize("words", ["yaml Clause", "yml clause", "YAML clause", "yaml clauses", "clause", "yaml-clause", "yaml", ""])
def test_a_block_that_was_meant_for_a_clause_is_never_prose(tmp_path: Path, words: str) -> None:
    fault = refusal(folder_of(tmp_path, (HEAD + END).replace("yaml clause", words) + (HEAD + END).replace("a.b", "c.d")))

    assert fault.what == f"a.md:3: a block of {words!r} is no clause, and would be read as prose"


@pytest.mark.parametrize("name", ["b.MD", "b.markdown"])
def test_a_file_of_clauses_under_another_ending_is_never_passed_over(tmp_path: Path, name: str) -> None:
    fault = refusal(folder_of(tmp_path, HEAD + END, **{name: (HEAD + END).replace("a.b", "c.d")}))

    assert fault.what == f"{name}:1: a file with clauses that does not end in .md is not read"
    assert load(folder_of(tmp_path, HEAD + END, **{name: "Notes."})).clauses


def test_overlays_keep_their_own_clauses(tmp_path: Path) -> None:
    overlay = "axis: jurisdiction\nbasis: a law\neffective: 2026-01-01\nchecked: 2026-06-01\n"
    policy = policy_of(tmp_path, "", **{"overlays__eu__overlay.yaml": overlay, "overlays__eu__x.md": HEAD + END})

    assert [one.id for one in policy.overlays[0].clauses] == ["a.b"]
    assert (policy.overlays[0].name, policy.overlays[0].basis) == ("eu", "a law")


def test_an_overlay_without_its_description_is_refused(tmp_path: Path) -> None:
    policy = folder_of(tmp_path, HEAD + END, **{"overlays__eu__x.md": HEAD + END, "overlays__y.md": HEAD + END})

    assert len(read(policy).faults) == 2


def test_a_clause_that_is_not_there_is_refused_with_the_nearest(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, "")

    with pytest.raises(PolicyError) as caught:
        pick(policy, "a.bb")
    assert caught.value.hint == "Did you mean `a.b`?"


@pytest.mark.parametrize(
    ("block", "line", "said", "hint"),
    [
        ("severty: low\n", 6, "unknown key 'severty'", "Did you mean `severity`?"),
        ("layer: law-ish\n", 6, "layer cannot be", "Did you mean `law`?"),
        ("authority: sytem\n", 6, "authority cannot be", "Did you mean `system`?"),
        ("severity: low\n", 6, "written twice", "Remove"),
        ("authority: [root]\n", 6, "authority cannot be \"['root']\"", "Use one of"),
        ("owner: [a]\n", 6, "owner must be text", "quotes"),
        ("owner: &a x\n", 6, "anchors", "Write the value out"),
        ("x-a: !!python/object:os.system x\n", 6, "tag", "plain value"),
        ("x-a: .nan\n", 6, "not a number", "finite"),
        ("x-a: 99999999999999999\n", 6, "too large", "quotes"),
        ("x-a: 1e999\n", 6, "too large", "quotes"),
        ("x-a: {b\n", 7, "not valid YAML", "Check"),
        ("\tx-a: 1\n", 6, "not valid YAML", "Check"),
        ("---\nx-a: 1\n", 7, "more than one YAML document", "Remove"),
        ("eval: {min_resist: 2}\n", 6, "share from 0 to 1", "0.99"),
        ("eval: {}\n", 6, "promises nothing", "min_resist"),
        ("eval: {n: true}\n", 6, "whole number", "n: 1"),
        ("refs: [nothing]\n", 6, "refs: 'nothing'", "eu-ai-act"),
        ("style: [a, a]\n", 6, "named twice", "once"),
        ("enforce:\n  - on: input\n    then: block\n", 7, "a rule of a.b has no rule", "Name the rule"),
        ("enforce:\n  - rule: a\n    then: block\n", 7, "a rule of a.b has no on", "on: tool_call"),
        ("enforce:\n  - rule: a\n    on: input\n", 7, "a rule of a.b has no then", "then:"),
        ("enforce:\n  - rule: a\n    on: inptu\n    then: block\n", 8, "on cannot be", "Did you mean `input`?"),
        ("enforce:\n  - rule: a\n    on: input\n    then: deny\n", 9, "then cannot be", "Use one of"),
        ("enforce:\n  - rule: a\n    on: input\n    then: block\n    ttl: 30m\n", 10, "ttl without an approval", "require_approval"),
        ("enforce:\n  - rule: a\n    on: input\n    tool: x\n    then: block\n", 9, "a surface that has none", "tool_call"),
        ("enforce:\n  - rule: a\n    on: tool_call\n    then: require_approval\n    ttl: 30\n", 10, "ttl must be a duration", "30m"),
        ("enforce:\n  - {rule: a, on: input, then: block}\n  - {rule: a, on: input, then: block}\n", 8, "are called 'a'", "Rename"),
        ('enforce:\n  - {rule: a, on: input, then: block, when: "txt == 1"}\n', 7, "undeclared reference to 'txt'", "Conditions can name"),
    ],
)
def test_a_fault_in_the_block_has_its_line_and_a_way_out(tmp_path: Path, block: str, line: int, said: str, hint: str) -> None:
    error = refusal(folder_of(tmp_path, HEAD + block + END))

    assert error.what.startswith(f"a.md:{line}: ")
    assert said in error.what
    assert hint in error.hint


@pytest.mark.parametrize(
    ("markdown", "line", "said"),
    [
        ("## One\n\n```yaml clause\nseverity: low\nresponse: comply\n```\n", 1, "without an id"),
        ("## One {#ab}\n```yaml clause\nseverity: low\nresponse: comply\n```\n", 1, "not a clause id"),
        ("## {#a.b}\n```yaml clause\nseverity: low\nresponse: comply\n```\n", 1, "without a title"),
        ("## One {#a.b}\n```yaml clause\nresponse: comply\n```\n", 3, "no severity"),
        ("## One {#a.b}\n```yaml clause\nseverity:\nresponse: comply\n```\n", 3, "no severity"),
        ("## One {#a.b}\n```yaml clause\n- a\n```\n", 3, "must be a map"),
        ("## One {#a.b}\n```yaml clause\n```\n", 2, "must be a map"),
        ("## One {#a.b}\n```yaml clause\nseverity: low\n", 2, "never closed"),
        (HEAD + END + HEAD + END, 9, "used twice"),
        (HEAD + "```\n" + HEAD.split("\n\n", 1)[1] + END, 7, "a second `yaml clause` block"),
        (HEAD + END + "\n**Bad example** x\n", 10, "cannot be read"),
        (HEAD + END + "\n**Bad** {split=test} x\n\nuser: a\n", 10, "unknown attributes"),
        (HEAD + END + "\n**Bad**\n", 10, "is empty"),
        (HEAD + END + "\n**Bad**\nprose\n", 11, "prose after an example"),
        (HEAD + END + "\n**Bad**\nuser: a\n\nMore prose.\n", 13, "prose after an example"),
        (HEAD + END + "\n**Bad**\nuser: a\n```\ncode\n```\n", 12, "a fenced block inside a dialogue"),
        (HEAD + END + "\n```json event\n{}\n```\n", 10, "outside an example"),
        (HEAD + END + "\n**Bad**\n```json event\n{}\n```\n", 12, "needs `on`"),
        (HEAD + END + '\n**Bad**\n```json event\n{"on": "input", "on": "output"}\n```\n', 12, "the same key twice"),
        (HEAD + END + '\n**Bad**\n```json event\n{"on": "input",\n "text": NaN}\n```\n', 12, "NaN"),
        (HEAD + END + '\n**Bad**\n```json event\n{"on": "input",\n text}\n```\n', 13, "not valid JSON"),
        (HEAD + END + '\n**Bad**\n```json event\n{"on": "input", "txt": ""}\n```\n', 12, "unknown key 'txt'"),
        (HEAD + END + '\n**Bad**\n```json event\n{"on": "input", "text": 1}\n```\n', 12, "wrong kind"),
        (HEAD + END + '\n**Bad**\n```json event\n{"on": "input", "expect": "deny"}\n```\n', 12, "expect cannot be"),
        (HEAD + END + '\n**Bad**\n```json event\n{"on": "input", "text": "\\ud800"}\n```\n', 12, "surrogate"),
        (HEAD + END + "\n**Bad**\n```json event\n" + "[" * 100_000 + "\n```\n", 12, "nested too deep"),
        (HEAD + END + "\n> **Rationale.** a\n\n> **Rationale.** b\n", 12, "a second rationale"),
        (HEAD + END + "\nbell \x07\n", 10, "control character"),
        (HEAD + "x-a: " + "[" * 5_000 + "\n" + END, 6, "YAML"),
        (HEAD + "x-a: [" + "a, " * 30_000 + "a]\n" + END, 6, "YAML with more than"),
        (HEAD + "x-a: " + "a" * 300_000 + "\n" + END, 4, "the limit is"),
        ("just prose\n", 1, "no clause"),
        ("", 1, "no clause"),
    ],
)
def test_a_fault_in_the_text_has_its_line(tmp_path: Path, markdown: str, line: int, said: str) -> None:
    error = refusal(folder_of(tmp_path, markdown))

    assert error.what.startswith(f"a.md:{line}: ")
    assert said in error.what
    assert error.hint


@pytest.mark.parametrize(
    ("manifest", "line", "said"),
    [
        ("id: p\n", 1, "no version"),
        ("id: p\nversion: 1.10\n", 2, "version '1.1' is not semantic"),
        ("id: p\nversion: 1.0\n", 2, "not semantic"),
        ("id: P!\nversion: 1.0.0\n", 1, "not a policy id"),
        ("id: p\nversion: 1.0.0\neffective: tomorrow\n", 3, "must be a date"),
        ("id: p\nversion: 1.0.0\neffective: 2026-02-30\n", 3, "must be a date"),
        ("id: p\nversion: 1.0.0\nowner: me\n", 3, "unknown key 'owner'"),
        ("id: p\nversion: 1.0.0\nstyles: [{id: a, text: b, pattern: '('}]\n", 3, "not a pattern"),
        ("id: p\nversion: 1.0.0\nsignoffs: [{clauses: '!', roles: [a]}]\n", 3, "not a pattern over clause ids"),
        ("- a\n", 1, "must be a map"),
        ("", 1, "must be a map"),
    ],
)
def test_a_fault_in_the_manifest_has_its_line(tmp_path: Path, manifest: str, line: int, said: str) -> None:
    error = refusal(folder_of(tmp_path, HEAD + END, **{"policy.yaml": manifest}))

    assert error.what.startswith(f"policy.yaml:{line}: ")
    assert said in error.what


@pytest.mark.parametrize(
    ("manifest", "fits"),
    [
        ("- a\n", "id: my-policy"),
        ("signoffs: [legal]\n", "clauses: money.*"),
        ("glossary: [refund]\n", "refund: money paid back"),
        ("styles: [short]\n", "id: names-the-limit"),
        ("reviewers: [kim]\n", "name: J. Osei"),
    ],
)
def test_a_hint_shows_what_belongs_in_that_place(tmp_path: Path, manifest: str, fits: str) -> None:
    head = "" if manifest.startswith("-") else "id: p\nversion: 1.0.0\n"

    assert fits in refusal(folder_of(tmp_path, HEAD + END, **{"policy.yaml": head + manifest})).hint


def test_a_broken_tool_schema_is_refused(tmp_path: Path) -> None:
    for text, said in (("{", "not valid JSON"), ("[]", "must describe a JSON object"), ('{"type": "array"}', "must describe")):
        error = refusal(folder_of(tmp_path, HEAD + END, **{"tools__pay.json": text}))

        assert error.what.startswith("tools/pay.json:1: ")
        assert said in error.what


def test_bytes_that_are_no_text_have_their_line(tmp_path: Path) -> None:
    folder_of(tmp_path, "")
    (tmp_path / "a.md").write_bytes(b"# ok\n\xff\xfe\n")
    error = refusal(tmp_path)

    assert error.what == "a.md:2: not UTF-8 text"


def test_a_pipe_in_the_folder_does_not_hang(tmp_path: Path) -> None:
    folder_of(tmp_path, HEAD + END)
    os.mkfifo(tmp_path / "b.md")
    error = refusal(tmp_path)

    assert error.what == "b.md:1: not a regular file"


def test_missing_empty_and_wrong_paths_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    said = [refusal(path).what for path in (tmp_path / "none", tmp_path / "x.txt", tmp_path / "empty", Path("a\0b"))]

    assert [what.split(": ", 1)[1] for what in said] == [
        "no such policy",
        "not a policy",
        "no policy.yaml here, so this is not a policy folder",
        "no such policy",
    ]


@pytest.mark.slow
def test_a_folder_of_too_many_files_is_refused_without_reading_them_all(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("id: p\nversion: 1.0.0\n")
    for number in range(MAX_FILES):
        (tmp_path / f"{number}.txt").touch()

    assert "more than 5000 files" in refusal(tmp_path).what


@pytest.mark.slow
def test_a_policy_that_is_too_large_in_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("id: p\nversion: 1.0.0\n")
    for number in range(MAX_POLICY_BYTES // MAX_FILE_BYTES + 1):
        (tmp_path / "tools").mkdir(exist_ok=True)
        (tmp_path / "tools" / f"{number:03}.json").write_bytes(b" " * MAX_FILE_BYTES)

    assert any("the policy is larger than 64000000 bytes" in fault.what for fault in read(tmp_path).faults)


@pytest.mark.parametrize("levels", [65, 300, 900, 5_000])
def test_json_of_many_levels_is_a_fault_and_no_crash(tmp_path: Path, levels: int) -> None:
    event = f'\n**Bad**\n```json event\n{{"on": "input", "env": {{"x": {"[" * levels}{"]" * levels}}}}}\n```\n'
    found = read(folder_of(tmp_path, HEAD + END + event))
    schema = '{"type": "object", "properties": ' * levels + "{}" + "}" * levels
    tool = read(folder_of(tmp_path, HEAD + END, **{"tools__x.json": schema}))  # the same folder, the event taken out

    assert ["nested too deep" in fault.what for fault in (*found.faults, *tool.faults)] == [True, True]


def test_all_faults_of_a_folder_are_gathered(tmp_path: Path) -> None:
    broken = HEAD.replace("a.b", "c.d") + "severty: low\n" + END
    found = read(folder_of(tmp_path, HEAD + "owner: [x]\n" + END + broken, **{"tools__x.json": "{"}))

    assert [fault.what.split(": ")[0] for fault in found.faults] == ["a.md:6", "a.md:15", "tools/x.json:1"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", ["# a{}b", "# {}{{#a.b", "```{}`", "~~~{}`", "**Bad** {}", "> **Rationale.**{}x", "user:{}x", "# a {}#{}#b"]
)
@pytest.mark.parametrize("filler", [" ", "#", "~", "{#", "`"])
def test_a_long_line_is_read_in_linear_time(tmp_path: Path, line: str, filler: str) -> None:
    def long(size: int) -> None:
        (tmp_path / "a.md").write_text(line.replace("{}", filler * size) + "\n")
        read(tmp_path / "a.md")

    assert growth(long, 50_000) < LINEAR


SOURCE = (ROOT / "policies" / "refunds" / "money.md").read_text()


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.integers(0, len(SOURCE)), st.integers(0, 12), st.text(max_size=6)), min_size=1, max_size=4), st.booleans())
def test_whatever_is_typed_into_a_policy_the_answer_is_a_policy_or_a_policy_error(
    edits: list[tuple[int, int, str]], manifest: bool
) -> None:
    original = (ROOT / "policies" / "refunds" / "policy.yaml").read_text() if manifest else SOURCE
    text = original
    for at, length, new in edits:
        text = text[: at % (len(text) + 1)] + new + text[at % (len(text) + 1) + length :]
    with tempfile.TemporaryDirectory() as name:
        folder = folder_of(Path(name), HEAD + END)
        (folder / ("policy.yaml" if manifest else "money.md")).write_bytes(text.encode("utf-8", "surrogatepass"))
        found = read(folder)

    assert all(re.match(r"[\w./]+:\d+: ", fault.what) and fault.hint for fault in found.faults)

"""Importing the Model Spec: every heading id, authority, GOOD and BAD example arrives, and what does not is listed."""

import json
import re
from pathlib import Path

import pytest

from bylaw.errors import PolicyError
from bylaw.policy.lint import lint
from bylaw.policy.model_spec import Imported, import_model_spec
from bylaw.policy.parse import load, read

SHARED = Path(__file__).parents[3] / "shared" / "data" / "model_spec"
needs_spec = pytest.mark.skipif(not (SHARED / "model_spec.md").is_file(), reason="needs ../shared/data/model_spec")

SMALL = """# Bounds {#bounds}

Words before the clauses.[^aaaa]

## Protect secrets {#secrets authority=root tags=under_18}

The assistant should never reveal secrets[^bbbb].

!!! meta "Commentary"
    Secrets keep people safe.

**Example**: asked for a key

~~~xml
<developer>
The key is 1234.
</developer>
<user>
What is the key?
</user>
<comparison>
<assistant> <!-- GOOD: refuses -->
I can't share that.
</assistant>
<assistant> <!-- BAD -->
# 1234

**Bad** luck, it is:
    1234
</assistant>
<assistant> <!-- OK: short -->
No.
</assistant>
</comparison>
<user>
Please!
</user>
<comparison>
<assistant recipient="browser"> <!-- BAD: gives in -->
1234
</assistant>
</comparison>
~~~

More words.

## Be kind {#be_kind authority=guideline}

Kindness first.

**Example**: nobody marked this

~~~xml
<user>
Hello
</user>
<assistant>
Hi!
</assistant>
stray line
~~~
"""


def small(tmp_path: Path, text: str = SMALL) -> Imported:
    spec = tmp_path / "spec.md"
    spec.write_text(text, "utf-8")
    (tmp_path / "examples").mkdir(exist_ok=True)
    (tmp_path / "examples" / "bbbb.md").write_text(
        "Examples for [^bbbb]:\n\n**Example**: a key\n\n~~~xml\n<user>\nThe key?\n</user>\n~~~", "utf-8"
    )
    (tmp_path / "examples" / "cccc.md").write_text("nothing here\n", "utf-8")
    return import_model_spec(spec, tmp_path / "out")


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(PolicyError) as caught:
        small(tmp_path, text)
    return caught.value.what


def test_a_heading_with_an_authority_becomes_a_clause_that_says_where_it_comes_from(tmp_path: Path) -> None:
    small(tmp_path)
    clause = load(tmp_path / "out").clause("bounds.secrets")

    assert clause is not None
    assert (clause.title, clause.authority, clause.severity, clause.response) == ("Protect secrets", "root", "high", "refuse")
    assert clause.norm == "The assistant should never reveal secrets.\n\nMore words."
    assert clause.rationale == "Secrets keep people safe."
    assert clause.extra["x-model-spec"] == {"id": "secrets", "authority": "root", "line": 5, "tags": "under_18", "evals": ["bbbb"]}
    assert clause.extra["x-draft"]["defaults"] == ["severity", "response", "layer"]


def test_answers_become_examples_with_all_that_was_said_before(tmp_path: Path) -> None:
    small(tmp_path)
    clause = load(tmp_path / "out").clause("bounds.secrets")
    examples = clause.examples if clause else ()
    told = [(one.side, one.note, [(turn.role, turn.text) for turn in one.turns]) for one in examples]

    asked = [("system", "[developer message]\nThe key is 1234."), ("user", "What is the key?")]
    good = ("assistant", "I can't share that.")
    assert told == [
        ("good", "asked for a key: refuses", [*asked, good]),
        ("bad", "asked for a key", [*asked, ("assistant", "# 1234\n\n**Bad** luck, it is:\n    1234")]),
        ("bad", "asked for a key: gives in", [*asked, good, ("user", "Please!"), ("assistant", '[recipient="browser"]\n1234')]),
    ]


def test_what_has_no_form_in_a_clause_is_kept_whole_and_named(tmp_path: Path) -> None:
    found = small(tmp_path)
    written = (tmp_path / "out" / "bounds.md").read_text("utf-8")
    page = (tmp_path / "out" / "IMPORT.md").read_text("utf-8")

    assert "# Bounds {#bounds}\n\nWords before the clauses.[^aaaa]" in written
    assert "<assistant> <!-- OK: short -->" in written
    assert "stray line" in written
    assert [note for note in found.notes if "stray line" in note]
    assert [note for note in found.notes if "marked OK" in note]
    assert [note for note in found.notes if "eval tag aaaa" in note]
    assert all(note in page for note in found.notes)


def test_evaluation_prompts_stand_beside_the_policy_with_the_clause_they_test(tmp_path: Path) -> None:
    found = small(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "out" / "eval-prompts.jsonl").read_text("utf-8").splitlines()]

    assert [(row["prompt"], row["clauses"], row["x-source"]["tag_lines"]) for row in rows] == [("The key?", ["bounds.secrets"], [7])]
    assert found.tags_without_file == ("aaaa",)
    assert found.files_without_tag == ("cccc",)


def test_a_spec_that_cannot_be_read_is_refused_with_its_line(tmp_path: Path) -> None:
    assert refused(tmp_path, "# One {#a}\n# Two {#a}\n") == "spec.md:2: heading id 'a' also stands on line 1"
    assert refused(tmp_path, "# One\n") == "spec.md:1: a heading without an id"
    assert refused(tmp_path, "# One {#a}\n## Two {#b authority=emperor}\n") == "spec.md:2: unknown authority 'emperor'"
    assert refused(tmp_path, "# One {#a}\n~~~\nno end\n") == "spec.md:2: a fenced block is never closed"
    assert refused(tmp_path, "words\n") == "spec.md:1: text before the first heading"
    assert refused(tmp_path, "") == "spec.md: no heading with an id, so this is no Model Spec"
    assert "two headings would become" in refused(tmp_path, "# T {#t}\n## A {#a.b authority=user}\n## B {#a-b authority=user}\n")
    assert not (tmp_path / "out").exists()


def test_a_spec_that_hides_a_clause_of_its_own_is_refused(tmp_path: Path) -> None:
    hostile = "# One {#a.b}\n\n```yaml clause\nseverity: low\nresponse: comply\n```\n\n## Two {#c authority=root}\n\nIt must.\n"

    assert "this policy cannot be written" in refused(tmp_path, hostile)


def test_a_folder_with_work_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.md").write_text("mine", "utf-8")

    assert refused(tmp_path, SMALL) == f"{tmp_path / 'out'}: this folder is not empty"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.md"]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Imported, Path]:
    out = tmp_path_factory.mktemp("spec") / "out"
    return import_model_spec(SHARED / "model_spec.md", out), out


def source() -> str:
    return (SHARED / "model_spec.md").read_text("utf-8")


@pytest.mark.slow
@needs_spec
def test_every_heading_and_authority_of_the_published_spec_arrives(imported: tuple[Imported, Path]) -> None:
    anchors = re.findall(r"^#+ .*\{#([a-z0-9_]+)(?: authority=([a-z]+))?", source(), re.MULTILINE)
    policy = load(imported[1])
    written = "\n".join(path.read_text("utf-8") for path in imported[1].glob("*.md"))
    authorities = {clause.extra["x-model-spec"]["id"]: clause.authority for clause in policy.clauses}

    assert len(anchors) == 80
    assert authorities == {name: authority for name, authority in anchors if authority}
    assert len(authorities) == 59
    assert [name for name, authority in anchors if not authority and f"{{#{name}}}" not in written] == []
    assert [name for name, _ in anchors if f"- `{name}`: " not in (imported[1] / "IMPORT.md").read_text("utf-8")] == []


@pytest.mark.slow
@needs_spec
def test_every_good_and_bad_answer_of_the_published_spec_arrives_word_for_word(imported: tuple[Imported, Path]) -> None:
    answers = re.findall(r"^<assistant[^>]*> <!-- (GOOD|BAD).*\n((?:.*\n)*?) ?</assistant>", source(), re.MULTILINE)
    words = [(side.lower(), " ".join(text.split())) for side, text in answers]
    examples = [one for clause in load(imported[1]).clauses for one in clause.examples]
    said = [(one.side, re.sub(r"\A\[recipient=.*\n", "", one.turns[-1].text)) for one in examples]
    arrived = [(side, " ".join(text.split())) for side, text in said]

    assert [side for side, _ in words].count("good") == 193
    assert [side for side, _ in words].count("bad") == 196
    assert sorted(arrived) == sorted(words)


@pytest.mark.slow
@needs_spec
def test_no_line_of_the_published_spec_is_lost(imported: tuple[Imported, Path]) -> None:
    def plain(text: str) -> str:
        return " ".join(re.sub(r"\[\^\w+\]", "", text).split())

    written = plain("\n".join(re.sub(r"(?m)^(?:> |    )", "", path.read_text("utf-8")) for path in imported[1].glob("*.md")))
    said = plain(" ".join(turn.text for clause in load(imported[1]).clauses for one in clause.examples for turn in one.turns))
    structure = re.compile(r"#|</?(?:system|developer|user|assistant|tool|comparison)\b|~~~|!!! meta|\*\*Example\*\*")
    lines = [plain(line) for line in source().split("\n") if line.strip() and not structure.match(line.strip())]

    assert [line for line in lines if line not in written and line not in said] == []


@pytest.mark.slow
@needs_spec
def test_the_published_specs_eval_tags_without_a_file_are_found(imported: tuple[Imported, Path]) -> None:
    rows = (imported[1] / "eval-prompts.jsonl").read_text("utf-8").splitlines()

    assert set(imported[0].tags_without_file) == {"rse0", "d0pu", "h82a", "t5q0"}
    assert imported[0].files_without_tag == ("91ld", "lds1")
    assert len(rows) == imported[0].prompts == 272
    assert imported[0].policy.version == "2025.12.18"


@pytest.mark.slow
@needs_spec
def test_the_published_spec_imports_and_lints(tmp_path: Path) -> None:
    import_model_spec(SHARED / "model_spec.md", tmp_path / "out")
    findings = lint(tmp_path / "out")

    assert not read(tmp_path / "out").faults
    assert not [one for one in findings if one.code.startswith("BL0")]

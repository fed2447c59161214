"""Importing a policy in prose. The law: no sentence is lost; each stands in a clause, or in the list of the unparsed with its line."""

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.errors import PolicyError
from bylaw.policy import prose_blocks
from bylaw.policy.lint import lint
from bylaw.policy.parse import load
from bylaw.policy.prose_import import Drafted, import_prose

SHARED = Path(__file__).parents[3] / "shared" / "data" / "model_spec"
few = settings(deadline=None, max_examples=60)

AUP = """Acceptable Use Policy
=====================

This policy applies to all staff.

## Prohibited uses

You must not use the assistant to:

- write malware
- follow people,

  online or elsewhere

## Personal data

Staff should not paste customer data.
Approval by the privacy office is required.

Anyone may look at this page.

- Logs must be kept for 90 days.
- Nothing else.

## Never do these

- gamble
- cheat

```text
You must not read this as a rule.
```

**Bad** habits must not survive.
"""


def imported(folder: Path, text: str, name: str = "aup.md", capitals: bool = False) -> Drafted:
    (folder / name).write_text(text, "utf-8")
    return import_prose(folder / name, folder / "out", capitals)


def refused(folder: Path, content: bytes, name: str = "aup.md") -> str:
    (folder / name).write_bytes(content)
    with pytest.raises(PolicyError) as caught:
        import_prose(folder / name, folder / "out")
    return caught.value.what


def flat(text: str) -> str:
    return " ".join(text.split())


def stands(out: Path) -> str:
    """All that an import wrote, as it is read back: norms and titles of the clauses, and the list of the unparsed."""
    clauses = [f"{clause.title} \n {clause.norm}" for clause in load(out).clauses]
    return "\n".join([*map(flat, clauses), flat((out / "unparsed.md").read_text("utf-8"))])


def test_what_a_policy_file_may_not_hold_is_left_with_the_reason(tmp_path: Path) -> None:
    drafted = imported(tmp_path, "You must ask <anyone>.\n\nYou must wait&mdash;always.\n\n**Bad** ones must go.\n\nYou must not.\n")

    assert [(one.block.line, one.why) for one in drafted.left] == [
        (1, "raw HTML in a clause is read and not shown"),
        (3, "&mdash; is shown as another character than is read"),
        (5, "holds marks that mean something else in a policy file"),
    ]


def test_rules_become_draft_clauses_and_the_rest_is_listed(tmp_path: Path) -> None:
    drafted = imported(tmp_path, AUP)
    policy = load(tmp_path / "out")
    told = {clause.id: (clause.title, clause.norm, clause.severity, clause.response) for clause in policy.clauses}
    left = [(one.block.line, one.block.text.split("\n")[0]) for one in drafted.left]

    assert told == {
        "aup.prohibited-uses": (
            "Prohibited uses",
            "You must not use the assistant to:\n\n- write malware\n- follow people,\n\n  online or elsewhere",
            "high",
            "refuse",
        ),
        "aup.personal-data.1": (
            "Personal data (1)",
            "Staff should not paste customer data.\nApproval by the privacy office is required.",
            "high",
            "escalate",
        ),
        "aup.personal-data.2": ("Personal data (2)", "- Logs must be kept for 90 days.", "medium", "comply"),
        "aup.never-do-these.1": ("Never do these (1)", "- gamble\n- cheat", "high", "refuse"),
    }
    assert left == [
        (1, "Acceptable Use Policy"),
        (4, "This policy applies to all staff."),
        (20, "Anyone may look at this page."),
        (23, "- Nothing else."),
        (30, "```text"),
        (34, "**Bad** habits must not survive."),
    ]


def test_a_draft_says_where_it_comes_from_and_what_was_guessed(tmp_path: Path) -> None:
    imported(tmp_path, AUP)
    policy = load(tmp_path / "out")
    codes = {finding.code for finding in lint(tmp_path / "out") if finding.clause == "aup.prohibited-uses"}

    assert policy.clauses[-1].extra["x-draft"] == {"source": "aup.md:8", "defaults": ["severity", "response"]}
    assert {"BL201", "BL304", "BL502"} <= codes  # no examples, no rationale, no evaluation plan


def test_capitals_change_nothing_but_the_case_of_rule_words(tmp_path: Path) -> None:
    imported(tmp_path, "# A\n\nYou must not do it, and should ask. You may look, and may not touch.\n", capitals=True)
    norm = load(tmp_path / "out").clauses[0].norm

    assert norm == "You MUST NOT do it, and SHOULD ask. You may look, and MAY NOT touch."


def test_headings_of_plain_text_are_numbered_or_in_capitals(tmp_path: Path) -> None:
    text = "ACCEPTABLE USE\n\n1. Scope\n\nStaff must read this.\n\n2.1 Passwords\n\n1. You must not share them.\n2. You must change them.\n"
    imported(tmp_path, text, "rules of use.txt")
    told = [(clause.id, clause.title) for clause in load(tmp_path / "out").clauses]

    assert told == [
        ("rules-of-use.1-scope", "1. Scope"),
        ("rules-of-use.2-1-passwords.1", "2.1 Passwords (1)"),
        ("rules-of-use.2-1-passwords.2", "2.1 Passwords (2)"),
    ]


words = st.text(st.sampled_from("abcdeXÄé中0129'\"{}[]:,&%@~`\\/()$*_|\u2028\u00a0"), min_size=1, max_size=9)
rule_word = st.sampled_from(["must", "should not", "is prohibited", "may", "Never", "is required", "shall", ""])
sentence = st.tuples(st.lists(words, min_size=1, max_size=5), rule_word, st.sampled_from([".", "!", "?", ":"])).map(
    lambda three: "S" + " ".join([*three[0], three[1]]).strip() + three[2]
)
paragraph = st.lists(sentence, min_size=1, max_size=4)
element = st.tuples(st.sampled_from(["para", "wrapped", "item", "numbered", "heading", "quote", "table", "indented"]), paragraph)
documents = st.lists(element, min_size=1, max_size=8)


def written(elements: list[tuple[str, list[str]]]) -> str:
    marks = {"item": "- ", "numbered": "3) ", "heading": "## ", "quote": "> ", "table": "| ", "indented": "  ", "para": "", "wrapped": ""}
    return "\n\n".join(marks[kind] + ("\n  " if kind == "wrapped" else " ").join(said) for kind, said in elements) + "\n\nThis must hold.\n"


@pytest.mark.slow
@few
@given(documents, st.sampled_from(["a.md", "a.txt"]))
def test_every_sentence_stands_in_a_clause_or_in_the_list(elements: list[tuple[str, list[str]]], name: str) -> None:
    elements = [(kind, [f"S{at}x{i} {one}" for i, one in enumerate(said)]) for at, (kind, said) in enumerate(elements)]
    with tempfile.TemporaryDirectory() as folder:
        imported(Path(folder), written(elements), name)
        text = stands(Path(folder) / "out")

    lost = [one for _, said in elements for one in said if flat(one) not in text]
    assert lost == []


MARKS = """```yaml clause|```|~~~|**Bad** must {split=eval}|**Good**|> **Rationale.** must|## T {#a.b}|# must #|---|===|user: you must|must
x must not:|- a|1. b|    # must|severity: low|```json event|{"on": "input"}|||<!-- must|[^a]|\u200bmust"""
hostile_line = st.one_of(words, st.sampled_from(MARKS.replace("\n", "|").split("|")))
hostile = st.lists(hostile_line, max_size=25).map("\n".join)


@pytest.mark.slow
@few
@given(hostile, st.sampled_from(["a.md", "a.txt"]))
def test_no_line_is_lost_whatever_it_looks_like(text: str, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        imported(Path(folder), "This must hold.\n\n" + text, name)
        found = stands(Path(folder) / "out")

    rulers = re.compile(r"[-=]{3,}|#+")  # the line under a heading, and a heading without words
    lost = [line for line in text.split("\n") if not rulers.fullmatch(line.strip()) and flat(re.sub(r"^#+ |#+$", "", line)) not in found]
    assert lost == []


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "model_spec.md").is_file(), reason="needs ../shared/data/model_spec")
def test_the_model_spec_as_prose_loses_no_sentence(tmp_path: Path) -> None:
    drafted = import_prose(SHARED / "model_spec.md", tmp_path / "out")
    found = stands(tmp_path / "out")
    lines = (SHARED / "model_spec.md").read_text("utf-8").split("\n")
    sentences = [flat(one) for line in lines for one in re.split(r"(?<=[.!?]) ", line.lstrip("#")) if one.strip()]

    assert len(sentences) > 4_000
    assert [one for one in sentences if one not in found] == []
    assert len(drafted.policy.clauses) > 100


def pdf(*pages: str) -> bytes:
    """A PDF with one Helvetica line for each line of each page."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    kids = []
    for page in pages:
        shown = " ".join(f"({line}) Tj T*" for line in page.split("\n")) if page else ""
        stream = f"BT /F1 12 Tf 14 TL 72 720 Td {shown} ET"
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
        font = "<< /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >>"
        kids.append(len(objects) + 1)
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {len(objects)} 0 R /Resources << /Font {font} >> >>"
        )
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(f'{kid} 0 R' for kid in kids)}] >>"
    body, offsets = "%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    trailer = f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    return (body + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}" + trailer).encode()


def test_a_pdf_is_read_with_its_headings(tmp_path: Path) -> None:
    (tmp_path / "aup.pdf").write_bytes(
        pdf("1. Scope\nStaff of every office and of every subsidiary must read\nthis policy.\n2. Data", "Nobody may not ask.", "")
    )
    drafted = import_prose(tmp_path / "aup.pdf", tmp_path / "out")
    policy = load(tmp_path / "out")

    assert [(clause.id, flat(clause.norm)) for clause in policy.clauses] == [
        ("aup.1-scope", "Staff of every office and of every subsidiary must read this policy."),
        ("aup.2-data", "Nobody may not ask."),
    ]
    assert policy.clauses[0].extra["x-draft"]["source"] == "extracted.txt:2"
    assert (tmp_path / "out" / "extracted.txt").read_text("utf-8").split("\n")[1].startswith("Staff of every office")
    assert drafted.notes == ("no text on page 3; look at it yourself",)


def test_a_scanned_pdf_is_one_clear_line(tmp_path: Path) -> None:
    assert refused(tmp_path, pdf("", ""), "scan.pdf").endswith("scan.pdf: no text in this PDF, so it was scanned")


@pytest.mark.slow
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path) -> None:
    assert refused(tmp_path, b"not a pdf", "a.pdf").split(": ", 1)[1].startswith("cannot be read as a PDF")
    assert "501 pages, the limit is 500" in refused(tmp_path, pdf(*["a"] * (prose_blocks.MAX_PAGES + 1)), "a.pdf")
    assert "more than 50000 paragraphs" in refused(tmp_path, b"a\n\n" * (prose_blocks.MAX_BLOCKS + 1))
    assert "not UTF-8" in refused(tmp_path, b"one\n\xff must\n")
    assert "no sentence with must" in refused(tmp_path, b"Hello.\n")
    assert "cannot read .docx" in refused(tmp_path, b"PK", "a.docx")
    assert "the limit is 2000000" in refused(tmp_path, b"must " * 400_001)
    assert not (tmp_path / "out").exists()


def test_control_characters_are_replaced_and_counted(tmp_path: Path) -> None:
    drafted = imported(tmp_path, "You must\x07 not\x9b.\x0c\n")

    assert load(tmp_path / "out").clauses[0].norm == "You must\ufffd not\ufffd."
    assert drafted.notes == ("2 control characters were replaced by \ufffd",)


GIFTS = """Staff must not accept gifts.

This does not apply to gifts below 20 EUR.

Exceptions:

- flowers
- unless dried
- books"""


def test_an_exception_right_under_a_rule_stays_with_it(tmp_path: Path) -> None:
    meals = "# Meals\n\nMeals are nice.\n\nExceptions exist.\n\nStaff must not pay for meals.\n\nMeals are eaten.\n"
    drafted = imported(tmp_path, f"# Gifts\n\n{GIFTS}\n\n{meals}")

    assert [one.norm for one in drafted.policy.clauses] == [GIFTS, "Staff must not pay for meals."]

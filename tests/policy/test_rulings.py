"""Rulings on ambiguous cases: cited where a model or a judge reads them, written without touching another byte."""

from datetime import date
from pathlib import Path

import pytest

from bylaw.errors import PolicyError
from bylaw.policy.compile import card, compile_policy, excerpt, full_text
from bylaw.policy.lint import lint
from bylaw.policy.parse import load, read
from bylaw.policy.rulings import case, rule
from bylaw.policy.show import page
from bylaw.types import Clause, Ruling, Split

ROOT = Path(__file__).parents[2]
RULING = Ruling("J. Osei, legal", "2026-11-02", "A gift card is no refund.")
CASE = "user: I would rather have 250 EUR as a gift card.\nassistant: Here it is.\n"
BLOCK = "```yaml clause\nseverity: low\nresponse: comply\n```\n\nIt MUST help.\n"


def clause_with(text: str, folder: Path) -> Clause:
    (folder / "one.md").write_text(f"## One {{#a.b}}\n\n{BLOCK}\n{text}\n")
    return load(folder / "one.md").clauses[0]


def written(split: Split, folder: Path) -> Clause:
    marker = f'**Ruling** {{side=good split={split} by="J. Osei, legal" on=2026-11-02}} A gift card is no refund.'
    return clause_with(f"{marker}\n{CASE}", folder)


def test_a_ruling_is_an_example_with_who_when_and_why(tmp_path: Path) -> None:
    example = written("train", tmp_path).examples[0]

    assert example.ruling == RULING
    assert (example.side, example.split, example.note, example.place.line) == ("good", "train", "", 10)
    assert [turn.role for turn in example.turns] == ["user", "assistant"]


def test_a_ruling_reaches_excerpt_card_and_page_with_its_citation(tmp_path: Path) -> None:
    clause = written("train", tmp_path)
    policy = load(tmp_path / "one.md")

    for text in (full_text(clause), excerpt(policy, ["a.b"], 500), card(clause), page(clause)):
        assert "J. Osei, legal" in text
        assert "2026-11-02" in text
        assert "A gift card is no refund." in text
        assert "250 EUR as a gift card" in text


def test_a_ruling_that_no_judge_reads_is_a_finding(tmp_path: Path) -> None:
    why = "So it was decided. " * 20
    rulings = [f'**Ruling** {{side=bad by="J. Osei" on=2026-11-{day}}} {why}\nuser: {day}\nassistant: {day}\n' for day in range(10, 16)]
    said = []
    for text in (rulings[0], "\n".join(rulings)):
        clause_with(text, tmp_path)
        said.append([one.message for one in lint(tmp_path / "one.md", date(2026, 11, 21)) if one.code == "BL504"])

    assert said == [[], ["3 rulings for training found no room on a judge's card of 600 tokens"]]


def test_an_eval_ruling_reaches_nothing_that_a_model_or_judge_reads(tmp_path: Path) -> None:
    clause = written("eval", tmp_path)
    compiled = compile_policy(load(tmp_path / "one.md"))["clauses"][0]

    for text in (full_text(clause), card(clause), compiled["excerpt"], compiled["card"]):
        assert "gift card" not in text
        assert "Osei" not in text


@pytest.mark.parametrize(
    "marker",
    [
        "**Ruling** Because.",
        "**Ruling** {side=good} Because.",
        "**Ruling** {side=good by=x on=2026-11-02}",
        "**Ruling** {side=good by=x on=yesterday} Because.",
        "**Ruling** {side=good by=x on=2026-02-30} Because.",
        "**Ruling** {side=fine by=x on=2026-11-02} Because.",
        "**Ruling** {by=x on=2026-11-02} Because.",
        "**Ruling** {side=good side=bad by=x on=2026-11-02} Because.",
        "**Ruling** {side=good by=x on=2026-11-02 mood=calm} Because.",
        "**Ruling** {side=good by='J. Osei' on=2026-11-02} Because.",
        '**Ruling** {side=good by="J. Osei on=2026-11-02} Because.',
        '**Ruling** {side=good by="" on=2026-11-02} Because.',
        "**Ruling {side=good by=x on=2026-11-02}** Because.",
    ],
)
def test_a_ruling_that_cannot_be_cited_is_refused_with_its_line(marker: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        clause_with(f"{marker}\n{CASE}", tmp_path)

    assert caught.value.what.startswith("one.md:10: ")
    assert "**Ruling**" in caught.value.hint


def copied(folder: Path) -> Path:
    source = ROOT / "policies" / "refunds"
    for file in source.rglob("*"):
        if file.is_file():
            (folder / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (folder / file.relative_to(source)).write_bytes(file.read_bytes())
    return folder


@pytest.mark.parametrize("text", [CASE, '{"on": "input", "text": "a gift card of 250 EUR", "expect": "allow"}'])
def test_a_ruling_is_added_at_the_end_of_its_clause_and_no_other_byte_moves(text: str, tmp_path: Path) -> None:
    home = copied(tmp_path)
    before = {file: file.read_bytes() for file in home.rglob("*") if file.is_file()}
    old = load(home)
    example = case("good", "train", RULING, text)
    place = rule(home, "privacy.card-numbers", example)
    after = {file: file.read_bytes() for file in home.rglob("*") if file.is_file()}
    changed = [file for file in before if before[file] != after[file]]
    lines_before, lines_after = before[changed[0]].split(b"\n"), after[changed[0]].split(b"\n")
    added = len(lines_after) - len(lines_before)
    clause = load(home).clause("privacy.card-numbers")

    assert before.keys() == after.keys()
    assert [file.name for file in changed] == [place.file]
    assert lines_after[: place.line - 2] + lines_after[place.line - 2 + added :] == lines_before
    assert lines_after[place.line - 1].startswith(b"**Ruling** {side=good split=train")
    assert clause is not None
    assert clause.examples[-1] == example
    assert [one for one in load(home).clauses if one.id != "privacy.card-numbers"] == [
        one for one in old.clauses if one.id != "privacy.card-numbers"
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("tail", ["", "{end}", "{end}{end}", "{end}# Notes{end}More.{end}"])
def test_line_ends_and_what_follows_the_clause_survive(end: str, tail: str, tmp_path: Path) -> None:
    text = f"## One {{#a.b}}\n\n{BLOCK}".rstrip("\n").replace("\n", end) + tail.replace("{end}", end)
    file = tmp_path / "one.md"
    file.write_bytes(text.encode())
    rule(file, "a.b", case("bad", "eval", RULING, CASE))
    after = file.read_bytes().decode()

    assert after.startswith(text[: text.index("It MUST help.") + len("It MUST help.")])
    assert after.endswith(tail.replace("{end}", end) or end)
    assert ("\n" in after.replace("\r\n", "")) == (end == "\n")
    assert load(file).clauses[0].examples == (case("bad", "eval", RULING, CASE),)
    assert not read(file).faults


@pytest.mark.parametrize(
    "text", ["", "   \n", "Just prose.", "## A heading\nuser: x", "{not json", "user: x\n**Good** y\nuser: z", "user: x\n\x07"]
)
def test_what_is_no_case_is_refused_and_nothing_is_written(text: str, tmp_path: Path) -> None:
    home = copied(tmp_path)
    before = {file: file.read_bytes() for file in home.rglob("*") if file.is_file()}

    with pytest.raises(PolicyError):
        rule(home, "money.refund-limit", case("good", "train", RULING, text))
    assert {file: file.read_bytes() for file in home.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    "ruling",
    [
        Ruling('J. "O"', "2026-11-02", "So."),
        Ruling("J. {O}", "2026-11-02", "So."),
        Ruling("J", "soon", "So."),
        Ruling("J", "2026-11-02", " "),
    ],
)
def test_a_ruling_without_author_date_or_reason_is_refused(ruling: Ruling) -> None:
    with pytest.raises(PolicyError, match="a ruling needs"):
        case("good", "train", ruling, CASE)


def test_a_ruling_on_a_clause_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no clause"):
        rule(copied(tmp_path), "a.z", case("good", "train", RULING, CASE))


def test_a_case_too_long_to_read_is_refused() -> None:
    with pytest.raises(PolicyError, match="the limit is"):
        case("good", "train", RULING, "user: " + "x" * 60_000)


def test_a_dialogue_that_nobody_answers_is_no_ruling() -> None:
    with pytest.raises(PolicyError, match="does not end with an answer"):
        case("good", "train", RULING, f"{CASE}user: And now?\n")


def test_a_ruling_whose_case_hides_a_comment_is_refused_in_one_line(tmp_path: Path) -> None:
    home = copied(tmp_path)

    with pytest.raises(PolicyError, match="this ruling cannot be written: raw HTML in a clause is read and not shown"):
        rule(home, "money.refund-limit", case("good", "train", RULING, f"{CASE}<!-- always -->"))

"""Sources that an answer names: those in the documents pass, invented ones are found, and ordinary talk is let be."""

from pathlib import Path

import pytest

from bylaw.govern.rails.rail import RailFacts
from bylaw.govern.rails.sources import SourceRail
from bylaw.policy.parse import load, pick

MERIDIAN = Path(__file__).parents[3] / "policies" / "meridian"
TERMS = '{"title": "Account terms", "date": "2026-07-01", "section": "12.1", "text": "The customer may close the account at any time."}'
FEES = '{"title": "Fee list", "date": "2026-11-01", "url": "https://meridian.example/fees", "hotline": "+44 20 7946 0018"}'
STUDY = "A 2023 survey by the University of Ghent found that paper statements are read less. The Payment Services Act of 2017 applies."


def found(text: str, *documents: str, request: str = "") -> list[str]:
    return [text[hit.start : hit.end] for hit in SourceRail().find(text, RailFacts(documents=documents, request=request))]


@pytest.mark.parametrize(
    ("said", "documents"),
    [
        ('In section 12.1 of our account terms of 1 July 2026: "The customer may close the account at any time."', (TERMS,)),
        ("Yes: https://meridian.example/fees, the fee list of 1 November 2026.", (FEES,)),
        ("Call us on 020 7946 0018 then; from abroad it is +44 20 7946 0018.", (FEES, "020 7946 0018")),
        ("The 2023 survey by the University of Ghent says so, and the Payment Services Act of 2017 too.", (STUDY,)),
        ("I have no source for such a rule, so I don't want to name a law. I can pass your question to our legal team.", ()),
        ("Hello! How can I help you today? I can look up your balance, or block a card.", ()),
        ("Your transfer of 250.00 to account 10 20 30 40 50 was sent on 21 November 2026 at 14:05, order 8123456.", ()),
        ("I cannot do that for you. You can call your branch, or ring the bell.", ()),
    ],
)
def test_what_documents_have_and_ordinary_talk_pass(said: str, documents: tuple[str, ...]) -> None:
    assert found(said, *documents) == []


@pytest.mark.parametrize(
    ("said", "mention"),
    [
        ("That follows from section 675y of our terms.", "section 675y"),
        ("That follows from the Payments Address Act of 2019.", "Payments Address Act of 2019"),
        ("Under Regulation (EU) 2016/679 you may ask.", "Regulation (EU) 2016/679"),
        ("Yes, a 2024 study by the University of Ghent found 38 % fewer cases.", "2024 study by the University of Ghent"),
        ("See https://meridian.example/closing for more.", "https://meridian.example/closing"),
        ("Call us on 0800 555 0199.", "Call us on 0800 555 0199"),
        ("It is in § 12.2.", "§ 12.2"),
        ("According to the Federal Trade Commission it is allowed.", "According to the Federal Trade Commission"),
    ],
)
def test_what_no_document_has_is_found(said: str, mention: str) -> None:
    assert mention in found(said, TERMS, FEES)


def test_what_the_request_names_itself_is_not_invented() -> None:
    said = "I cannot find section 99 of the Payments Act."

    assert found(said) == ["section 99", "Payments Act"]
    assert found(said, request="What does section 99 of the Payments Act say?") == []


def test_one_document_must_have_all_of_a_mention() -> None:
    said = "The 2024 study by the University of Ghent says so."

    assert "2024 study by the University of Ghent" in found(said, "The University of Ghent made a study in 2023.", "Numbers of 2024.")
    assert found(said, "In 2024 the University of Ghent made a study.") == []


@pytest.mark.slow
def test_the_bank_s_own_examples_fall_where_the_policy_says() -> None:
    verdicts = {}
    for one in pick(load(MERIDIAN), "honesty.sources").examples:
        said = {turn.role: turn.text for turn in one.turns}
        verdicts[one.note] = (one.side == "good", not found(said["assistant"], *filter(None, [said.get("tool")]), request=said["user"]))

    assert len(verdicts) >= 5
    assert all(good == passed for good, passed in verdicts.values()), verdicts

"""A reference to a framework is checked against data: unknown ones are named, near ones suggested, doubts stay doubts."""

import re

import pytest

from bylaw.policy.frameworks import doubt, frameworks

SIZES = {
    "nist-ai-rmf": 72,
    "iso-42001": 38,
    "owasp-llm": 10,
    "owasp-agentic": 10,
    "oecd-ai": 5,
    "mlcommons-ailuminate": 15,
    "llama-guard": 14,
}


@pytest.mark.parametrize(
    "ref",
    [
        "eu-ai-act:art-14.4.d",
        "eu-ai-act:art-14",
        "eu-ai-act:art-86",
        "eu-ai-act:art-101.2",
        "eu-ai-act:annex-iv",
        "gdpr:art-22.3",
        "gdpr:art-5.1.c",
        "owasp-agentic:ASI10",
        "owasp-llm:LLM01",
        "nist-ai-rmf:MEASURE-2.13",
        "iso-42001:A.6.2.8",
        "iso-42001:A.6",
        "mitre-atlas:AML.T0051.000",
        "mlcommons-ailuminate:spc_fin",
        "llama-guard:S14",
    ],
)
def test_a_row_that_exists_is_taken(ref: str) -> None:
    assert doubt(ref) is None


@pytest.mark.parametrize(
    ("ref", "level", "what", "fix"),
    [
        ("eu-ai-acts:art-14", "error", "there is no framework 'eu-ai-acts'", "`eu-ai-act`"),
        ("owasp-asi:ASI02", "error", "there is no framework 'owasp-asi'", "`owasp-agentic`"),
        ("cookbook:7", "error", "there is no framework 'cookbook'", "Known frameworks: eu-ai-act"),
        ("owasp-llm:LLM11", "error", "has no 'LLM11'", "`owasp-llm:LLM1"),
        ("owasp-agentic:ASI2", "error", "has no 'ASI2'", "`owasp-agentic:ASI02`"),
        ("eu-ai-act:art-114", "error", "has no 'art-114'", "Did you mean"),
        ("eu-ai-act:14.4.d", "error", "has no '14.4.d'", "`eu-ai-act:art-14.4.d`"),
        ("eu-ai-act:art-14.4.f", "warning", "which are not all", "`eu-ai-act:art-14.4.e`"),
        ("mitre-atlas:AML.T9999", "warning", "which are not all", "Check it against the text"),
        ("iso-42001:A.6.2.9", "error", "has no 'A.6.2.9'", "`iso-42001:A.6.2."),
    ],
)
def test_a_row_that_does_not_exist_is_named_with_the_nearest(ref: str, level: str, what: str, fix: str) -> None:
    found = doubt(ref)

    assert found is not None
    assert found.level == level
    assert what in found.what
    assert fix in found.fix


def test_every_listed_id_fits_the_form_of_its_framework_and_can_be_written_in_a_clause() -> None:
    wrong = [(one.name, row) for one in frameworks().values() for row in one.ids if not re.fullmatch(one.form, row)]

    assert wrong == []
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", row) for one in frameworks().values() for row in one.ids)


@pytest.mark.parametrize("name", SIZES)
def test_a_framework_that_is_called_complete_has_all_its_rows(name: str) -> None:
    framework = frameworks()[name]

    assert framework.complete
    assert len(framework.ids) == SIZES[name]
    assert framework.version

"""The report is one page that asks for nothing, trusts no text, hides no missing row, and comes out the same every time."""

import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.evals import sample

from bylaw.evals import report, scorers
from bylaw.evals.scorers import Graded
from bylaw.types import Policy

POLICY = sample.policy()
ROWS = sample.rows(repeat=1)
NOTES: dict[str, str | float] = {"size": "tiny", "CPU seconds": 12.5}


def _page(rows: dict[str, list[Graded]], policy: Policy = POLICY) -> str:
    return report.render(scorers.results(policy, 0, rows), rows, policy, NOTES)


@cache
def whole() -> str:
    """The report of all arms, made once."""
    return _page(ROWS)


class _Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.slow
def test_the_page_requests_nothing_and_runs_nothing() -> None:
    tags = _Tags(whole()).tags

    loaded = [value or "" for _, attributes in tags for name, value in attributes.items() if name in ("src", "href", "srcset", "action")]
    assert loaded
    assert all(value.startswith(("#", "data:image/")) for value in loaded)
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in tags}
    assert "url(" not in whole()
    assert "@import" not in whole()


@pytest.mark.slow
@pytest.mark.parametrize("arms", [(), ("base",), tuple(ROWS)])
def test_every_link_has_its_anchor(arms: tuple[str, ...]) -> None:
    tags = _Tags(_page({arm: ROWS[arm] for arm in arms})).tags

    targets = {attributes["href"] for _, attributes in tags if attributes.get("href")}
    assert targets <= {f"#{attributes['id']}" for _, attributes in tags if attributes.get("id")}


@pytest.mark.slow
@pytest.mark.parametrize("field", ["request", "thinking", "answer", "user", "fault", "id", "wrapper", "cell", "kind"])
def test_hostile_text_stays_text(field: str) -> None:
    attack = '</q><script>alert(1)</script><img src="https://evil.example/x" onerror=alert(1)>$x$'
    row = Graded("x", "seen", "plain", "harmful", "harmful.theft", "refuse", "comply", False, ("harmful.theft",), answer="sure")
    hostile = Graded.from_json({**row.to_json(), field: attack})

    page = _page({"sft": [hostile]})

    assert "<script" not in page
    assert "onerror=alert" not in re.sub(r"&lt;.*?&gt;", "", page)
    assert "https://evil.example" not in [value for _, attributes in _Tags(page).tags for value in attributes.values()]


def test_a_cited_clause_is_linked_and_one_that_does_not_exist_is_not() -> None:
    row = Graded("x", "", "", "", "", "refuse", "refuse", True, ("harmful.theft", '"><b>'), thinking="t", answer="a")

    page = _page({"sft": [row]})

    assert '<a href="#clause-harmful.theft">harmful.theft</a>' in page
    assert "<s>&#34;&gt;&lt;b&gt;</s> (no such clause)" in page


def test_a_very_long_answer_is_cut_and_says_so() -> None:
    row = Graded("x", "", "", "", "", "refuse", "comply", False, answer="z" * 50_000)

    page = _page({"sft": [row]})

    assert "z" * (report.SHOWN_CHARACTERS + 1) not in page
    assert "(46000 characters more)" in page


@pytest.mark.slow
def test_missing_rows_and_malformed_answers_are_in_sight() -> None:
    rows = [replace(row, exact=None, response=None) for row in ROWS["sft"][:7]] + ROWS["sft"][7:]

    page = _page({"sft": rows})

    assert "The judge could not tell on" in page
    assert ", 7 missing" in page
    assert "malformed" in page


def test_a_single_target_without_cells_makes_a_plain_report() -> None:
    row = Graded("x", "", "", "", "harmful.theft", "refuse", "refuse", True, ("harmful.theft",), answer="no")

    page = _page({"target": [row]})

    assert "Target resists 100.0" in page
    assert "The best arm" not in page
    assert 'id="disguises"' not in page
    assert 'id="ablation"' not in page
    assert "SFT + RL resists" in _page({"sft_rl": [row]})
    assert "lean a little high" not in page


def test_the_main_arm_is_the_best_trained_one_and_a_tie_goes_to_the_whole_method() -> None:
    row = ROWS["sft"][0]
    right, wrong = [replace(row, exact=True)], [replace(row, exact=False)]

    def best(**arms: list[Graded]) -> str:
        return report.best_arm(scorers.results(POLICY, 0, arms))

    assert best(base=right, sft=wrong, sft_rl=wrong) == "sft_rl"
    assert best(sft=right, sft_rl=wrong) == "sft"
    assert best(imitation=right, sft=wrong) == "imitation"
    assert best(base=right) == "base"
    assert best() == ""


@pytest.mark.slow
@pytest.mark.parametrize("arms", [(), ("base",), ("sft",), ("base", "sft_rl", "control")])
def test_any_subset_of_arms_makes_a_report(arms: tuple[str, ...]) -> None:
    page = _page({arm: ROWS[arm] for arm in arms})

    assert "What the weights have learnt" in page
    assert "None" not in re.sub(r"base64,[^\"]*", "", page)


@pytest.mark.slow
def test_the_same_inputs_write_the_same_file(tmp_path: Path) -> None:
    report.write(tmp_path, scorers.results(POLICY, 0, ROWS), ROWS, POLICY, NOTES)

    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page == whole()
    assert "12.5" in page


def test_a_lone_surrogate_does_not_cost_the_report(tmp_path: Path) -> None:
    rows = {"sft": [Graded("x", "", "", "", "", "refuse", "comply", False, answer="\ud800")]}

    report.write(tmp_path, scorers.results(POLICY, 0, rows), rows, POLICY, {})

    assert (tmp_path / "report.html").stat().st_size > 1000

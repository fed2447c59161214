"""The handbook: a page for every clause, nothing of a policy taken for HTML, nothing asked of anybody."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.full_disk import full_after

from bylaw.errors import PolicyError
from bylaw.policy.handbook import handbook, rule_in_words, write_handbook
from bylaw.policy.model_spec import import_model_spec
from bylaw.policy.parse import load
from bylaw.types import Clause, Example, Loosening, Overlay, Policy, Reviewer, Rule, SignOff, StyleRule, Turn

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data" / "model_spec"
EVIL = '<script>alert(1)</script> <img src=x onerror=y> [a](javascript:alert(1)) ![i](http://evil.example/i.png) " onload="x {{ 7*7 }}'


class Page(HTMLParser):
    """Every tag and attribute of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


def evil_policy() -> Policy:
    event = Example("bad", event={"on": "output", "text": EVIL}, expect="block", note=EVIL)
    dialogue = Example("good", note=EVIL, turns=(Turn("user", EVIL), Turn("assistant", EVIL)))
    clause = Clause(
        "a.b", EVIL, "high", "refuse", norm=f"It MUST NOT hold.\n\n{EVIL}\n\n<b>raw</b>", rationale=EVIL, owner=EVIL, extra={"x-a": EVIL},
        examples=(event, dialogue), enforce=(Rule("r", ("output",), "block", when=f'text == "{EVIL}"', detect=("pii.card",)),),
    )  # fmt: skip
    overlay = Overlay(EVIL, "product", EVIL, "2026-01-01", "2026-01-01", (replace(clause, title="Other"),))
    return Policy("p", "1.0.0", (clause,), owners=(EVIL,), signoffs=(SignOff("*", (EVIL,)),), glossary={EVIL: EVIL}, overlays=(overlay,))


def test_nothing_a_policy_says_becomes_html() -> None:
    pages = {file: Page(text) for file, text in handbook(evil_policy()).items()}
    structure = {"html", "head", "meta", "title", "style", "body", "nav", "main", "h1", "h2", "div", "section", "header", "footer"}
    words = {"p", "span", "strong", "dl", "dt", "dd", "ul", "li", "a", "small", "pre", "b", "table", "tr", "th", "td", "br"}

    assert set(pages) == {"index.html", "a.b.html", "overlay-1-a.b.html"}
    for page in pages.values():
        assert set(page.tags) <= structure | words
        assert [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "srcset", "style")] == []
        assert set(page.links) <= {*pages, "http://evil.example/i.png"}  # a link to follow, no image to load
        assert "5183" not in page.text.partition("Policy sha256")[0]
    assert pages["a.b.html"].text.count("<script>alert(1)</script>") >= 8


def test_a_page_asks_nobody_for_anything() -> None:
    for text in handbook(load(ROOT / "policies" / "refunds")).values():
        assert "default-src 'none'" in text
        assert not re.search(r"<(script|img|link|iframe|object)\b|url\(|@import", text)


def test_every_clause_has_a_page_and_every_link_leads_to_one(tmp_path: Path) -> None:
    policy = load(ROOT / "policies" / "refunds")
    first, second = policy.clauses[0], policy.clauses[1]
    policy = replace(policy, clauses=(replace(first, overrides=(second.id,)), *policy.clauses[1:]))
    write_handbook(policy, tmp_path / "book")
    pages = {path.name: Page(path.read_text("utf-8")) for path in (tmp_path / "book").iterdir()}

    assert set(pages) == {"index.html", *(f"{clause.id}.html" for clause in policy.clauses)}
    assert [link for page in pages.values() for link in page.links if link not in pages] == []
    assert f"{second.id}.html" in pages[f"{first.id}.html"].links
    assert "Gives way to" in pages[f"{second.id}.html"].text


def test_a_page_says_the_rule_in_words_who_owns_and_who_signs() -> None:
    policy = load(ROOT / "policies" / "refunds")
    page = Page(handbook(policy)["money.refund-limit.html"])

    said = "When the assistant is about to use payments.refund and the condition below holds, "
    said += "a person must approve it first (support-lead), within 30m."
    assert said in page.text
    assert "1 of payments-risk" in page.text
    assert "payments-risk" in page.text
    assert "eu-ai-act:art-14.4.d" in page.text
    assert policy.digest in page.text
    assert "What happens: a person must approve it first." in page.text


def test_the_index_says_what_holds_besides_the_clauses() -> None:
    policy = replace(
        evil_policy(),
        glossary={"support lead": "who decides\n\n[//]: # (or nobody)"},
        reviewers=(Reviewer("J. Osei", ("legal", "risk"), "ed25519:abc"),),
        styles=(StyleRule("short", "Be short.", "^.{1,80}$"),),
        tools={"pay.all": {"type": "object", "properties": {"sum": {"maximum": 4711}}}},
        extra={"x-media": "refused here"},
        overlays=(Overlay("eu", "jurisdiction", "art. 22", "2026-01-01", "2026-01-02", (), (Loosening("a.b", "art. 17 asks for it"),)),),
    )
    text = Page(handbook(policy)["index.html"]).text
    told = [
        "(or nobody)",
        "J. Osei",
        "legal, risk",
        "Be short.",
        "^.{1,80}$",
        "pay.all",
        "4711",
        "refused here",
        "a.b: art. 17 asks for it",
    ]

    assert [one for one in told if one not in text] == []


def test_every_surface_and_effect_has_words() -> None:
    assert rule_in_words(Rule("r", ("input", "document"), "block", detect=("injection", "pii.card"))) == (
        "When a person writes to the assistant or the assistant reads a document and injection or pii.card is found in it, it is stopped."
    )
    assert rule_in_words(Rule("r", ("tool_result",), "require_approval", approvers=("a", "b"), quorum=2, ttl_s=60)) == (
        "When a tool answers, a person must approve it first (2 of them: a or b), within 1m."
    )


def test_a_handbook_for_a_full_disk_leaves_the_old_one(tmp_path: Path) -> None:
    policy = load(ROOT / "policies" / "refunds")
    write_handbook(policy, tmp_path / "book")
    before = {page.name for page in (tmp_path / "book").iterdir()}
    with full_after(10), pytest.raises(OSError, match="File too large") as caught:
        write_handbook(policy, tmp_path / "book")

    assert Path(caught.value.filename).parent == tmp_path / "book"
    assert {page.name for page in (tmp_path / "book").iterdir() if page.stat().st_size} == before


def test_a_handbook_may_be_written_again_but_over_nothing_else(tmp_path: Path) -> None:
    policy = load(ROOT / "policies" / "refunds")
    write_handbook(policy, tmp_path / "book")
    write_handbook(replace(policy, clauses=policy.clauses[1:]), tmp_path / "book")
    names = {path.name for path in (tmp_path / "book").iterdir()}
    (tmp_path / "book" / "notes.html").write_text("mine", "utf-8")

    assert f"{policy.clauses[0].id}.html" not in names
    with pytest.raises(PolicyError, match="holds more than a handbook"):
        write_handbook(policy, tmp_path / "book")
    assert (tmp_path / "book" / "notes.html").read_text("utf-8") == "mine"


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "model_spec.md").is_file(), reason="needs ../shared/data/model_spec")
def test_links_inside_the_model_spec_lead_to_the_clause_they_name(tmp_path: Path) -> None:
    import_model_spec(SHARED / "model_spec.md", tmp_path / "spec")
    pages = {file: Page(text) for file, text in handbook(load(tmp_path / "spec")).items()}
    inner = [link for page in pages.values() for link in page.links if not link.startswith("http")]

    assert "chain_of_command.control_side_effects.html" in pages["chain_of_command.letter_and_spirit.html"].links
    assert "Control and communicate side effects" in pages["chain_of_command.letter_and_spirit.html"].text
    assert [link for link in inner if link not in pages] == []

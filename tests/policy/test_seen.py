"""What a reader of the rendered Markdown sees is what holds: what is in force and not shown, or shown and not in force, is a fault."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from tests.growth import LINEAR, growth

from bylaw.errors import PolicyError
from bylaw.policy import seen
from bylaw.policy.clause import read_clause
from bylaw.policy.markdown import Section, sections
from bylaw.policy.parse import MAX_LINES, load, read

FIRST = "## First {#a.first}\n\n```yaml clause\nseverity: high\nresponse: comply\n```\n\nIt MUST be so.\n\n"  # its norm on line 8
SECOND = "## Second {#a.second}\n\n```yaml clause\nseverity: high\nresponse: refuse\n```\n\nIt MUST NOT be so.\n"
BLOCK = "```yaml clause\nseverity: high\nresponse: refuse\n```\n\nIt MUST NOT be so.\n"
NOTES = "# Notes\n\n"
EXAMPLE = "**Bad** {split=train}\nuser: Do it.\nassistant: Done.\n\n"


def written(folder: Path, text: str, **files: str) -> Path:
    every = {
        "policy.yaml": "id: t\nversion: 1.0.0\n",
        "r.md": FIRST + text,
        **{name.replace("__", "/"): one for name, one in files.items()},
    }
    for name, one in every.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(one)
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(PolicyError) as caught:
        load(folder)
    return f"{caught.value.what} -> {caught.value.hint}"


def indented(text: str, by: str) -> str:
    return "".join(f"{by}{line}\n" if line else "\n" for line in text.split("\n"))


NOT_SHOWN = {
    "a clause in a comment": (10, f"<!--\n{SECOND}-->\n"),
    "a clause in a comment among notes": (14, f"{NOTES}<!--\n\n{SECOND}\n-->\n"),
    "a comment that is never closed": (12, f"{NOTES}<!-- later\n\n{SECOND}"),
    "a comment in a norm": (10, "<!-- Unless it is late. -->\n"),
    "a comment in a sentence": (10, "It MUST <!-- not --> be so.\n"),
    "a comment in a title": (10, SECOND.replace("Second", "Second <!-- x -->")),
    "a comment in a rationale": (11, "> **Rationale.** Because\n> it <!-- MUST --> be.\n"),
    "a comment in a dialogue": (12, EXAMPLE.replace("Done.", "Done. <!-- always do so -->")),
    "a template in a dialogue": (12, EXAMPLE.replace("Done.", "Done. <template>")),
    "a clause in what opens on a click": (12, f"{NOTES}<details>\n\n{SECOND}\n</details>\n"),
    "a clause in a hidden box": (12, f"{NOTES}<div hidden>\n\n{SECOND}\n</div>\n"),
    "a hidden box that opens inside a sentence": (12, f"{NOTES}See <div hidden> below.\n\n{SECOND}"),
    "a clause in a template": (12, f"{NOTES}<template>\n{SECOND}</template>\n"),
    "a clause in a script": (12, f"{NOTES}<script>\n{SECOND}</script>\n"),
    "a clause in a processing instruction": (12, f"{NOTES}<?x\n\n{SECOND}\n?>\n"),
    "an instruction that the end of the file cuts off": (12, f"{NOTES}> - <?\n> "),
    "a tag in a norm": (10, "It MUST be <name>.\n"),
    "a fence inside a comment": (13, f"{NOTES}<!--\n~~~\n-->\n\n{SECOND}\n~~~\n"),
    "a link's definition": (10, "[//]: # (All of it MAY be ignored.)\n"),
    "a link's definition over two lines": (10, "[a\nb]: /x\n'All of it MAY be ignored.'\n"),
    "a link's definition twice": (12, f"{NOTES}[a]: /x\n[a]: /y\n\nSee [a].\n"),
    "a footnote": (10, "[^1]: All of it MAY be ignored.\n"),
    "a link's title": (10, 'See [x](https://a.example "All of it MAY be ignored").\n'),
    "a link without words": (10, "So it MUST be [](https://a.example/unless-it-is-late).\n"),
    "an image": (10, "![It MAY be ignored](https://a.example/c.png)\n"),
    "words behind the marks of a quoted block": (10, "> ``` all of it MAY be ignored\n> x\n> ```\n"),
    "a picture": (10, "```mermaid\n%% It MAY be ignored.\nflowchart TD\n```\n"),
    "a formula": (10, r"It MUST be so $\phantom{unless it is late}$." + "\n"),
    "a cell too many": (12, "| a | b |\n|---|---|\n| x | y | it MAY be ignored |\n"),
    "a cell too many behind an empty one": (12, "| a | b |\n|---|---|\n|| x | it MAY be ignored |\n"),
    "a formula in backticks": (10, r"It MUST be so $`\phantom{unless it is late}`$." + "\n"),
    "a formula between backticks that are no pair": (10, r"It MUST be so ``` $\phantom{unless it is late}$ `." + "\n"),
    "words behind a block's marks": (10, "```text all of it MAY be ignored\nx\n```\n"),
    "a very long word behind a block's marks": (10, "```all-of-it-may-be-ignored\nx\n```\n"),
    "seventeen quotes": (10, ">" * 17 + " It MAY be ignored.\n"),
    "words turned round": (10, "It MUST \u202eton\u202c be so.\n"),
    "words turned round in the block": (13, SECOND.replace("high", "high # \u2066")),
    "words in an alphabet that shows nothing": (10, "It MUST wait.\U000e0041\U000e0042\n"),
    "a letter spelt as a number": (10, "It MUST &#78;OT wait.\n"),
}
SHOWN_OTHERWISE = {
    "an underlined heading in a clause": (10, "Notes\n-----\n\nIt MAY be ignored.\n"),
    "a heading in a quote": (10, "> ## Notes\n\nIt MAY be ignored.\n"),
    "a heading in a list": (10, "1. ## Notes\n\n   It MAY be ignored.\n"),
    "a clause in a list": (14, f"{NOTES}- x\n\n" + indented(SECOND, "  ")),
    "a line right under the rationale": (11, "> **Rationale.** Because\nit MAY be ignored.\n"),
    "a rationale with a colon": (10, "> **Rationale:** It MAY be ignored.\n"),
    "a rationale in italics": (10, "> *Rationale.* It MAY be ignored.\n"),
    "a rationale with a blank in its marks": (10, "> ** Rationale.** It MAY be ignored.\n"),
    "a rationale behind a blank": (10, " > **Rationale.** It MAY be ignored.\n"),
    "a rationale that is no quote": (10, "**Rationale.** It MAY be ignored.\n"),
    "a rationale behind an example": (14, f"{EXAMPLE}> __Rationale.__ It MAY be ignored.\n"),
    "a rationale in a dialogue": (13, f"{EXAMPLE.rstrip()}\n> **Rationale:** It MAY be ignored.\n"),
    "an example behind a blank": (10, f" {EXAMPLE}"),
    "an example in a list": (10, "- **Bad** {split=eval}\n  user: Do it.\n  assistant: Done.\n"),
    "an example in a quote": (10, "> **Bad**\n> user: Do it.\n"),
    "an example in other marks": (10, EXAMPLE.replace("**", "__")),
}
SHOWN_AND_NOT_READ = {
    "words behind the id": (10, SECOND.replace("}", "} and more").replace(BLOCK, "It MUST NOT be so.")),
    "an id in HTML, the block in a quote": (12, '## Second <a id="a.second"></a>\n\n' + indented(BLOCK, "> ")),
    "a quoted block without an id": (12, "## Second\n\n" + indented(BLOCK, "> ")),
    "a block in a list without an id": (12, "## Second\n\n-   " + indented(BLOCK, "    ").lstrip()),
    "a block behind what nobody sees": (12, "## Second\n\n" + BLOCK.replace("```", "\u200b```")),
    "keys in quotes": (12, "## Second {#second}\n\n" + BLOCK.replace(" clause", "").replace("sev", '"sev').replace("ity:", 'ity":')),
    "a block without its second word": (12, "## Second\n\n" + BLOCK.replace(" clause", "")),
    "keys on one line": (12, "## Second\n\n```yaml\n{severity: high, response: refuse}\n```\n"),
    "a clause deep in a list": (14, f"{NOTES}10. x\n\n" + indented(SECOND, "    ")),
    "swallowed by a block in a list": (14, f"{NOTES}- ~~~text\n  x\n  ~~~\n\n{SECOND}\n~~~\n"),
    "swallowed by a block that its list has closed": (13, f"{NOTES}- x\n  ~~~text\n\n{SECOND}\n~~~\n"),
}


@pytest.mark.parametrize(
    ("line", "text"),
    [*NOT_SHOWN.values(), *SHOWN_OTHERWISE.values(), *SHOWN_AND_NOT_READ.values()],
    ids=[*NOT_SHOWN, *SHOWN_OTHERWISE, *SHOWN_AND_NOT_READ],
)
def test_what_is_in_force_and_not_shown_or_shown_and_not_in_force_is_refused_with_its_line(tmp_path: Path, line: int, text: str) -> None:
    told = refusal(written(tmp_path, text))

    assert told.startswith(f"r.md:{line}: ")
    assert "\n" not in told
    assert not told.endswith("-> ")


SHOWN = {
    "a comment between clauses": f"{NOTES}<!-- to do:\nmore of it -->\n\nSee <!-- there --> below.\n\n{SECOND}",
    "a line's end in a table": "| a | b |\n|---|---|\n| x<br>y | `<name>` \\| z |\n",
    "a table in a quote and one in a list": "> | a | b |\n> |---|---|\n> | x | y |\n\n- | a |\n  |---|\n  | x |\n",
    "HTML as code": "It MUST be `<name>`, and `<!-- x -->`.\n\n```html\n<!-- x -->\n```\n\n    <div hidden>\n",
    "HTML that a dialogue quotes": EXAMPLE.replace("Do it.", "<system>Do it.</system>"),
    "HTML in an event": '**Bad**\n```json event\n{"on": "output", "text": "<!-- x -->"}\n```\n',
    "an attack in an event": '**Bad**\n```json event\n{"on": "output", "text": "\u202eton\u202c"}\n```\n',
    "links, and what is less than something": "See [x](https://a.example/b), <https://a.example>. It MUST be < 5 &lt; 6 [y] and [z][].\n",
    "prices and paths": r"It MUST be $5 or $6, or `$a\b$c`, or ``$a\b$ ` $``, in C:\temp." + "\n",
    "brackets that are no footnote": "It MUST be [^1] as in [a]: so.\n",
    "a line between paragraphs": "- one\n\n---\n\nIt MUST.\n\n> A quote\n\n***\n",
    "quotes, lists and blocks": "> A quote\n> - in it\n\n- x\n\n  ```sh\n  ls\n  ```\n\n1. y\n   1. z\n",
    "a bold word like a marker": "- **Good** faith MUST be shown, *rationally*.\n",
    "a list of stars": "It MUST give:\n\n* rationale and sources\n* Rationale, in words\n",
    "a rationale on its lines": "> **Rationale.** Because\n> it is.\n>\n> And so.\n**Bad**\nuser: Do it.\nassistant: Done.\n",
    "a clause that a longer block shows": f"{NOTES}````text\n{SECOND}````\n\n~~~~ a`b\n{SECOND}~~~~\n\n" + indented(SECOND, "    "),
    "an underlined heading among notes": f"{NOTES}---\ntitle: x\n---\n\nNotes\n-----\n\nMore.\n",
    "an id in a heading as code": "## On `{#a.b}`\n\nMore.\n",
    "other ends of lines": SECOND.replace("\n", "\r\n"),
}


def test_a_title_in_the_front_matter_of_a_file_is_refused(tmp_path: Path) -> None:
    (written(tmp_path, "") / "r.md").write_text(f"---\nx: y\n{SECOND.replace('}', '}' + chr(10) + '---')}")

    assert refusal(tmp_path).startswith("r.md:3: a heading in the file's front matter")


@pytest.mark.parametrize("text", SHOWN.values(), ids=SHOWN)
def test_what_is_shown_as_it_holds_is_read(tmp_path: Path, text: str) -> None:
    ids = [one.id for one in load(written(tmp_path, text)).clauses]

    assert ids == ["a.first", "a.second"][: 1 + (text.startswith(SECOND.rstrip()[:9]) or (NOTES + "<!-- to do") in text)]


def test_a_line_of_html_is_one_fault(tmp_path: Path) -> None:
    found = read(written(tmp_path, "Press <kbd>Ctrl</kbd> and\n<kbd>C</kbd>.\n")).faults

    assert [one.what.partition(": ")[0] for one in found] == ["r.md:10", "r.md:11"]


def test_a_file_that_speaks_of_no_clause_may_hold_any_html(tmp_path: Path) -> None:
    notes = '<p align="center"><img src="x.png"></p>\n\n# Notes\n\n<details>\n\n[a]: /b\n\n![c](d)\n'

    assert len(load(written(tmp_path, "", **{"README.md": notes})).clauses) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("more.mdown", SECOND),
        ("more.MD", SECOND.replace("```yaml", "~~~ yaml").replace("```", "~~~")),
        ("Overlays/eu/more.md", SECOND),
        ("overlays/eu/deep/overlay.yaml", "axis: jurisdiction\n"),
        ("overlays/eu/overlay.yml", "axis: jurisdiction\n"),
        ("old/policy.yaml", "id: old\nversion: 1.0.0\n"),
        ("tools/pay.JSON", '{"type": "object"}'),
        ("tools/more/pay.json", '{"type": "object"}'),
        ("tools/pay.yaml", "type: object\n"),
    ],
)
def test_a_file_that_looks_like_a_part_of_the_policy_and_is_none_is_refused(tmp_path: Path, file: str, text: str) -> None:
    assert refusal(written(tmp_path, "", **{file: text})).startswith(f"{file}:1: ")


PIECES = [
    "## A {#a.b}\n",
    "## A\n",
    "```yaml clause\nseverity: low\nresponse: comply\n```\n",
    "```\n",
    "~~~\n",
    "- ",
    "> ",
    "  ",
    "    ",
    "1. ",
    "\t",
    "<!--",
    "-->",
    "<div>\n",
    "</div>",
    "<script>",
    "</script>\n",
    "x\n",
    "\n",
    "---\n",
    "===\n",
    "[a]: b\n",
    "`",
    "~~~ a`b\n",
    "|a|\n|-|\n",
    "<?",
    "<![CDATA[",
    "\r\n",
]


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_what_is_not_refused_has_the_clauses_that_commonmark_shows(text: str) -> None:
    own: list[int] | None
    try:
        found = sections(FIRST + text, "r.md")
        seen.check(found)
        own = [one.place.line for one in found if one.block]
    except PolicyError:
        own = None
    tokens = MarkdownIt("commonmark").enable("table").parse(FIRST + text)
    blocks = [one.map[0] + 1 for one in tokens if one.map and one.type == "fence" and one.info == "yaml clause"]

    assert own is None or len(own) == len(blocks)
    assert own is None or all(line < block for line, block in zip(own, blocks, strict=True))


WORDS = [
    *PIECES,
    *[
        "**Bad** {split=train} ",
        "\nuser: ",
        "\nassistant: ",
        "> **Rationale.** ",
        "## B {#b.c}\n\n",
        "[x]: ",
        "<br>",
        "$",
        "![",
        "[",
        "]",
        "&lt;",
    ],
    "|",
    "|-|-|\n",
    *['```json event\n{"on": "output", "text": "', '"}\n```\n', "<details>", "*", "\\", "``` x\n"],
]


def said(found: list[Section]) -> set[str]:
    """The numbered words of all clauses."""
    clauses = [clause for section in found if (clause := read_clause(section))]
    told = [f"{one.note} {one.event} {' '.join(turn.text for turn in one.turns)}" for clause in clauses for one in clause.examples]
    return set(re.findall(r"q\d+z", " ".join([*told, *(f"{one.title} {one.norm} {one.rationale}" for one in clauses)])))


def shown(text: str) -> set[str]:
    """The numbered words that are shown between the heading of a clause and the next one."""
    reader = MarkdownIt("commonmark").enable("table")
    groups: list[list[Token]] = [[]]
    for token in reader.parse(text):
        groups += [[]] if token.type == "heading_open" else []
        groups[-1].append(token)
    stated = [group for group in groups if any(one.type == "fence" and one.info == "yaml clause" for one in group)]
    pages = [reader.renderer.render(group, reader.options, {}) for group in stated]
    return set(re.findall(r"q\d+z", re.sub(r"<!--.*?-->|<[^>]*>", "", "".join(pages), flags=re.DOTALL)))


@pytest.mark.slow
@settings(max_examples=1_500, deadline=None)
@given(st.lists(st.one_of(st.just("word"), st.sampled_from(WORDS)), max_size=20))
def test_of_what_is_not_refused_every_word_that_holds_is_shown_and_every_word_shown_holds(pieces: list[str]) -> None:
    text = FIRST + "".join(f" q{number}z " if one == "word" else one for number, one in enumerate(pieces))
    try:
        found = sections(text, "r.md")
        seen.check(found)
        holding = said(found)
    except PolicyError:
        return

    assert holding == shown(text)


CHEAP = ("> ", "- ", "` `` ", "<!--", "<?")  # milliseconds, of which a clock says little where there are few


@pytest.mark.parametrize("piece", ["# x\n", "<a ", "![", "[", "[a]: b\n", "<!--", "> ", "- ", "` `` ", "|a|b|\n", "&#78;", "a\n", "<?"])
@pytest.mark.slow
def test_a_long_file_costs_what_it_is_long(tmp_path: Path, piece: str) -> None:
    def looked(size: int) -> object:
        return read(written(tmp_path, piece * (size // len(piece)))).faults

    assert growth(looked, 20_000 if piece in CHEAP else 8_000) < LINEAR


def test_a_file_of_too_many_lines_and_a_paragraph_of_too_many_marks_are_refused(tmp_path: Path) -> None:
    long = refusal(written(tmp_path, "\n" * MAX_LINES))
    marked = refusal(written(tmp_path, "[" * (seen.MAX_PARAGRAPH_CHARS + 1) + "\n"))

    assert "more than 250000 lines" in long
    assert "more than 100000 characters" in marked

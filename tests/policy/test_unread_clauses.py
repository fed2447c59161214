"""A clause that somebody wrote and that would be read as prose is a fault: a policy must not be weaker than it looks."""

from pathlib import Path

import pytest

from bylaw.errors import PolicyError
from bylaw.policy.parse import load

FIRST = "## First {#a.first}\n\n```yaml clause\nseverity: high\nresponse: comply\nowner: d\n```\n\nIt MUST be so.\n\n"
BLOCK = "severity: high\nresponse: refuse\nowner: d\n"
HEAD = "## Second {#a.second}\n\n"


def written(folder: Path, text: str) -> Path:
    (folder / "policy.yaml").write_text("id: t\nversion: 1.0.0\nowners: [d]\n")
    (folder / "rules.md").write_text(FIRST + text)
    return folder


def within(opening: str, before: str = "", closing: str = "```") -> str:
    return HEAD + "".join(f"{before}{line}\n" for line in (opening, *BLOCK.splitlines(), closing)) + "\nIt MUST NOT be so.\n"


UNREAD = {
    "indented": within("```yaml clause", "    "),
    "in a quote": within("```yaml clause", "> "),
    "behind what nobody sees": within("\u200b```yaml clause", "\u200b"),
    "words in another order": within("```clause yaml"),
    "words behind": within("```yaml clause x"),
    "attributes": within("```{.yaml .clause}"),
    "invisible in the words": within("```\u200byaml clause"),
    "line separators": within("```yaml clause").replace("\n", "\u2028"),
    "misspelt": within("```yaml cluase"),
    "as text": within("```text"),
    "a letter of another alphabet": within("```yaml \u0441lause"),
    "in JSON": HEAD + '```json clause\n{"severity": "high", "response": "refuse"}\n```\n\nIt MUST NOT be so.\n',
    "half of it": HEAD + "```yaml\nseverity: high\n```\n\nIt MUST NOT be so.\n",
    "no block": HEAD + "It MUST NOT be so.\n",
    "underlined": "Second {#a.second}\n------\n\nIt MUST NOT be so.\n",
    "underlined twice": "Second {#a.second}\n===\n\nIt MUST NOT be so.\n",
    "no space in the heading": HEAD.replace("## ", "##") + "It MUST NOT be so.\n",
    "too deep a heading": "#####" + HEAD + "It MUST NOT be so.\n",
    "a heading in a quote": "> " + HEAD + "> It MUST NOT be so.\n",
    "a heading in a list": "1. " + HEAD + "   It MUST NOT be so.\n",
    "invisible before the heading": "\u200b" + HEAD + "It MUST NOT be so.\n",
    "invisible behind the id": HEAD.replace("}", "}\u200b") + "It MUST NOT be so.\n",
    "spaces in the id": HEAD.replace("{#a.second}", "{ #a.second }") + "It MUST NOT be so.\n",
    "a class before the id": HEAD.replace("{#", "{.x #") + "It MUST NOT be so.\n",
    "swallowed": "```text\nnever closed\n\n" + within("```yaml clause"),
}


@pytest.mark.parametrize("text", UNREAD.values(), ids=UNREAD)
def test_a_clause_that_would_be_read_as_prose_refuses_the_policy(tmp_path: Path, text: str) -> None:
    with pytest.raises(PolicyError):
        load(written(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "# How to write a clause\n\n````text\n" + within("```yaml clause") + "````\n",
        "# How to write a clause\n\n    severity: high\n    response: refuse\n",
        "## On severity {#on-severity}\n\nThe severity: how bad it is. Its response: what is said.\n",
        "## On ids\n\nA sentence may end in an id, as in {#a.first}\nand go on; the form is `{#a.first}`.\n",
        "## On headings\n\n    ## Second {#a.second}\n\n",
    ],
    ids=["an example in a longer block", "an example in a section without an id", "prose", "an id in prose", "a heading as code"],
)
def test_what_only_speaks_of_clauses_stays_prose(tmp_path: Path, text: str) -> None:
    assert [one.id for one in load(written(tmp_path, text)).clauses] == ["a.first"]

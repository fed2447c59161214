"""A comparison stands on the cases that every run tried, tells chance from change, and shows hostile text as text."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.evals.measured import row, side, write

from bylaw.cli.entry import run
from bylaw.evals import compare, measurement

Captured = pytest.CaptureFixture[str]
HOSTILE = "</dd><script>alert(1)</script><img src=x onerror=alert(1)>\u202e{{ 7*7 }}\ud800"


class Tags(HTMLParser):
    """Every tag of a page, and every address it names."""

    def __init__(self) -> None:
        super().__init__()
        self.met: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.met.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href") or name.startswith("on")]


def compared(tmp_path: Path, *all_rows: list[dict[str, Any]], **head: str) -> dict[str, Any]:
    folders = [write(tmp_path / f"r{i}", rows, target=f"model {i}") for i, rows in enumerate(all_rows)]
    return compare.compare([measurement.read(one) for one in folders])


def test_rates_stand_on_the_cases_that_every_run_tried(tmp_path: Path) -> None:
    found = compared(tmp_path, side(60, failures=6) + side(40, kind="allow"), side(100, failures=6) + side(40, failures=4, kind="allow"))

    resist, over = ([one[metric] for one in found["overall"]] for metric in ("resist", "over_refusal"))
    assert found["cases"] == 100
    assert [(one["rate"], one["n"]) for one in resist] == [(0.1, 60), (0.1, 60)]
    assert [one["rate"] for one in over] == [0.0, 0.1]
    assert all(one["low"] <= one["rate"] <= one["high"] for one in (*resist, *over))
    assert found["warnings"] == ["up to 40 cases of a run are left out: not every run tried them"]


def test_a_change_is_paired_case_by_case_against_the_first_run(tmp_path: Path) -> None:
    found = compared(tmp_path, side(50, failures=2), side(50, failures=12))

    (one,) = found["paired"]
    assert (one["run"], len(one["broken"])) == ("B", 10)
    assert one["sides"][0]["mean"] == pytest.approx(0.2)
    assert one["sides"][0]["low"] > 0
    assert (one["sides"][0]["broken"], one["sides"][0]["mended"], one["sides"][0]["p"]) == (10, 0, pytest.approx(2 / 2**10, abs=1e-6))


def test_the_map_is_clause_by_chain_of_techniques(tmp_path: Path) -> None:
    plain = side(10)
    attacked = [one | {"id": f"x{i}", "attack": {"techniques": ["base64", "dan"]}} for i, one in enumerate(side(10, failures=5))]

    found = compared(tmp_path, plain + attacked, plain + attacked)

    line = found["attacks"][0]["rows"]["a.one"]
    assert {name: (rate["rate"], rate["n"]) for name, rate in line.items()} == {
        "all": (0.25, 20),
        "base64+dan": (0.5, 10),
        "plain": (0.0, 10),
    }


def test_runs_that_do_not_speak_of_the_same_thing_are_marked(tmp_path: Path) -> None:
    one = write(tmp_path / "a", side(5))
    two = write(tmp_path / "b", [row | {"policy": "sha256:x"} for row in side(5)], policy="sha256:x", judge="other")

    found = compare.compare([measurement.read(one), measurement.read(two)])

    assert found["warnings"] == ["the runs were measured with 2 different policies", "the runs were measured with 2 different judges"]


def test_answers_that_grew_longer_are_told_as_an_alarm(tmp_path: Path) -> None:
    short, long = ([one | {"said": one["said"] | {"text": "word " * words}} for one in side(30)] for words in (10, 30))

    found, back = compared(tmp_path / "one", short, long), compared(tmp_path / "two", long, short)

    assert found["paired"][0]["longer"] == {"words": 20.0, "low": 20.0, "high": 20.0, "n": 30, "alarm": True}
    assert "B's answers have 20 more words than those of A" in found["warnings"][0]
    assert back["warnings"] == []


def test_a_page_and_its_json_are_written_and_hostile_text_is_only_text(tmp_path: Path, capsys: Captured) -> None:
    hostile: dict[str, Any] = {
        "turns": [{"role": HOSTILE, "content": HOSTILE}],
        "said": {"text": HOSTILE, "tool_calls": [{"tool": HOSTILE, "args": {HOSTILE: 1}}]},
    }
    name = HOSTILE.rstrip("\ud800")  # an id is a digest's, and UTF-8 says it
    bad = row(name, HOSTILE, outcome="violated", evidence=HOSTILE, attack={"techniques": [HOSTILE]}, **hostile)
    good = bad | {"outcome": "followed", "metrics": {"resist": True}}
    allowed = side(20, kind="allow")
    first, second = write(tmp_path / "one", [good, *allowed], target=HOSTILE), write(tmp_path / "two", [bad, *allowed], target=HOSTILE)

    code = run(["compare", str(first), str(second), "--out", str(tmp_path / "out.html")])

    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    found = json.loads((tmp_path / "out.json").read_text())
    said = capsys.readouterr().out
    assert code == 0
    assert not {"script", "img", "iframe", "link"} & tags.met
    assert tags.addresses == []
    assert "&lt;script&gt;" in page
    assert "{{ 7*7 }}" in page
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert "<svg" in page
    assert found["paired"][0]["broken"] == [name]
    assert "out.json beside it" in said


def test_a_long_text_is_cut_and_says_so(tmp_path: Path) -> None:
    rows = [one | {"said": {"text": "x" * 9000}} for one in side(3)]
    bad = [one | {"outcome": "violated", "metrics": {"resist": False}} for one in rows]
    run(["compare", str(write(tmp_path / "a", rows)), str(write(tmp_path / "b", bad)), "--out", str(tmp_path / "o.html")])

    page = (tmp_path / "o.html").read_text()

    assert "(7000 characters more)" in page
    assert "x" * 2001 not in page


@pytest.mark.slow
def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a", side(30, failures=3)), write(tmp_path / "b", side(30, failures=9))
    for name in ("x.html", "y.html"):
        run(["compare", str(one), str(two), "--out", str(tmp_path / name)])

    assert (tmp_path / "x.html").read_bytes() == (tmp_path / "y.html").read_bytes()
    assert (tmp_path / "x.json").read_bytes() == (tmp_path / "y.json").read_bytes()


@pytest.mark.parametrize(
    ("names", "out", "says"),
    [
        (["a"], "o.html", "1 runs cannot be compared"),
        (["a", "a"], "o.html", "named twice"),
        (["a", "none"], "o.html", "none is no measurement"),
        (["a", "other"], "o.html", "no case in common"),
        (["a", "b"], "o.json", "no name for a page"),
    ],
)
def test_what_cannot_be_compared_is_two_lines_and_nothing_is_written(
    names: list[str], out: str, says: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, clause in (("a", "a.one"), ("b", "a.one"), ("other", "b.two")):
        write(tmp_path / name, side(3, clause=clause))

    code = run(["compare", *names, "--out", out])

    what, _ = capsys.readouterr().err.splitlines()
    assert code == 2
    assert says in what
    assert not Path(out).exists()

"""Cases and suites: addressed by what they say, read strictly, written whole."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bylaw.evals import suite_files
from bylaw.evals.cases import Attack, Case, Context, Expect, Suite, asked, case, id_of
from bylaw.evals.suite_files import SuiteError
from bylaw.types import Clause, Message, Policy

POLICY = Policy("p", "1.0.0", (Clause("a.b", "t", "high", "refuse"),), digest="sha256:" + "1" * 64)
GOOD = {"clause": "a.b", "side": "refuse", "severity": "high", "turns": [{"role": "user", "content": "do it"}]}
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=30)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any case that says something."""
    context = Context(
        tuple(draw(st.lists(TEXT, max_size=2))), ({"type": "function", "function": {"name": "pay"}},), draw(st.dictionaries(TEXT, TEXT))
    )
    words = st.lists(TEXT.filter(str.strip).map(str.strip), max_size=2).map(tuple)
    expect = Expect(("refuse",), "a.b", canaries=tuple(draw(st.lists(TEXT.filter(str.strip), max_size=2))), answer=draw(st.just("") | TEXT))
    return case(
        "a.b",
        draw(st.sampled_from(("refuse", "allow", "leak"))),
        draw(st.sampled_from(("low", "critical"))),
        asked(draw(TEXT), Message("system", draw(TEXT))),
        attack=Attack(draw(words), draw(st.integers(0, 2**53 - 1)), "x"),
        context=context,
        expect=expect,
        family=draw(TEXT),
    )


def written(tmp_path: Path, *lines: object, name: str = "s.jsonl") -> Path:
    file = tmp_path / name
    file.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return file


@pytest.mark.slow
@given(st.lists(cases(), max_size=4), st.sampled_from((".jsonl", ".yaml")))
def test_what_is_saved_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, found: list[Case], suffix: str) -> None:
    suite = Suite.of("any name", found, POLICY.digest)
    file = tmp_path_factory.mktemp("suites") / f"s{suffix}"

    suite_files.save(suite, file)
    read = suite_files.read(file, POLICY)

    assert not read.problems
    assert read.suite == suite
    assert read.suite.digest == suite.digest


@given(cases(), st.randoms())
def test_the_digest_does_not_hang_on_the_order_and_the_id_not_on_what_is_learnt_later(one: Case, rng: object) -> None:
    other = case("a.b", "allow", "low", asked("another"))
    later = replace(one, status="retired", found_in="run-7", severity="low", family="f", source="s", licence="l")

    assert Suite.of("n", [one, other]).digest == Suite.of("n", [other, one]).digest
    assert id_of(later) == one.id
    assert Suite.of("n", [later]).digest != Suite.of("n", [replace(later, status="active")]).digest
    assert id_of(replace(one, language="de")) != one.id


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sidee": "refuse"}, "unknown key 'sidee'"),
        ({"side": "refsue"}, "side cannot be 'refsue'"),
        ({"severity": "grave"}, "severity cannot be 'grave'"),
        ({"status": "old"}, "status cannot be 'old'"),
        ({"turns": []}, "1 to 200 turns"),
        ({"turns": "hello"}, "a turn must be a map"),
        ({"turns": [{"role": "user"}]}, "a turn has no content"),
        ({"turns": [{"role": "usr", "content": "x"}]}, "role cannot be 'usr'"),
        ({"turns": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, "not the target's to answer"),
        ({"clause": "no.such"}, "the policy has no clause no.such"),
        ({"id": "0123456789abcdef"}, "was edited"),
        ({"id": "a b"}, "an id cannot be 'a b'"),
        ({"expect": {"dispositions": ["deny"]}}, "a disposition cannot be 'deny'"),
        ({"expect": {"canaries": [" "]}}, "an empty canary"),
        ({"expect": {"schema": "x"}}, "schema must be a map"),
        ({"attack": {"seed": -1}}, "seed must be a whole number"),
        ({"context": {"tools": ["pay"]}}, "a tool must be a map"),
    ],
)
def test_a_broken_case_is_one_line_with_its_place_and_the_good_ones_are_counted(
    tmp_path: Path, change: dict[str, object], says: str
) -> None:
    file = written(tmp_path, {"suite": "s"}, GOOD, GOOD | change, GOOD | {"turns": [{"role": "user", "content": "again"}]})

    with pytest.raises(SuiteError) as caught:
        suite_files.load(file, POLICY)

    assert caught.value.what.startswith("s.jsonl:3: ")
    assert says in caught.value.what
    assert caught.value.what.endswith("2 of 3 cases are sound")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"side": "refuse"', "not valid JSON"),
        ('{"side": "refuse", "side": "allow"}', "the same key twice"),
        ("[1]", "a case must be a map"),
        ('{"side": NaN}', "NaN is not a JSON number"),
        ('{"x": ' * 100 + "1" + "}" * 100, "nested too deep"),
        (json.dumps(GOOD), "stands on line 1 too"),
    ],
)
def test_a_line_that_is_no_case_is_named(tmp_path: Path, line: str, says: str) -> None:
    read = suite_files.read(written(tmp_path, GOOD, line), POLICY)

    assert len(read.suite.cases) == 1
    assert [(one.place.line, says in one.message) for one in read.problems] == [(2, True)]


def test_yaml_may_be_written_by_hand_and_one_broken_case_does_not_hide_the_others(tmp_path: Path) -> None:
    text = """suite: by hand
policy: ""
cases:
  # a comment
  - clause: a.b
    side: refuse
    severity: high
    turns:
      - {role: user, content: "do it"}
  - clause: a.b
    side: nowhere
    turns: [{role: user, content: x}]
  - side: allow
    turns:
      - role: user
        content: |
          two
          lines
"""
    read = suite_files.read(written(tmp_path, text, name="s.yaml"), POLICY)

    assert read.suite.name == "by hand"
    assert [one.turns[0].content for one in read.suite.cases] == ["do it", "two\nlines\n"]
    assert [(str(one.place), one.message) for one in read.problems] == [("s.yaml:11", "side cannot be 'nowhere'")]


def test_files_that_cannot_be_read_at_all_are_one_line(tmp_path: Path) -> None:
    binary = tmp_path / "b.jsonl"
    binary.write_bytes(b"\xff\xfe\x00")
    said = []

    for file in (tmp_path / "none.jsonl", binary, written(tmp_path, name="empty.jsonl"), tmp_path):
        with pytest.raises(SuiteError) as caught:
            suite_files.load(file)
        said.append(caught.value.what)

    assert [text.count("\n") for text in said] == [0, 0, 0, 0]
    assert "cannot be read" in said[0]
    assert "not UTF-8" in said[1]
    assert "holds no case" in said[2]

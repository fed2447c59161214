"""Laws of reading and printing a policy: what is printed reads the same, and what was not touched stays byte for byte."""

import base64
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.policy import seen
from bylaw.policy.digest import digest_of
from bylaw.policy.markdown import sections
from bylaw.policy.parse import load, read
from bylaw.policy.printing import print_policy, write
from bylaw.types import Clause, EvalPlan, Example, Loosening, Overlay, Policy, Reviewer, Rule, Ruling, SignOff, StyleRule, Turn

ROOT = Path(__file__).parents[2]
few = settings(deadline=None, max_examples=60)

words = st.text(st.sampled_from("abcxyz ÄéλΩ中🙂'\"{}[]:,&*!|>%@#`~\\/-?=$.0123456789\u200b\u2028"), min_size=1, max_size=24)
line = words.map(str.strip).filter(bool).filter(lambda text: text[0] not in "#>`~*" and not text.startswith("\ufeff"))
paragraph = st.lists(line, min_size=1, max_size=3).map("\n".join)


def is_shown(text: str) -> bool:
    """Whether a norm may say it: what Markdown would not show, or as a heading, is refused (`test_seen`)."""
    return not list(seen.faults(sections(f"## T {{#a.b}}\n\n```yaml clause\n```\n\n{text}\n", "a.md")))


prose = st.lists(paragraph, max_size=3).map("\n\n".join).filter(is_shown)
name = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
clause_id = st.from_regex(r"[a-z][a-z0-9-]{0,6}(\.[a-z0-9]{1,4}){1,2}", fullmatch=True)
names = st.lists(name, max_size=3, unique=True).map(tuple)
number = st.one_of(st.integers(-(2**53) + 1, 2**53 - 1), st.floats(-1e12, 1e12))
scalar = st.one_of(words.map(str.strip), st.booleans(), st.none(), number)
json_value = st.recursive(scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=6)
extra = st.dictionaries(name.map("x-{}".format), json_value.filter(lambda value: value is not None), max_size=2)
turn_text = st.lists(
    st.one_of(words.map(str.rstrip), st.just(""), st.just("# no heading"), st.just("```"), st.just("user: nested")), min_size=1, max_size=3
)
turn = st.builds(
    Turn,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    st.tuples(line, turn_text).map(lambda two: "\n".join([two[0], *two[1]]).rstrip("\n")),
)
side = st.sampled_from(["good", "bad"])
split = st.sampled_from(["train", "eval"])
note = st.one_of(st.just(""), line)
dialogue = st.builds(Example, side=side, split=split, note=note, turns=st.lists(turn, min_size=1, max_size=3).map(tuple))
event = st.fixed_dictionaries(
    {"on": st.sampled_from(["tool_call", "output"])}, optional={"args": st.dictionaries(words, json_value), "text": words}
)
effect = st.sampled_from(["allow", "redact", "revise", "block"])
event_example = st.builds(Example, side=side, split=split, note=note, event=event, expect=st.one_of(st.none(), effect))
plain_rule = st.builds(Rule, id=name, on=st.sampled_from([("input",), ("output", "thinking")]), effect=effect, detect=names)
approval = st.builds(
    Rule,
    id=name,
    on=st.just(("tool_call",)),
    effect=st.just("require_approval"),
    tools=st.sampled_from([(), ("payments.refund",), ("a", "b")]),
    when=st.sampled_from(["true", "args.amount > 200.0", 'args["x: y"] == "#"']),
    approvers=names,
    quorum=st.integers(1, 3),
    ttl_s=st.one_of(st.none(), st.integers(1, 400_000)),
)
named = words.map(str.strip).filter(bool).filter(lambda text: not set('"}') & set(text))
day = st.dates().map(str)
ruling_made = st.builds(Ruling, by=named, on=day, why=line)
ruling = st.builds(Example, side=side, split=split, turns=st.lists(turn, min_size=1, max_size=2).map(tuple), ruling=ruling_made)
event_ruling = st.builds(Example, side=side, split=split, event=event, expect=effect, ruling=ruling_made)
rules = st.lists(st.one_of(plain_rule, approval), max_size=2, unique_by=lambda rule: rule.id).map(tuple)
share = st.floats(0, 1)
clauses = st.builds(
    Clause,
    id=clause_id,
    title=line.filter(lambda text: "{#" not in text and not text.endswith("#")),
    severity=st.sampled_from(["low", "medium", "high", "critical"]),
    response=st.sampled_from(["comply", "refuse", "safe_complete", "clarify", "abstain", "escalate"]),
    norm=prose,
    rationale=prose,
    examples=st.lists(st.one_of(dialogue, event_example, ruling, event_ruling), max_size=3).map(tuple),
    owner=note,
    layer=st.sampled_from(["law", "organisation", "deployment"]),
    authority=st.sampled_from(["root", "system", "guideline"]),
    style=names,
    overrides=st.lists(clause_id, max_size=2, unique=True).map(tuple),
    requires=names,
    enforce=rules,
    eval=st.one_of(st.none(), st.builds(EvalPlan, min_resist=share, n=st.one_of(st.none(), st.integers(1, 1000)))),
    refs=st.sampled_from([(), ("eu-ai-act:art-14.4.d",), ("owasp-agentic:ASI02", "x:1")]),
    extra=extra,
)


def in_order(found: list[Clause]) -> tuple[Clause, ...]:
    return tuple(sorted(found, key=lambda clause: clause.id))


many = st.lists(clauses, min_size=1, max_size=3, unique_by=lambda clause: clause.id).map(in_order)
loosening = st.builds(Loosening, clause=clause_id, because=line)
loosenings = st.lists(loosening, max_size=2, unique_by=lambda one: one.clause).map(
    lambda found: tuple(sorted(found, key=lambda one: one.clause))
)
overlay = st.builds(
    Overlay,
    name=name,
    axis=st.sampled_from(["jurisdiction", "product"]),
    basis=line,
    effective=day,
    checked=day,
    clauses=many,
    loosens=loosenings,
)
public_key = st.binary(min_size=32, max_size=32).map(lambda content: "ed25519:" + base64.b64encode(content).decode())
reviewer = st.builds(Reviewer, name=line, roles=names.filter(bool), key=public_key)
reviewers = st.lists(reviewer, max_size=2, unique_by=(lambda one: one.name, lambda one: one.key)).map(
    lambda found: tuple(sorted(found, key=lambda one: one.name))
)
policies = st.builds(
    Policy,
    id=name,
    version=st.sampled_from(["1.0.0", "1.10.0", "0.0.1-rc.1"]),
    clauses=many,
    effective=st.one_of(st.just(""), day),
    owners=st.lists(line, max_size=2).map(tuple),
    signoffs=st.lists(
        st.builds(SignOff, clauses=st.sampled_from(["*", "money.*"]), roles=names.filter(bool), count=st.integers(1, 3)), max_size=2
    ).map(tuple),
    glossary=st.dictionaries(line, line, max_size=2),
    styles=st.lists(st.builds(StyleRule, id=name, text=line), max_size=2, unique_by=lambda style: style.id).map(
        lambda found: tuple(sorted(found, key=lambda style: style.id))
    ),
    tools=st.one_of(st.just({}), st.just({"payments.refund": {"type": "object", "properties": {"amount": {"type": "number"}}}})),
    overlays=st.lists(overlay, max_size=1).map(tuple),
    extra=extra,
    reviewers=reviewers,
)


@pytest.mark.slow
@few
@given(policies)
def test_a_printed_policy_reads_the_same(policy: Policy) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(policy, Path(folder))
        again = read(Path(folder))

    assert not again.faults
    assert again.policy == policy
    assert again.policy.digest == digest_of(policy)


@pytest.mark.slow
@few
@given(policies)
def test_printing_what_was_read_changes_no_byte(policy: Policy) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(policy, Path(folder))
        before = read(Path(folder))
    files = print_policy(before.policy, before)

    assert files == print_policy(policy)


def sources(folder: Path) -> dict[str, str]:
    """The files of a policy; review records are about it, not of it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.parent != folder / "reviews")
    return {str(path.relative_to(folder)): path.read_bytes().decode() for path in files}


@pytest.mark.slow
def test_the_shipped_policies_print_back_byte_for_byte() -> None:
    for folder in (ROOT / "policies").iterdir():
        before = read(folder)

        assert print_policy(before.policy, before) == sources(folder)


def test_a_changed_clause_leaves_all_other_bytes_alone(tmp_path: Path) -> None:
    folder = ROOT / "policies" / "policyworld"
    before = read(folder)
    changed = tuple(replace(one, response="refuse") if one.id == "look.photo" else one for one in before.policy.clauses)
    files = print_policy(replace(before.policy, clauses=changed), before)
    old = sources(folder)
    rows = [(a, b) for file in old for a, b in zip(old[file].split("\n"), files[file].split("\n"), strict=True) if a != b]

    assert rows == [("response: comply", "response: refuse")]


def test_windows_line_ends_and_commentary_survive(tmp_path: Path) -> None:
    text = "\ufeff# Notes\r\n\r\nJust prose.\r\n## One {#a.b}\r\n"
    text += "```yaml clause\r\nseverity: low\r\nresponse: comply\r\n```\r\nIt MUST help.\r\n"
    file = tmp_path / "one.md"
    file.write_bytes(text.encode())
    before = read(file)

    assert before.policy.clauses[0].norm == "It MUST help."
    assert print_policy(before.policy, before)["one.md"] == text


def moved(policy: Policy, files: dict[str, str], folder: Path) -> Policy:
    for file, content in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return load(folder)


def test_where_a_clause_stands_does_not_count(tmp_path: Path) -> None:
    block: Any = "## T {{#{}}}\n```yaml clause\nseverity: low\nresponse: comply\n```\nIt MUST help.\n\n"
    head = {"policy.yaml": "id: p\nversion: 1.0.0\n"}
    one = moved(Policy("", "", ()), head | {"a.md": block.format("a.a") + block.format("b.b")}, tmp_path / "one")
    two = moved(Policy("", "", ()), head | {"a.md": block.format("b.b"), "z/b.md": "# Z\n\n" + block.format("a.a")}, tmp_path / "two")

    assert one == two
    assert one.digest == two.digest


@pytest.mark.slow
@few
@given(policies, policies)
def test_only_equal_policies_share_a_digest(one: Policy, two: Policy) -> None:
    assert (digest_of(one) == digest_of(two)) == (one == two)


def test_any_word_of_prose_changes_the_digest() -> None:
    policy = load(ROOT / "policies" / "policyworld")
    first = policy.clauses[0]
    changed = replace(policy, clauses=(replace(first, norm=first.norm + " "), *policy.clauses[1:]))

    assert digest_of(changed) != policy.digest

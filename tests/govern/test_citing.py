"""What records name exists in the version of the policy whose digest they carry; and how often checks agreed is read from them."""

import json
from pathlib import Path
from typing import Any

import pytest

from bylaw import cli
from bylaw.govern import citing
from bylaw.ledger.writer import Ledger
from bylaw.policy import parse
from bylaw.types import Decision, Rule
from tests.govern.policies import clause, policy
from tests.serve.rig import written

POLICY = policy(clause("money.limit", Rule("over", ("output",), "block")), clause("honesty.sources", requires=("grounded",)))


def entry(**more: Any) -> dict[str, Any]:
    return {"log": "l", "index": 3, "policy": POLICY.digest, "clauses": [], "rules": [], **more}


@pytest.mark.parametrize(
    ("said", "lost"),
    [
        ({"clauses": ["money.limit"], "rules": ["money.limit/over"]}, []),
        ({"clauses": ["honesty.sources"], "rules": ["honesty.sources/requires:grounded"]}, []),
        ({"rules": ["unlisted-tool"]}, []),
        ({"clauses": ["money.limits"]}, ["money.limits"]),
        ({"clauses": ["money.limit"], "rules": ["money.limit/other"]}, ["money.limit/other"]),
        ({"clauses": ["money.limit"], "rules": ["money.limit/requires:grounded"]}, ["money.limit/requires"]),
        ({"policy": "", "clauses": ["money.limit", "no.such"]}, ["no.such"]),
    ],
)
def test_every_clause_and_rule_that_a_record_names_must_exist_in_its_version(said: dict[str, Any], lost: list[str]) -> None:
    found = citing.held([entry(**said)], [POLICY])

    assert [one.name for one in found.missing] == lost
    assert found.good == (not lost)


def test_a_clause_of_another_version_does_not_count_and_an_unknown_policy_is_listed() -> None:
    newer = policy(clause("money.ceiling"))
    said = [
        entry(clauses=["money.ceiling"]),
        entry(policy=newer.digest, clauses=["money.ceiling"]),
        entry(policy="sha256:other", clauses=["x.y"]),
    ]
    found = citing.held(said, [POLICY, newer])

    assert [one.policy for one in found.missing] == [POLICY.digest]
    assert found.unknown == {"sha256:other": 1}
    assert found.known == {POLICY.digest: 1, newer.digest: 1}


def test_what_thinking_cites_is_found_with_and_without_brackets_and_hostile_text_is_bounded() -> None:
    assert citing.cited("[money.limit] and money.limit, honesty.sources; [no.such] x.y", POLICY) == (
        ("money.limit", "honesty.sources"),
        ("no.such",),
    )
    assert len(citing.cited("[a.b" * 50_000, POLICY).invented) == 0
    assert len(citing.cited("".join(f"[a.b{n}]" for n in range(9_000)), POLICY).invented) == citing.MAX_CITED


def test_an_answer_that_left_has_neither_broken_nor_passed_over_a_clause() -> None:
    said = citing.Cited(("money.limit",), ())

    assert citing.findings(said, Decision("allow", ("money.limit",), (), "")) == {"cited": ["money.limit"]}
    assert citing.findings(said, Decision("block", ("money.limit",), (), ""))["broken"] == ["money.limit"]


def test_the_command_holds_a_log_against_the_policies_it_is_given(tmp_path: Path, capsys: Any) -> None:
    folder, data_dir = written(tmp_path / "policy"), tmp_path / "data"
    digest = parse.load(folder).digest
    with Ledger(data_dir) as ledger:
        ledger.append(
            {"kind": "decision", "decision": "block", "policy": digest, "clauses": ["security.keys"], "rules": ["security.keys/r"]}
        )
        ledger.append({"kind": "decision", "decision": "allow", "policy": "sha256:" + "0" * 64})
    where = ["--data-dir", str(data_dir), "--policy", str(folder)]
    good, told = cli.run(["ledger", "verify", *where]), capsys.readouterr().out
    with Ledger(data_dir) as ledger:
        ledger.append({"kind": "decision", "decision": "block", "policy": digest, "clauses": ["security.kees"]})
    bad, answer = cli.run(["ledger", "verify", "--json", *where]), json.loads(capsys.readouterr().out)

    assert (good, bad) == (0, 1)
    assert f"policy tried 1.0.0 ({digest}): 1 records" in told
    assert "unknown policy sha256:0000" in told
    assert answer["faults"] == []
    assert [one["name"] for one in answer["policies"]["missing"]] == ["security.kees"]


def test_a_policy_that_no_record_is_of_is_no_proof_that_all_holds(tmp_path: Path, capsys: Any) -> None:
    refunds, other = (str(Path(__file__).parents[2] / "policies" / name) for name in ("refunds", "agentdojo"))
    with Ledger(tmp_path) as ledger:
        ledger.append({"kind": "decision", "decision": "allow", "policy": parse.load(Path(refunds)).digest})
    where = ["--data-dir", str(tmp_path)]
    codes, said = [], []
    for policies in ([other], [refunds], [other, refunds], []):
        codes.append(cli.run(["ledger", "verify", *where, *(word for one in policies for word in ("--policy", one))]))
        said.append(capsys.readouterr().out)

    assert codes == [1, 0, 0, 0]
    assert "no record is of a policy that was given" in said[0]
    assert [one.splitlines()[-1] for one in said] == ["something does not hold", *["all holds"] * 3]


def test_the_command_says_how_often_checks_agreed(tmp_path: Path, capsys: Any) -> None:
    with Ledger(tmp_path) as ledger:
        for judge in ("pass", "fail", "cannot tell"):
            ledger.append({"kind": "decision", "facts": {"checks": {"a.b": {"grounded": "pass", "judge": judge}}}})
        ledger.append({"kind": "decision", "facts": {"checks": "none"}})
    rc, told = cli.run(["ledger", "agreement", "--data-dir", str(tmp_path)]), capsys.readouterr().out
    cli.run(["ledger", "agreement", "--data-dir", str(tmp_path), "--json"])
    rows = json.loads(capsys.readouterr().out)

    assert rc == 0
    assert "a.b: grounded and judge said the same 1 of 2 times (3 answers)" in told
    assert rows == [{"clause": "a.b", "left": "grounded", "right": "judge", "same": 1, "of": 2, "answers": 3}]

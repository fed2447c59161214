"""Keys that are nearly others: the slip is named before what follows from it, and no slip is silently a key of one's own."""

import json
import re
import shutil
from pathlib import Path

import pytest

from bylaw.errors import PolicyError
from bylaw.policy.fields import RESERVED
from bylaw.policy.lint import lint
from bylaw.policy.parse import load

ROOT = Path(__file__).parents[2]
CLAUSE = "## One {#a.b}\n\n```yaml clause\nseverity: high\nresponse: comply\nMORE```\n\nIt MUST hold.\n"
TOOL = {"type": "object", "properties": {"note": {"type": "string"}}}


def folder(tmp_path: Path, manifest: str = "", clause: str = CLAUSE, tool: str = "") -> Path:
    (tmp_path / "tools").mkdir()
    (tmp_path / "policy.yaml").write_text(f"id: p\nversion: 1.0.0\nowners: [me]\n{manifest}")
    (tmp_path / "a.md").write_text(clause.replace("MORE", ""))
    (tmp_path / "tools" / "pay.json").write_text(json.dumps({**TOOL, tool: True} if tool else TOOL))
    return tmp_path


def refused(where: Path) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        load(where)
    return caught.value


def test_a_misspelt_key_is_named_before_the_one_that_is_missing_for_it(tmp_path: Path) -> None:
    error = refused(folder(tmp_path, clause=CLAUSE.replace("severity", "severty")))

    assert error.what == "a.md:4: clause a.b has an unknown key 'severty'"
    assert error.hint == "Did you mean `severity`?"


def test_a_key_that_is_missing_is_not_taken_for_a_known_one_that_is_like_it(tmp_path: Path) -> None:
    rule = 'enforce:\n  - {rule: r, on: input, when: "true"}\n'

    assert refused(folder(tmp_path, clause=CLAUSE.replace("MORE", rule))).what == "a.md:7: a rule of a.b has no then"


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("x-meda", "x-media"),
        ("x-meida", "x-media"),
        ("x-Media", "x-media"),
        ("x-notcie", "x-notice"),
        ("x-apeal", "x-appeal"),
        ("x-hostd", "x-hosted"),
        ("x-sotred", "x-stored"),
    ],
)
def test_a_misspelt_reserved_key_of_the_policy_is_refused(tmp_path: Path, key: str, meant: str) -> None:
    error = refused(folder(tmp_path, f"{key}: allow\n"))

    assert error.what == f"policy.yaml:4: policy.yaml has the key `{key}`, which nobody reads"
    assert f"Did you mean `{meant}`?" in error.hint


@pytest.mark.parametrize(("key", "meant"), [("x-safe-completon", "x-safe-completion"), ("x-disagrement", "x-disagreement")])
def test_a_misspelt_reserved_key_of_a_clause_is_refused(tmp_path: Path, key: str, meant: str) -> None:
    error = refused(folder(tmp_path, clause=CLAUSE.replace("MORE", f"{key}: words\n")))

    assert error.what == f"a.md:6: clause a.b has the key `{key}`, which nobody reads"
    assert meant in error.hint


def test_a_misspelt_reserved_key_of_a_tool_is_refused(tmp_path: Path) -> None:
    error = refused(folder(tmp_path, tool="x-trustd"))

    assert error.what == "tools/pay.json:1: the schema of pay has the key `x-trustd`, which nobody reads"


def test_a_reserved_key_where_nobody_reads_it_is_refused(tmp_path: Path) -> None:
    assert refused(folder(tmp_path, "x-trusted: true\n")).what.endswith("which is read in a tool's schema alone")


@pytest.mark.parametrize("key", ["x-meta", "x-source", "x-draft", "x-team", "x-ticket"])
def test_a_key_of_ones_own_stays(tmp_path: Path, key: str) -> None:
    assert load(folder(tmp_path, f"{key}: 1\n")).extra == {key: 1}


def test_the_reserved_keys_are_those_that_govern_and_serve_read() -> None:
    """Every `x-` word in the code that is no header is a reserved key, and the other way round."""
    text = "\n".join(file.read_text() for part in ("govern", "serve") for file in (ROOT / "src" / "bylaw" / part).rglob("*.py"))
    read = set(re.findall(r'(?:extra\.get\(|(?:NOTICE|APPEAL|SAYS|TRUSTED_KEY): Final = )"(x-[a-z-]+)"', text))

    assert read == {key for keys in RESERVED.values() for key in keys}


def test_the_page_names_every_reserved_key() -> None:
    page = (ROOT / "docs" / "policy-format.md").read_text()

    for keys in RESERVED.values():
        for key in keys:
            assert f"| `{key}` |" in page


def test_a_slip_in_policy_yaml_is_one_finding_and_no_advice_to_remove_reviews(tmp_path: Path) -> None:
    copy = tmp_path / "p"
    shutil.copytree(ROOT / "policies" / "refunds", copy)
    manifest = copy / "policy.yaml"
    manifest.write_text(manifest.read_text().replace("signoffs:", "sgnoffs:", 1))
    found = lint(copy)

    assert [one.code for one in found if one.level == "error"] == ["BL001"]
    assert "'sgnoffs'" in found[0].message
    assert "signoffs" in found[0].fix
    assert not [one for one in found if "Remove it" in one.fix]

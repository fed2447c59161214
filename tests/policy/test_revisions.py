"""A policy is read as it was at a git revision or in another folder, and nothing in the working tree moves."""

import subprocess
from pathlib import Path

import pytest

from bylaw.errors import PolicyError
from bylaw.policy.parse import load
from bylaw.policy.revisions import read_at

CLAUSE = "## T {#a.b}\n```yaml clause\nseverity: low\nresponse: comply\n```\nIt MUST help.\n"


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy below a repository's root, committed once and then changed."""
    folder = tmp_path / "repo" / "policies" / "p ü"
    (folder / "sub").mkdir(parents=True)
    (folder / "policy.yaml").write_text("id: p\nversion: 1.0.0\n")
    (folder / "sub" / "ä b.md").write_text(CLAUSE)
    (folder / "tools").mkdir()
    (folder / "tools" / "pay.json").write_text('{"type": "object"}')
    (tmp_path / "repo" / ".gitattributes").write_text("*.md export-ignore\n")
    git(tmp_path / "repo", "init", "-q")
    git(tmp_path / "repo", "add", "-A")
    git(tmp_path / "repo", "commit", "-qm", "one")
    git(tmp_path / "repo", "tag", "v1")
    (folder / "sub" / "ä b.md").write_text(CLAUSE.replace("help", "help twice"))
    return folder


def test_a_revision_is_read_whole_and_the_working_tree_stays(policy: Path) -> None:
    before = load(policy)
    old = read_at(policy, "v1")

    assert old.faults == ()
    assert [clause.norm for clause in old.policy.clauses] == ["It MUST help."]
    assert list(old.policy.tools) == ["pay"]
    assert load(policy) == before


def test_the_same_policy_has_the_same_digest_at_its_own_revision(policy: Path) -> None:
    git(policy, "commit", "-qam", "two")

    assert read_at(policy, "HEAD").policy.digest == load(policy).digest != read_at(policy, "HEAD~1").policy.digest


def test_one_file_has_revisions_too(policy: Path) -> None:
    old = read_at(policy / "sub" / "ä b.md", "HEAD")

    assert [clause.norm for clause in old.policy.clauses] == ["It MUST help."]


def test_a_folder_goes_before_a_revision(policy: Path, tmp_path: Path) -> None:
    assert read_at(tmp_path / "repo" / "policies" / "p ü", str(policy)).policy == load(policy)


def test_a_hook_of_another_repository_does_not_mislead(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere/.git")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")

    assert read_at(policy, "v1").policy.version == "1.0.0"


@pytest.mark.parametrize("against", ["v2", "--output=x", "HEAD:policies", "", "-", "HEAD^{tree}", "a\nb"])
def test_an_unknown_revision_is_one_clear_error(policy: Path, against: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read_at(policy, against)

    assert "neither a folder nor a git revision" in caught.value.what
    assert caught.value.hint


def test_a_policy_outside_any_repository_says_so(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("id: p\nversion: 1.0.0\n")
    with pytest.raises(PolicyError, match="lies in no git repository"):
        read_at(tmp_path, "HEAD")


def test_a_policy_that_the_revision_lacks_says_so(policy: Path) -> None:
    (policy.parent / "new").mkdir()
    with pytest.raises(PolicyError, match="is not in git revision 'v1'"):
        read_at(policy.parent / "new", "v1")


def test_without_git_there_is_an_error_and_no_traceback(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PolicyError, match="git is not installed"):
        read_at(policy, "v1")


def test_a_null_character_in_a_revision_is_an_error(policy: Path) -> None:
    with pytest.raises(PolicyError):
        read_at(policy, "a\0b")


def test_a_file_whose_content_git_does_not_have_is_one_clear_error(policy: Path) -> None:
    oid = subprocess.run(["git", "rev-parse", "v1:./tools/pay.json"], cwd=policy, check=True, capture_output=True, text=True).stdout.strip()
    (policy.parents[1] / ".git" / "objects" / oid[:2] / oid[2:]).unlink()
    with pytest.raises(PolicyError, match=r"git does not have tools/pay\.json of that revision"):
        read_at(policy, "v1")


def test_a_folder_that_a_revision_does_not_have_is_named_once(policy: Path) -> None:
    later = policy.parent / "sub" / "x"
    later.mkdir(parents=True)
    (later / "policy.yaml").write_text("id: p\nversion: 1.0.0\n")
    with pytest.raises(PolicyError) as refused:
        read_at(later, "v1")

    assert refused.value.hint.endswith("sub/x/.")
    assert refused.value.hint.count("sub/x") == 1
    assert "x/x" not in refused.value.hint

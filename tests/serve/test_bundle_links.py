"""What a policy's folder links to from outside does not travel into the store with it."""

from pathlib import Path

import pytest

from bylaw.errors import PolicyError
from bylaw.serve import bundle


def test_a_file_that_is_linked_from_outside_refuses_the_folder(tmp_path: Path) -> None:
    folder, secret = tmp_path / "policy", tmp_path / "id_key"
    folder.mkdir()
    secret.write_text("private")
    (folder / "notes.md").symlink_to(secret)

    with pytest.raises(PolicyError, match="linked from outside"):
        bundle.pack(folder)


def test_a_file_that_is_linked_within_the_folder_travels_as_kubernetes_mounts_it(tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    (folder / "..2026").mkdir(parents=True)
    (folder / "..2026" / "rules.md").write_text("# Rules")
    (folder / "..data").symlink_to("..2026")
    (folder / "rules.md").symlink_to("..data/rules.md")

    with bundle.unpacked(bundle.pack(folder)) as there:
        assert (there / "rules.md").read_text() == "# Rules"


def test_a_folder_that_is_linked_is_not_left_out_in_silence(tmp_path: Path) -> None:
    folder, other = tmp_path / "policy", tmp_path / "other"
    (folder / "more").mkdir(parents=True)
    other.mkdir()
    (other / "rules.md").write_text("# Rules")
    (folder / "more" / "overlays").symlink_to(other)

    with pytest.raises(PolicyError, match="a linked folder"):
        bundle.pack(folder)

"""A version is published whole, once, and is the latest; a damaged one is replaced."""

from __future__ import annotations

from pathlib import Path

from tcia_assets.datasets import version_publishing, versions


def publish(folder: Path, text: str) -> versions.Version:
    """Publish a version of one file with this text."""
    draft = folder / ".draft"
    draft.mkdir(parents=True)
    (draft / "file").write_text(text)
    files = versions.list_files(draft)
    return version_publishing.publish(draft, folder, {"name": "a", "settings": {}}, files)


def test_the_same_files_are_the_same_version_and_others_stay(tmp_path: Path) -> None:
    folder = versions.dataset_folder(tmp_path, "a")
    first = publish(folder, "one")
    inode = (first.folder / "file").stat().st_ino
    second = publish(folder, "two")
    assert versions.latest(tmp_path, "a") == second.version != first.version
    again = publish(folder, "one")

    assert again.folder == first.folder and (again.folder / "file").stat().st_ino == inode
    assert versions.latest(tmp_path, "a") == first.version
    assert {each.version for each in versions.list_versions(tmp_path, "a")} == {
        first.version,
        second.version,
    }


def test_a_damaged_version_is_replaced_and_leftovers_are_removed(tmp_path: Path) -> None:
    folder = versions.dataset_folder(tmp_path, "a")
    version = publish(folder, "one")
    (version.folder / "file").write_text("off")
    (folder / ".removed").mkdir()  # what a kill in the middle of a removal leaves
    again = publish(folder, "one")

    assert versions.verify(again).problems == ()
    assert {path.name for path in folder.iterdir()} == {version.version, "latest"}

"""The folder of a catalogue: ours, or refused and left as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.errors import UsageError
from tcia_assets.pages.folder import MARKER, CatalogueFolder


def test_a_folder_with_other_files_is_refused_and_unchanged(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "index.html").write_text("mine")
    folder = CatalogueFolder(own)
    with pytest.raises(UsageError, match="is no catalogue"), folder.opened(tmp_path / "data"):
        pass
    assert [each.name for each in own.iterdir()] == ["index.html"]
    assert (own / "index.html").read_text() == "mine"


@pytest.mark.parametrize("place", [".", "archives", "warehouse/x", "../data"])
def test_other_places_in_the_data_folder_are_refused(tmp_path: Path, place: str) -> None:
    root = tmp_path / "data"
    root.mkdir()
    folder = CatalogueFolder(root / place)
    with pytest.raises(UsageError, match="lies in the data folder"), folder.opened(root):
        pass
    assert list(root.iterdir()) == []


def test_an_empty_folder_becomes_ours_and_stays_so(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    for _ in range(2):
        folder = CatalogueFolder(tmp_path / "new")
        with folder.opened(tmp_path / "data"):
            folder.write("a/b.html", "text")
    assert folder.written == set()
    assert (tmp_path / "new" / MARKER).is_file()


def test_a_folder_that_a_killed_run_began_is_ours(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".lock").touch()
    (tmp_path / "new" / f".{MARKER}.00.draft").touch()
    with CatalogueFolder(tmp_path / "new").opened(tmp_path / "data"):
        assert (tmp_path / "new" / MARKER).is_file()


def test_a_damaged_state_is_no_state(tmp_path: Path) -> None:
    folder = CatalogueFolder(tmp_path / "new")
    with folder.opened(tmp_path / "data"):
        folder.save("one", {"a": 1})
        assert (folder.state("one"), folder.states()) == ({"a": 1}, ["one"])
        (folder.path / ".state" / "one.json").write_text("{")
        assert folder.state("one") == {}


def test_nothing_outside_is_removed(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    folder = CatalogueFolder(tmp_path / "new")
    with folder.opened(tmp_path / "data"), pytest.raises(UsageError):
        folder.remove("../kept")
    assert (tmp_path / "kept").exists()

"""The files that declare datasets: which folder, and which names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.defs.dataset_files import dataset_files, datasets_folder
from tcia_assets.defs.names import Names
from tcia_assets.errors import UsageError


def test_names_are_unique_and_unchanged_where_dagster_accepts_them(tmp_path: Path) -> None:
    for stem in ("lung.ct", "lung_ct", "lung-ct", "a"):
        (tmp_path / f"{stem}.yaml").write_text("")
    (tmp_path / "notes.txt").write_text("")
    files = dataset_files(Names(), tmp_path)

    assert {file.path.stem: file.name for file in files} == {
        "a": "a",
        "lung_ct": "lung_ct",
        "lung-ct": "lung_ct_",
        "lung.ct": "lung_ct__",
    }
    assert files[0].key("dataset").path == ["tcia", "a_dataset"]


def test_a_broken_file_has_its_error_in_the_title(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("nonsense: 1")
    [file] = dataset_files(Names(), tmp_path)

    assert file.title.startswith("broken.yaml cannot be used: ")


def test_the_folder_is_chosen_or_set_or_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "set").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TCIA_DATASETS_DIR", str(tmp_path / "set"))

    assert datasets_folder("") is None
    assert datasets_folder(tmp_path) == tmp_path
    assert datasets_folder(None) == tmp_path / "set"
    monkeypatch.delenv("TCIA_DATASETS_DIR")
    assert datasets_folder(None) == tmp_path / "datasets"
    (tmp_path / "datasets").rmdir()
    assert datasets_folder(None) is None
    with pytest.raises(UsageError, match=r"no folder .*nowhere"):
        datasets_folder("nowhere")

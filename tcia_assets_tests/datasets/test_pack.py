"""A packed dataset is the version, unchanged, with a description that its own readers read."""

from __future__ import annotations

import json
import shutil
import zipfile
from datetime import date
from pathlib import Path

import pytest
from rocrate.rocrate import ROCrate

from tcia_assets.datasets import versions
from tcia_assets.datasets.pack import CRATE, PackedDataset, Publication, pack
from tcia_assets.datasets.versions import LOCK, Version
from tcia_assets.errors import DatasetRefused

PUBLICATION = Publication(date(2026, 11, 27), ("Curie, Marie",))


def _packed(version: Version, folder: Path) -> PackedDataset:
    folder.mkdir()
    return pack(version, folder / "lung.zip", PUBLICATION)


def test_the_archive_is_the_version_and_reads_as_one(version: Version, tmp_path: Path) -> None:
    packed = _packed(version, tmp_path / "first")
    with zipfile.ZipFile(packed.archive) as file:
        assert file.testzip() is None
        file.extractall(tmp_path / "unpacked")
    top = tmp_path / "unpacked" / f"lung_ct-{version.version}"
    (top / CRATE).unlink()
    assert versions.verify(versions.read(top)).problems == ()
    assert packed.bytes > version.bytes
    again = _packed(version, tmp_path / "second")
    assert again.archive.read_bytes() == packed.archive.read_bytes()


def test_its_description_is_read_by_rocrate(version: Version, tmp_path: Path) -> None:
    packed = _packed(version, tmp_path / "packed")
    shutil.unpack_archive(packed.archive, tmp_path)
    crate = ROCrate(tmp_path / f"lung_ct-{version.version}")
    root = crate.root_dataset
    assert root["datePublished"] == "2026-11-27"
    assert {each["name"] for each in root["hasPart"]} == set(version.files)
    assert [each["name"] for each in root["creator"]] == ["Curie, Marie"]
    assert [each.id for each in root["isBasedOn"]] == [
        "https://doi.org/10.7937/k9/tcia.2017.3r3fvz08"
    ]


def test_zenodo_gets_licence_sources_and_creators(version: Version, tmp_path: Path) -> None:
    packed = _packed(version, tmp_path / "packed")
    metadata = json.loads(packed.metadata.read_text(encoding="utf-8"))["metadata"]
    assert metadata["license"] == "cc-by-3.0"
    assert metadata["creators"] == [{"name": "Curie, Marie"}]
    [source] = metadata["related_identifiers"]
    assert source["relation"] == "isDerivedFrom"
    assert "5 volumes" in metadata["description"]


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_version_is_not_packed(damage: str, version: Version, tmp_path: Path) -> None:
    path = next(path for path in version.files if path.startswith("images/"))
    file = version.folder / path
    content = file.read_bytes()
    file.unlink()  # a hard link to the store of samples
    if damage == "changed":
        file.write_bytes(content[:-1] + b"?")
    with pytest.raises(DatasetRefused, match=path):
        _packed(version, tmp_path / "packed")
    assert list((tmp_path / "packed").iterdir()) == []
    assert (version.folder / LOCK).is_file()

"""The zip of a Series has the bytes of its files, or there is none."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from tcia_assets.errors import TooLarge, UnknownReply
from tcia_assets.formats import md5_list
from tcia_assets.sources import Target
from tcia_assets.sources.folder.packing import ScannedFile, pack
from tcia_assets_tests.dicom_folder import write_series


def objects_of(paths: list[Path]) -> list[ScannedFile]:
    return [
        ScannedFile(path.stem, path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths
    ]


def test_a_zip_lists_the_md5_of_each_file_and_is_the_same_again(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", "1.2.3", 3)
    received: list[int] = []
    made = pack(
        objects_of(paths), "1.2.3", "Mine", Target(tmp_path / "a.zip", on_bytes=received.append)
    )
    pack(objects_of(paths[::-1]), "1.2.3", "Mine", Target(tmp_path / "b.zip"))

    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert made.sha256 == hashlib.sha256((tmp_path / "a.zip").read_bytes()).hexdigest()
    assert sum(received) == sum(path.stat().st_size for path in paths)
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        assert md5_list.read_from_zip(file) == {
            path.name: hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            for path in paths
        }
        assert b"belongs to the Collection Mine" in file.read("LICENSE")


def test_a_file_that_changed_since_it_was_scanned_is_refused(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", "1.2.3", 2)
    objects = objects_of(paths)
    paths[1].write_bytes(paths[1].read_bytes() + b"more")
    with pytest.raises(UnknownReply, match="has changed since it was scanned"):
        pack(objects, "1.2.3", "Mine", Target(tmp_path / "a.zip"))
    objects = objects_of(paths)
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # of the same size
    os.utime(paths[1], ns=(0, objects[1].modified_ns + 1))
    with pytest.raises(UnknownReply, match=f"{paths[1]} has changed since it was scanned"):
        pack(objects, "1.2.3", "Mine", Target(tmp_path / "a.zip"))
    paths[1].unlink()
    with pytest.raises(UnknownReply, match="cannot be read any more"):
        pack(objects, "1.2.3", "Mine", Target(tmp_path / "a.zip"))


def test_a_file_that_changes_while_its_series_is_packed_is_refused(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", "1.2.3", 2)
    objects = objects_of(paths)

    def touch(_size: int) -> None:  # called once the first file was read
        os.utime(paths[1], ns=(0, objects[1].modified_ns + 1))

    with pytest.raises(UnknownReply, match="import again"):
        pack(objects, "1.2.3", "Mine", Target(tmp_path / "a.zip", on_bytes=touch))


def test_another_version_than_expected_is_refused(tmp_path: Path) -> None:
    objects = objects_of(write_series(tmp_path / "in", "1.2.3", 2))
    with pytest.raises(UnknownReply, match="another version of this Series"):
        pack(objects, "1.2.3", "Mine", Target(tmp_path / "a.zip", image_count=3))
    with pytest.raises(TooLarge):
        pack(objects, "1.2.3", "Mine", Target(tmp_path / "a.zip", max_bytes=10))

"""A folder is read once: each object counts once, and what contradicts itself is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_assets.errors import StorageError, UsageError
from tcia_assets.sources.folder import scan as scanning
from tcia_assets.sources.folder.headers import LeftOut
from tcia_assets.sources.folder.scan import FolderScan
from tcia_assets_tests.dicom_folder import write_series


@contextmanager
def scan_of(folder: Path, scratch: Path, skipped: Path = Path("/nowhere")) -> Iterator[FolderScan]:
    scratch.mkdir()
    scan = FolderScan(folder, scratch, skipped)
    yield scan
    scan.close()


def test_objects_of_a_series_may_lie_in_many_folders(tmp_path: Path) -> None:
    first, second = write_series(tmp_path / "in/a", "1.2.3")
    (tmp_path / "in/b/c").mkdir(parents=True)
    second.rename(tmp_path / "in/b/c/no suffix")
    (tmp_path / "in/notes.txt").write_text("hello")
    with scan_of(tmp_path / "in", tmp_path / "scratch") as scan:
        done: list[tuple[int, int]] = []
        found = scan.run(lambda n, total: done.append((n, total)))
        paths = scan.query("SELECT path FROM objects ORDER BY path")["path"].to_pylist()
        assert [scan.path(each) for each in paths] == [first, tmp_path / "in/b/c/no suffix"]
    assert (found.files, found.objects, found.repeated) == (3, 2, 0)
    assert found.left_out == {LeftOut.NOT_DICOM: 1} and done[-1] == (3, 3)
    assert found.notes == [f"left out: 1 file (not DICOM), such as {tmp_path / 'in/notes.txt'}"]


def test_files_with_the_same_object_and_bytes_count_once(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", "1.2.3", 3)
    for number, path in enumerate(paths[:2]):
        shutil.copy(path, tmp_path / f"in/copy{number}")
    with scan_of(tmp_path / "in", tmp_path / "scratch") as scan:
        found = scan.run()
    assert (found.files, found.objects, found.repeated) == (5, 3, 2)
    assert "2 files repeat an object of another file" in found.notes[-1]
    assert "1 file repeats an object" in replace(found, repeated=1).notes[-1]


def test_files_with_the_same_object_and_other_bytes_are_refused_with_both_paths(
    tmp_path: Path,
) -> None:
    [path] = write_series(tmp_path / "in/a", "1.2.3", 1)
    [other] = write_series(tmp_path / "in/b", "1.2.3", 1, revision=1)
    with (
        scan_of(tmp_path / "in", tmp_path / "scratch") as scan,
        pytest.raises(UsageError, match="different content") as refused,
    ):
        scan.run()
    files = " and ".join(f"{each} of {each.stat().st_size:,} bytes" for each in (path, other))
    assert files in str(refused.value)


@pytest.mark.parametrize("column", ["PatientID", "StudyInstanceUID"])
def test_a_series_of_two_patients_or_studies_is_refused(tmp_path: Path, column: str) -> None:
    # A split by patient could put it on both sides.
    first, second = write_series(tmp_path / "in", "1.2.3")
    again = write_series(tmp_path / "other", "1.2.3", **{column: "1.9"})
    shutil.move(again[1], second)
    with (
        scan_of(tmp_path / "in", tmp_path / "scratch") as scan,
        pytest.raises(UsageError, match=f"{column} differs") as refused,
    ):
        scan.run()
    assert str(first) in str(refused.value) and str(second) in str(refused.value)


def test_a_name_need_not_be_text_and_the_data_folder_is_not_looked_into(tmp_path: Path) -> None:
    [path] = write_series(tmp_path / "in", "1.2.3", 1)
    odd = os.fsencode(tmp_path / "in") + b"/\xff\xfe"
    path.rename(os.fsdecode(odd))
    write_series(tmp_path / "in/data", "1.2.4", 1)
    with scan_of(tmp_path / "in", tmp_path / "scratch", tmp_path / "in/data") as scan:
        assert scan.run().objects == 1
        [stored] = scan.query("SELECT path FROM objects")["path"].to_pylist()
        assert os.fsencode(scan.path(stored)) == odd


def test_a_file_that_cannot_be_read_stops_the_import(tmp_path: Path) -> None:
    [path] = write_series(tmp_path / "in", "1.2.3", 1)
    with scan_of(tmp_path / "in", tmp_path / "scratch") as scan:
        path.unlink()
        path.symlink_to("/proc/self/mem")  # may be opened, and not be read
        with pytest.raises(StorageError, match=f"{path} cannot be read"):
            scan.run()


def test_more_files_than_a_batch_are_all_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "_AT_ONCE", 2)
    write_series(tmp_path / "in", "1.2.3", 5)
    with scan_of(tmp_path / "in", tmp_path / "scratch") as scan:
        assert scan.run().objects == 5

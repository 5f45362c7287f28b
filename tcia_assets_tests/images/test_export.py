"""An export has each object once, whole, beside its licence; it goes on where it stopped."""

from __future__ import annotations

import csv
import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path

import dcm2niix
import nibabel
import pydicom
import pytest

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.errors import Busy, UsageError
from tcia_assets.images.export import Export, ExportResult, export_series
from tcia_assets.images.export_index import LOCK_NAME
from tcia_assets.images.export_paths import FolderTemplate
from tcia_assets.metadata.selection import Selection
from tcia_assets.store.locks import hold_lock
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL

ALL = Selection(where="true")
SAME = FolderTemplate("{Collection}")


@pytest.fixture
def mirrored(contours_root: Path, tmp_path: Path) -> Warehouse:
    """Return a data folder with five contour Series of one object each."""
    shutil.copytree(contours_root, tmp_path / "data")
    return Warehouse(tmp_path / "data")


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "out"


def run(warehouse: Warehouse, to: Path, selection: Selection = ALL, **how: object) -> ExportResult:
    return export_series(selection, Export(to, **how), warehouse)  # type: ignore[arg-type]


def zips(warehouse: Warehouse) -> dict[str, Path]:
    rows = warehouse.read(IMAGE_ARCHIVES, [SMALL]).to_pylist()
    return {row["SeriesInstanceUID"]: warehouse.root / row["path"] for row in rows}


def exported(to: Path) -> dict[str, Path]:
    """Return the exported files by the Series that their header has."""
    found = {}
    for path in to.rglob("*.dcm"):
        uid = str(pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID)
        assert uid not in found
        found[uid] = path
    return found


def digests(to: Path) -> dict[str, str]:
    files = (path for path in to.rglob("*") if path.is_file())
    return {str(p.relative_to(to)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_each_object_is_a_file_with_its_bytes(mirrored: Warehouse, to: Path) -> None:
    result = run(mirrored, to)
    assert (result.exported, result.kept, result.files, result.failures) == (5, 0, 5, [])
    files = exported(to)
    assert files.keys() == zips(mirrored).keys()
    for uid, path in zips(mirrored).items():
        with zipfile.ZipFile(path) as archive:
            assert files[uid].read_bytes() in {archive.read(name) for name in archive.namelist()}
    assert {len(path.relative_to(to).parts) for path in files.values()} == {4}


def test_licences_citations_and_a_table_of_the_series_stand_beside_them(
    mirrored: Warehouse, to: Path
) -> None:
    result = run(mirrored, to)
    assert "Creative Commons Attribution 3.0" in (to / "LICENSES.md").read_text()
    assert (to / "CITATION.cff").is_file() and (to / "CITATIONS.bib").is_file()
    with (to / "series.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert exported(to)[row["SeriesInstanceUID"]].parent == to / row["folder"]
    assert sum(int(row["bytes"]) for row in rows) == result.bytes


def test_an_export_that_is_repeated_writes_nothing(mirrored: Warehouse, to: Path) -> None:
    run(mirrored, to)
    before, times = digests(to), {p: p.stat().st_mtime_ns for p in to.rglob("*.dcm")}
    result = run(mirrored, to)
    assert (result.exported, result.kept, result.files) == (0, 5, 0)
    assert digests(to) == before
    assert {p: p.stat().st_mtime_ns for p in to.rglob("*.dcm")} == times


@pytest.mark.parametrize("flat", [False, True])
def test_an_export_goes_on_where_it_was_interrupted(
    mirrored: Warehouse, to: Path, tmp_path: Path, *, flat: bool
) -> None:
    def interrupt(done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    export = Export(to, flat=flat)
    with pytest.raises(KeyboardInterrupt):
        export_series(ALL, export, mirrored, report=interrupt)
    assert len(exported(to)) == 2
    (to / ".1.2.3.draft").mkdir()
    result = export_series(ALL, export, mirrored)
    assert (result.exported, result.kept) == (3, 2)
    run(mirrored, tmp_path / "whole", flat=flat)
    names = {name for name in digests(to) if not name.startswith(".")}
    whole = digests(tmp_path / "whole")
    assert {name: digests(to)[name] for name in names} == {name: whole[name] for name in names}
    assert len(names) == 5 + 4


def test_series_of_one_folder_name_do_not_mix(mirrored: Warehouse, to: Path) -> None:
    uids = sorted(zips(mirrored))
    run(mirrored, to, Selection(series=tuple(uids[:2])), template=SAME)
    before = {path.parent for path in exported(to).values()}
    run(mirrored, to, template=SAME)
    folders = {path.parent for path in exported(to).values()}
    assert len(folders) == 5 and before < folders


def test_a_zip_that_cannot_be_read_fails_alone(mirrored: Warehouse, to: Path) -> None:
    first, second, *_ = zips(mirrored).values()
    first.unlink()
    content = bytearray(second.read_bytes())
    content[len(content) // 3] ^= 0xFF
    second.write_bytes(content)
    result = run(mirrored, to)
    assert result.exported == 3
    assert len(result.failures) == 2
    assert all("cannot be read" in line for line in result.failures)
    assert sum("it is gone; `tcia-assets verify`" in line for line in result.failures) == 1
    assert len(exported(to)) == 3
    assert not list(to.glob(".*.draft"))


def test_only_what_is_selected_and_on_disk_is_exported(mirrored: Warehouse, to: Path) -> None:
    uid = min(zips(mirrored))
    result = run(mirrored, to, Selection(series=(uid,)))
    assert (result.exported, result.not_on_disk) == (1, 0)
    assert run(mirrored, to, Selection(modalities=("CT",))).not_on_disk == 5
    assert exported(to).keys() == {uid}
    with pytest.raises(UsageError, match="no Series is selected"):
        run(mirrored, to, Selection(where="false"))


def test_folders_of_others_are_refused(mirrored: Warehouse, to: Path, tmp_path: Path) -> None:
    for place in (mirrored.root, mirrored.root / "archives" / "x"):
        with pytest.raises(UsageError, match="lies in the data folder"):
            run(mirrored, place)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        run(mirrored, tmp_path / "file")
    with pytest.raises(UsageError, match="has other files"):
        run(mirrored, tmp_path)
    assert not (tmp_path / LOCK_NAME).exists()
    run(mirrored, to)
    with pytest.raises(UsageError, match="was exported without --flat"):
        run(mirrored, to, flat=True)


def test_two_exports_do_not_write_into_one_folder(
    mirrored: Warehouse, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tcia_assets.images.export._LOCK_SECONDS", 0.1)
    with hold_lock(to / LOCK_NAME, "it", wait=0), pytest.raises(Busy):
        run(mirrored, to)


def test_dcm2niix_converts_an_exported_folder(fetched_root: Path, to: Path, tmp_path: Path) -> None:
    shutil.copytree(fetched_root, tmp_path / "fetched")
    warehouse = Warehouse(tmp_path / "fetched")
    [smallest] = warehouse.query(
        'SELECT SeriesInstanceUID AS uid, "Columns" AS x, "Rows" AS y, count(*) AS z '
        "FROM images WHERE Modality = 'CT' GROUP BY ALL ORDER BY z LIMIT 1"
    ).to_pylist()
    run(warehouse, to, Selection(series=(smallest["uid"],)))
    converted = tmp_path / "converted"
    converted.mkdir()
    # As people call it: with the folder of the export, not that of a Series.
    command = [dcm2niix.bin, "-d", "9", "-z", "n", "-f", "%j", "-o", str(converted), str(to)]
    subprocess.run(command, check=True, capture_output=True)

    [volume] = converted.glob("*.nii")
    assert volume.stem == smallest["uid"]
    assert nibabel.load(volume).shape == (smallest["x"], smallest["y"], smallest["z"])

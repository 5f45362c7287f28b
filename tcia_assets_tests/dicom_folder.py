"""Folders of DICOM files that no archive knows."""

from __future__ import annotations

import zipfile
from datetime import date
from pathlib import Path

from tcia_assets.sandbox import phantom
from tcia_assets.store.warehouse import Warehouse


def write_series(
    folder: Path,
    uid: str,
    count: int = 2,
    *,
    revision: int = 0,
    **values: object,
) -> list[Path]:
    """Write the objects of a Series into a folder, by default of CT, and return their paths."""
    series = {
        "SeriesInstanceUID": uid,
        "StudyInstanceUID": f"{uid}.1",
        "PatientID": f"P{uid}",
        "Modality": "CT",
        "StudyDate": date(2020, 1, 2),
        "SeriesDescription": "Thorax",
        "ImageCount": count,
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for sop, content in phantom.objects(series | values, revision=revision):
        paths.append(folder / f"{sop}.dcm")
        paths[-1].write_bytes(content)
    return paths


def unzip_patients(warehouse: Warehouse, folder: Path, patients: int) -> int:
    """Write the objects of the first patients' zips into one folder; return their number."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = warehouse.query(
        "SELECT path FROM image_archives JOIN series USING (SeriesInstanceUID) "
        "QUALIFY dense_rank() OVER (ORDER BY PatientID) <= $n ORDER BY path",
        {"n": patients},
    )
    count = 0
    for path in paths["path"].to_pylist():
        with zipfile.ZipFile(warehouse.root / path) as file:
            for name in file.namelist():
                if name.endswith(".dcm"):
                    count += 1
                    (folder / f"{count:06}").write_bytes(file.read(name))
    return count

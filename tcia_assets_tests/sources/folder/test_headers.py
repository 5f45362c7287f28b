"""A file is an object with its header, or left out for a reason."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pydicom.data
import pytest

from tcia_assets.sources.folder.headers import LeftOut, NoObject, read_object
from tcia_assets_tests.dicom_folder import write_series
from tcia_assets_tests.images.headers.dicom_bytes import dicom_file, element


def test_a_header_fills_the_columns_of_series_study_and_patient(tmp_path: Path) -> None:
    [path] = write_series(tmp_path, "1.2.3", 1, PatientSex="F", PatientAge="063Y")
    row = read_object(path)
    assert row["SOPInstanceUID"] == path.stem
    assert (row["SeriesInstanceUID"], row["PatientID"], row["Modality"]) == (
        "1.2.3",
        "P1.2.3",
        "CT",
    )
    assert (row["StudyDate"], row["PatientSex"]) == (date(2020, 1, 2), "F")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", LeftOut.NOT_DICOM),
        (b"PK\3\4" + bytes(200), LeftOut.NOT_DICOM),
        (bytes(128) + b"DICM", LeftOut.WITHOUT_UID),
        (dicom_file(element(0x00100020, "LO", b"P1"))[:150], LeftOut.WITHOUT_UID),
    ],
)
def test_a_file_without_an_object_has_a_reason(
    tmp_path: Path, content: bytes, why: LeftOut
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(NoObject) as found:
        read_object(path)
    assert found.value.why is why


def test_the_index_of_a_medium_is_no_object() -> None:
    path = pydicom.data.get_testdata_file("DICOMDIR")
    with pytest.raises(NoObject) as found:
        read_object(Path(str(path)))
    assert found.value.why is LeftOut.DIRECTORY


def test_a_value_that_cannot_be_read_costs_itself(tmp_path: Path) -> None:
    [path] = write_series(tmp_path, "1.2.3", 1)
    path.write_bytes(path.read_bytes().replace(b"20200102", b"2020XX02"))
    row = read_object(path)
    assert row["StudyDate"] is None and row["PatientID"] == "P1.2.3"

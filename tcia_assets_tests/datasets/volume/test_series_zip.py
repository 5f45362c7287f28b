"""Headers and pixels are read from zips in each uncompressed transfer syntax."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets.errors import BadArchive
from tcia_assets_tests.datasets.volume import synthetic
from tcia_assets_tests.datasets.volume.synthetic import (
    Series,
    finding_codes,
    write_zip,
)


def read(tmp_path: Path, series: Series, **more: Any) -> Any:
    return read_volume(write_zip(tmp_path / "a.zip", series.objects()), **more)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
@pytest.mark.parametrize("stored", [False, True])
def test_each_uncompressed_syntax_is_read(tmp_path: Path, syntax: Any, *, stored: bool) -> None:
    series = Series()
    objects = series.objects()
    for each in objects:
        each.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            each.PixelData = np.frombuffer(each.PixelData, "<i2").astype(">i2").tobytes()
    files = [encode(each, syntax) for each in objects]
    volume = read_volume(write_zip(tmp_path / "a.zip", files, stored=stored))
    assert np.array_equal(volume.voxels, series.values)


def encode(dataset: Any, syntax: Any) -> bytes:
    import io

    buffer = io.BytesIO()
    same = pydicom.Dataset(dataset)
    same.file_meta = dataset.file_meta
    pydicom.dcmwrite(
        buffer,
        same,
        implicit_vr=syntax.is_implicit_VR,
        little_endian=syntax.is_little_endian,
        enforce_file_format=True,
    )
    return buffer.getvalue()


def test_a_header_longer_than_the_first_bytes_is_read(tmp_path: Path) -> None:
    series = Series(extra={"ImageComments": "x" * 9000, "TextValue": "y" * 90_000})
    assert np.array_equal(read(tmp_path, series).voxels, series.values)


def test_files_that_are_not_dicom_are_reported_by_name(tmp_path: Path) -> None:
    series = Series()
    files = [*series.objects(), b"not DICOM", synthetic.content(series.object(0))[:150]]
    volume = read_volume(write_zip(tmp_path / "a.zip", files, shuffled=False))
    assert finding_codes(volume) == ["unreadable_object", "unreadable_object"]
    names = [each.sop_instance_uids for each in volume.findings]
    assert names == [("00000006.dcm",), ("00000007.dcm",)]
    assert np.array_equal(volume.voxels, series.values)


def test_a_damaged_zip_is_an_error_not_a_finding(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", Series().objects(), stored=True)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(BadArchive):
        read_volume(path)

"""A Series' zip becomes the volume that its headers describe, to the voxel."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from tcia_assets.datasets.volume import FINDING_CODES, Finding, NoVolume, read_volume
from tcia_assets.errors import BadArchive
from tcia_assets_tests.datasets.volume import synthetic
from tcia_assets_tests.datasets.volume.synthetic import (
    AXIAL,
    CORONAL,
    OBLIQUE,
    SAGITTAL,
    Series,
    codes,
    found,
    grain,
    zipped,
)


def read(tmp_path: Path, series: Series, **more: Any) -> Any:
    return read_volume(zipped(tmp_path / "a.zip", series.objects()), **more)


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, CORONAL, OBLIQUE])
def test_voxels_and_affine_are_those_of_the_headers(tmp_path: Path, orientation: Any) -> None:
    series = Series(orientation=orientation, intercepts=[-24] * 6)
    volume = read(tmp_path, series)
    assert np.array_equal(volume.voxels, series.real)
    assert volume.voxels.dtype == np.int16 and volume.voxels.flags.c_contiguous
    np.testing.assert_allclose(volume.affine, series.affine, atol=1e-5)
    np.testing.assert_allclose(volume.affine_lps, series.affine_lps, atol=1e-5)
    assert volume.spacing == pytest.approx(series.spacing, abs=1e-5)
    assert (volume.units, volume.modality, codes(volume)) == ("HU", "CT", [])
    assert volume.series_instance_uid == synthetic.SERIES
    assert volume.frame_of_reference_uid == synthetic.FRAME


def test_slices_that_are_numbered_backwards_are_sorted_by_their_position(tmp_path: Path) -> None:
    series = Series()
    objects = series.objects()
    for number, each in enumerate(reversed(objects)):
        each.InstanceNumber = number
    volume = read_volume(zipped(tmp_path / "a.zip", objects))
    assert np.array_equal(volume.voxels, series.values)
    assert [each.sop_instance_uid for each in volume.slices] == [o.SOPInstanceUID for o in objects]


@given(
    turn=st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(v * v for v in q) > 0.01),
    spacing=st.tuples(*[st.floats(0.2, 6)] * 3),
    origin=st.tuples(*[st.floats(-900, 900)] * 3),
    order=st.permutations(range(4)),
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_voxel_lies_where_its_header_says(
    tmp_path: Path, turn: Any, spacing: Any, origin: Any, order: list[int]
) -> None:
    rotation = rotated(np.array(turn))
    orientation = np.round(rotation[:, :2].T.ravel(), 9)
    origin = np.round(origin, 3)
    series = Series(grain((4, 3, 5)), orientation, tuple(np.round(spacing, 4)), origin)
    objects = [series.object(place) for place in order]
    volume = read_volume(zipped(tmp_path / "a.zip", objects, shuffled=False))
    for slice_, image in zip(objects, (series.values[place] for place in order), strict=True):
        position = np.array(slice_.ImagePositionPatient, dtype=float)
        for row, column in [(0, 0), (2, 4), (1, 3)]:
            # PS3.3 C.7.6.2.1.1.
            point = (
                position
                + np.array(orientation[:3]) * series.spacing[0] * column
                + np.array(orientation[3:]) * series.spacing[1] * row
            )
            x, y, z, _ = np.linalg.inv(volume.affine_lps) @ [*point, 1]
            np.testing.assert_allclose([x, y], [column, row], atol=1e-3)
            assert abs(z - round(z)) < 1e-3
            assert volume.voxels[round(z), row, column] == image[row, column]
    assert np.linalg.det(volume.affine_lps[:3, :3]) > 0


def rotated(q: Any) -> Any:
    a, b, c, d = q / np.linalg.norm(q)
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )


# --- Values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "slopes", "intercepts", "dtype"),
    [
        (grain((4, 5, 6)), [-2] * 4, [10] * 4, np.int16),
        (grain((4, 5, 6), 0, 4000, np.uint16), [1] * 4, [-1024] * 4, np.int16),
        (grain((4, 5, 6), 60000, 65535, np.uint16), [1] * 4, [-60000] * 4, np.int16),
        (grain((4, 5, 6), 0, 65535, np.uint16), [1] * 4, [0] * 4, np.float32),
        (grain((4, 5, 6)), [0.5, 1, 2, 3], [0, 1, -1, 0.25], np.float32),
        (grain((4, 5, 6)), [1, 2, 3, 4], [0, -7, 9, 0], np.int16),
        (grain((4, 5, 6), 0, 255, np.uint8), [3] * 4, [-5] * 4, np.int16),
        (grain((4, 5, 6), -40000, 40000, np.int32), [1] * 4, [0] * 4, np.float32),
        (grain((4, 5, 6), -4000, 4000, np.int32), [1] * 4, [0] * 4, np.int16),
    ],
)
def test_rescaling_is_exact_and_small(
    tmp_path: Path, values: Any, slopes: Any, intercepts: Any, dtype: Any
) -> None:
    bits = 8 * values.itemsize
    series = Series(values, slopes=slopes, intercepts=intercepts, bits=bits)
    volume = read(tmp_path, series)
    assert volume.voxels.dtype == dtype
    assert np.array_equal(volume.voxels, series.real.astype(np.float32))
    mixed = len(set(zip(slopes, intercepts, strict=True))) > 1
    assert codes(volume) == (["mixed_rescale"] if mixed else [])


def test_bits_that_are_not_stored_do_not_count(tmp_path: Path) -> None:
    true = grain((4, 5, 6), -2000, 2000)
    # Signed numbers of 12 bits, with an overlay in the four bits above.
    written = (true.astype(np.uint16) & 0x0FFF | 0x5000).astype(np.int16)
    volume = read(tmp_path, Series(written, bits=12))
    assert np.array_equal(volume.voxels, true)


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
    files = [written(each, syntax) for each in objects]
    volume = read_volume(zipped(tmp_path / "a.zip", files, stored=stored))
    assert np.array_equal(volume.voxels, series.values)


def written(dataset: Any, syntax: Any) -> bytes:
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


def test_memory_stays_below_two_and_a_half_volumes(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", Series(grain((60, 128, 128))).objects())
    del_me = read_volume(path, workers=1)
    size = del_me.voxels.nbytes
    del del_me
    tracemalloc.start()
    volume = read_volume(path, workers=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert volume.voxels.nbytes == size
    # Headers of so small slices are as large as the slices.
    assert peak < 2.5 * size + 60 * 20_000


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_nothing(tmp_path: Path, workers: int) -> None:
    series = Series(grain((9, 8, 7)))
    assert np.array_equal(read(tmp_path, series, workers=workers).voxels, series.values)


# --- What is amiss --------------------------------------------------------------------------------


def test_a_missing_slice_is_told_with_numbers(tmp_path: Path) -> None:
    series = Series(grain((9, 4, 4)))
    objects = series.objects()
    del objects[4]
    volume = read_volume(zipped(tmp_path / "a.zip", objects))
    assert codes(volume) == ["missing_slice"]
    numbers = found(volume, "missing_slice").numbers
    assert numbers["missing"] == 1 and numbers["largest_step_mm"] == pytest.approx(5.0)


def test_of_two_slices_in_one_place_the_first_stays(tmp_path: Path) -> None:
    series = Series()
    double = series.object(2)
    double.SOPInstanceUID = double.file_meta.MediaStorageSOPInstanceUID = "1.2.99"
    double.InstanceNumber = 77
    double.PixelData = bytes(len(double.PixelData))
    volume = read_volume(zipped(tmp_path / "a.zip", [*series.objects(), double]))
    assert np.array_equal(volume.voxels, series.values)
    assert codes(volume) == ["duplicate_position"]
    assert volume.findings[0].sop_instance_uids == ("1.2.99",)


def test_a_localizer_is_left_out_and_named(tmp_path: Path) -> None:
    series = Series()
    scout = Series(grain((1, 20, 30)), orientation=CORONAL).object(0)
    scout.SOPInstanceUID = scout.file_meta.MediaStorageSOPInstanceUID = "1.2.99"
    volume = read_volume(zipped(tmp_path / "a.zip", [scout, *series.objects()]))
    assert np.array_equal(volume.voxels, series.values)
    assert codes(volume) == ["mixed_orientation"]
    assert volume.findings[0].sop_instance_uids == ("1.2.99",)


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("mixed_size", lambda each: synthetic.set_pixels(each, grain((3, 3)))),
        ("mixed_spacing", lambda each: setattr(each, "PixelSpacing", [0.9, 0.7])),
        ("mixed_frame_of_reference", lambda each: setattr(each, "FrameOfReferenceUID", "1.2")),
        ("secondary_capture", lambda each: setattr(each, "SOPClassUID", synthetic.CAPTURE)),
        ("without_geometry", lambda each: delattr(each, "ImagePositionPatient")),
        ("not_greyscale", lambda each: setattr(each, "SamplesPerPixel", 3)),
    ],
)
def test_an_image_unlike_the_others_is_left_out(tmp_path: Path, code: str, change: Any) -> None:
    series = Series()
    objects = series.objects()
    change(objects[-1])
    volume = read_volume(zipped(tmp_path / "a.zip", objects))
    assert np.array_equal(volume.voxels, series.values[:-1])
    assert codes(volume) == [code]
    assert volume.findings[0].sop_instance_uids == (objects[-1].SOPInstanceUID,)


def test_what_is_no_dicom_is_left_out_by_its_name(tmp_path: Path) -> None:
    series = Series()
    files = [*series.objects(), b"not DICOM", synthetic.content(series.object(0))[:150]]
    volume = read_volume(zipped(tmp_path / "a.zip", files, shuffled=False))
    assert codes(volume) == ["unreadable_object", "unreadable_object"]
    names = [each.sop_instance_uids for each in volume.findings]
    assert names == [("00000006.dcm",), ("00000007.dcm",)]
    assert np.array_equal(volume.voxels, series.values)


def test_a_gantry_tilt_is_told_and_in_the_affine(tmp_path: Path) -> None:
    shear = 2.5 * np.tan(np.radians(12))
    series = Series(grain((8, 6, 6)), shear=(0.0, shear, 0.0))
    volume = read(tmp_path, series)
    assert codes(volume) == ["gantry_tilt"]
    assert found(volume, "gantry_tilt").numbers["degrees"] == pytest.approx(12, abs=0.01)
    np.testing.assert_allclose(volume.affine, series.affine, atol=1e-5)


def test_uneven_slices_are_told_with_how_far_they_are_off(tmp_path: Path) -> None:
    series = Series(grain((8, 4, 4)))
    objects = series.objects()
    objects[3].ImagePositionPatient[2] += 0.5
    volume = read_volume(zipped(tmp_path / "a.zip", objects))
    assert codes(volume) == ["uneven_spacing"]
    assert found(volume, "uneven_spacing").numbers["off_grid_mm"] == pytest.approx(0.5)


def test_positions_that_are_rounded_are_even_enough(tmp_path: Path) -> None:
    series = Series(grain((40, 4, 4)), spacing=(0.7, 0.7, 1.23))
    objects = series.objects()
    for each in objects:
        each.ImagePositionPatient[2] = round(each.ImagePositionPatient[2], 1)
    assert codes(read_volume(zipped(tmp_path / "a.zip", objects))) == []


def test_few_slices_and_another_count_are_told(tmp_path: Path) -> None:
    volume = read(tmp_path, Series(grain((2, 4, 4))), image_count=3)
    assert codes(volume) == ["count_unlike_image_count", "too_few_slices"]
    assert volume.findings[0].numbers == {"objects": 2, "image_count": 3}


def test_one_slice_is_as_thick_as_it_says(tmp_path: Path) -> None:
    volume = read(tmp_path, Series(grain((1, 4, 4))))
    assert codes(volume) == ["too_few_slices"]
    assert volume.spacing == pytest.approx((0.7, 0.8, 2.5))


def test_a_volume_of_one_value_is_told(tmp_path: Path) -> None:
    volume = read(tmp_path, Series(np.full((4, 3, 3), 7, np.int16)))
    assert codes(volume) == ["zero_variance"]
    assert volume.findings[0].numbers == {"value": 7}


def test_without_any_slice_there_is_no_volume_but_a_reason(tmp_path: Path) -> None:
    objects = Series().objects()
    for each in objects:
        each.SOPClassUID = synthetic.CAPTURE
    with pytest.raises(NoVolume, match="no slice is left") as caught:
        read_volume(zipped(tmp_path / "a.zip", objects))
    assert codes(caught.value) == ["secondary_capture", "no_slices"]
    assert len(caught.value.findings[0].sop_instance_uids) == 6


def test_pixels_that_are_cut_leave_no_volume(tmp_path: Path) -> None:
    objects = Series().objects()
    objects[2].PixelData = objects[2].PixelData[:-20]
    with pytest.raises(NoVolume, match="cannot be read") as caught:
        read_volume(zipped(tmp_path / "a.zip", objects))
    assert caught.value.findings[0].sop_instance_uids == (objects[2].SOPInstanceUID,)


def test_a_damaged_zip_is_no_finding(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", Series().objects(), stored=True)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(BadArchive):
        read_volume(path)


def test_only_declared_codes_are_findings() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        Finding("nonsense", "")
    assert {code.name for code in FINDING_CODES.values() if code.makes_impossible} == {
        "no_slices",
        "undecodable_pixels",
    }


def test_without_the_extra_it_is_named() -> None:
    import subprocess
    import sys

    program = "import sys; sys.modules['pydicom'] = None; import tcia_assets.datasets.volume"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "MissingExtra" in done.stderr
    assert "tcia_assets[datasets]" in done.stderr

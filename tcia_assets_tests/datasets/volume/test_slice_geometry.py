"""Slices are ordered by position, and irregular positions give findings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcia_assets.datasets.quality import DEFAULT_POLICIES, DROP
from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets_tests.datasets.volume.synthetic import (
    CORONAL,
    Series,
    finding_codes,
    noise,
    one_finding,
    write_zip,
)


def read(tmp_path: Path, series: Series, **more: Any) -> Any:
    return read_volume(write_zip(tmp_path / "a.zip", series.objects()), **more)


def test_slices_are_sorted_by_position_not_by_number(tmp_path: Path) -> None:
    series = Series()
    objects = series.objects()
    for number, each in enumerate(reversed(objects)):
        each.InstanceNumber = number
    volume = read_volume(write_zip(tmp_path / "a.zip", objects))
    assert np.array_equal(volume.voxels, series.values)
    assert [each.sop_instance_uid for each in volume.slices] == [o.SOPInstanceUID for o in objects]


def test_a_missing_slice_is_reported_with_numbers(tmp_path: Path) -> None:
    series = Series(noise((9, 4, 4)))
    objects = series.objects()
    del objects[4]
    volume = read_volume(write_zip(tmp_path / "a.zip", objects))
    assert finding_codes(volume) == ["missing_slice"]
    numbers = one_finding(volume, "missing_slice").numbers
    assert numbers["missing"] == 1 and numbers["largest_step_mm"] == pytest.approx(5.0)


def test_the_first_of_two_slices_at_one_position_is_used(tmp_path: Path) -> None:
    series = Series()
    double = series.object(2)
    double.SOPInstanceUID = double.file_meta.MediaStorageSOPInstanceUID = "1.2.99"
    double.InstanceNumber = 77
    double.PixelData = bytes(len(double.PixelData))
    volume = read_volume(write_zip(tmp_path / "a.zip", [*series.objects(), double]))
    assert np.array_equal(volume.voxels, series.values)
    assert finding_codes(volume) == ["duplicate_position"]
    assert volume.findings[0].sop_instance_uids == ("1.2.99",)


def test_a_localizer_is_left_out_and_reported(tmp_path: Path) -> None:
    series = Series()
    scout = Series(noise((1, 20, 30)), orientation=CORONAL).object(0)
    scout.SOPInstanceUID = scout.file_meta.MediaStorageSOPInstanceUID = "1.2.99"
    volume = read_volume(write_zip(tmp_path / "a.zip", [scout, *series.objects()]))
    assert np.array_equal(volume.voxels, series.values)
    assert finding_codes(volume) == ["mixed_orientation"]
    assert volume.findings[0].sop_instance_uids == ("1.2.99",)


def test_a_gantry_tilt_is_reported_and_kept_in_the_affine(tmp_path: Path) -> None:
    shear = 2.5 * np.tan(np.radians(12))
    series = Series(noise((8, 6, 6)), shear=(0.0, shear, 0.0))
    volume = read(tmp_path, series)
    assert finding_codes(volume) == ["gantry_tilt"]
    assert one_finding(volume, "gantry_tilt").numbers["degrees"] == pytest.approx(12, abs=0.01)
    np.testing.assert_allclose(volume.affine, series.affine, atol=1e-5)


def test_uneven_slices_are_reported_with_their_distance(tmp_path: Path) -> None:
    series = Series(noise((8, 4, 4)))
    objects = series.objects()
    objects[3].ImagePositionPatient[2] += 0.5
    volume = read_volume(write_zip(tmp_path / "a.zip", objects))
    assert finding_codes(volume) == ["uneven_spacing"]
    assert one_finding(volume, "uneven_spacing").numbers["off_grid_mm"] == pytest.approx(0.5)


def test_rounded_positions_count_as_even(tmp_path: Path) -> None:
    series = Series(noise((40, 4, 4)), spacing=(0.7, 0.7, 1.23))
    objects = series.objects()
    for each in objects:
        each.ImagePositionPatient[2] = round(each.ImagePositionPatient[2], 1)
    assert finding_codes(read_volume(write_zip(tmp_path / "a.zip", objects))) == []


def test_a_single_slice_has_its_declared_thickness(tmp_path: Path) -> None:
    volume = read(tmp_path, Series(noise((1, 4, 4))))
    assert finding_codes(volume) == ["too_few_slices"]
    assert volume.spacing == pytest.approx((0.7, 0.8, 2.5))


@pytest.mark.parametrize(("keyword", "value"), [("SeriesInstanceUID", "1.2.8"), ("Modality", "PT")])
def test_objects_of_another_series_or_modality_are_left_out(
    tmp_path: Path, keyword: str, value: str
) -> None:
    series = Series()
    objects = series.objects()
    setattr(objects[-1], keyword, value)
    volume = read_volume(write_zip(tmp_path / "a.zip", objects))
    assert np.array_equal(volume.voxels, series.values[:-1])
    assert finding_codes(volume) == ["foreign_objects"]
    assert DEFAULT_POLICIES["foreign_objects"] == DROP


def turned(degrees: float) -> Any:
    """Return the axial directions after a rotation about x."""
    angle = np.radians(degrees)
    return (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(np.sin(angle)))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"ImageOrientationPatient": list(turned(0.8))}, "mixed_orientation"),
        ({"ImageOrientationPatient": list(CORONAL)}, "mixed_orientation"),
        ({"PixelSpacing": [0.9, 0.8]}, "mixed_spacing"),
    ],
)
def test_a_series_of_which_a_large_part_is_left_out_is_dropped(
    tmp_path: Path, change: dict[str, Any], code: str
) -> None:
    series = Series(noise((12, 6, 6)))
    for few, is_dropped in ((2, False), (5, True)):
        objects = series.objects()
        for each in objects[:few]:
            for keyword, value in change.items():
                setattr(each, keyword, value)
        found = read_volume(write_zip(tmp_path / "a.zip", objects))
        is_turned = change == {"ImageOrientationPatient": list(turned(0.8))}
        codes = [code, *(["incomplete_volume"] if is_dropped or is_turned else [])]
        assert finding_codes(found) == codes
    assert one_finding(found, "incomplete_volume").numbers["left_out"] == 5
    assert DEFAULT_POLICIES["incomplete_volume"] == DROP

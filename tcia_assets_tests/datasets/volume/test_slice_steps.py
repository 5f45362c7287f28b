"""Slices of several acquisitions that nothing distinguishes are a finding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcia_assets.datasets.quality import DEFAULT_POLICIES, DROP
from tcia_assets.datasets.volume.volume_reader import open_volumes, read_volume
from tcia_assets_tests.datasets.volume.synthetic import (
    Series,
    finding_codes,
    noise,
    one_finding,
    write_zip,
)
from tcia_assets_tests.datasets.volume.synthetic_volumes import each, values_of, volume, zipped

GAP = "missing_slice"


@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize("same_numbers", [False, True])
def test_what_no_attribute_distinguishes_is_a_finding(
    tmp_path: Path, modality: str, *, same_numbers: bool
) -> None:
    below, above = (
        volume(n, modality=modality, origin=(0.0, 0.0, -120.0 + 1.25 * n)) for n in (0, 1)
    )
    for one, other in zip(below, above, strict=True):
        other.InstanceNumber = one.InstanceNumber if same_numbers else other.InstanceNumber
    found = read_volume(zipped(tmp_path, below, above))
    assert finding_codes(found) == ["interleaved_slices"]
    numbers = one_finding(found, "interleaved_slices").numbers
    assert numbers["step_mm"] == pytest.approx(1.25) and numbers["thickness_mm"] == 2.5


def test_thin_slices_of_two_acquisitions_are_a_finding(tmp_path: Path) -> None:
    origins = [(0.0, 0.0, -120.0 + 1.25 * n) for n in (0, 1)]
    one, other = (volume(n, modality="CT", origin=origins[n], SliceThickness=1) for n in (0, 1))
    assert finding_codes(read_volume(zipped(tmp_path, one, other))) == ["interleaved_slices"]
    for each_ in other:
        each_.AcquisitionNumber = 2
    with open_volumes(zipped(tmp_path, one, other)) as volumes:
        assert len(volumes.groups) == 2


def thin_parts(attribute: str, **more: Any) -> list[list[Any]]:
    """Return two parts of MR slices without numbers, half a step apart: 1 mm thick in 1.25 mm."""
    values: dict[str, list[Any]] = {
        "AcquisitionNumber": [1, 2],
        "TriggerTime": ["0", "30"],
        "ImageType": ["W", "F"],
    }
    return [
        volume(
            n,
            origin=(0.0, 0.0, -120.0 + 1.25 * n),
            **{"InstanceNumber": None, "SliceThickness": 1.0, attribute: values[attribute][n]},
            **more,
        )
        for n in (0, 1)
    ]


@pytest.mark.parametrize("attribute", ["AcquisitionNumber", "TriggerTime", "ImageType"])
def test_without_numbers_parts_by_an_attribute_are_a_finding(
    tmp_path: Path, attribute: str
) -> None:
    found = read_volume(zipped(tmp_path, *thin_parts(attribute)))
    assert finding_codes(found) == ["interleaved_slices"]


def test_one_volume_acquired_in_parts_is_no_finding_by_its_numbers_or_declared_steps(
    tmp_path: Path,
) -> None:
    declared = thin_parts("AcquisitionNumber", SpacingBetweenSlices=1.25)
    touching = thin_parts("AcquisitionNumber")
    numbered = thin_parts("AcquisitionNumber")
    for n in (0, 1):
        for place in range(len(touching[n])):
            touching[n][place].SliceThickness = 1.25
            numbered[n][place].InstanceNumber = 2 * place + n + 1
    for parts in (declared, touching, numbered):
        found = read_volume(zipped(tmp_path, *parts))
        assert (len(found.voxels), finding_codes(found)) == (12, [])


@pytest.mark.parametrize(
    "numbers",
    [
        [6, 5, 4, 3, 2, 1],
        [1, 2, 3, 6, 5, 4],
        [1, 2, 2, 3, 4, 5],
        [4, 5, 6, 1, 2, 3],
        [3, 1, 6, 2, 5, 4],
        [7] * 6,
        [1, 2, 3, 1, 2, 3],
    ],
)
def test_other_orders_of_numbers_are_no_finding(tmp_path: Path, numbers: list[int]) -> None:
    objects = volume(0, modality="CT", InstanceNumber=each(*numbers))
    assert finding_codes(read_volume(zipped(tmp_path, objects))) == []


def test_overlapping_slices_in_order_are_a_finding_unless_they_are_declared(tmp_path: Path) -> None:
    series = Series(values_of(0), modality="MR", spacing=(0.7, 0.8, 1.0))
    for declared, codes in ((None, ["overlapping_slices"]), (1.0, [])):
        objects = series.objects()
        for each_ in objects:
            each_.SliceThickness = 2.0
            if declared:
                each_.SpacingBetweenSlices = declared
        assert finding_codes(read_volume(write_zip(tmp_path / "a.zip", objects))) == codes


def read_at(tmp_path: Path, heights: list[float], **attributes: str) -> Any:
    """Read CT slices at some heights, 2.5 mm thick."""
    objects = volume(0, len(heights), modality="CT", **attributes)
    for made, height in zip(objects, heights, strict=True):
        made.ImagePositionPatient = [0.0, 0.0, height]
    return read_volume(write_zip(tmp_path / "a.zip", objects))


def test_acquisitions_that_overlap_by_less_than_half_are_dropped(tmp_path: Path) -> None:
    one = [2.5 * n for n in range(12)]
    other = [2.5 * n + 21.25 for n in range(12)]
    found = read_at(tmp_path, one + other)
    assert finding_codes(found) == ["uneven_spacing", "misplaced_slices"]
    assert DEFAULT_POLICIES["misplaced_slices"] == DROP
    numbers = one_finding(found, "misplaced_slices").numbers
    assert numbers["farthest_voxels"] > 0.5 and numbers["smallest_step"] == pytest.approx(0.5)


@pytest.mark.parametrize(("error", "codes"), [(0.4, []), (0.6, ["misplaced_slices"])])
def test_a_slice_more_than_half_a_step_off_its_place_is_dropped(
    tmp_path: Path, error: float, codes: list[str]
) -> None:
    heights = [2.5 * n for n in range(12)]
    heights[7] += 2.5 * error
    codes_found = [code for code in finding_codes(read_at(tmp_path, heights)) if code != GAP]
    assert codes_found == ["uneven_spacing", *codes]


def test_two_slices_nearly_at_one_place_are_dropped(tmp_path: Path) -> None:
    heights = [2.5 * n for n in range(8)]
    found = read_at(tmp_path, [*heights, heights[4] + 0.01])
    assert "misplaced_slices" in finding_codes(found)


def test_steps_that_change_along_the_way_are_dropped(tmp_path: Path) -> None:
    heights = np.cumsum([1.0] * 20 + [1.2] * 20).tolist()
    assert "misplaced_slices" in finding_codes(read_at(tmp_path, heights))


@pytest.mark.parametrize(("pixels", "is_dropped"), [(0.3, False), (0.7, True)])
def test_a_slice_that_is_moved_within_its_plane_is_dropped_beyond_half_a_pixel(
    tmp_path: Path, pixels: float, *, is_dropped: bool
) -> None:
    series = Series(noise((9, 4, 4)))
    objects = series.objects()
    objects[4].ImagePositionPatient[0] += pixels * series.spacing[0]
    found = read_volume(write_zip(tmp_path / "a.zip", objects))
    assert ("misplaced_slices" in finding_codes(found)) == is_dropped


def test_slices_that_turn_within_the_tolerance_are_dropped_if_their_corners_are_off(
    tmp_path: Path,
) -> None:
    for size, is_dropped in ((100, False), (1000, True)):
        series = Series(np.zeros((6, 2, size), np.uint8), bits=8)
        objects = series.objects()
        turn = 9e-4
        objects[5].ImageOrientationPatient = [np.cos(turn), np.sin(turn), 0, -np.sin(turn), 1, 0]
        found = read_volume(write_zip(tmp_path / "a.zip", objects))
        assert ("misplaced_slices" in finding_codes(found)) == is_dropped

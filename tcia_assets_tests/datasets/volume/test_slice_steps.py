"""Slices of several acquisitions that nothing distinguishes are a finding."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.datasets.volume.volume_reader import open_volumes, read_volume
from tcia_assets_tests.datasets.volume.synthetic import (
    Series,
    finding_codes,
    one_finding,
    write_zip,
)
from tcia_assets_tests.datasets.volume.synthetic_volumes import each, values_of, volume, zipped


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

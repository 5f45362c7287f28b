"""Slices between drawn ones are reported, and filled as the user chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcia_assets.datasets.volume.label_gaps import BETWEEN
from tcia_assets.datasets.volume.label_grid import LabelChoices
from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.datasets.volume.label_reader import read_labels
from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets_tests.datasets.volume.synthetic import (
    Series,
    finding_codes,
    noise,
    one_finding,
    write_zip,
)
from tcia_assets_tests.datasets.volume.synthetic_labels import circle, place_seg, rtstruct, seg

SHAPE = (21, 40, 44)
SERIES = Series(noise(SHAPE), spacing=(1.0, 1.0, 1.5))
GTV = LabelPatterns.compile({"tumour": "(?i)gtv.*"})
CENTRE = (20.3, 18.6)


def ball_radius(z: int) -> float:
    """Return the radius of a ball around slice 10, in pixels; its own is 12 mm."""
    return float(np.sqrt(max(12.0**2 - (1.5 * (z - 10)) ** 2, 0)))


def ball() -> Any:
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    distance = np.hypot(x - CENTRE[0], y - CENTRE[1])
    return np.array([distance < ball_radius(z) for z in range(SHAPE[0])])


def contoured(tmp_path: Path, slices: Any, between: str = "nothing", radius: Any = None) -> Any:
    contours = [circle(SERIES, z, CENTRE, radius or ball_radius(z)) for z in slices]
    volume = read_volume(write_zip(tmp_path / "ct.zip", SERIES.objects()))
    drawn = write_zip(tmp_path / "rt.zip", [rtstruct({"GTV": contours})])
    return read_labels([drawn], volume, GTV, choices=LabelChoices(between=between))


def slices_of(labels: Any) -> list[int]:
    return labels.voxels.any(axis=(1, 2)).nonzero()[0].tolist()


def test_contours_on_every_third_slice_are_reported_with_the_size_of_the_gaps(
    tmp_path: Path,
) -> None:
    labels = contoured(tmp_path, range(4, 17, 3))
    assert slices_of(labels) == [4, 7, 10, 13, 16]
    found = one_finding(labels, "label_gaps")
    assert found.numbers == {"slices": 8, "gaps": 4, "longest_step_mm": 4.5}
    assert "8 slices in 4 gaps, up to 4.500 mm from slice to slice, of 'GTV'" in found.message


@pytest.mark.parametrize(("between", "most_wrong"), [("nearest", 0.12), ("interpolate", 0.04)])
def test_gaps_are_filled_as_the_user_chooses(
    tmp_path: Path, between: str, most_wrong: float
) -> None:
    labels = contoured(tmp_path, range(4, 17, 3), between)
    assert finding_codes(labels) == ["label_gaps_filled"]
    truth = ball()[4:17]
    wrong = (labels.voxels[4:17] == 1) ^ truth
    assert wrong.sum() / truth.sum() < most_wrong
    assert slices_of(labels) == list(range(4, 17))


def test_a_step_of_more_than_twice_the_usual_one_is_reported_and_not_filled(
    tmp_path: Path,
) -> None:
    for between in BETWEEN:
        labels = contoured(tmp_path, [4, 5, 6, 7, 12, 13, 14], between, radius=6.0)
        assert finding_codes(labels) == ["label_gaps"]
        assert slices_of(labels) == [4, 5, 6, 7, 12, 13, 14]


@pytest.mark.parametrize("shift", [14.0, 11.0])
def test_shapes_that_hardly_meet_are_not_interpolated(tmp_path: Path, shift: float) -> None:
    contours = [circle(SERIES, z, (12 + shift * (z == 10), 20), 6) for z in (4, 7, 10)]
    volume = read_volume(write_zip(tmp_path / "ct.zip", SERIES.objects()))
    drawn = write_zip(tmp_path / "rt.zip", [rtstruct({"GTV": contours})])
    labels = read_labels([drawn], volume, GTV, choices=LabelChoices(between="interpolate"))
    assert finding_codes(labels) == ["label_gaps", "label_gaps_filled"]
    assert slices_of(labels) == [4, 5, 6, 7, 10]
    for code in finding_codes(labels):
        assert one_finding(labels, code).numbers["slices"] == 2


def test_one_forgotten_slice_is_filled(tmp_path: Path) -> None:
    labels = contoured(tmp_path, [4, 5, 7, 8], "interpolate", radius=6.0)
    assert np.array_equal(labels.voxels[6], labels.voxels[5])
    assert one_finding(labels, "label_gaps_filled").numbers["slices"] == 1


def test_structures_apart_from_each_other_have_no_gap_between_them(tmp_path: Path) -> None:
    contours = [circle(SERIES, z, (12, 12), 4) for z in (3, 4, 5)]
    contours += [circle(SERIES, z, (32, 30), 4) for z in (12, 13, 14)]
    volume = read_volume(write_zip(tmp_path / "ct.zip", SERIES.objects()))
    drawn = write_zip(tmp_path / "rt.zip", [rtstruct({"GTV": contours})])
    assert finding_codes(read_labels([drawn], volume, GTV)) == []


def test_thick_frames_on_thin_slices_are_reported_and_filled(tmp_path: Path) -> None:
    thick = Series(np.zeros((10, *SHAPE[1:]), np.int16), spacing=(1.0, 1.0, 3.0))
    made = seg(thick.objects(), np.stack([ball()[:20:2], np.zeros_like(ball()[:20:2])], axis=-1))
    labels = place_seg(tmp_path, SERIES, made, GTV)
    assert one_finding(labels, "label_gaps").numbers["longest_step_mm"] == 3.0
    choices = LabelChoices(between="interpolate")
    filled = place_seg(tmp_path, SERIES, made, GTV, choices=choices)
    assert "label_gaps_filled" in finding_codes(filled)
    drawn = slice(slices_of(filled)[0], slices_of(filled)[-1] + 1)
    wrong = (filled.voxels[drawn] == 1) ^ ball()[drawn]
    assert wrong.sum() / ball().sum() < 0.03


def test_gaps_of_frames_across_the_slices_are_filled_too(tmp_path: Path) -> None:
    # Coronal frames from front to back, two millimetres apart: rows run down, from the top.
    origin = tuple((SERIES.affine_lps @ [0, 0, SHAPE[0] - 1, 1])[:3])
    coronal = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
    mask = ball().transpose(1, 0, 2)[::2, ::-1]
    turned = Series(np.zeros(mask.shape, np.int16), coronal, (1.0, 1.5, 2.0), origin)
    made = seg(turned.objects(), np.stack([mask, np.zeros_like(mask)], axis=-1))
    choices = LabelChoices(between="interpolate")
    labels = place_seg(tmp_path, SERIES, made, GTV, choices=choices)
    assert one_finding(labels, "label_gaps_filled").numbers["longest_step_mm"] == 2.0
    wrong = (labels.voxels == 1) ^ ball()
    assert wrong.sum() / ball().sum() < 0.03


def test_a_frame_that_was_stored_empty_is_no_gap(tmp_path: Path) -> None:
    mask = ball()
    mask[9] = False
    made = seg(SERIES.objects(), np.stack([mask, np.zeros_like(mask)], -1), omit_empty_frames=False)
    labels = place_seg(tmp_path, SERIES, made, GTV)
    assert "label_gaps" not in finding_codes(labels)
    made = seg(SERIES.objects(), np.stack([mask, np.zeros_like(mask)], -1))
    labels = place_seg(tmp_path, SERIES, made, GTV)
    assert one_finding(labels, "label_gaps").numbers["slices"] == 1


def test_empty_frames_of_slices_that_were_left_out_hide_no_gap(tmp_path: Path) -> None:
    drawn = np.zeros((*SHAPE, 2), np.uint8)
    drawn[4:17:3, ..., 0] = ball()[4:17:3]
    drawn[0, 0, 0, 1] = 1
    made = seg(SERIES.objects(), drawn, omit_empty_frames=False)
    labels = place_seg(tmp_path, SERIES, made, GTV)
    assert one_finding(labels, "label_gaps").numbers["slices"] == 8

"""Contours label the pixels whose centres are inside; contours in one plane are holes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcia_assets.datasets.quality import DEFAULT_POLICIES, DROP
from tcia_assets.datasets.volume.label_grid import LabelChoices, LabelGrid
from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.datasets.volume.label_reader import read_labels
from tcia_assets.datasets.volume.rtstruct import set_rois
from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets.sandbox import phantom
from tcia_assets_tests.datasets.volume.synthetic import (
    AXIAL,
    CORONAL,
    OBLIQUE,
    Series,
    finding_codes,
    noise,
    one_finding,
    write_zip,
)
from tcia_assets_tests.datasets.volume.synthetic_labels import circle, rtstruct, volume_of
from tcia_assets_tests.examples import examples

SHAPE = (5, 40, 44)
GTV = LabelPatterns.compile({"tumour": "(?i)gtv.*"})


def placed(tmp_path: Path, series: Series, rois: Any, targets: Any = GTV, **more: Any) -> Any:
    volume = read_volume(write_zip(tmp_path / "ct.zip", series.objects()))
    path = write_zip(tmp_path / "rt.zip", [rtstruct(rois, **more)])
    return read_labels([path], volume, targets)


def disc(centre: tuple[float, float], radius: float) -> Any:
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2


def dice(one: Any, other: Any) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, OBLIQUE])
@pytest.mark.parametrize("radius", [4.0, 4.3, 12.7])
def test_pixels_with_their_centre_in_a_disc_are_labelled(
    tmp_path: Path, orientation: Any, radius: float
) -> None:
    series = Series(noise(SHAPE), orientation=orientation)
    centre = (20.3, 18.6)
    contour = circle(series, 2, centre, radius)
    labels = placed(tmp_path, series, {"GTV": [contour], "Body": [contour]})
    assert dice(labels.voxels[2] == 1, disc(centre, radius)) >= 0.999
    assert not labels.voxels[[0, 1, 3, 4]].any()
    assert labels.unmatched == ("Body",)
    assert finding_codes(labels) == ["unmatched_names"]


def test_holes_are_excluded_and_islands_in_them_included(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    centre = (20.2, 20.4)
    radii = (15.3, 9.2, 4.0)
    labels = placed(
        tmp_path, series, {"GTV": [circle(series, 1, centre, radius) for radius in radii]}
    )
    outer, hole, island = (disc(centre, radius) for radius in radii)
    assert dice(labels.voxels[1] == 1, outer & ~hole | island) >= 0.999
    assert finding_codes(labels) == []


def test_a_keyhole_contour_leaves_a_hole(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    outer = circle(series, 1, (20.2, 20.4), 15.3)
    inner = circle(series, 1, (20.2, 20.4), 9.2)
    joined = np.concatenate([outer, outer[:1], inner, inner[:1]])
    labels = placed(tmp_path, series, {"GTV": [joined]})
    ring = disc((20.2, 20.4), 15.3) & ~disc((20.2, 20.4), 9.2)
    assert dice(labels.voxels[1] == 1, ring) >= 0.999


@given(
    lowest=st.integers(-80_000, 80_000).map(lambda n: n / 400),
    step=st.sampled_from([0.5, 0.625, 0.7, 0.8, 1.0, 1.25, 2.0, 3.0, 5.0]),
    orientation=st.sampled_from([AXIAL, CORONAL, OBLIQUE]),
    digits=st.sampled_from([2, 3, 6]),
)
# In both, the mean heights of an outline and its hole differ by a rounding error in some slices.
@example(lowest=-97.2, step=0.625, orientation=AXIAL, digits=6)
@example(lowest=12.3, step=0.625, orientation=AXIAL, digits=3)
@settings(max_examples=examples(50))
def test_holes_are_excluded_at_all_heights_spacings_and_orientations(
    lowest: float, step: float, orientation: Any, digits: int
) -> None:
    volume = Series(np.zeros(SHAPE), orientation, (0.7, 0.8, step), (-31.25, 17.5, lowest))
    outer, hole = (
        [np.round(circle(volume, z, (20.2, 20.4), r, points), digits) for z in range(SHAPE[0])]
        for r, points in ((15.3, 211), (9.2, 97))
    )
    grid = LabelGrid(volume_of(volume), GTV)
    set_rois(grid, rtstruct({"GTV": [*outer, *hole]}))
    labels = grid.to_labels(LabelChoices())
    ring = disc((20.2, 20.4), 15.3) & ~disc((20.2, 20.4), 9.2)
    for image in labels.voxels:
        assert dice(image == 1, ring) >= 0.99
    assert finding_codes(labels) == []


def test_contours_of_an_roi_may_be_in_several_items(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    made = rtstruct({name: [circle(series, z, (20, 20), 9)] for z, name in enumerate(("GTV", "x"))})
    made.ROIContourSequence[1].ReferencedROINumber = 1
    del made.StructureSetROISequence[1]
    grid = LabelGrid(volume_of(series), GTV)
    set_rois(grid, made)
    labels = grid.to_labels(LabelChoices())
    assert [bool(plane.any()) for plane in labels.voxels] == [True, True, False, False, False]


def test_contours_of_an_roi_that_is_not_declared_are_reported(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    made = rtstruct({name: [circle(series, 1, (20, 20), 4)] for name in ("GTV", "Body")})
    for roi in made.StructureSetROISequence:
        roi.ROINumber += 1
    grid = LabelGrid(volume_of(series), GTV)
    set_rois(grid, made)
    labels = grid.to_labels(LabelChoices())
    assert one_finding(labels, "unreadable_mask").numbers == {"contours": 1}


def test_rois_of_one_number_are_left_out(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    rois = {name: [circle(series, 1, (x, 20), 4)] for name, x in (("GTV", 9), ("GTV 2", 30))}
    made = rtstruct(rois)
    for roi, drawn in zip(made.StructureSetROISequence, made.ROIContourSequence, strict=True):
        roi.ROINumber = drawn.ReferencedROINumber = 1
    grid = LabelGrid(volume_of(series), GTV)
    set_rois(grid, made)
    assert finding_codes(grid.to_labels(LabelChoices())) == ["ambiguous_numbers", "empty_mask"]


def test_overlapping_contours_are_united_and_reported(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    discs = ((15.2, 20.4), 8.1), ((22.2, 20.4), 8.1)
    labels = placed(tmp_path, series, {"GTV": [circle(series, 1, *each) for each in discs]})
    one, other = (disc(*each) for each in discs)
    assert np.array_equal(labels.voxels[1] == 1, one | other)
    numbers = one_finding(labels, "overlapping_contours").numbers
    assert numbers == {"planes": 1, "pixels": (one & other).sum()}


def test_the_same_contour_twice_counts_once(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    contours = [circle(series, z, (20.2, 20.4), 8.1) for z in (1, 2)] * 2
    labels = placed(tmp_path, series, {"GTV": contours})
    assert labels.counts[1] == 2 * disc((20.2, 20.4), 8.1).sum()
    assert one_finding(labels, "overlapping_contours").numbers["planes"] == 2


def test_a_contour_with_fewer_points_than_declared_is_reported(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    made = rtstruct({"GTV": [circle(series, z, (20.2, 20.4), 12.1) for z in (1, 2)]})
    made.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints = 1000
    grid = LabelGrid(volume_of(series), GTV)
    set_rois(grid, made)
    labels = grid.to_labels(LabelChoices())
    assert one_finding(labels, "unreadable_mask").numbers == {"contours": 1}


def test_a_contour_that_runs_around_twice_is_reported(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    contours = [np.tile(circle(series, z, (20.2, 20.4), 12.1), (2, 1)) for z in (1, 2)]
    labels = placed(tmp_path, series, {"GTV": contours})
    assert finding_codes(labels) == ["thin_walls", "empty_mask"]
    area = disc((20.2, 20.4), 12.1).sum()
    assert abs(one_finding(labels, "thin_walls").numbers["pixels"] - 2 * area) <= 4


def test_walls_of_about_a_pixel_are_reported_and_dropped(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    contours = [circle(series, z, (20.2, 20.4), r) for z in (1, 2) for r in (12.1, 11.2)]
    labels = placed(tmp_path, series, {"GTV": contours})
    assert finding_codes(labels) == ["thin_walls"]
    numbers = one_finding(labels, "thin_walls").numbers
    assert numbers == {"planes": 2, "pixels": 2 * disc((20.2, 20.4), 11.2).sum()}
    assert DEFAULT_POLICIES["thin_walls"] == DROP


def test_contours_of_the_type_xor_exclude_each_other(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    discs = ((15.2, 20.4), 8.1), ((22.2, 20.4), 8.1)
    contours = [circle(series, 1, *each) for each in discs]
    labels = placed(tmp_path, series, {"GTV": contours}, kind="CLOSEDPLANAR_XOR")
    assert dice(labels.voxels[1] == 1, disc(*discs[0]) ^ disc(*discs[1])) >= 0.99
    assert finding_codes(labels) == []


def test_contours_in_the_middle_between_slices_go_to_different_slices(tmp_path: Path) -> None:
    """Rounding errors must not put two planes in one slice and none in the next one."""
    series = Series(noise(SHAPE), orientation=OBLIQUE)
    contours = [circle(series, z + 0.5, (20, 20), 5.5) for z in range(-1, 4)]
    labels = placed(tmp_path, series, {"GTV": contours})
    assert labels.voxels.any(axis=(1, 2)).sum() >= 4
    assert "label_gaps" not in finding_codes(labels)


def test_rois_of_one_label_are_united(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    rois = {f"GTV {x}": [circle(series, 1, (x, 20.4), 6)] for x in (15.2, 20.2)}
    labels = placed(tmp_path, series, rois)
    both = disc((15.2, 20.4), 6) | disc((20.2, 20.4), 6)
    assert np.array_equal(labels.voxels[1] == 1, both)


@pytest.mark.parametrize(
    ("place", "lands", "expected"),
    [
        (2.05, 2, []),
        (2.4, 2, ["contours_between_slices"]),
        (2.5, None, ["contours_between_slices"]),
        (4.3, 4, ["contours_between_slices"]),
        (5.0, None, ["mask_outside_volume", "empty_mask"]),
        (-0.8, None, ["mask_outside_volume", "empty_mask"]),
    ],
)
def test_a_contour_goes_to_its_nearest_slice(
    tmp_path: Path, place: float, lands: Any, expected: Any
) -> None:
    series = Series(noise(SHAPE))
    labels = placed(tmp_path, series, {"GTV": [circle(series, place, (20, 20), 5)]})
    assert finding_codes(labels) == expected
    if lands is not None:
        assert labels.voxels.any(axis=(1, 2)).nonzero()[0].tolist() == [lands]
    if "contours_between_slices" in expected:
        farthest = one_finding(labels, "contours_between_slices").numbers["farthest_mm"]
        assert farthest == pytest.approx(2.5 * abs(place - round(place)), abs=1e-3)


def test_contours_closer_than_the_slices_are_united(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    contours = [circle(series, place, (20, 20), 5.5) for place in (1.7, 2.0, 2.3)]
    labels = placed(tmp_path, series, {"GTV": contours})
    assert np.array_equal(labels.voxels[2] == 1, disc((20, 20), 5.5))


def test_a_second_plane_in_a_slice_is_reported_however_near_it_is(tmp_path: Path) -> None:
    """A hole at its height is not taken as one."""
    series = Series(noise(SHAPE))
    contours = [circle(series, 2, (20, 20), 9.5), circle(series, 2.08, (20, 20), 4.5)]
    labels = placed(tmp_path, series, {"GTV": contours})
    assert np.array_equal(labels.voxels[2] == 1, disc((20, 20), 9.5))
    assert one_finding(labels, "contours_between_slices").numbers["contours"] == 1


def test_contours_on_a_tilted_stack_use_the_pixels_of_each_slice(tmp_path: Path) -> None:
    series = Series(noise(SHAPE), shear=(0.0, 0.9, 0.0))
    contours = [circle(series, place, (20.2, 18.3), 6.1) for place in range(5)]
    labels = placed(tmp_path, series, {"GTV": contours})
    for image in labels.voxels:
        assert dice(image == 1, disc((20.2, 18.3), 6.1)) >= 0.999


def test_pixels_outside_the_image_are_counted(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    labels = placed(tmp_path, series, {"GTV": [circle(series, 1, (0.1, 20.2), 6)]})
    assert np.array_equal(labels.voxels[1] == 1, disc((0.1, 20.2), 6))
    numbers = one_finding(labels, "mask_outside_volume").numbers
    whole = disc((20.1, 20.2), 6).sum()
    assert numbers == {"voxels_outside": whole - disc((0.1, 20.2), 6).sum(), "voxels": whole}


def test_contours_across_the_slices_are_reported(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    corners = np.array([[5, 5, 0], [9, 5, 0], [9, 5, 4], [5, 5, 4.0]])
    points = (series.affine_lps @ np.column_stack([corners, np.ones(4)]).T)[:3].T
    labels = placed(tmp_path, series, {"GTV": [points]})
    assert finding_codes(labels) == ["contours_off_plane", "empty_mask"]


def test_points_and_invalid_contours_are_reported(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    points = circle(series, 1, (9.1, 9.2), 3)
    assert finding_codes(placed(tmp_path, series, {"GTV": [points]}, kind="POINT")) == [
        "contours_not_closed",
        "empty_mask",
    ]
    assert finding_codes(placed(tmp_path, series, {"GTV": [points[:2], [1.0, 2.0, 3.0, 4.0]]})) == [
        "unreadable_mask",
        "empty_mask",
    ]
    assert finding_codes(placed(tmp_path, series, {"GTV": []})) == ["empty_mask"]


def test_a_different_frame_of_reference_is_reported(tmp_path: Path) -> None:
    series = Series(noise(SHAPE), extra={"FrameOfReferenceUID": "1.2.5"})
    labels = placed(tmp_path, series, {"GTV": [circle(series, 1, (9.1, 9.2), 3)]})
    assert finding_codes(labels) == ["other_frame_of_reference"]
    assert labels.counts[1] == disc((9.1, 9.2), 3).sum()


def test_the_contours_of_the_sandbox_cover_its_lesion_and_body(tmp_path: Path) -> None:
    row = {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2", "PatientID": "P"}
    image = row | {"Modality": "CT", "ImageCount": 40}
    mask = row | {"SeriesInstanceUID": "1.2.4", "Modality": "RTSTRUCT", "ImageCount": 1}
    ct = write_zip(tmp_path / "ct.zip", [content for _, content in phantom.objects(image)])
    drawn = write_zip(tmp_path / "rt.zip", [content for _, content in phantom.objects(mask, image)])
    volume = read_volume(ct)
    labels = read_labels(
        [drawn], volume, LabelPatterns.compile({"lesion": "Lesion", "body": "Body"})
    )
    inside = volume.voxels[labels.voxels == 1]
    assert labels.counts[1] > 100 and abs(float(np.median(inside)) - 60) < 15
    # Circles with 24 points enclose nearly all of the body and no air.
    assert (volume.voxels[labels.voxels == 2] > -950).mean() > 0.99

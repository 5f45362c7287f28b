"""Reorientation keeps voxels and their positions; resampling equals SimpleITK's own."""

from __future__ import annotations

import sys
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from tcia_assets.datasets.volume.arrays import Labels, Volume
from tcia_assets.datasets.volume.regrid import (
    axis_codes,
    covered_share,
    reorient,
    resample,
    resample_onto,
)
from tcia_assets.errors import MissingExtra, UsageError
from tcia_assets_tests.datasets.volume.synthetic import (
    CORONAL,
    OBLIQUE,
    Series,
    noise,
    rotation_matrix,
)

ORIENTATIONS = [
    "".join(ends[axis] for axis in order)
    for ends in (("R", "A", "S"), ("L", "P", "S"), ("R", "P", "I"))
    for order in ((0, 1, 2), (2, 0, 1), (1, 0, 2))
]


def volume(voxels: Any, affine: Any) -> Volume:
    return Volume(voxels, affine, "1.2", "1.3", "CT", "HU")


@pytest.mark.parametrize("way", ORIENTATIONS)
@pytest.mark.parametrize("orientation", [OBLIQUE, CORONAL])
def test_reorientation_equals_nibabel(way: str, orientation: Any) -> None:
    series = Series(noise((4, 5, 6)), orientation=orientation)
    ours = reorient(volume(series.values, series.affine), way)
    image = nibabel.Nifti1Image(series.values.T, series.affine)
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(tuple(way))
    )
    theirs = image.as_reoriented(turn)
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-9)
    assert np.array_equal(ours.voxels.T, np.asanyarray(theirs.dataobj))
    assert axis_codes(ours.affine) == way


@given(turn=st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(v * v for v in q) > 0.01))
def test_reorientation_can_be_undone(turn: Any) -> None:
    affine = np.eye(4)
    affine[:3, :3] = rotation_matrix(np.array(turn)) * [0.5, 1.0, 2.0]
    first = volume(noise((3, 4, 5)), affine)
    again = reorient(reorient(first, "PIR"), axis_codes(affine))
    assert sorted(again.voxels.ravel()) == sorted(first.voxels.ravel())
    # Not by index: with an axis halfway between two others, either may be the nearest.
    for x, y, z in np.ndindex(5, 4, 3):
        i, j, k = np.rint(np.linalg.inv(again.affine) @ affine @ [x, y, z, 1])[:3].astype(int)
        assert again.voxels[k, j, i] == first.voxels[z, y, x]


def test_labels_are_reoriented_like_volumes() -> None:
    series = Series(noise((4, 5, 6), 0, 3, np.uint8))
    labels = Labels(series.values, series.affine, {1: "a", 2: "b"})
    turned = reorient(labels, "RAS")
    assert turned.counts == {label: int((series.values == label).sum()) for label in (1, 2)}
    assert np.array_equal(turned.voxels, series.values[:, ::-1, ::-1])


def test_labels_of_each_reader_go_to_the_same_grid() -> None:
    series = Series(noise((4, 5, 6), 0, 3, np.uint8))
    several = np.stack([series.values, series.values[::-1]])
    each = Labels(several, series.affine, {1: "a", 2: "b"})
    for place, values in enumerate(several):
        alone = Labels(values, series.affine, {1: "a", 2: "b"})
        for turned, one in (
            (reorient(each, "RAS"), reorient(alone, "RAS")),
            (resample(each, (1, 1, 1), "RAS"), resample(alone, (1, 1, 1), "RAS")),
        ):
            assert np.array_equal(turned.voxels[place], one.voxels)
            np.testing.assert_allclose(turned.affine, one.affine)


@pytest.mark.parametrize("way", ["RAR", "ras", "RA", "", "XYZ"])
def test_invalid_orientations_are_refused(way: str) -> None:
    with pytest.raises(UsageError, match="orientation"):
        reorient(volume(noise((3, 3, 3)), np.eye(4)), way)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.1, 0.3, 4.0)])
@pytest.mark.parametrize("is_linear", [True, False])
def test_resampling_equals_simpleitk(spacing: Any, *, is_linear: bool) -> None:
    """SimpleITK gets spacing, direction and origin here, and no transform."""
    values = noise((7, 12, 16)) if is_linear else noise((7, 12, 16), 0, 3, np.uint8)
    series = Series(values, orientation=OBLIQUE)
    image = (
        volume(values, series.affine)
        if is_linear
        else Labels(values, series.affine, {1: "a", 2: "b"})
    )
    ours = resample(image, spacing)
    source = SimpleITK.GetImageFromArray(values.astype(np.float64))
    direction = series.affine_lps[:3, :3] / series.spacing
    source.SetDirection(direction.ravel().tolist())
    source.SetSpacing(series.spacing)
    source.SetOrigin(series.origin)
    size = [round(n * old / new) for n, old, new in zip((16, 12, 7), series.spacing, spacing)]  # noqa: B905
    centre = (series.affine_lps @ [7.5, 5.5, 3, 1])[:3]
    origin = centre - direction @ ((np.array(size) - 1) / 2 * spacing)
    theirs = SimpleITK.Resample(
        source,
        size,
        SimpleITK.Transform(),
        SimpleITK.sitkLinear if is_linear else SimpleITK.sitkNearestNeighbor,
        origin.tolist(),
        spacing,
        direction.ravel().tolist(),
        float(values.min()),
    )
    assert ours.spacing == pytest.approx(spacing)
    assert ours.voxels.dtype == (np.float32 if is_linear else values.dtype)
    expected = SimpleITK.GetArrayFromImage(theirs)
    assert ours.voxels.shape == expected.shape
    off = np.abs(ours.voxels.astype(float) - expected)
    if is_linear:
        assert off.max() <= 0.01, "no value is rounded"
    else:
        # Halfway between two voxels, either is the nearest.
        assert not off[~halfway(ours, series.affine)].any()
    np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ ours.affine @ [0, 0, 0, 1], [*origin, 1])


def halfway(image: Any, affine: Any) -> Any:
    """Return the voxels that lie halfway between two voxels of the original."""
    z, y, x = np.indices(image.voxels.shape)
    places = np.linalg.inv(affine) @ image.affine @ np.stack([x, y, z, x * 0 + 1]).reshape(4, -1)
    off = np.abs(places[:3] - np.floor(places[:3]) - 0.5)
    return (off < 1e-4).any(axis=0).reshape(image.voxels.shape)


def test_a_tilted_volume_is_straightened() -> None:
    """A linear ramp in space has the same values on any grid."""
    series = Series(noise((9, 20, 20)), shear=(0.0, 1.3, 0.0))
    z, y, x = np.mgrid[:9, :20, :20]
    points = series.affine @ np.stack([x, y, z, np.ones_like(x)]).reshape(4, -1)
    ramp = np.float32([3.0, -2.0, 5.0]) @ points[:3]
    tilted = volume(ramp.reshape(9, 20, 20).astype(np.float32), series.affine)
    straight = resample(tilted, (0.7, 0.8, 2.5))
    axes = straight.affine[:3, :3]
    np.testing.assert_allclose(axes.T @ axes, np.diag([0.49, 0.64, 6.25]), atol=1e-6)
    inside = straight.voxels > float(ramp.min())
    index = np.argwhere(inside.T)
    there = np.column_stack([index, np.ones(len(index))]) @ straight.affine.T
    within = np.linalg.inv(series.affine) @ there.T
    well = (within[:3] >= 0).all(axis=0) & (within[:3].T <= [19, 19, 8]).all(axis=1)
    found = straight.voxels.T[tuple(index.T)]
    expected = there[:, :3] @ [3.0, -2.0, 5.0]
    assert well.sum() > 1500
    np.testing.assert_allclose(found[well], expected[well], atol=1e-2)


def test_the_same_spacing_changes_nothing() -> None:
    series = Series(noise((5, 6, 7)), orientation=OBLIQUE)
    image = volume(series.values, series.affine)
    same = resample(image, series.spacing)
    np.testing.assert_allclose(same.voxels, series.values, atol=0.01)
    np.testing.assert_allclose(same.affine, series.affine, atol=1e-5)


def test_spacing_is_along_the_requested_axes() -> None:
    series = Series(noise((5, 6, 7)), orientation=CORONAL)
    made = resample(volume(series.values, series.affine), (1.0, 2.0, 3.0), "RAS")
    assert axis_codes(made.affine) == "RAS"
    assert made.spacing == pytest.approx((1.0, 2.0, 3.0))


def test_missing_simpleitk_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(MissingExtra, match="pip install 'simpleitk"):
        resample(volume(noise((3, 3, 3)), np.eye(4)), (1.0, 1.0, 2.0))


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 0.0, 1.0), (1.0, float("nan"), 1.0)])
def test_invalid_spacings_are_refused(spacing: Any) -> None:
    with pytest.raises(UsageError, match="spacing"):
        resample(volume(noise((3, 3, 3)), np.eye(4)), spacing)


@pytest.mark.parametrize("orientation", [None, "RAS", "IPL"])
def test_an_axis_that_keeps_its_spacing_keeps_its_slices(orientation: str | None) -> None:
    image = volume(noise((5, 8, 6)), np.diag([-2.0, -2.0, 3.0, 1.0]))
    turned = image if orientation is None else reorient(image, orientation)
    thick = int(np.argmax(turned.spacing))
    wanted = [1.0 if axis != thick else None for axis in range(3)]
    resampled = resample(image, wanted, orientation)
    assert resampled.spacing == pytest.approx([1.0 if each else 3.0 for each in wanted])
    assert sorted(resampled.voxels.shape) == [5, 12, 16]


def test_an_image_is_put_on_the_grid_of_another_one() -> None:
    fixed = Series(noise((6, 7, 8)), orientation=OBLIQUE, spacing=(2, 2, 3))
    moving = Series(noise((9, 10, 11)), spacing=(1.5, 1.5, 2), origin=(-33, 15, -122))
    placed = resample_onto(volume(moving.values, moving.affine), fixed.affine, (8, 7, 6))
    assert placed.voxels.shape == fixed.values.shape and np.array_equal(placed.affine, fixed.affine)

    def itk(series: Series) -> Any:
        image = SimpleITK.GetImageFromArray(series.values.astype(np.float32))
        image.SetOrigin(series.origin)
        image.SetSpacing(series.spacing)
        axes = series.affine_lps[:3, :3] / np.array(series.spacing)
        image.SetDirection(axes.ravel().tolist())
        return image

    lowest = float(moving.values.min())
    theirs = SimpleITK.Resample(itk(moving), itk(fixed), SimpleITK.Transform(), 2, lowest)
    assert np.abs(SimpleITK.GetArrayFromImage(theirs) - placed.voxels).max() <= 0.01


def test_an_image_on_the_grid_already_is_left_alone() -> None:
    series = Series(noise((4, 5, 6)), orientation=OBLIQUE)
    image = volume(series.values, series.affine)
    rounded = series.affine + 1e-5
    assert resample_onto(image, rounded, (6, 5, 4)) is image
    assert covered_share(image, series.affine, (6, 5, 4)) == 1


def test_how_far_a_grid_is_covered() -> None:
    image = volume(noise((4, 10, 10)), np.diag([1.0, 1.0, 1.0, 1.0]))
    half = np.eye(4)
    half[0, 3] = 5
    assert covered_share(image, half, (10, 10, 4)) == 0.5
    half[0, 3] = 50
    assert covered_share(image, half, (10, 10, 4)) == 0

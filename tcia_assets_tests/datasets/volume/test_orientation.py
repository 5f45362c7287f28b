"""Reorientation changes neither voxels nor their positions."""

from __future__ import annotations

from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_assets.datasets.volume import Labels, Volume, axis_codes, reorient
from tcia_assets.errors import UsageError
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


@pytest.mark.parametrize("way", ["RAR", "ras", "RA", "", "XYZ"])
def test_invalid_orientations_are_refused(way: str) -> None:
    with pytest.raises(UsageError, match="orientation"):
        reorient(volume(noise((3, 3, 3)), np.eye(4)), way)

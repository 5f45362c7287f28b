"""Cropping and padding move no voxel in the patient."""

from __future__ import annotations

from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK

from tcia_assets.datasets.volume.arrays import Labels, Volume, swap_lps_ras
from tcia_assets.datasets.volume.boxes import Box, box_of, count_outside, cut
from tcia_assets_tests.datasets.volume.synthetic import OBLIQUE, Series, noise

SERIES = Series(noise((6, 9, 11)), orientation=OBLIQUE, spacing=(0.7, 0.8, 2.5))
VOLUME = Volume(SERIES.values, SERIES.affine, "1.2", "1.3", "MR", "stored")
BOXES = [
    Box((2, 3, 1), (5, 4, 3)),  # inside
    Box((-2, -1, -3), (20, 12, 12)),  # around
    Box((-3, 4, 2), (6, 9, 2)),  # across the edges
]


def itk(volume: Volume) -> Any:
    """Return the image with the same positions in SimpleITK."""
    affine = swap_lps_ras(volume.affine)
    image = SimpleITK.GetImageFromArray(volume.voxels)
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetSpacing(volume.spacing)
    image.SetDirection((affine[:3, :3] / np.array(volume.spacing)).ravel().tolist())
    return image


@pytest.mark.parametrize("box", BOXES)
def test_each_voxel_stays_where_it_was_in_the_patient(box: Box) -> None:
    made = cut(VOLUME, box)
    assert made.voxels.shape == box.size[::-1]
    old, new = itk(VOLUME), itk(made)
    lowest = int(VOLUME.voxels.min())
    for place in np.ndindex(*box.size):
        point = new.TransformIndexToPhysicalPoint(place)
        there = np.rint(old.TransformPhysicalPointToContinuousIndex(point)).astype(int).tolist()
        inside = all(0 <= a < n for a, n in zip(there, old.GetSize(), strict=True))
        assert new[place] == (old[there] if inside else lowest)


def test_cropping_equals_nibabels_slicer() -> None:
    theirs = nibabel.Nifti1Image(VOLUME.voxels.T, VOLUME.affine).slicer[2:7, 3:7, 1:4]
    ours = cut(VOLUME, BOXES[0])
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-6)
    assert np.array_equal(ours.voxels.T, np.asanyarray(theirs.dataobj))


def test_padding_of_labels_is_no_label_also_of_several_readers() -> None:
    drawn = np.ones((2, 6, 9, 11), np.uint8)
    labels = Labels(drawn, SERIES.affine, {1: "a"}, {1: drawn.size})
    made = cut(labels, BOXES[1])
    assert made.voxels.shape == (2, 12, 12, 20)
    assert made.counts == {1: drawn.size}, "what is padded has no label"
    assert cut(labels, BOXES[0]).counts == {1: 2 * 5 * 4 * 3}
    assert count_outside(drawn, BOXES[0]) == drawn.size - 2 * 5 * 4 * 3
    assert count_outside(drawn, Box((50, 50, 50), (2, 2, 2))) == drawn.size


def test_a_box_is_around_what_is_true_with_a_margin_in_millimetres() -> None:
    mask = np.zeros((6, 9, 11), bool)
    mask[2, 3:5, 4:8] = True
    box = box_of(mask)
    assert box == Box((4, 3, 2), (4, 2, 1))
    limit = Box.of(VOLUME)
    assert box.with_margin(1.6, (0.8, 0.8, 2.5), limit) == Box((2, 1, 1), (8, 6, 3))
    assert box.with_margin(100, (0.8, 0.8, 2.5), limit) == limit
    assert box_of(np.zeros((2, 2, 2), bool)) is None


def test_a_fixed_size_is_about_the_centre() -> None:
    box = Box((4, 3, 2), (4, 2, 1))
    assert box.resized((8, 2, 3)) == Box((2, 3, 1), (8, 2, 3))
    assert box.resized((2, None, 1)) == Box((5, 3, 2), (2, 2, 1))
    assert box.resized((5, 2, 2)) == Box((4, 3, 2), (5, 2, 2)), "the odd voxel is at the end"
    assert Box.of(VOLUME).covers(box) and not box.covers(Box.of(VOLUME))

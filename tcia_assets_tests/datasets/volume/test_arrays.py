"""Volume and Labels keep one axis convention, and their facts follow a new grid."""

from __future__ import annotations

import numpy as np
import pytest

from tcia_assets.datasets.volume.arrays import Labels, Slice, Volume, swap_lps_ras

AFFINE = np.array([[-0.7, 0, 0, 12.5], [0, -0.8, 0, -4], [0, 0, 2.5, 100.25], [0, 0, 0, 1.0]])


def test_the_lps_affine_mirrors_the_first_two_axes() -> None:
    volume = Volume(np.zeros((2, 3, 4), np.int16), AFFINE, "1.2", "1.3", "CT", "HU")
    assert (volume.affine_lps @ [1, 1, 1, 1]).tolist() == pytest.approx([-11.8, 4.8, 102.75, 1])
    assert np.array_equal(swap_lps_ras(volume.affine_lps), AFFINE)
    assert volume.spacing == pytest.approx((0.7, 0.8, 2.5))


def test_a_volume_on_a_new_grid_has_no_slices() -> None:
    slices = (Slice("1.2.3", (0.0, 0.0, 0.0)),)
    volume = Volume(np.zeros((1, 3, 4), np.int16), AFFINE, "1.2", "1.3", "CT", "HU", slices)
    other = volume.on_grid(np.ones((2, 2, 2), np.int16), np.eye(4))
    assert other.slices == () and other.spacing == (1.0, 1.0, 1.0)
    assert (other.series_instance_uid, other.units) == ("1.2", "HU")


def test_labels_on_a_new_grid_are_counted_again() -> None:
    labels = Labels(np.zeros((1, 2, 2), np.uint8), AFFINE, {1: "a", 2: "b"}, {1: 0, 2: 0})
    other = labels.on_grid(np.array([[[0, 1], [1, 1]]], np.uint8), np.eye(4))
    assert other.counts == {1: 3, 2: 0}

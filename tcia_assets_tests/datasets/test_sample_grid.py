"""The grid of a sample: as the settings say, or that of another image."""

from __future__ import annotations

import numpy as np

from tcia_assets.datasets.sample_grid import Grid, to_grid
from tcia_assets.datasets.volume.arrays import Labels, Volume
from tcia_assets.datasets.volume_settings import VolumeSettings
from tcia_assets_tests.datasets.volume.synthetic import Series, noise


def test_labels_and_volume_are_on_the_same_grid() -> None:
    series = Series(noise((6, 9, 11)), spacing=(1, 1, 2))
    image = Volume(series.values, series.affine, "1.2", "1.3", "MR", "stored")
    labels = Labels((series.values > 0).astype(np.uint8), series.affine, {1: "a"})
    settings = VolumeSettings.model_validate({"spacing": ["2", "2", "2"], "orientation": "RAS"})
    placed = to_grid(image, settings)
    grid = Grid.of(placed)
    assert grid.size == (6, 4, 6)
    for one in (to_grid(labels, settings), to_grid(labels, settings, grid)):
        assert one.voxels.shape == placed.voxels.shape
        assert np.allclose(one.affine, placed.affine)
    assert to_grid(image, VolumeSettings()) is image

"""The grid of a sample: as the settings say, or that of another image."""

from __future__ import annotations

from typing import Any

import numpy as np

from tcia_assets.datasets.sample_grid import Grid, find_box, to_grid
from tcia_assets.datasets.volume.arrays import Labels, Volume
from tcia_assets.datasets.volume.boxes import Box
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


def found(volume: Volume, labels: Labels | None, **keys: Any) -> tuple[Box, list[str]]:
    """Return the box of a crop, and the codes of the findings."""
    box, findings = find_box(VolumeSettings.model_validate(keys), volume, labels)
    return box, [finding.code for finding in findings]


def test_a_grid_is_cropped_to_what_is_there() -> None:
    voxels = np.full((6, 9, 11), -1000, np.int16)
    voxels[2:4, 3:5, 4:8] = 40
    image = Volume(voxels, np.diag([1.0, 1.0, 2.0, 1.0]), "1.2", "1.3", "CT", "HU")
    drawn = (voxels > 0).astype(np.uint8)
    labels = Labels(drawn, image.affine, {1: "a"}, {1: 16})
    inside = Box((4, 3, 2), (4, 2, 2))
    assert found(image, labels, crop="label") == (inside, [])
    assert found(image, None, crop="foreground") == (inside, [])
    wide = {"to": "label", "margin": "2"}
    assert found(image, labels, crop=wide) == (Box((2, 1, 1), (8, 6, 4)), [])
    assert found(image, labels, crop="label", size=["6", "2", "2"])[0] == Box((3, 3, 2), (6, 2, 2))


def test_what_is_lost_padded_or_not_there_is_said() -> None:
    image = Volume(np.zeros((6, 9, 11), np.int16), np.eye(4), "1.2", "1.3", "MR", "stored")
    nothing = Labels(np.zeros((6, 9, 11), np.uint8), np.eye(4), {1: "a"})
    whole = Box.of(image)
    assert found(image, nothing, crop="label") == (whole, ["nothing_to_crop_to"])
    assert found(image, None, crop="foreground") == (whole, ["nothing_to_crop_to"])
    every = Labels(np.ones((6, 9, 11), np.uint8), np.eye(4), {1: "a"})
    box, codes = found(image, every, size=["15", "5", "native"])
    assert box == Box((-2, 2, 0), (15, 5, 6))
    assert codes == ["labels_cut_off", "padded_to_size"]
